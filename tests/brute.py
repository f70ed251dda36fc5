"""The search in its plainest form: walk through every partition with `cost.predict` and keep the best."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from strategies import partitions

from twin.cost import predict
from twin.search import references
from twin.search.space import situation_of

if TYPE_CHECKING:
    from twin.partition import Partition

ROUNDING = 1e-9


class Point(NamedTuple):
    """A partition that meets every constraint, with what it costs."""

    score: float
    latency_s: float
    energy_j: float
    bottleneck_s: float
    partition: Partition


def points(problem, conditions, aim=None, available=None, *, deadline=True):
    """Every partition that can be carried out and meets the constraints, by score, then by placement."""
    given = situation_of(problem, conditions, available, None).conditions
    found = []
    for partition in partitions(problem):
        lost = available is not None and any(not available[stage.device] for stage in partition.visited if stage.device)
        prediction = predict(problem, partition, given)
        latency_s, limit_s = prediction.latency_s, problem.objective.deadline_s if deadline else None
        late = limit_s is not None and latency_s > limit_s * (1 + 1e-12)
        if problem.allows(partition) and not lost and not late and math.isfinite(latency_s):
            energy_j = prediction.energy_j(problem.objective.boundary)
            score = _score(problem, aim, latency_s, energy_j, prediction.bottleneck_s)
            found.append(Point(score, latency_s, energy_j, prediction.bottleneck_s, partition))
    return sorted(found, key=lambda x: (x.score, x.partition.placement))


def best(found):
    """The best of some points; of equal ones that with the lowest placement."""
    least = min(x.score for x in found)
    equal = [x for x in found if near(x.score, least)]
    return min(equal, key=lambda x: x.partition.placement)


def front(found):
    """Latency and energy of the points that no other beats, by rising latency."""
    kept = []
    for latency_s, energy_j in sorted((x.latency_s, x.energy_j) for x in found):
        if not kept or energy_j < kept[-1][1] - ROUNDING * abs(kept[-1][1]) - 1e-12:
            kept.append((latency_s, energy_j))
    return kept


def near(one, other):
    """Whether two figures differ by rounding only."""
    return math.isclose(one, other, rel_tol=ROUNDING, abs_tol=1e-12)


def _score(problem, aim, latency_s, energy_j, bottleneck_s):
    if aim is not None:
        return {"latency": latency_s, "energy": energy_j, "throughput": bottleneck_s}[aim]
    objective, reference = problem.objective, references(problem)
    score = objective.latency * latency_s / _scale(reference.latency_s)
    return score + objective.energy * energy_j / _scale(reference.energy_j) if objective.energy else score


def _scale(reference):
    return reference if math.isfinite(reference) and reference > 0 else 1.0
