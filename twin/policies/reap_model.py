"""The cost model of the `reap` policy: one pass for all nodes, two numbers per link, one score per split."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from twin.cost import COMPUTE, route_of
from twin.errors import ScenarioError
from twin.partition import Partition
from twin.problem import Candidate
from twin.units import BITS_PER_BYTE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twin.problem import Problem

N_NODES = 3
Split = tuple[int, int]
"""The two cuts of the topological order: layers on the edge, layers on the edge and the fog together."""

_FIFTHS: tuple[Split, ...] = ((3, 4), (2, 3), (1, 2))
"""Cuts of the probe splits in fifths of the units: edge-heavy, balanced, cloud-heavy."""


class LinkModel(NamedTuple):
    """Time of a message over one link direction: `overhead_s + bits / rate_bps`."""

    rate_bps: float
    overhead_s: float


def two_point(sizes_bytes: tuple[float, float], times_s: tuple[float, float], old: LinkModel) -> LinkModel:
    """The line through a small and a large message; the old one where the large message took no longer.

    Args:
        sizes_bytes: Bytes of the small and of the large message.
        times_s: Their mean times.
        old: What was believed before.
    """
    (small, large), (first_s, second_s) = sizes_bytes, times_s
    if second_s <= first_s:
        return old
    rate_bps = (large - small) * BITS_PER_BYTE / (second_s - first_s)
    return LinkModel(rate_bps, max(0.0, first_s - small * BITS_PER_BYTE / rate_bps))


@dataclass(frozen=True, slots=True, eq=False)
class Chain:
    """A problem as the policy sees it: a chain of layers over three nodes.

    Attributes:
        problem: The problem.
        share_before: Share of the edge's pass that the first c layers take, shape [n_layers + 1].
        cut_bytes: Bytes that cross after the first c layers, shape [n_layers + 1]; 0 at both ends, where none is cut.
        units: Number of layers up to the end of each unit that stays together, ascending; a folded one repeats.
        cuts: Where it may cut, ascending.
        splits: Every split that leaves each node a unit, shape [m, 2].
        stations: The link directions (link, direction) that the two hops use.
        hops: For each hop the positions of its link directions in `stations`.
        power_w: Compute power by node, shape [3].
        profiled_s: Profiled time of the whole model by node, shape [3]: the time per share until one is fitted.
    """

    problem: Problem
    share_before: np.ndarray
    cut_bytes: np.ndarray
    units: tuple[int, ...]
    cuts: tuple[int, ...]
    splits: np.ndarray
    stations: tuple[tuple[int, int], ...]
    hops: tuple[tuple[int, ...], ...]
    power_w: np.ndarray
    profiled_s: np.ndarray

    def __contains__(self, split: Split) -> bool:
        return bool((self.splits == split).all(axis=1).any())

    def partition(self, split: Split) -> Partition:
        """The partition of a split."""
        return Partition.from_cuts(split, self.problem.n_layers)

    def split(self, row: int) -> Split:
        """The split in a row of `splits`."""
        first, second = self.splits[row].tolist()
        return first, second

    def row(self, split: Split) -> int:
        """The row of a split in `splits`."""
        return int(np.flatnonzero((self.splits == split).all(axis=1))[0])

    def candidate(self, weighed: Estimate, scores: np.ndarray, row: int) -> Candidate:
        """A row of `splits` as a candidate."""
        energy_j = float(weighed.energy_j[row].sum())
        return Candidate(self.partition(self.split(row)), float(scores[row]), float(weighed.latency_s[row]), energy_j)

    def shares(self, splits: np.ndarray) -> np.ndarray:
        """Share of the edge's pass that each node runs, shape [m, 3]."""
        first, second = self.share_before[splits[:, 0]], self.share_before[splits[:, 1]]
        return np.stack([first, second - first, self.share_before[-1] - second], axis=1)

    def nominal_s(self, split: Split) -> np.ndarray:
        """Profiled time of each node's stage, overhead and codec included, as stage samples hold it, shape [3]."""
        stages = route_of(self.problem, self.partition(split)).stages
        return np.array([work_s + self.problem.stage_overhead_s[k] + codec_s for k, _, work_s, codec_s in stages])

    def first_links(self) -> tuple[LinkModel, ...]:
        """What the first conditions say of each link direction, in the terms of a probe (a whole round trip)."""
        initial, links = self.problem.initial, self.problem.continuum.links
        return tuple(
            LinkModel(
                max(float(initial.rate_bps[link, direction]), 1.0),
                links[link].message_overhead_s + float(initial.rtt_s[link]),
            )
            for link, direction in self.stations
        )


class Estimate(NamedTuple):
    """What splits cost: latency in seconds, shape [m], and joules by node, shape [m, 3]."""

    latency_s: np.ndarray
    energy_j: np.ndarray


class Yardstick(NamedTuple):
    """What scores are measured by, frozen once phase 1 is over.

    Attributes:
        edge_j: Mean energy of the edge over the probe splits.
        total_j: Mean energy of all nodes over the probe splits.
        latency_s: Mean latency over the probe splits.
        weights: Weights of the edge's energy, all energy and the latency.
    """

    edge_j: float
    total_j: float
    latency_s: float
    weights: tuple[float, float, float]

    def score(self, estimate: Estimate) -> np.ndarray:
        """The score of each split, the less the better, shape [m]."""
        edge, total, latency = self.weights
        energy = edge * estimate.energy_j[:, 0] / self.edge_j + total * estimate.energy_j.sum(axis=1) / self.total_j
        return np.asarray(energy + latency * estimate.latency_s / self.latency_s)


