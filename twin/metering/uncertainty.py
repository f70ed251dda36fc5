"""How far joules from readings may be off: half-widths that hold in about 95 of 100 cases.

Contributions are standard uncertainties that add up as squares; a half-width is twice their root (the coverage factor
2 of the Guide to the Expression of Uncertainty in Measurement, JCGM 100:2008, 6.3). What is only known to lie within
+-a counts a / sqrt(3) (the same, 4.3.7), among these the difference of two counts that are rounded down to steps of a.

A changing signal that is sampled now and then is treated as if each reading was drawn at random from what is around
it: the variance of one is half the mean square of successive differences (J. von Neumann, Annals of Mathematical
Statistics 12, 1941). That is right for a signal that changes between any two readings, and up to 2.4 times too wide
for one that jumps now and then. It holds for meters that average over their period and for those that sample a point.
It does not cover a signal in step with the meter, which no reading can reveal; the meter's own counter can.

The error of the meter's calibration is not in it: it is the same for everything that one meter measured.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from twin.metering.course import Course

COVERAGE = 2.0
_EDGE_PERIODS = 2.0


def half_width_j(course: Course, start_s: float, end_s: float) -> float:
    """Half-width of the joules of a stretch.

    Args:
        course: Covers the stretch.
        start_s: Its start.
        end_s: Its end.
    """
    variances = (
        _resolution(course, end_s - start_s),
        _sampling(course, start_s, end_s),
        _edges(course, start_s, end_s),
    )
    return COVERAGE * math.sqrt(sum(variances))


def mean_half_width_w(course: Course, rows: np.ndarray) -> float:
    """Half-width of the mean power of some readings, at least two.

    Args:
        course: The readings.
        rows: Positions of those that count, ascending.
    """
    steps_w = np.diff(course.power_w[rows])
    variance = float((steps_w**2).mean()) / 2 / len(rows) + course.power_step_w**2 / 12
    return COVERAGE * math.sqrt(variance)


def _resolution(course: Course, length_s: float) -> float:
    """Rounding to a step may go the same way in every reading; a counter is rounded at both ends."""
    return (course.power_step_w / 2 * length_s) ** 2 / 3 + course.counter_step_j**2 / 3


def _sampling(course: Course, start_s: float, end_s: float) -> float:
    """A signal that changes between readings; a counter misses nothing."""
    if course.counted:
        return 0.0
    overlap_s = np.minimum(course.t_s[1:], end_s) - np.maximum(course.t_s[:-1], start_s)
    weights_s = np.where(course.known, np.maximum(overlap_s, 0.0), 0.0)
    return float(((np.diff(course.power_w) * weights_s) ** 2).sum()) / 2


def _edges(course: Course, start_s: float, end_s: float) -> float:
    """Readings that are older than their stamps: a lag d moves d (p(end) - p(start)) out of the stretch."""
    around_s = _EDGE_PERIODS * course.period_s
    rows = np.union1d(
        course.within(start_s - around_s, start_s + around_s), course.within(end_s - around_s, end_s + around_s)
    )
    spread_w = float(np.ptp(course.power_w[rows])) if len(rows) else 0.0
    # A counter that moves in steps looks like power that comes in bursts.
    spread_w = max(spread_w - course.counter_step_j / course.period_s, 0.0)
    return (course.lag_s * spread_w) ** 2 / 3
