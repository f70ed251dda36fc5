"""The offset between the clocks of two machines, from exchanges of time stamps."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Offset:
    """How far another clock is ahead.

    Attributes:
        offset_s: Seconds to add to the own monotonic clock to get the peer's.
        rtt_s: Round trip of the exchange that it comes from, without the peer's own time.
        quiet: Whether no parcel of this process was under way meanwhile.
    """

    offset_s: float
    rtt_s: float
    quiet: bool = True

    @property
    def uncertainty_s(self) -> float:
        """Largest possible error: the way out and the way back share the round trip in an unknown proportion."""
        return self.rtt_s / 2


def exchange(sent_s: float, heard_s: float, answered_s: float, received_s: float, *, quiet: bool = True) -> Offset:
    """Return the offset by one exchange, as NTP does (RFC 5905, section 8).

    Args:
        sent_s: Own clock.
        heard_s: Peer's clock.
        answered_s: Peer's clock.
        received_s: Own clock.
        quiet: Whether no parcel was under way meanwhile.
    """
    offset_s = ((heard_s - sent_s) + (answered_s - received_s)) / 2
    return Offset(offset_s, (received_s - sent_s) - (answered_s - heard_s), quiet)


class Offsets:
    """The recent exchanges with one peer.

    Args:
        recent: How many of them count; clocks drift, so old ones must go.
    """

    def __init__(self, recent: int = 16) -> None:
        self._recent: deque[Offset] = deque(maxlen=recent)

    def add(self, offset: Offset) -> None:
        """Take note of an exchange."""
        self._recent.append(offset)

    def best(self) -> Offset | None:
        """Return the exchange with the least round trip, a quiet one if there is one; None before the first."""
        return min(self._recent, key=lambda offset: (not offset.quiet, offset.rtt_s), default=None)
