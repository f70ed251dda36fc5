"""A policy that is shown the traces: a reference, not a bound.

At each tick it plays every good plan over the next control interval from the present queues, with the true traces of
links and loads, and takes the one with the least score. It knows neither when requests will arrive nor how their
service times will vary, and it looks no further than the interval, so that another policy can do better by luck.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from twin.cost import predict
from twin.policies.reach import is_reachable, or_edge_only
from twin.problem import Candidate, Conditions, Decision
from twin.references.lookahead import Lookahead
from twin.search import candidates, score_of
from twin.waiting import luck_s

if TYPE_CHECKING:
    from twin.partition import Partition
    from twin.problem import Observation, Problem
    from twin.world import World

_LOOKS = 4
"""Times in the interval whose conditions are searched for candidates, beside the worst of each link and device."""
_FEW = 6
"""Plans of each search that are played."""
_LUCK_INTERVALS = 10
"""Control intervals over which the wait by chance builds up: what is left behind is met by those that come later."""


@dataclass(frozen=True)
class Clairvoyant:
    """Chooses the plan that the true traces will favour.

    Attributes:
        world: The scenario.
    """

    world: World
    _lookahead: Lookahead = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_lookahead", Lookahead(self.world))

    def init(self, problem: Problem) -> Problem:
        """Return the problem; nothing else is remembered."""
        return problem

    def decide(self, observation: Observation, state: Problem) -> tuple[Decision, Problem]:
        """Play the candidates and take the best."""
        interval_s = self._interval_s(state)
        middle = self.world.conditions_at(observation.t_s + interval_s / 2)
        weighed = [
            self._weigh(state, partition, observation, interval_s, middle)
            for partition in self._partitions(state, observation, interval_s)
        ]
        if not weighed:
            fallback, _ = or_edge_only(state, observation.partition or state.on_device(0), observation)
            return Decision(fallback, "nothing can be reached"), state
        deadline_s = state.objective.deadline_s or math.inf
        weighed.sort(key=lambda x: (x.latency_s > deadline_s, x.score))
        return Decision(weighed[0].partition, "best by the true traces", tuple(weighed[:8])), state

    def _weigh(
        self, problem: Problem, partition: Partition, observation: Observation, interval_s: float, middle: Conditions
    ) -> Candidate:
        latency_s, energy_j = self._lookahead.outlook(partition, observation, interval_s)
        if self.world.workload.kind != "periodic":
            latency_s += luck_s(problem, predict(problem, partition, middle), interval_s * _LUCK_INTERVALS)
        score = score_of(problem, latency_s, energy_j)
        return Candidate(partition, score, latency_s, None if math.isnan(energy_j) else energy_j)

    def _partitions(self, problem: Problem, observation: Observation, interval_s: float) -> list[Partition]:
        """The best few plans under the conditions that the interval will see, the running one and single devices."""
        found: dict[Partition, None] = {}
        if observation.partition is not None:
            found[observation.partition] = None
        for device in range(problem.n_devices):
            found[problem.on_device(device)] = None
        for conditions in self._outlooks(observation.t_s, interval_s):
            plans = candidates(problem, conditions, _FEW, available=observation.available, link_up=observation.link_up)
            found.update(dict.fromkeys(plan.partition for plan in plans))
        return [x for x in found if problem.allows(x) and is_reachable(problem, x, observation)]

    def _outlooks(self, now_s: float, interval_s: float) -> list[Conditions]:
        """The true conditions at some times of the interval, and the worst of all of them together."""
        seen = [self.world.conditions_at(now_s + k * interval_s / (_LOOKS - 1)) for k in range(_LOOKS)]
        worst = Conditions(
            np.min([x.rate_bps for x in seen], axis=0),
            np.max([x.rtt_s for x in seen], axis=0),
            np.max([x.slowdown for x in seen], axis=0),
        )
        distinct = {tuple(x.rate_bps.ravel()) + tuple(x.slowdown): x for x in (*seen, worst)}
        return list(distinct.values())

    def _interval_s(self, problem: Problem) -> float:
        """Length of the control interval; one that is counted in requests lasts as long as they take to come."""
        control, rate_rps = self.world.control, problem.demand.rate_rps
        if control.every_s is not None or control.every_requests is None:
            return control.every_s or 1.0
        return control.every_requests / rate_rps if rate_rps else 1.0
