"""What plans are worth now: search, waiting, and what may happen before the next decision.

The score of a plan is a mean over what links and devices may do, weighed by how often they did so before in this run:
they vary as usual, up or down, or one of them falls as it fell before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from twin.cost import predict, station_of
from twin.policies.experience import slower, speeds
from twin.problem import Candidate, Conditions
from twin.search import candidates, score_of
from twin.units import BITS_PER_BYTE
from twin.waiting import behind_s, growth_s, luck_s

if TYPE_CHECKING:
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
    """

    problem: Problem
    conditions: Conditions
    observation: Observation
    experience: Experience

    def weigh(self) -> list[Candidate]:
        """The best few plans and the running one, the best first.

        Plans that miss the deadline come after those that meet it; of equal scores the least bottleneck comes first.
        """
        weighed = []
        for partition in self._partitions():
            candidate, bottleneck_s = self._candidate(partition)
            weighed.append((is_late(self.problem, candidate), candidate.score, bottleneck_s, candidate))
        weighed.sort(key=lambda entry: entry[:3])
        return [candidate for *_, candidate in weighed]

    def is_exposed(self, partition: Partition) -> bool:
        """Whether a plan uses something that has fallen before."""
        busy_s = predict(self.problem, partition, self.conditions).busy_s
        return any(busy_s[self._station(risk.place)] > 0 for risk in self.risks)

    @cached_property
    def risks(self) -> list[Risk]:
        """The falls that may come."""
        return self.experience.risks(self.conditions)

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
        prediction = predict(self.problem, partition, self.conditions)
        latency_s, energy_j = self._outcome(prediction)
        score = math.inf if self._gone & set(partition.placement) else score_of(self.problem, latency_s, energy_j)
        if math.isfinite(score):
            score = self._mean_score(prediction, partition, score)
        known_j = None if math.isnan(energy_j) else energy_j
        return Candidate(partition, score, latency_s, known_j), prediction.bottleneck_s

    def _mean_score(self, prediction: Prediction, partition: Partition, score: float) -> float:
        """The score over what may happen: usual changes, then falls of what the plan uses."""
        if self._varied:
            score = sum(self._score(partition, conditions) for conditions in self._varied) / len(self._varied)
        mean = score
        for risk in self.risks:
            after = predict(self.problem, partition, slower(self.problem, self.conditions, {risk.place: risk.slowness}))
            if after.busy_s[self._station(risk.place)] > 0:
                caught = score_of(self.problem, *self._outcome(after, self.experience.interval_s))
                mean += risk.within(self._blind_s + self._use_s(prediction, risk)) * (caught - score)
        return mean

    def _use_s(self, prediction: Prediction, risk: Risk) -> float:
        """Time for which a request uses a place; a fall in that time catches it, too."""
        return min(float(prediction.busy_s[self._station(risk.place)]), _HORIZON_S)

    def _score(self, partition: Partition, conditions: Conditions) -> float:
        return score_of(self.problem, *self._outcome(predict(self.problem, partition, conditions)))

    def _outcome(self, prediction: Prediction, horizon_s: float = _HORIZON_S) -> tuple[float, float]:
        """Mean latency over a time, waiting included, and joules."""
        problem = self.problem
        energy_j = prediction.energy_j(problem.objective.boundary)
        demand = problem.demand
        if demand.rate_rps is None:
            queueing_s = demand.clients * prediction.bottleneck_s - demand.think_time_s
            return max(prediction.latency_s, queueing_s), energy_j
        latency_s = (
            prediction.latency_s + luck_s(problem, prediction, horizon_s) + growth_s(problem, prediction, horizon_s)
        )
        for station, backlog_s in self._backlog_s.items():
            busy_s = float(prediction.busy_s[station])
            if 0 < busy_s < math.inf:
                latency_s += behind_s(backlog_s, demand.rate_rps * busy_s, self.experience.interval_s)
        return latency_s, energy_j

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
    def _varied(self) -> tuple[Conditions, ...]:
        """The conditions with all speeds up and down by their usual change; empty where they hardly change."""
        change = self.experience.change
        if float(change.max()) < _STEADY:
            return ()
        n = self.problem.n_devices
        factors = (np.exp(change), np.exp(-change))
        now = self.conditions
        return tuple(Conditions(now.rate_bps * x[n:].reshape(-1, 2), now.rtt_s, now.slowdown / x[:n]) for x in factors)

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
        prediction = predict(self.problem, running, self.conditions)
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
