"""Whether both sides put the policies in the same order."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from twin.comparison.blocks import DRAWS
from twin.comparison.estimate import Estimate
from twin.metrics.intervals import CONFIDENCE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from twin.comparison.side import Play

_SEED = 7


@dataclass(frozen=True, slots=True)
class Ranking:
    """The order of the policies on both sides.

    Attributes:
        measure: What they are ordered by: `score` or `latency`, the smaller the better.
        sim: Labels, the best first.
        measured: Likewise on the other side.
        tau: Kendall's tau-b, with the range that 95 % of draws of replications span; no range from fewer than two.
    """

    measure: str
    sim: tuple[str, ...]
    measured: tuple[str, ...]
    tau: Estimate

    def to_json(self) -> dict[str, Any]:
        """The ranking as plain data."""
        return {
            "measure": self.measure,
            "sim": list(self.sim),
            "measured": list(self.measured),
            "tau": self.tau.to_json(),
        }


def ranking(sim: Mapping[str, Play], measured: Mapping[str, Play]) -> Ranking | None:
    """Compare the order of two or more policies; None for fewer, or where a figure of one is missing.

    They are ordered by the mean score over replications or, where the score of one is not known, by the mean latency.
    Replications are drawn with replacement, the same ones for all policies of a side (and on both sides, if there are
    as many), because what is special about a replication meets all policies alike.
    """
    labels = list(measured)
    for measure in ("score", "latency"):
        own, reference = (_values(side, labels, measure) for side in (sim, measured))
        if len(labels) > 1 and own is not None and reference is not None:
            return _ranking(measure, labels, own, reference)
    return None


def kendall_tau(a: np.ndarray, b: np.ndarray) -> float | None:
    """Kendall's tau-b of two orders of the same things; None where one of them is one large tie.

    Args:
        a: Values that give one order, shape [n].
        b: Values that give the other, shape [n].
    """
    signs = np.array([(np.sign(a[i] - a[j]), np.sign(b[i] - b[j])) for i, j in combinations(range(len(a)), 2)])
    if not len(signs):
        return None
    untied = np.abs(signs).sum(axis=0)
    return float((signs[:, 0] * signs[:, 1]).sum() / np.sqrt(untied.prod())) if untied.all() else None


def _ranking(measure: str, labels: Sequence[str], own: np.ndarray, reference: np.ndarray) -> Ranking:
    tau = kendall_tau(own.mean(axis=1), reference.mean(axis=1))
    low = high = None
    if tau is not None and min(own.shape[1], reference.shape[1]) > 1:
        random = np.random.default_rng(_SEED)
        drawn = [kendall_tau(*_draw(own, reference, random)) for _ in range(DRAWS)]
        known = [x for x in drawn if x is not None]
        tail = (1 - CONFIDENCE) / 2
        low, high = (float(np.quantile(known, x, method="nearest")) for x in (tail, 1 - tail)) if known else (tau, tau)
    return Ranking(measure, _order(labels, own), _order(labels, reference), Estimate(tau, low, high))


def _draw(own: np.ndarray, reference: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    n, m = own.shape[1], reference.shape[1]
    there = random.integers(0, m, m)
    here = there if n == m else random.integers(0, n, n)
    return own[:, here].mean(axis=1), reference[:, there].mean(axis=1)


def _order(labels: Sequence[str], values: np.ndarray) -> tuple[str, ...]:
    means = values.mean(axis=1)
    return tuple(labels[k] for k in np.argsort(means, kind="stable"))


def _values(side: Mapping[str, Play], labels: Sequence[str], measure: str) -> np.ndarray | None:
    """One value per policy and replication, shape [n_policies, n_replications]; None where one is missing."""
    rows = []
    for label in labels:
        play = side[label]
        entries = [play.figures.get(number) for number in play.replications]
        known = [x["score"] if measure == "score" else x["latency_s"]["mean"] for x in entries if x is not None]
        rows.append([x for x in known if x is not None])
    n = len(rows[0]) if rows else 0
    complete = n > 0 and all(len(row) == n == len(side[x].replications) for row, x in zip(rows, labels, strict=True))
    return np.array(rows, dtype=float) if complete else None
