"""Partitions and what each would cost in each of the next steps, under forecast conditions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twin.cost import predict
from twin.policies.changeover import changeover
from twin.policies.reach import is_reachable
from twin.policies.sequence import Price
from twin.problem import Candidate
from twin.search import candidates, score_of
from twin.waiting import sojourn_s

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twin.partition import Partition
    from twin.problem import Conditions, Observation, Problem

_FEW = 12
"""Partitions that are weighed for the step at hand."""
_FEW_LATER = 4
"""Partitions that each later step adds."""


@dataclass(frozen=True, slots=True, eq=False)
class Outlook:
    """Partitions and what they cost in each step.

    Attributes:
        problem: The problem.
        candidates: What can be chosen, the best first, with the score of a request in the first step.
        prices: Price of a step by step and candidate.
        now: State of links and devices in the first step.
    """

    problem: Problem
    candidates: tuple[Candidate, ...]
    prices: tuple[tuple[Price, ...], ...]
    now: Conditions

    def position(self, partition: Partition) -> int:
        """Position of a partition among the candidates."""
        return next(at for at, x in enumerate(self.candidates) if x.partition == partition)

    def change(self, step_s: float) -> Callable[[int, int, int], float] | None:
        """Score of a change by step, old and new candidate; None where changes are free.

        While the weights of the new partition travel, the old one serves.

        Args:
            step_s: Length of a step.
        """
        switch = self.problem.switch
        if not (switch.downtime_s or switch.energy_j or switch.weights_from is not None):
            return None
        partitions = [x.partition for x in self.candidates]
        costs = [[changeover(self.problem, old, new, self.now) for new in partitions] for old in partitions]

        def score(step: int, old: int, new: int) -> float:
            cost = costs[old][new]
            worse = max(self.prices[step][old].score - self.prices[step][new].score, 0.0)
            return cost.score + worse * min(cost.loading_s / step_s, 1.0)

        return score


def look_ahead(
    problem: Problem,
    ahead: Sequence[Conditions],
    observation: Observation,
    *,
    step_s: float,
    margin: float,
) -> Outlook:
    """Price the best few partitions of every step, and the running one, in every step.

    Args:
        problem: The problem.
        ahead: State of links and devices in each step; what is lost has no rate.
        observation: Says what runs and what responds.
        step_s: Length of a step.
        margin: Share of the deadline by which the running partition may miss it.
    """
    few = {} if observation.partition is None else {observation.partition: None}
    for step, conditions in enumerate(ahead):
        if step == 0 or conditions is not ahead[step - 1]:
            found = candidates(problem, conditions, _FEW_LATER if step else _FEW, available=observation.available)
            few |= dict.fromkeys(x.partition for x in found)
    rows: list[list[tuple[Price, Candidate]]] = []
    for step, conditions in enumerate(ahead):
        is_new = step == 0 or conditions is not ahead[step - 1]
        rows.append([_weigh(problem, x, conditions, observation, margin) for x in few] if is_new else rows[-1])
    order = sorted(range(len(few)), key=lambda at: rows[0][at][0])
    requests = _requests(problem, min(candidate.latency_s for _, candidate in rows[0]), step_s, len(ahead))
    prices = [
        tuple(price._replace(score=price.score * requests) for price, _ in (row[at] for at in order)) for row in rows
    ]
    return Outlook(problem, tuple(rows[0][at][1] for at in order), tuple(prices), ahead[0])


def _requests(problem: Problem, latency_s: float, step_s: float, steps: int) -> float:
    """Requests of a step; one at least over all steps, for a rare one counts, too."""
    demand = problem.demand
    cycle_s = latency_s + demand.think_time_s
    rate_rps = demand.clients / cycle_s if demand.rate_rps is None else demand.rate_rps
    return max(rate_rps * step_s, 1 / steps)


def _weigh(
    problem: Problem, partition: Partition, conditions: Conditions, observation: Observation, margin: float
) -> tuple[Price, Candidate]:
    """Price of one request of a partition in a step, and what is predicted of it."""
    prediction = predict(problem, partition, conditions)
    latency_s = sojourn_s(problem, prediction)
    energy_j = prediction.energy_j(problem.objective.boundary)
    joules = None if math.isnan(energy_j) else energy_j
    if math.isinf(prediction.latency_s) or not is_reachable(problem, partition, observation):
        return Price(lost=1), Candidate(partition, math.inf, latency_s, joules)
    tolerance = 1 + margin if partition == observation.partition else 1.0
    deadline_s = problem.objective.deadline_s
    late = int(deadline_s is not None and latency_s > deadline_s * tolerance)
    score = score_of(problem, latency_s, energy_j)
    price = Price(0, late, 0.0, score) if math.isfinite(score) else Price(0, late, prediction.bottleneck_s)
    return price, Candidate(partition, score, latency_s, joules)
