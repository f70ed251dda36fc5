"""What a plan would lead to from the present queues: a small simulation of its stations, without luck or records."""

from __future__ import annotations

import math
from heapq import heapify, heappop, heappush, heapreplace
from typing import TYPE_CHECKING, NamedTuple

from twin.cost import COMPUTE, IDLE, RECEIVE, TRANSMIT, throughput_rps
from twin.engine.plan import make_plan
from twin.records import PROBE
from twin.references.queues import Walker, under_way
from twin.world import faulted_rates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twin.engine.plan import Visit
    from twin.partition import Partition
    from twin.problem import Observation, Problem
    from twin.world import World

_PHASES = 4
"""Requests that are fewer than this in an interval are tried at so many phases of it, each time on their own."""


class Outlook(NamedTuple):
    """Mean end-to-end latency and joules per request of the interval; infinite where one is never answered."""

    latency_s: float
    energy_j: float


class Lookahead:
    """Plays plans over the next control interval, with the true traces, mean service times and regular arrivals.

    Args:
        world: The scenario, whose traces are looked at.
    """

    def __init__(self, world: World) -> None:
        self._problem = world.problem
        self._rates = faulted_rates(world)
        self._rtt = [trace.rtt for trace in world.links]
        self._watts = _watts(world.problem)
        self._visits: dict[Partition, tuple[Visit, ...]] = {}

    def outlook(self, partition: Partition, observation: Observation, interval_s: float) -> Outlook:
        """Play one plan from the present queues.

        Args:
            partition: The plan that requests of the interval follow.
            observation: The present queues, and the plan that those under way follow.
            interval_s: Length of the interval.
        """
        demand, now_s = self._problem.demand, observation.t_s
        held_s = now_s
        if observation.partition is not None and partition != observation.partition:
            held_s += self._problem.switch.downtime_s
        if demand.rate_rps is None:
            played = [self._play(partition, observation, [now_s] * demand.clients, held_s)]
        else:
            n = max(round(demand.rate_rps * interval_s), 1)
            phases = [(k + 0.5) / _PHASES for k in range(_PHASES)] if n < _PHASES else [0.5]
            schedules = [[now_s + (k + phase) * interval_s / n for k in range(n)] for phase in phases]
            played = [self._play(partition, observation, sent_s, held_s) for sent_s in schedules]
        latency_s = sum(x.latency_s for x in played) / len(played)
        energy_j = sum(x.energy_j for x in played) / len(played)
        if self._problem.objective.boundary == "node" and math.isfinite(latency_s):
            energy_j += float(self._problem.power_w[:, IDLE].sum()) / throughput_rps(demand, latency_s, 0.0)
        return Outlook(latency_s, energy_j)

    def _play(self, partition: Partition, observation: Observation, sent_s: Sequence[float], held_s: float) -> Outlook:
        """Play requests sent at some times; their joules are those above idle, or of computing alone."""
        free_s = [[observation.t_s] * device.slots for device in self._problem.continuum.devices]
        free_s += [[observation.t_s] for _ in range(2 * len(self._problem.continuum.links))]
        heap = [
            (max(w.sent_s, held_s) if w.counts else observation.t_s, k, w)
            for k, w in self._crowd(partition, observation, sent_s)
        ]
        heapify(heap)
        total_s = total_j = 0.0
        while heap:
            now_s, rank, walker = heappop(heap)
            visit = walker.visits[walker.step]
            start_s, finish_s = self._serve(free_s[visit.station], visit, walker, now_s)
            if finish_s == math.inf:
                if walker.counts:
                    return Outlook(math.inf, math.inf)
                continue
            done_s = finish_s + self._delay_s(visit, finish_s)
            walker.step, walker.work = walker.step + 1, None
            if walker.counts:
                total_j += (finish_s - start_s) * self._watts[visit.place]
            if walker.step < len(walker.visits):
                heappush(heap, (done_s, rank, walker))
            elif walker.counts:
                total_s += done_s - walker.sent_s
        return Outlook(total_s / len(sent_s), total_j / len(sent_s))

    def _serve(self, free_s: list[float], visit: Visit, walker: Walker, now_s: float) -> tuple[float, float]:
        """When a station starts and finishes a visit."""
        start_s = max(free_s[0], now_s)
        amount = visit.amount if walker.work is None else walker.work
        finish_s = self._rates[visit.place].finish(start_s, amount) if start_s < math.inf else math.inf
        heapreplace(free_s, finish_s)
        return start_s, finish_s

    def _crowd(
        self, partition: Partition, observation: Observation, sent_s: Sequence[float]
    ) -> list[tuple[int, Walker]]:
        """Those under way and those to come, numbered in that order."""
        running = observation.partition
        before = [] if running is None else under_way(self._problem, self._rates, observation, self._way(running))
        return list(enumerate([*before, *(Walker(self._way(partition), sent_s=t_s) for t_s in sent_s)]))

    def _way(self, partition: Partition) -> tuple[Visit, ...]:
        visits = self._visits.get(partition)
        if visits is None:
            visits = self._visits[partition] = make_plan(self._problem, partition, PROBE).visits
        return visits

    def _delay_s(self, visit: Visit, finish_s: float) -> float:
        if visit.link < 0:
            return 0.0
        overhead_s = self._problem.continuum.links[visit.link].message_overhead_s
        return overhead_s + self._rtt[visit.link].at(finish_s) / 2


def _watts(problem: Problem) -> list[float]:
    """Power by which serving at each place is charged to a request; NaN where it is not known."""
    power_w = problem.power_w
    if problem.objective.boundary == "compute_only":
        computing: list[float] = power_w[:, COMPUTE].tolist()
        return computing + [0.0] * (2 * len(problem.continuum.links))
    extra_w = power_w - power_w[:, [IDLE]]
    watts: list[float] = extra_w[:, COMPUTE].tolist()
    for link in problem.continuum.links:
        watts += [float(extra_w[x, TRANSMIT] + extra_w[y, RECEIVE]) for x, y in ((link.a, link.b), (link.b, link.a))]
    return watts
