"""What plans are worth now: search, waiting, and what may happen before the next decision.

The score of a plan is a mean over what links and devices may do, weighed by how often they did so before in this run:
they vary as usual, up or down, or one of them falls as it fell before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from twin.cost import Predictor, route_of, station_of
from twin.policies.experience import slower, speeds
from twin.problem import Candidate, Conditions
from twin.search import candidates, scorer
from twin.units import BITS_PER_BYTE
from twin.waiting import behind_s, luck_and_growth_s

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from twin.cost import Prediction
    from twin.partition import Partition
    from twin.policies.experience import Experience, Risk
    from twin.problem import Observation, Problem

_FEW, _FEW_EXPECTED = 8, 4
"""Plans that are weighed: the best by the estimates, and by the mean of what may happen."""
_HORIZON_S = 10.0
"""Time over which queues are looked at: a plan that is overloaded will be left before they grow without bound."""
_STEADY = 0.1
"""Usual change of a speed below which nothing is made of it."""
_STUCK = 1e-9
"""Speed that stands for none at all where a job's time is reckoned, to keep it finite."""


@dataclass(frozen=True, eq=False)
class Appraisal:
    """Weighs plans at one decision.

    Attributes:
        problem: The problem.
        conditions: Estimated state of links and devices, without what is down.
        observation: The observation.
        experience: What links and devices have done before.
        before: The same under other conditions; what it knows of plans that use nothing that differs is used again.
    """

    problem: Problem
    conditions: Conditions
    observation: Observation
    experience: Experience
    before: Appraisal | None = None

    def weigh(self) -> list[Candidate]:
        """The best few plans and the running one, the best first.

        Plans that miss the deadline come after those that meet it; of equal scores the least bottleneck comes first.
        """
        weighed = [self._weighed(partition) for partition in self._partitions()]
        weighed.sort(key=lambda entry: entry[:3])
        return [candidate for *_, candidate in weighed]

    def under(self, conditions: Conditions) -> Appraisal:
        """The same decision under other goodputs and slowdowns."""
        return replace(self, conditions=conditions, before=self)

    def is_exposed(self, partition: Partition) -> bool:
        """Whether a plan uses something that has fallen before."""
        prediction = self._predictor.predict(partition)
        return any(prediction.held_s(self._station(risk.place)) > 0 for risk in self.risks)

    @cached_property
    def risks(self) -> list[Risk]:
        """The falls that may come."""
        return self.experience.risks(self.conditions)

    def _weighed(self, partition: Partition) -> tuple[bool, float, float, Candidate]:
        """Whether a plan is late, its score, its bottleneck, and the plan."""
        known = None if self.before is None else self.before.entries.get(partition)
        if known is None or self._uses_any(partition, self._changed):
            candidate, bottleneck_s = self._candidate(partition)
            known = is_late(self.problem, candidate), candidate.score, bottleneck_s, candidate
        self.entries[partition] = known
        return known

    @cached_property
    def entries(self) -> dict[Partition, tuple[bool, float, float, Candidate]]:
        """The plans that were weighed."""
        return {}

    @cached_property
    def _changed(self) -> list[int]:
        """Stations whose speed differs from what it was before."""
        assert self.before is not None  # noqa: S101 - asked for only then
        now, then = self.conditions, self.before.conditions
        links = (now.rate_bps != then.rate_bps) | (now.rtt_s != then.rtt_s)[:, None]
        differs = np.concatenate([now.slowdown != then.slowdown, links.ravel()])
        return [self._station(place) for place in np.flatnonzero(differs).tolist()]

    def _uses_any(self, partition: Partition, stations: Iterable[int]) -> bool:
        """Whether a plan uses one of some stations, or may do so."""
        route = route_of(self.problem, partition)
        used = {work.device for work in route.work} | {load.station for load in route.loads}
        return not used.isdisjoint(stations)

    @cached_property
    def _predictor(self) -> Predictor:
        return Predictor(self.problem, self.conditions)

    @cached_property
    def _score_of(self) -> Callable[[float, float], float]:
        """Score of a latency and an energy."""
        return scorer(self.problem)

    @cached_property
    def _after(self) -> list[tuple[Risk, int, Predictor]]:
        """Each fall that may come, the station that it meets, and what is predicted after it."""
        problem, now = self.problem, self.conditions
        return [
            (risk, self._station(risk.place), Predictor(problem, slower(problem, now, {risk.place: risk.slowness})))
            for risk in self.risks
        ]

    @cached_property
    def _gone(self) -> set[int]:
        """Devices that do not answer."""
        return set(np.flatnonzero(~self.observation.available).tolist())

    @cached_property
    def _blind_s(self) -> float:
        """Time for which a fall may go unnoticed: until the next decision, or the next request where that is later."""
        rate_rps = self.problem.demand.rate_rps
        return max(self.experience.interval_s, 1 / rate_rps if rate_rps else 0.0)

    def _partitions(self) -> list[Partition]:
        """The best by the estimates, the best by the mean of what may happen, and the running one."""
        found = self._search(self.conditions, _FEW)
        if self.risks:
            found += self._search(self._expected, _FEW_EXPECTED)
        if self.observation.partition is not None:
            found.append(self.observation.partition)
        return list(dict.fromkeys(found))

    def _search(self, conditions: Conditions, n: int) -> list[Partition]:
        return [x.partition for x in candidates(self.problem, conditions, n, available=self.observation.available)]

    def _candidate(self, partition: Partition) -> tuple[Candidate, float]:
        """A plan with its mean score and its latency, and its bottleneck."""
        prediction = self._predictor.predict(partition)
        latency_s, energy_j = self._latency_s(prediction), prediction.energy_j(self.problem.objective.boundary)
        is_lost = bool(self._gone) and not self._gone.isdisjoint(partition.placement)
        score = math.inf if is_lost else self._score_of(latency_s, energy_j)
        if math.isfinite(score):
            score = self._mean_score(prediction, partition, score)
        known_j = None if math.isnan(energy_j) else energy_j
        return Candidate(partition, score, latency_s, known_j), prediction.bottleneck_s

    def _mean_score(self, prediction: Prediction, partition: Partition, score: float) -> float:
        """The score over what may happen: usual changes, then falls of what the plan uses."""
        if self._varied:
            scores = [self._score(predictor.predict(partition)) for predictor in self._varied]
            score = sum(scores) / len(scores)
        mean = score
        for risk, station, predictor in self._after:
            after = predictor.predict(partition)
            if after.held_s(station) > 0:
                caught = self._score(after, self.experience.interval_s)
                mean += risk.within(self._blind_s + min(prediction.held_s(station), _HORIZON_S)) * (caught - score)
        return mean

    def _score(self, prediction: Prediction, horizon_s: float = _HORIZON_S) -> float:
        energy_j = prediction.energy_j(self.problem.objective.boundary) if self.problem.objective.energy else math.nan
        return self._score_of(self._latency_s(prediction, horizon_s), energy_j)

    def _latency_s(self, prediction: Prediction, horizon_s: float = _HORIZON_S) -> float:
        """Mean latency over a time, waiting included."""
        demand = self.problem.demand
        if demand.rate_rps is None:
            queueing_s = demand.clients * prediction.bottleneck_s - demand.think_time_s
            return max(prediction.latency_s, queueing_s)
        luck_s, growth_s = luck_and_growth_s(self.problem, prediction, horizon_s)
        latency_s = prediction.latency_s + luck_s + growth_s
        for station, backlog_s in self._backlog_s.items():
            busy_s = prediction.held_s(station)
            if 0 < busy_s < math.inf:
                latency_s += behind_s(backlog_s, demand.rate_rps * busy_s, self.experience.interval_s)
        return latency_s

    @cached_property
    def _expected(self) -> Conditions:
        """Conditions whose times are the mean over the falls that may come."""
        now = speeds(self.conditions)
        shares = {risk.place: risk.within(self._blind_s) for risk in self.risks}
        slowness = {
            x.place: (1 - shares[x.place]) / float(now[x.place]) + shares[x.place] * x.slowness for x in self.risks
        }
        return slower(self.problem, self.conditions, slowness)

    @cached_property
    def _varied(self) -> tuple[Predictor, ...]:
        """What is predicted with all speeds up and down by their usual change; empty where they hardly change."""
        change = self.experience.change
        if float(change.max()) < _STEADY:
            return ()
        n = self.problem.n_devices
        factors = (np.exp(change), np.exp(-change))
        now = self.conditions
        return tuple(
            Predictor(self.problem, Conditions(now.rate_bps * x[n:].reshape(-1, 2), now.rtt_s, now.slowdown / x[:n]))
            for x in factors
        )

    @cached_property
    def _backlog_s(self) -> dict[int, float]:
        """Work that waits or is under way, by station.

        Each job is taken to be like the one in service or, where none is known, as the running plan has it.
        """
        problem, observation = self.problem, self.observation
        queues = [*observation.queue_length.tolist(), *observation.link_queue.reshape(-1).tolist()]
        if observation.partition is None or not any(queues):
            return {}
        each_s = self._each_s(observation.partition)
        backlog_s: dict[int, float] = {}
        for place, queue in enumerate(queues):
            slots = problem.continuum.devices[place].slots if place < problem.n_devices else 1
            work_s = queue * each_s.get(place, 0.0) / slots
            if 0 < work_s < math.inf:
                station = self._station(place)
                backlog_s[station] = backlog_s.get(station, 0.0) + work_s
        return backlog_s

    def _each_s(self, running: Partition) -> dict[int, float]:
        """Time of one job by place."""
        n, now = self.problem.n_devices, self.observation.samples
        prediction = self._predictor.predict(running)
        each_s = {stage.device: stage.service_s for stage in prediction.stages}
        each_s |= {n + 2 * x.link + x.direction: x.transmit_s for x in prediction.transfers}
        slowness = 1 / np.maximum(speeds(self.conditions), _STUCK)
        each_s |= {int(x): float(slowness[x] * s) for x, s in zip(now.open_device, now.open_nominal_s, strict=True)}
        places = n + 2 * now.open_link + now.open_direction
        bits = now.open_bytes * BITS_PER_BYTE
        return each_s | {int(x): float(slowness[x] * y) for x, y in zip(places, bits, strict=True)}

    def _station(self, place: int) -> int:
        n = self.problem.n_devices
        return place if place < n else n + station_of(self.problem, *divmod(place - n, 2))


def is_late(problem: Problem, candidate: Candidate, margin: float = 0.0) -> bool:
    """Whether a plan misses the deadline by more than a margin."""
    deadline_s = problem.objective.deadline_s
    return deadline_s is not None and candidate.latency_s > deadline_s * (1 + margin)
