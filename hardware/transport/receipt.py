"""What a lane tells of a parcel: when it travelled, or that it is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from hardware.transport.parcel import Kind, Parcel


# A tuple: for each parcel, a frozen dataclass takes four times as long to make.
class Receipt(NamedTuple):
    """When a parcel travelled; all times on the sender's monotonic clock.

    Attributes:
        kind: As in the parcel.
        request: As in the parcel.
        attempt: As in the parcel.
        epoch: As in the parcel.
        size_bytes: Payload bytes.
        queued_s: When `send` was called.
        start_s: When the transmission began: the latest of `queued_s`, the finish of the parcel before it, and the
            instant at which there was a connection and credit.
        finish_s: When its last byte had left the link: `acked_s` less the round trip of an empty message.
        acked_s: When the receipt arrived.
    """

    kind: Kind
    request: int
    attempt: int
    epoch: int
    size_bytes: int
    queued_s: float
    start_s: float
    finish_s: float
    acked_s: float

    @property
    def transfer_s(self) -> float:
        """From the start of the transmission to the receipt."""
        return self.acked_s - self.start_s


class Listener(Protocol):
    """Is told, in the loop's thread, what became of each parcel: one of the two, once."""

    def sent(self, receipt: Receipt) -> object:
        """A parcel has arrived."""

    def lost(self, parcels: list[Parcel]) -> object:
        """These, in order, are not known to have arrived and are not sent any more.

        Their peer has started anew, has refused them (too large for its limits), or the lane was closed.
        """
