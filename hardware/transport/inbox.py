"""What a hub remembers of one lane: which parcels have arrived, and how much of them was released."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from hardware.transport.head import decode, payload_bytes
from hardware.transport.wire import ACK, ACKNOWLEDGE, CREDIT, CREDITED, DATA_HEAD, Welcome
from twin.errors import TransportError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import zmq

    from hardware.transport.loop import Loop
    from hardware.transport.parcel import Buffer, Limits, Parcel

_SMALL_BYTES = 8192
"""ZeroMQ lets shorter frames share a buffer, at odd addresses; they are copied out of it."""


class OnParcel(Protocol):
    """Takes a parcel that has arrived; called in the loop's thread.

    Each parcel comes exactly once, those of one lane in order. It is acknowledged by then. The lane goes on sending
    only while few are unreleased, so `release()` must be called once the parcel takes no more room here: when the
    worker has taken it off its queue, say. It may be called from any thread, and more than once.
    """

    def __call__(self, sender: str, parcel: Parcel, release: Callable[[], None]) -> object:
        """Take `parcel` from the lane of `sender`."""


@dataclass(slots=True)
class Reception:
    """What the inboxes of one hub share.

    Attributes:
        loop: The loop.
        limits: What is accepted, with the window of parcels that may be unreleased.
        tell: Sends a message to a lane, if it is connected.
        on_parcel: Takes parcels.
        dropped: What was dropped, by reason.
        unreleased: Parcels that have arrived and are not released yet.
    """

    loop: Loop
    limits: Limits
    tell: Callable[[bytes, bytes], object]
    on_parcel: OnParcel
    dropped: Counter[str] = field(default_factory=Counter)
    unreleased: int = 0


class Inbox:
    """One lane as its receiver sees it; it outlives the connections of the lane.

    Args:
        sender: Identity of the lane.
        incarnation: Of the sending process.
        reception: What it shares with the other inboxes.

    Attributes:
        sender: Identity of the lane.
        incarnation: Of the sending process.
        address: Routing id of its present connection.
    """

    def __init__(self, sender: str, incarnation: int, reception: Reception) -> None:
        self.sender, self.incarnation = sender, incarnation
        self.address = b""
        self._reception = reception
        self._window = (reception.limits.window_parcels, reception.limits.window_bytes)
        self._arrived = self._taken_parcels = self._told_parcels = 0
        self._arrived_bytes = self._taken_bytes = self._told_bytes = 0

    def welcome(self, incarnation: int) -> Welcome:
        """Return what a lane must know that connects (again) to a hub of this incarnation."""
        self._told_parcels, self._told_bytes = self._taken_parcels, self._taken_bytes
        return Welcome(incarnation, self._arrived, self._taken_parcels, self._taken_bytes, *self._window)

    def take(self, frames: Sequence[zmq.Frame], head: memoryview, all_bytes: int, heard_s: float) -> None:
        """Take, acknowledge and hand over a parcel; or refuse it, if it is malformed or was sent without credit.

        Args:
            frames: The message.
            head: Its first frame, at least as long as `DATA_HEAD`.
            all_bytes: Bytes of all its frames.
            heard_s: When it was read.
        """
        reception, number = self._reception, DATA_HEAD.unpack_from(head)[1]
        if number != self._arrived + 1:
            reception.dropped["doubled" if number <= self._arrived else "malformed"] += 1
            return
        parcel, size_bytes = self._decoded(frames, head, all_bytes)
        self._arrived = number
        self._arrived_bytes += size_bytes
        if parcel is None:
            self._taken_parcels += 1
            self._taken_bytes += size_bytes
        taken_parcels, taken_bytes = self._told_parcels, self._told_bytes = self._taken_parcels, self._taken_bytes
        handled_s = monotonic() - heard_s
        reception.tell(
            self.address, ACKNOWLEDGE.pack(ACK, parcel is None, number, handled_s, taken_parcels, taken_bytes)
        )
        if parcel is not None:
            reception.unreleased += 1
            reception.on_parcel(self.sender, parcel, Release(self, size_bytes))

    def released(self, size_bytes: int) -> None:
        """A parcel takes no more room; the lane is told at once only where it may be about to run out of credit.

        A lane that waits for credit has everything it was allowed to send on its way here, so that at least half of the
        window is unreleased as far as it knows: it is always told.
        """
        self._reception.unreleased -= 1
        self._taken_parcels += 1
        self._taken_bytes += size_bytes
        parcels, held_bytes = self._arrived - self._told_parcels, self._arrived_bytes - self._told_bytes
        if 2 * parcels >= self._window[0] or 2 * held_bytes >= self._window[1]:
            self._told_parcels, self._told_bytes = self._taken_parcels, self._taken_bytes
            self._reception.tell(self.address, CREDITED.pack(CREDIT, self._taken_parcels, self._taken_bytes))

    def in_loop(self, call: Callable[[], None]) -> None:
        """Make a call in the loop's thread: now if this is it, else soon."""
        loop = self._reception.loop
        if loop.is_here():
            call()
        else:
            loop.post(call)

    def _decoded(self, frames: Sequence[zmq.Frame], head: memoryview, all_bytes: int) -> tuple[Parcel | None, int]:
        """Return the parcel and its bytes; None, which is noted, for it if the lane was not allowed to send this."""
        parcels, size_bytes = self._arrived - self._taken_parcels, self._arrived_bytes - self._taken_bytes
        if parcels >= self._window[0] or size_bytes >= self._window[1]:
            self._reception.dropped["over credit"] += 1
            return None, payload_bytes(head, DATA_HEAD.size, all_bytes)
        # What follows the head is copied by decoding; frames of their own are kept.
        whole = (head,) if len(frames) == 1 else (head, *map(_buffer, frames[1:]))
        try:
            return decode(whole, self._reception.limits, DATA_HEAD.size)
        except TransportError:
            self._reception.dropped["malformed"] += 1
            return None, payload_bytes(head, DATA_HEAD.size, all_bytes)


class Release:
    """Gives back the credit of one parcel, once, from any thread."""

    __slots__ = ("_done", "_inbox", "_size_bytes")

    def __init__(self, inbox: Inbox, size_bytes: int) -> None:
        self._inbox, self._size_bytes = inbox, size_bytes
        self._done = False

    def __call__(self) -> None:
        """Give it back, if this was not done before."""
        self._inbox.in_loop(self._give_back)

    def _give_back(self) -> None:
        if not self._done:
            self._done = True
            self._inbox.released(self._size_bytes)


def _buffer(frame: zmq.Frame) -> Buffer:
    """Return writable, aligned memory with the content of a frame, copied only where it is small."""
    return bytearray(frame.buffer) if len(frame) <= _SMALL_BYTES else frame.buffer
