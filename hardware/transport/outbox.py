"""What a lane has to send: parcels that wait for credit, and parcels that wait for their receipt."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

from hardware.transport.head import encode
from hardware.transport.wire import DATA, DATA_HEAD

if TYPE_CHECKING:
    from hardware.transport.loop import Loop
    from hardware.transport.parcel import Buffer, Limits, Parcel
    from hardware.transport.wire import Welcome


@dataclass(slots=True)
class Entry:
    """A parcel in the lane.

    Attributes:
        number: Sequence number.
        parcel: The parcel.
        frames: What is sent for it.
        size_bytes: Its payload.
        through_bytes: Payload of all parcels up to and with it.
        queued_s: When it was put in.
        handed_s: When it was first given to a connection; None until then.
    """

    number: int
    parcel: Parcel
    frames: tuple[Buffer, ...]
    size_bytes: int
    through_bytes: int
    queued_s: float
    handed_s: float | None = None


class Outbox:
    """The parcels of one lane, in order; it outlives the connections of the lane.

    Args:
        loop: The loop, which counts the lanes that have parcels under way.
        limits: What the peer accepts, as far as known here.

    Attributes:
        waiting: Parcels that were neither acknowledged nor lost.
        bytes_waiting: Their payload bytes.
        under_way: Those that were given to the connection, the oldest first.
    """

    def __init__(self, loop: Loop, limits: Limits) -> None:
        self._loop, self._limits = loop, limits
        self.waiting = self.bytes_waiting = 0
        self.under_way: deque[Entry] = deque()
        self._unsent: deque[Entry] = deque()
        self._window = (0, 0)
        self._numbered = self._sent = self._acked = 0
        self._through_bytes = self._sent_bytes = self._acked_bytes = 0
        self._taken_parcels = self._taken_bytes = 0

    def put(self, parcel: Parcel) -> None:
        """Queue a parcel behind those before it.

        Raises:
            TransportError: The parcel is malformed or over the limits; nothing is queued.
        """
        number = self._numbered + 1
        frames, size_bytes = encode(parcel, self._limits, DATA_HEAD.pack(DATA, number))
        self._numbered = number
        self._through_bytes += size_bytes
        self._unsent.append(Entry(number, parcel, frames, size_bytes, self._through_bytes, monotonic()))
        self.waiting += 1
        self.bytes_waiting += size_bytes

    def take(self) -> Entry | None:
        """Return the next parcel to give to the connection, which is under way from now on; None without credit."""
        parcels, size_bytes = self._window
        if (
            not self._unsent
            or self._sent - self._taken_parcels >= parcels
            or self._sent_bytes - self._taken_bytes >= size_bytes
        ):
            return None
        entry = self._unsent.popleft()
        if entry.handed_s is None:
            entry.handed_s = monotonic()
        self._sent, self._sent_bytes = entry.number, entry.through_bytes
        if not self.under_way:
            self._loop.lanes_busy += 1
        self.under_way.append(entry)
        return entry

    def credited(self, taken_parcels: int, taken_bytes: int) -> None:
        """Take note of what the peer has released since the lane began."""
        self._taken_parcels, self._taken_bytes = taken_parcels, taken_bytes

    def arrived(self, number: int) -> Entry | None:
        """Return the oldest parcel under way, which has arrived if its number is at most this; None if none has."""
        if not self.under_way or self.under_way[0].number > number:
            return None
        entry = self.under_way.popleft()
        self._acked, self._acked_bytes = entry.number, entry.through_bytes
        self.waiting -= 1
        self.bytes_waiting -= entry.size_bytes
        if not self.under_way:
            self._loop.lanes_busy -= 1
        return entry

    def refused(self, number: int) -> list[Parcel]:
        """Return the parcel of this number, which the peer does not take."""
        if not self.under_way or self.under_way[0].number != number:
            return []
        entry = self.arrived(number)
        return [] if entry is None else [entry.parcel]

    def fits(self, welcome: Welcome) -> bool:
        """Return whether what the peer has had is part of what was sent."""
        return self._acked <= welcome.arrived <= self._sent

    def open(self, welcome: Welcome) -> None:
        """Take note of what a connection lets through."""
        self._window = (welcome.window_parcels, welcome.window_bytes)
        self.credited(welcome.taken_parcels, welcome.taken_bytes)

    def rewind(self) -> None:
        """Let what is under way go again, first, with a new connection."""
        if self.under_way:
            self._loop.lanes_busy -= 1
            self._unsent.extendleft(reversed(self.under_way))
            self.under_way.clear()
        self._sent, self._sent_bytes = self._acked, self._acked_bytes

    def lose(self) -> list[Parcel]:
        """Give up and return everything, count from the beginning again, and let nothing through until `open`."""
        if self.under_way:
            self._loop.lanes_busy -= 1
        lost = [entry.parcel for entry in (*self.under_way, *self._unsent)]
        self.under_way.clear()
        self._unsent.clear()
        self.waiting = self.bytes_waiting = 0
        self._window = (0, 0)
        self._numbered = self._sent = self._acked = 0
        self._through_bytes = self._sent_bytes = self._acked_bytes = 0
        self._taken_parcels = self._taken_bytes = 0
        return lost
