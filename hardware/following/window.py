"""A scenario of the last seconds and the next ones: links, devices and plans as observed, then as they are now."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from twin.problem import Decision, SwitchCost
from twin.steps import Steps
from twin.traces import LinkTrace, LoadTrace
from twin.workload import Workload, stream
from twin.world import Control

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hardware.following.history import History, InForce
    from hardware.following.model import Corrections, Floats
    from twin.partition import Partition
    from twin.problem import Observation, Problem
    from twin.world import World

BACK_S = 5.0
"""Least time that is played before the prediction begins: queues of a plan that keeps up are settled by then."""
_MOST_BACK_S = 30.0
_MOST_BEFORE = 300
"""Requests that are played before the prediction begins, at most."""
_EXPECTED = 2
"""Purpose of the random stream of expected arrivals; 0 and 1 are arrivals and service times."""
_NEVER_S = 1e9
_LEAST_SLOWDOWN = 1e-3


@dataclass(frozen=True, slots=True)
class AsObserved:
    """A policy that keeps to the plans of the run.

    Attributes:
        times_s: When each plan came into force, ascending, the first 0.
        partitions: The plans.
    """

    looks: ClassVar[bool] = False
    times_s: tuple[float, ...]
    partitions: tuple[Partition, ...]

    def init(self, problem: Problem) -> None:  # noqa: ARG002 - as policies are asked
        """There is no state."""
        return

    def decide(self, observation: Observation, state: None) -> tuple[Decision, None]:
        """The plan of this time."""
        at = bisect_right(self.times_s, observation.t_s) - 1
        next_s = self.times_s[at + 1] - observation.t_s if at + 1 < len(self.times_s) else _NEVER_S
        return Decision(self.partitions[at], "as observed", next_s=next_s), state


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """What is to be played for one prediction.

    Attributes:
        begin_s: Run time of the scenario's time 0.
        from_s: Where the interval that is predicted begins, in the scenario's time.
        to_s: Where it ends.
        worlds: The scenario, once for each draw of the arrivals that are to come.
        policy: Keeps to the plans.
        expected: Mean number of requests that arrive in the interval; NaN in a closed loop.
    """

    begin_s: float
    from_s: float
    to_s: float
    worlds: tuple[World, ...]
    policy: AsObserved
    expected: float

    def with_arrivals(self, history: History, draws: int) -> Window:
        """The same with the requests that came; what was not known of links and devices stays unknown.

        Of a closed loop, whose requests come by themselves, nothing changes.

        Args:
            history: The run until the interval was over.
            draws: How many draws of the service times.
        """
        if self.worlds[0].workload.kind == "closed":
            return self
        times_s = np.array([t_s - self.begin_s for t_s in history.arrivals_s if t_s >= self.begin_s])
        return replace(self, worlds=(replace(self.worlds[0], workload=_replayed(times_s)),) * draws)


def window(
    world: World,
    history: History,
    corrections: Corrections,
    span_s: tuple[float, float],
    draws: int,
    number: int,
) -> Window | None:
    """Lay out what is to be played.

    Args:
        world: The scenario; message overheads are those of the links as checked.
        history: The run so far.
        corrections: What was fitted.
        span_s: Where the interval to be predicted begins and ends, in run time.
        draws: How many draws of what is not known.
        number: Number of the interval; each has its own luck.

    Returns:
        None where no plan is in force, or no request can arrive any more.
    """
    plan = history.plan_at(math.inf)
    if plan is None:
        return None
    begin_s = _begin_s(world.workload, history, span_s[0])
    until_s = 2 * span_s[1] - span_s[0]
    if world.workload.kind == "closed":
        arrivals, expected = [_closed(world.workload, until_s - begin_s)] * draws, math.nan
    else:
        futures = [_coming_s(world, history, until_s, (number, draw)) for draw in range(draws)]
        expected = float(np.mean([_between(times_s, span_s) for times_s in futures]))
        if expected == 0 and _is_over(world.workload, history, span_s[0]):
            return None
        if expected == 0:
            # The time of a request that came all the same.
            futures[0] = np.sort(np.append(futures[0], sum(span_s) / 2))
        before_s = np.array([t_s for t_s in history.arrivals_s if t_s >= begin_s])
        arrivals = [_replayed(np.concatenate([before_s, future_s]) - begin_s) for future_s in futures]
    still = _still(world, history, corrections, begin_s)
    worlds = tuple(replace(still, workload=workload) for workload in arrivals)
    return Window(begin_s, span_s[0] - begin_s, span_s[1] - begin_s, worlds, _plans(history, begin_s), expected)


def _begin_s(workload: Workload, history: History, from_s: float) -> float:
    """Some seconds back, and on until nothing waits that came earlier: a play begins with empty queues."""
    if workload.kind == "closed":
        return from_s - BACK_S
    begin_s, least_s = from_s - BACK_S, from_s - _MOST_BACK_S
    if len(history.arrivals_s) > _MOST_BEFORE:
        least_s = max(least_s, history.arrivals_s[-_MOST_BEFORE])
    while begin_s > least_s:
        open_s = history.oldest_open_s(begin_s)
        if open_s is None:
            break
        begin_s = open_s
    return max(begin_s, least_s)


def _still(world: World, history: History, corrections: Corrections, begin_s: float) -> World:
    """The scenario with links and devices as they were, and from now on as they are."""
    problem = world.problem
    past = [x for x in history.past if x.until_s > begin_s]
    times_s = np.array([begin_s, *(x.until_s for x in past)])
    states = [*(x.conditions for x in past), history.conditions]
    factor, now = np.array(corrections.rate).reshape(-1, 2), np.array(corrections.device)
    links = []
    for link in range(len(world.links)):
        up, down = (_steps(times_s, [c.rate_bps[link, d] * factor[link, d] for c in states]) for d in (0, 1))
        links.append(LinkTrace("as observed", up, down, _steps(times_s, [c.rtt_s[link] for c in states])))
    loads = []
    for device in range(problem.n_devices):
        slow = [float(x.conditions.slowdown[device]) for x in past]
        known = [now[device] if math.isnan(x) else max(x, _LEAST_SLOWDOWN) for x in slow]
        loads.append(LoadTrace("as observed", _steps(times_s, [*known, now[device]])))
    fitted_s = np.array(corrections.message_s).reshape(-1, 2).mean(axis=1)
    continuum = problem.continuum
    joined = tuple(
        replace(link, message_overhead_s=max(link.message_overhead_s + more_s, 0.0))
        for link, more_s in zip(continuum.links, fitted_s.tolist(), strict=True)
    )
    problem = replace(problem, continuum=replace(continuum, links=joined), switch=SwitchCost())
    quiet = Control(every_s=_NEVER_S)
    return replace(world, problem=problem, links=tuple(links), loads=tuple(loads), faults=(), control=quiet)


def _steps(times_s: Floats, values: Sequence[float]) -> Steps:
    """Values from each time on, the first time being 0; times that do not rise are left out."""
    kept = np.append(np.diff(times_s) > 0, True)
    starts_s = times_s[kept] - times_s[0]
    starts_s[0] = 0.0
    return Steps(tuple(starts_s.tolist()), tuple(np.array(values, dtype=float)[kept].tolist()), name="as observed")


def _plans(history: History, begin_s: float) -> AsObserved:
    """Plans from `begin_s` on; one that came later counts from when it came into force."""
    known: dict[float, InForce] = {}
    for plan in history.plans:
        known[max(plan.since_s - begin_s, 0.0)] = plan
    times_s = sorted(known)
    partitions = tuple(known[time_s].partition for time_s in times_s)
    return AsObserved((0.0, *times_s[1:]), partitions)


def _coming_s(world: World, history: History, until_s: float, luck: tuple[int, int]) -> Floats:
    """One draw of the requests that will arrive from now on, as far as anybody can know: by their mean rate."""
    workload, now_s = world.workload, history.t_s
    rate_rps = world.problem.demand.rate_rps or 0.0
    end_s = until_s if workload.duration_s is None else min(until_s, workload.duration_s)
    if rate_rps <= 0 or end_s <= now_s:
        return np.empty(0)
    if workload.kind == "periodic":
        first_s = history.arrivals_s[-1] + 1 / rate_rps if history.arrivals_s else 0.0
        times_s = np.arange(max(first_s, now_s), end_s, 1 / rate_rps)
    else:
        random = stream(world.seed, luck[0], _EXPECTED, luck[1])
        times_s = np.sort(random.uniform(now_s, end_s, random.poisson(rate_rps * (end_s - now_s))))
    left = math.inf if workload.requests is None else workload.requests - len(history.arrivals_s)
    return np.asarray(times_s if left == math.inf else times_s[: max(int(left), 0)])


def _is_over(workload: Workload, history: History, from_s: float) -> bool:
    """Whether no request can arrive from a time on."""
    if workload.duration_s is not None and from_s >= workload.duration_s:
        return True
    return workload.requests is not None and len(history.arrivals_s) >= workload.requests


def _between(times_s: Floats, span_s: tuple[float, float]) -> int:
    return int(((times_s >= span_s[0]) & (times_s < span_s[1])).sum())


def _replayed(times_s: Floats) -> Workload:
    return Workload("replay", times_s=times_s)


def _closed(workload: Workload, duration_s: float) -> Workload:
    """The same clients; they begin at once, and have settled when the interval begins."""
    return Workload("closed", clients=workload.clients, think_time_s=workload.think_time_s, duration_s=duration_s)
