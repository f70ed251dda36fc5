"""What a hub remembers of one lane: which parcels have arrived, and how much of them was released."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hardware.transport.wire import CREDIT, CREDITED, Welcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from hardware.transport.parcel import Limits


class Inbox:
    """One lane as its receiver sees it; it outlives the connections of the lane.

    Args:
        sender: Identity of the lane.
        incarnation: Of the sending process.
        limits: With the window of parcels that may be unreleased.
        tell: Sends a message to the lane, if it is connected.

    Attributes:
        sender: Identity of the lane.
        incarnation: Of the sending process.
        address: Routing id of its present connection.
        arrived: Sequence number of the last parcel that has arrived.
        taken_parcels: Parcels that were released (or refused).
        taken_bytes: Their bytes.
    """

    def __init__(self, sender: str, incarnation: int, limits: Limits, tell: Callable[[bytes, bytes], object]) -> None:
        self.sender, self.incarnation = sender, incarnation
        self.address = b""
        self.arrived = self.taken_parcels = self.taken_bytes = 0
        self._limits, self._tell = limits, tell
        self._arrived_bytes = 0
        self._told_parcels = self._told_bytes = 0

    def welcome(self, incarnation: int) -> Welcome:
        """Return what a lane must know that connects (again)."""
        self.told()
        limits = self._limits
        taken = (self.taken_parcels, self.taken_bytes)
        return Welcome(incarnation, self.arrived, *taken, limits.window_parcels, limits.window_bytes)

    def has_room(self) -> bool:
        """Return whether the lane was allowed to send another parcel."""
        limits = self._limits
        parcels, size_bytes = self.arrived - self.taken_parcels, self._arrived_bytes - self.taken_bytes
        return parcels < limits.window_parcels and size_bytes < limits.window_bytes

    def take_in(self, size_bytes: int) -> None:
        """The next parcel has arrived."""
        self.arrived += 1
        self._arrived_bytes += size_bytes

    def told(self) -> None:
        """The lane has been told what was released so far."""
        self._told_parcels, self._told_bytes = self.taken_parcels, self.taken_bytes

    def release(self, size_bytes: int) -> None:
        """A parcel takes no more room; the lane is told at once only where it may be about to run out of credit.

        A lane that waits for credit has everything it was allowed to send on its way here, so that at least half of the
        window is unreleased as far as it knows: it is always told.
        """
        self.taken_parcels += 1
        self.taken_bytes += size_bytes
        limits = self._limits
        parcels, held_bytes = self.arrived - self._told_parcels, self._arrived_bytes - self._told_bytes
        if 2 * parcels >= limits.window_parcels or 2 * held_bytes >= limits.window_bytes:
            self.told()
            self._tell(self.address, CREDITED.pack(CREDIT, self.taken_parcels, self.taken_bytes))
