"""Whether the published adaptive row is that of one fixed split, and where the paper's own score ranks that split."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, product
from typing import TYPE_CHECKING

import numpy as np

from twin.cost import IDLE
from twin.partition import Partition
from twin.reproduction.discrepancy import FOG
from twin.reproduction.predict import fixed
from twin.reproduction.worlds import world_of

if TYPE_CHECKING:
    from twin.reproduction.fit import LinkPoint
    from twin.reproduction.predict import Outcome
    from twin.reproduction.worlds import Case, Variant

WEIGHTS = tuple(product((0.6, 0.75, 0.9), (0.2, 0.25, 0.3), (0.1, 0.2, 0.3)))
"""Weights of the edge's energy, all energy and the latency, over the published ranges."""


@dataclass(frozen=True, slots=True)
class Nearest:
    """The fixed split that comes nearest to the published adaptive row.

    Attributes:
        variant: Stage times for which it was looked for.
        outcome: What the split comes to.
        errors: Relative errors of latency and of the joules of edge, fog and cloud.
        candidates: Number of splits that were tried.
        rank: Best place that the paper's score gives it, over the published ranges of weights; 1 is the chosen one.
    """

    variant: Variant
    outcome: Outcome
    errors: tuple[float, float, float, float]
    candidates: int
    rank: int

    @property
    def worst(self) -> float:
        """Largest of the errors."""
        return max(map(abs, self.errors))


def nearest(
    case: Case, variant: Variant, point: LinkPoint, fog_s_per_byte: tuple[float, float] = (0.0, 0.0)
) -> Nearest:
    """Look through every split that the paper's algorithm may choose.

    The split is chosen to fit, so the row that it gives is no prediction: two cuts are free and four figures are met.

    Args:
        case: The model.
        variant: The stage times.
        point: The links.
        fog_s_per_byte: What the fog takes in addition for each byte that it receives, and for each that it sends.
    """
    world = world_of(case, variant, point)
    n = world.problem.n_layers
    outcomes = [
        _later(case, fixed(world, Partition.from_cuts(cuts, n)), fog_s_per_byte) for cuts in combinations(case.cuts, 2)
    ]
    figures = np.array([(x.latency_s, *x.stages_j) for x in outcomes])
    row = case.figures.adaptive
    errors = figures / np.array([row.latency_s, *row.by_device_j]) - 1.0
    position = int(np.abs(errors).max(axis=1).argmin())
    latency, edge, fog, cloud = errors[position].tolist()
    return Nearest(variant, outcomes[position], (latency, edge, fog, cloud), len(outcomes), _rank(figures, position))


def _later(case: Case, outcome: Outcome, fog_s_per_byte: tuple[float, float]) -> Outcome:
    """The outcome with the fog's time for the bytes that it receives and sends, all of it computing."""
    graph, plan = case.world.problem.graph, outcome.plan
    extra_s = sum(graph.cut_bytes(plan.down_set(k)) * per_byte_s for k, per_byte_s in enumerate(fog_s_per_byte))
    edge, fog, cloud = outcome.stages_j
    idle_w = case.world.problem.power_w[:, IDLE]
    return outcome._replace(
        latency_s=outcome.latency_s + extra_s,
        stages_j=(edge, fog + extra_s * case.power_w[FOG], cloud),
        node_j=outcome.node_j + extra_s * float(idle_w.sum() - idle_w[FOG] + case.power_w[FOG]),
    )


def _rank(figures: np.ndarray, position: int) -> int:
    """Best place of a split by the score of the paper, its normalisers being means over all splits.

    Another normaliser would only rescale the weights.
    """
    terms = np.stack([figures[:, 1], figures[:, 1:].sum(axis=1), figures[:, 0]], axis=1)
    scores = (terms / terms.mean(axis=0)) @ np.array(WEIGHTS).T
    return int((scores < scores[position]).sum(axis=0).min()) + 1