def yardstick(estimate: Estimate, weights: tuple[float, float, float]) -> Yardstick:
    """Take the means over the probe splits; a mean of zero counts as one."""
    means = (estimate.energy_j[:, 0].mean(), estimate.energy_j.sum(axis=1).mean(), estimate.latency_s.mean())
    edge_j, total_j, latency_s = (float(mean) or 1.0 for mean in means)
    return Yardstick(edge_j, total_j, latency_s, weights)


def estimate(chain: Chain, splits: np.ndarray, per_share_s: np.ndarray, links: Sequence[LinkModel]) -> Estimate:
    """Estimate splits: stages by their shares, messages by the link models; the answer's way back is left out.

    Args:
        chain: The problem.
        splits: The splits, shape [m, 2].
        per_share_s: Time by node per unit share, shape [3].
        links: Model of each of the chain's `stations`.
    """
    node_s = chain.shares(splits) * per_share_s
    latency_s = node_s.sum(axis=1)
    for hop, stations in enumerate(chain.hops):
        bits = chain.cut_bytes[splits[:, hop]] * BITS_PER_BYTE
        for station in stations:
            latency_s = latency_s + links[station].overhead_s + bits / links[station].rate_bps
    return Estimate(latency_s, node_s * chain.power_w)


def make_chain(problem: Problem, watts: tuple[float, ...] | None, after: tuple[str, ...] | None = None) -> Chain:
    """Lay out a problem for the policy.

    Args:
        problem: The problem.
        watts: Compute power by node; None for that of the devices.
        after: Layers or modules after which it may cut; None for any layer.

    Raises:
        ScenarioError: There are not three devices, fewer than three layers or two cuts, or a power is not known.
        GraphError: A layer does not exist.
    """
    n = problem.n_layers
    _check(problem)
    units = tuple(range(1, n + 1)) if after is None else _units(problem, after)
    cuts = tuple(sorted({*units} - {n}))
    if len(cuts) < N_NODES - 1:
        raise ScenarioError("reap: `cuts` names fewer than two places to cut; give two at least")
    paths = [problem.continuum.path(0, 1), problem.continuum.path(1, 2)]
    hops = [[(hop.link, hop.direction) for hop in path] for path in paths]
    stations = tuple(dict.fromkeys(station for hop in hops for station in hop))
    inner = [float(problem.graph.cut_bytes(range(cut))) for cut in range(1, n)]
    return Chain(
        problem,
        np.concatenate([[0.0], np.cumsum(problem.layer_time_s[0])]) / problem.layer_time_s[0].sum(),
        np.array([0.0, *inner, 0.0]),
        units,
        cuts,
        np.array(tuple(combinations(cuts, N_NODES - 1))),
        stations,
        tuple(tuple(stations.index(station) for station in hop) for hop in hops),
        _power_w(problem, watts),
        problem.layer_time_s.sum(axis=1) * problem.initial.slowdown,
    )


def _units(problem: Problem, after: tuple[str, ...]) -> tuple[int, ...]:
    units = tuple(problem.graph.within(name)[-1] + 1 for name in after)
    if list(units) != sorted(units):
        raise ScenarioError("reap: `cuts` must be in topological order; sort them as the model runs them")
    return units


def probe_splits(chain: Chain) -> tuple[Split, ...]:
    """The edge-heavy, balanced and cloud-heavy split at fifths of the units; what is not allowed is left out."""
    cuts, n = chain.cuts, len(chain.units)
    splits = []
    for first, second in _FIFTHS:
        low, high = (bisect_left(cuts, chain.units[max(round(k * n / 5), 1) - 1]) for k in (first, second))
        low = min(low, len(cuts) - 2)
        splits.append((cuts[low], cuts[min(max(high, low + 1), len(cuts) - 1)]))
    return tuple(split for split in splits if chain.problem.allows(chain.partition(split)))


def _check(problem: Problem) -> None:
    if problem.n_devices != N_NODES:
        raise ScenarioError(
            f"reap: splits between an edge, a fog and a cloud, but there are {problem.n_devices} devices; "
            "give three, or take `adaptive`"
        )
    if problem.n_layers < N_NODES:
        raise ScenarioError(
            f"reap: {problem.graph.model} has {problem.n_layers} layers, one per device is the least; take `adaptive`"
        )


def _power_w(problem: Problem, watts: tuple[float, ...] | None) -> np.ndarray:
    if watts is not None and len(watts) != N_NODES:
        raise ScenarioError(f"reap: `watts` holds {len(watts)} values; give the edge's, the fog's and the cloud's")
    power_w = problem.power_w[:, COMPUTE] if watts is None else np.array(watts, dtype=float)
    for name, value_w in zip(problem.continuum.names, power_w.tolist(), strict=True):
        if not value_w > 0:
            raise ScenarioError(
                f"reap: the compute power of `{name}` is not known or zero; give it to the device, or `watts` to the "
                "policy"
            )
    return power_w
