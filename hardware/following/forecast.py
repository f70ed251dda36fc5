"""A prediction of the next interval, read from what the twin has played."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from hardware.following.monitor import ENOUGH

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hardware.following.window import Window
    from twin.records import Requests


@dataclass(frozen=True, slots=True, eq=False)
class Forecast:
    """What is predicted of one interval, before it begins.

    Attributes:
        start_s: Where it begins, in run time.
        end_s: Where it ends.
        known_s: Run time up to which the twin knew everything.
        epoch: Plan in force, or decided on, when it was made; -1 for none.
        mean_s: Mean latency of the requests that arrive in it; NaN if none is expected.
        p95_s: 95th percentile, likewise.
        deviation: Relative standard deviation of the mean over the draws.
        throughput_rps: Answers per second.
        expected: Requests that are expected; NaN in a closed loop.
        parts_s: Time of one visit of each place, messages to their receipt, by place.
        version: Of the corrections that it rests on.
        cpu_s: Processor time that it took.
        made_s: Run time when it was done; NaN until then.
    """

    start_s: float
    end_s: float
    known_s: float
    epoch: int
    mean_s: float
    p95_s: float
    deviation: float
    throughput_rps: float
    expected: float
    parts_s: Mapping[int, float] = field(default_factory=dict)
    version: int = 0
    cpu_s: float = 0.0
    made_s: float = math.nan

    @property
    def is_late(self) -> bool:
        """Whether the interval had begun before the prediction was done."""
        return self.made_s > self.start_s

    def to_json(self, names: Sequence[str]) -> dict[str, Any]:
        """The prediction as plain data."""
        return {
            "latency_mean_s": self.mean_s,
            "latency_p95_s": self.p95_s,
            "deviation": self.deviation,
            "throughput_rps": self.throughput_rps,
            "arrivals": self.expected,
            "parts_s": {names[place]: time_s for place, time_s in self.parts_s.items()},
            "known_s": self.known_s,
            "made_s": self.made_s,
            "late": self.is_late,
            "epoch": self.epoch,
            "cpu_s": self.cpu_s,
        }


@dataclass(frozen=True, slots=True)
class Reading:
    """Latencies and answers of an interval, over all draws.

    Attributes:
        mean_s: Mean latency of the requests that arrive in it; NaN if there is none.
        p95_s: Mean over the draws of the 95th percentile of each, likewise.
        deviation: Relative standard deviation of the mean of a single draw.
        throughput_rps: Answers per second.
    """

    mean_s: float
    p95_s: float
    deviation: float
    throughput_rps: float


def read(played: Sequence[Requests], window: Window, request_s: float, *, is_known: bool = False) -> Reading:
    """Read the interval from requests of each draw.

    Args:
        played: The requests of each draw.
        window: What was played.
        request_s: What every request takes longer.
        is_known: Whether the requests are those that came, so that they are the same in all draws.
    """
    draws_s, answers = [], []
    for requests in played:
        there = (requests.arrival_s >= window.from_s) & (requests.arrival_s < window.to_s) & requests.completed
        draws_s.append(requests.latency_s[there] + request_s)
        done_s = requests.done_s[requests.completed] + request_s
        answers.append(int(((done_s >= window.from_s) & (done_s < window.to_s)).sum()))
    all_s = np.concatenate(draws_s)
    rps = float(np.mean(answers)) / (window.to_s - window.from_s)
    if not len(all_s):
        return Reading(math.nan, math.nan, 0.0, rps)
    mean_s = float(all_s.mean())
    deviation = _deviation(draws_s, mean_s, is_known=is_known)
    # A percentile of few requests lies lower than that of many: of each draw by itself, as it will be measured.
    p95_s = float(np.mean([np.percentile(x, 95) for x in draws_s if len(x)]))
    return Reading(mean_s, p95_s, deviation, rps)


def _deviation(draws_s: Sequence[np.ndarray], mean_s: float, *, is_known: bool) -> float:
    """How much the mean of one interval scatters: as between draws, and at least as those of other requests would."""
    means_s = [float(x.mean()) for x in draws_s if len(x)]
    between_s = float(np.std(means_s, ddof=1)) if len(means_s) >= ENOUGH else 0.0
    all_s = np.concatenate(draws_s)
    n = max(len(all_s) / len(means_s), 1.0)
    within_s = float(all_s.std(ddof=1)) / math.sqrt(n) if len(all_s) >= ENOUGH and not is_known else 0.0
    return max(between_s, within_s) / mean_s if mean_s > 0 else 0.0
