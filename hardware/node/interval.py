"""An interval of a link trace while it is recorded: when something is sent in it, and what came of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

EMPTY_BYTES = 1
"""Size of a message that is sent for its round trip."""
LEAST_BYTES, MOST_BYTES = 2_000, 8_000_000
"""Size of a burst."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """When to measure; times of this machine's monotonic clock.

    Attributes:
        zero_s: When the first interval begins.
        every_s: Length of an interval.
        phase_s: When in an interval the turn begins.
        until_s: When in an interval it ends at the latest; it may begin late, if the link is not free before.
        budget_s: How long it may take, if that is enough for some bursts.
        n: Number of intervals.
    """

    zero_s: float
    every_s: float
    phase_s: float
    until_s: float
    budget_s: float
    n: int

    def start_s(self, interval: int) -> float:
        """When an interval begins."""
        return self.zero_s + interval * self.every_s


@dataclass(slots=True)
class Interval:
    """What was sent in one interval; sizes in bytes, times in seconds from the start of a transfer to its receipt.

    Attributes:
        number: Its number.
        empty_s: Time of each empty message.
        bursts: Size and time of each burst.
        rough: Size and time of what tells something too, should there be no burst: the one that opens the window of
            TCP, and parcels of a burst that was cut short.
        came_bytes: Bytes of bursts that arrived in it, of whatever turn.
    """

    number: int
    empty_s: list[float] = field(default_factory=list)
    bursts: list[tuple[int, float]] = field(default_factory=list)
    rough: list[tuple[int, float]] = field(default_factory=list)
    came_bytes: int = 0

    def to_json(self) -> dict[str, Any]:
        """The interval as plain data."""
        return asdict(self)
