"""Compute-only energy by a meter: mean power while a device computes times the time that it computes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from twin.energy import occupied_s
from twin.metering.uncertainty import mean_half_width_w
from twin.records import Kind

if TYPE_CHECKING:
    from twin.energy import Window
    from twin.metering.course import Course
    from twin.records import Spans

_FEWEST = 10
"""Readings taken wholly while computing, below which their mean says too little."""


def compute_only(course: Course, spans: Spans, device: int, window: Window) -> tuple[float, float] | None:
    """Joules and their half-width; None where the device never computes long enough for a meter to see it alone.

    Only readings count that a device spent computing all along since the oldest time that they may stand for. Time in
    which several slots compute counts once.

    Args:
        course: Power over time.
        spans: What the time was spent on.
        device: The device.
        window: The window.
    """
    computes = (spans.kind == Kind.COMPUTE) & (spans.place == device)
    start_s, end_s = _merged(spans.start_s[computes], spans.end_s[computes])
    busy_s = float(occupied_s(np.zeros(len(start_s), dtype=int), 1, start_s, end_s, np.array(window))[0, 0])
    rows = course.within(window.start_s, window.end_s)
    since = np.searchsorted(start_s, course.t_s[rows] - course.lag_s, side="right") - 1
    inside = since >= 0
    inside[inside] = end_s[since[inside]] >= course.t_s[rows[inside]]
    rows = rows[inside]
    if len(rows) < _FEWEST:
        return None
    return float(course.power_w[rows].mean()) * busy_s, mean_half_width_w(course, rows) * busy_s


def _merged(start_s: np.ndarray, end_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Stretches that overlap or touch joined into one, in order."""
    if len(start_s) == 0:
        return start_s, end_s
    order = np.argsort(start_s, kind="stable")
    start_s, reach_s = start_s[order], np.maximum.accumulate(end_s[order])
    first = np.append(True, start_s[1:] > reach_s[:-1])
    return start_s[first], reach_s[np.append(np.flatnonzero(first)[1:] - 1, len(start_s) - 1)]
