"""Idle power around a run: the baseline that separates what requests cost from what a device draws anyway."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twin.metering.uncertainty import COVERAGE, mean_half_width_w

if TYPE_CHECKING:
    from twin.metering.course import Course

_FEWEST = 5
"""Readings below which a stretch says nothing of idle power."""
SHORT_S = 10.0
"""Length below which a stretch is called short."""
_DRIFT = 0.02
"""Relative change of idle power that is worth a word, if it also exceeds what both stretches leave open."""


@dataclass(frozen=True, slots=True)
class Idle:
    """Mean power in one stretch without requests.

    Attributes:
        start_s: Its first reading.
        end_s: Its last one.
        mean_w: Mean power.
        half_width_w: Its half-width.
    """

    start_s: float
    end_s: float
    mean_w: float
    half_width_w: float


@dataclass(frozen=True, slots=True)
class Baseline:
    """Idle power before and after a run; at least one of the two is known.

    Attributes:
        before: Before the run, or None.
        after: After it, or None.
    """

    before: Idle | None
    after: Idle | None

    @property
    def stretches(self) -> tuple[Idle, ...]:
        """The stretches that are known."""
        return tuple(idle for idle in (self.before, self.after) if idle is not None)

    @property
    def mean_w(self) -> float:
        """Idle power during the run: the mean of both stretches, right for a drift at a steady pace."""
        return sum(idle.mean_w for idle in self.stretches) / len(self.stretches)

    @property
    def half_width_w(self) -> float:
        """Half-width of the idle power, half of the drift included as a bound."""
        own_w = math.hypot(*(idle.half_width_w for idle in self.stretches)) / len(self.stretches)
        return math.hypot(own_w, COVERAGE * abs(self.drift_w or 0.0) / 2 / math.sqrt(3))

    @property
    def drift_w(self) -> float | None:
        """Idle power after the run minus before; None where one is not known."""
        return None if self.before is None or self.after is None else self.after.mean_w - self.before.mean_w

    @property
    def drifts(self) -> bool:
        """Whether idle power changed by more than its uncertainty and by more than some percent."""
        drift_w = abs(self.drift_w or 0.0)
        doubt_w = sum(idle.half_width_w for idle in self.stretches)
        return drift_w > doubt_w and drift_w > _DRIFT * self.mean_w

    def to_json(self) -> dict[str, Any]:
        """Return the baseline as plain data."""
        return {
            "mean_w": self.mean_w,
            "half_width_w": self.half_width_w,
            "before_w": None if self.before is None else self.before.mean_w,
            "after_w": None if self.after is None else self.after.mean_w,
        }


def idle_baseline(course: Course, end_s: float) -> Baseline | None:
    """Idle power from the readings before time 0 and after the end of a run; None where there are too few.

    Args:
        course: The readings.
        end_s: When the last thing of the run happened; readings that may be older than their stamp stay out.
    """
    before = _idle(course, -math.inf, 0.0)
    after = _idle(course, end_s + course.lag_s, math.inf)
    return None if before is None and after is None else Baseline(before, after)


def _idle(course: Course, start_s: float, end_s: float) -> Idle | None:
    rows = course.within(start_s, end_s)
    if len(rows) < _FEWEST:
        return None
    first_s, last_s = (float(course.t_s[row]) for row in (rows[0], rows[-1]))
    mean_w = course.mean_w(first_s, last_s)
    return None if math.isnan(mean_w) else Idle(first_s, last_s, mean_w, mean_half_width_w(course, rows))
