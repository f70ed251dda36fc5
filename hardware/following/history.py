"""What a follower knows of a run: arrivals, ends, plans, and links and devices as they were, all up to now."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from twin.conditions import Estimator
from twin.partition import Partition
from twin.problem import Samples
from twin.records import SampleKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from twin.problem import Conditions, Problem

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

_KIND, _T, _PLACE, _AMOUNT, _DURATION, _REQUEST = range(6)
_LOOKED_AT = 1000
"""Newest requests among which one that is open is looked for."""


@dataclass(frozen=True, slots=True, eq=False)
class News:
    """What has ended since the last look.

    Attributes:
        device: Device of each stage visit, shape [n].
        nominal_s: Its profiled time.
        service_s: Its time.
        way: Link direction (2 link + direction) of each message, shape [m].
        size_bytes: Its bytes.
        transfer_s: Its time to the receipt.
        lost: Devices and links that do not answer, as (kind, position).
    """

    device: Ints
    nominal_s: Floats
    service_s: Floats
    way: Ints
    size_bytes: Floats
    transfer_s: Floats
    lost: frozenset[tuple[str, int]] = frozenset()


class InForce(NamedTuple):
    """A plan, and since when new requests run on it."""

    epoch: int
    since_s: float
    partition: Partition


class Past(NamedTuple):
    """How things were up to a time, since the one before.

    Attributes:
        until_s: That time.
        conditions: Links as estimated then; the slowdown of a device is its mean over the samples of that stretch,
            NaN where there was none.
    """

    until_s: float
    conditions: Conditions


class History:
    """Grows with what the edge tells.

    Attributes:
        t_s: Run time up to which everything is known.
        arrivals_s: When each request arrived.
        ended: Ended requests: when, and the latency; NaN where there was no answer.
        plans: The plans so far, by time.
        past: How links and devices were.
        conditions: Links as they are now, as the controller estimates them.

    Args:
        problem: Gives the first conditions and the message overheads.
    """

    def __init__(self, problem: Problem) -> None:
        self.t_s = 0.0
        self.arrivals_s: list[float] = []
        self.ended: dict[int, tuple[float, float]] = {}
        self.plans: list[InForce] = []
        self.past: list[Past] = []
        self.conditions = problem.initial
        self._problem = problem
        self._estimator = Estimator(problem)
        self._answers: list[float] = []

    def take(self, answer: Mapping[str, Any], rows: Floats) -> News:
        """Take in one answer of the edge.

        Args:
            answer: What `hardware.edge.feed.told` says.
            rows: Its rows, shape [n, 6].
        """
        self.t_s = max(float(answer["t_s"]), self.t_s)
        self.arrivals_s += map(float, answer["arrivals_s"])
        self._learn_plans(answer["plans"])
        links, stages, ends = (
            rows[rows[:, _KIND] == kind] for kind in (SampleKind.LINK, SampleKind.STAGE, SampleKind.DONE)
        )
        for row in ends:
            self.ended[int(row[_REQUEST])] = (float(row[_T]), float(row[_DURATION]))
            if math.isfinite(row[_DURATION]):
                self._answers.append(float(row[_T]))
        news = News(
            stages[:, _PLACE].astype(np.int64),
            stages[:, _AMOUNT],
            stages[:, _DURATION],
            links[:, _PLACE].astype(np.int64),
            links[:, _AMOUNT],
            links[:, _DURATION],
            frozenset((str(kind), int(position)) for kind, position in answer["lost"]),
        )
        self.conditions = self._estimator.update(_samples(links, stages))
        self.past.append(Past(self.t_s, self._as_was(news)))
        return news

    def plan_at(self, t_s: float) -> InForce | None:
        """The plan for requests that arrive at a time."""
        at = bisect_right([plan.since_s for plan in self.plans], t_s) - 1
        return self.plans[max(at, 0)] if self.plans else None

    def arrived(self, from_s: float, to_s: float) -> range:
        """Requests that arrived in a stretch of time."""
        return range(_first(self.arrivals_s, from_s), _first(self.arrivals_s, to_s))

    def answers(self, from_s: float, to_s: float) -> int:
        """Answers that came in a stretch of time."""
        return _first(self._answers, to_s) - _first(self._answers, from_s)

    def oldest_open_s(self, t_s: float) -> float | None:
        """When the oldest request arrived that came before a time and had not ended by then; None if all had.

        Only the newest requests are looked at; older ones have ended, or are lost.
        """
        last = _first(self.arrivals_s, t_s)
        for request in range(max(last - _LOOKED_AT, 0), last):
            if self.ended.get(request, (math.inf, math.nan))[0] > t_s:
                return self.arrivals_s[request]
        return None

    def _learn_plans(self, plans: list[Mapping[str, Any]]) -> None:
        """Plans that are new, and those that have come into force; until then a plan counts from its decision on."""
        known = {plan.epoch: plan for plan in self.plans}
        for entry in plans:
            since_s = entry["decided_s"] if entry["active_s"] is None else entry["active_s"]
            partition = Partition(tuple(entry["placement"]), self._problem.n_devices)
            known[entry["epoch"]] = InForce(entry["epoch"], float(since_s), partition)
        self.plans = sorted(known.values(), key=lambda plan: plan.epoch)

    def _as_was(self, news: News) -> Conditions:
        n = self._problem.n_devices
        nominal_s = np.bincount(news.device, news.nominal_s, n)
        service_s = np.bincount(news.device, news.service_s, n)
        with np.errstate(divide="ignore", invalid="ignore"):
            slowdown = np.where(nominal_s > 0, service_s / nominal_s, np.nan)
        return type(self.conditions)(self.conditions.rate_bps, self.conditions.rtt_s, slowdown)


def _samples(links: Floats, stages: Floats) -> Samples:
    """Rows as the controller's estimator takes them, in the order of their times."""
    links, stages = (rows[np.argsort(rows[:, _T], kind="stable")] for rows in (links, stages))
    nothing, none = np.empty(0), np.empty(0, dtype=np.int64)
    way = links[:, _PLACE].astype(np.int64)
    return Samples(
        links[:, _T],
        way // 2,
        way % 2,
        links[:, _AMOUNT],
        links[:, _DURATION],
        stages[:, _T],
        stages[:, _PLACE].astype(np.int64),
        stages[:, _AMOUNT],
        stages[:, _DURATION],
        *(nothing, nothing, none),
        *(none, none, nothing, nothing),
        *(none, nothing, nothing),
    )


def _first(times_s: list[float], t_s: float) -> int:
    """Position of the first time that is not before `t_s`; times ascend."""
    return bisect_left(times_s, t_s)
