"""The course of one device's power, made from readings: joules and covered time of any stretch.

Between two readings power is taken to be a straight line (the trapezoid rule), and so an edge of a stretch that lies
between two readings is interpolated. A meter that only counts joules gives a cumulative energy, which is a straight
line between two readings. A gap is not filled: it adds neither joules nor covered time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twin.metering.facts import MeterFacts
    from twin.records import MeterReadings

GAP_PERIODS = 2.0
"""Time between two readings beyond which nothing is known of what was in between, in periods of the meter."""
STAMP_SLACK_PERIODS = 0.5
"""How much longer a time between two stamps may look, because a refresh is only seen at the next poll."""
LAG_PERIODS = 1.5
"""Oldest time that a reading may stand for: the middle of the period before a refresh that is one period old."""
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """Power of a device over time.

    Attributes:
        t_s: When each reading was taken, ascending, shape [n], n >= 2.
        power_w: Power at these times, shape [n]; of a meter that only counts, the mean since the reading before.
        known: Whether the stretch between a reading and the next is no gap, shape [n - 1].
        energy_j: Joules from the first reading to each, gaps left out, shape [n].
        counted: Whether the joules come from a counter instead of the trapezoid rule.
        lag_s: By how much a reading may be older than its stamp, at most.
        period_s: Usual time between two readings.
        power_step_w: Smallest difference of power that the meter shows.
        counter_step_j: Smallest difference of energy that its counter shows; 0 where it has none.
    """

    t_s: np.ndarray
    power_w: np.ndarray
    known: np.ndarray
    energy_j: np.ndarray
    counted: bool
    lag_s: float
    period_s: float
    power_step_w: float
    counter_step_j: float

    def joules(self, edges_s: np.ndarray) -> np.ndarray:
        """Joules between edges, NaN where a bin is not wholly covered by readings, shape [n_edges - 1].

        Args:
            edges_s: Ascending times, shape [n_edges].
        """
        lengths_s = np.diff(edges_s)
        missing = self.covered_s(edges_s) < lengths_s * (1 - _ROUNDING) - _ROUNDING * self.period_s
        return np.where(missing, math.nan, np.diff(self._until_j(edges_s)))

    def covered_s(self, edges_s: np.ndarray) -> np.ndarray:
        """Time between edges that readings cover, shape [n_edges - 1]."""
        row, past_s = self._position(edges_s)
        known_s = np.append(0.0, np.cumsum(np.where(self.known, np.diff(self.t_s), 0.0)))
        return np.diff(known_s[row] + np.where(self.known[row], past_s, 0.0))

    def mean_w(self, start_s: float, end_s: float) -> float:
        """Mean power over the covered part of a stretch; NaN if none of it is covered."""
        edges_s = np.array([start_s, end_s])
        covered_s = float(self.covered_s(edges_s)[0]) if end_s > start_s else 0.0
        return float(np.diff(self._until_j(edges_s))[0]) / covered_s if covered_s > 0 else math.nan

    def within(self, start_s: float, end_s: float) -> np.ndarray:
        """Positions of the readings from a time to another, both included."""
        return np.flatnonzero((self.t_s >= start_s) & (self.t_s <= end_s))

    def _position(self, t_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Reading before each time and the time since; times before the first or after the last count as these."""
        t_s = np.clip(t_s, self.t_s[0], self.t_s[-1])
        row = np.clip(np.searchsorted(self.t_s, t_s, side="right") - 1, 0, len(self.t_s) - 2)
        return row, t_s - self.t_s[row]

    def _until_j(self, t_s: np.ndarray) -> np.ndarray:
        """Joules from the first reading to each time."""
        row, past_s = self._position(t_s)
        step_s = self.t_s[row + 1] - self.t_s[row]
        if self.counted:
            added_j = (self.energy_j[row + 1] - self.energy_j[row]) * past_s / step_s
        else:
            slope = (self.power_w[row + 1] - self.power_w[row]) / step_s
            added_j = (self.power_w[row] + 0.5 * slope * past_s) * past_s
        return np.asarray(self.energy_j[row] + np.where(self.known[row], added_j, 0.0))


def power_course(readings: MeterReadings, facts: MeterFacts) -> Course | None:
    """The course of the power that a meter showed; None if it showed fewer than two.

    Args:
        readings: The readings of one device in one replication.
        facts: What the meter is.
    """
    readings = _ascending(readings.where(np.isfinite(readings.power_w)))
    if len(readings) < 2:
        return None
    period_s, known = _gaps(readings.t_s, facts.refresh_s)
    power_w = readings.power_w
    steps_j = np.where(known, np.diff(readings.t_s) * (power_w[:-1] + power_w[1:]) / 2, 0.0)
    return Course(
        readings.t_s,
        power_w,
        known,
        np.append(0.0, np.cumsum(steps_j)),
        counted=False,
        lag_s=LAG_PERIODS * facts.refresh_s + float(readings.poll_s.max()) / 2,
        period_s=period_s,
        power_step_w=facts.power_step_w,
        counter_step_j=0.0,
    )


def counter_course(readings: MeterReadings, facts: MeterFacts) -> Course | None:
    """The course of a meter's own energy counter; None if it has none or showed fewer than two values.

    A gap is a gap here, too: a meter that was away may have lost count.

    Args:
        readings: The readings of one device in one replication.
        facts: What the meter is.
    """
    readings = _ascending(readings.where(np.isfinite(readings.counter_j)))
    if len(readings) < 2:
        return None
    steps_j = np.diff(readings.counter_j)
    power_w = steps_j / np.diff(readings.t_s)
    period_s, known = _gaps(readings.t_s, facts.refresh_s)
    return Course(
        readings.t_s,
        np.append(power_w[0], power_w),
        known,
        np.append(0.0, np.cumsum(np.where(known, steps_j, 0.0))),
        counted=True,
        lag_s=LAG_PERIODS * facts.refresh_s + float(readings.poll_s.max()) / 2 + period_s,
        period_s=period_s,
        power_step_w=0.0,
        counter_step_j=facts.counter_step_j or 0.0,
    )


def without(readings: MeterReadings, stretches_s: Sequence[tuple[float, float]]) -> MeterReadings:
    """The readings outside of stretches in which a scenario takes the meter away."""
    kept = np.ones(len(readings), dtype=bool)
    for start_s, end_s in stretches_s:
        kept &= (readings.t_s < start_s) | (readings.t_s > end_s)
    return readings if kept.all() else readings.where(kept)


def _ascending(readings: MeterReadings) -> MeterReadings:
    """The readings in order of time, the first of those with the same stamp."""
    return readings.where(np.unique(readings.t_s, return_index=True)[1])


def _gaps(t_s: np.ndarray, refresh_s: float) -> tuple[float, np.ndarray]:
    """Usual time between readings, and whether each time between two is no gap."""
    steps_s = np.diff(t_s)
    period_s = max(refresh_s, float(np.median(steps_s)))
    return period_s, steps_s <= (GAP_PERIODS + STAMP_SLACK_PERIODS) * period_s
