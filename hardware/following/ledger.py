"""Predictions that wait for what comes of them, and the lines that are written once it has."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from hardware.following.model import END_TO_END
from hardware.following.monitor import Flag, Residual

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hardware.following.forecast import Forecast
    from hardware.following.history import History

_PATIENCE = 20
"""Intervals for which the answers of an interval are waited for; those that come later do not count."""


@dataclass(slots=True, eq=False)
class Interval:
    """One interval.

    Attributes:
        label: Name of the policy.
        replication: Number of the replication.
        number: Number of the interval.
        forecast: What was predicted before it.
        counted: Whether it lies after the warm-up.
        parts: What the parts took.
        whole: What whole requests took; None if none was answered.
        explained: The same against what the twin says once it knows which requests came; None if that is not known.
        p95_s: 95th percentile of their latencies; NaN if there is none.
        arrived: Requests that arrived in it.
        throughput_rps: Answers per second in it; NaN until it is over.
        changed: Whether another plan came into force in it.
        lost: Whether a device or link did not answer.
        flags: What was noticed at its end.
    """

    label: str
    replication: int
    number: int
    forecast: Forecast
    counted: bool
    parts: list[Residual] = field(default_factory=list)
    whole: Residual | None = None
    explained: Residual | None = None
    p95_s: float = math.nan
    arrived: int = 0
    throughput_rps: float = math.nan
    changed: bool = False
    lost: bool = False
    flags: list[Flag] = field(default_factory=list)

    @property
    def is_told(self) -> bool:
        """Whether there is both a prediction and an outcome of the latency."""
        return self.whole is not None and math.isfinite(self.forecast.mean_s)

    @property
    def is_watched(self) -> bool:
        """Whether a difference tells something of the twin: the plan stayed, nothing was lost, the warm-up is over."""
        return self.counted and not (self.changed or self.lost)

    def to_json(self, names: Sequence[str]) -> dict[str, Any]:
        """The line of `live.jsonl`."""
        whole, forecast = self.whole, self.forecast
        return {
            "replication": self.replication,
            "interval": self.number,
            "start_s": forecast.start_s,
            "end_s": forecast.end_s,
            "predicted": forecast.to_json(names),
            "measured": {
                "latency_mean_s": None if whole is None else whole.measured_s,
                "latency_p95_s": self.p95_s,
                "throughput_rps": self.throughput_rps,
                "arrivals": self.arrived,
                "answered": 0 if whole is None else whole.n,
                "parts_s": {names[x.place]: x.measured_s for x in self.parts},
            },
            "arrivals_known": {
                "latency_mean_s": None if self.explained is None else self.explained.expected_s,
            },
            "residuals": self._residuals(names),
            "counted": self.counted,
            "changed": self.changed,
            "lost": self.lost,
            "flags": [flag.to_json() for flag in self.flags],
        }

    def _residuals(self, names: Sequence[str]) -> dict[str, Any]:
        """Measured / expected - 1, and its standard deviation if nothing is wrong."""
        found = {names[x.place]: x for x in self.parts}
        if self.is_told and self.whole is not None:
            found[names[END_TO_END]] = self.whole
        if self.explained is not None:
            found["arrivals_known"] = self.explained
        return {name: {"relative": x.relative, "deviation": x.deviation, "n": x.n} for name, x in found.items()}


class Ledger:
    """Intervals in order, the oldest first."""

    def __init__(self) -> None:
        self._open: deque[Interval] = deque()

    @property
    def newest(self) -> Interval | None:
        """The interval that was predicted last."""
        return self._open[-1] if self._open else None

    def add(self, interval: Interval) -> None:
        """Wait for what comes of a prediction."""
        self._open.append(interval)

    def closed(self, history: History, *, at_end: bool = False) -> Iterator[Interval]:
        """Take out the intervals of which all is known by now, with what came of them.

        Args:
            history: The run so far.
            at_end: Whether the run is over, so that no more will be known.
        """
        while self._open and (at_end or self._is_known(self._open[0], history)):
            interval = self._open.popleft()
            _fill(interval, history)
            yield interval

    def _is_known(self, interval: Interval, history: History) -> bool:
        start_s, end_s = interval.forecast.start_s, interval.forecast.end_s
        if history.t_s < end_s:
            return False
        if history.t_s > end_s + _PATIENCE * (end_s - start_s):
            return True
        return all(request in history.ended for request in history.arrived(start_s, end_s))


def _fill(interval: Interval, history: History) -> None:
    """Note what came of an interval."""
    forecast = interval.forecast
    start_s, end_s = forecast.start_s, forecast.end_s
    requests = history.arrived(start_s, end_s)
    ends = [history.ended[request] for request in requests if request in history.ended]
    latency_s = np.array([latency_s for _, latency_s in ends if math.isfinite(latency_s)])
    interval.arrived = len(requests)
    interval.throughput_rps = history.answers(start_s, end_s) / (end_s - start_s)
    plans = {plan.epoch for plan in (history.plan_at(start_s), history.plan_at(end_s)) if plan is not None}
    interval.changed = plans != {forecast.epoch}
    if len(latency_s):
        interval.p95_s = float(np.percentile(latency_s, 95))
        # A mean of fewer or more requests than were expected scatters more or less.
        scale = math.sqrt(forecast.expected / len(latency_s)) if forecast.expected > 0 else 1.0
        interval.whole = Residual(
            END_TO_END, len(latency_s), forecast.mean_s, float(latency_s.mean()), forecast.deviation * scale
        )
