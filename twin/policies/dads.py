"""The two-tier cut of a layer graph of DADS.

Hu et al. 2019, Dynamic Adaptive DNN Surgery for Inference Acceleration on the Edge, INFOCOM,
doi:10.1109/INFOCOM.2019.8737614. Layers run on the edge or on one other device. The load is light while requests come
more slowly than the slowest of edge, transmission and remote device works one off, and heavy from then on.

- Light (the paper's DSL): the latency is the weight of a cut between the edge and the other device, and a minimum cut
  minimises it. A tensor with several consumers crosses once, by an auxiliary node.
- Heavy (the paper's DSH): the largest of the three times is to be least, which is NP-hard. A minimum cut of their sum
  is within three times the best, as in the paper: the largest is at most the sum, and the sum of the best at most
  three times its largest. (Within four where several links are crossed and the answer shares their media.) Here the
  search goes on from there: the weights of the sum move towards the largest time, cut by cut, and the best of all cuts
  counts. The cuts of the topological order are looked at besides, so that on a chain of layers the answer is exact.

The paper measures the network all the time: here what was not sampled for a while is probed, at the cost of a probe.
Memory limits are no part of a minimum cut: where it breaks one, the best cut of the topological order takes its place.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from twin.cost import linear_latency, predict, station_of
from twin.graph import INPUT
from twin.policies.options import NonNegative  # noqa: TC001 - pydantic reads them at run time
from twin.policies.reach import usable
from twin.policies.weighing import TwoTier
from twin.problem import Decision
from twin.units import BITS_PER_BYTE

if TYPE_CHECKING:
    import networkx as nx

    from twin.partition import Partition
    from twin.problem import Candidate, Conditions, Observation, Problem

_ROUNDS = 16
"""Weighted minimum cuts of the search under heavy load."""
_STEP = 1.0
"""How strongly the weights move towards the largest time in the first round."""
_RESOLUTION = 10**12
"""Capacities are whole numbers, so that flows are exact; all of them together make about this."""
_ROUNDING = 1e-9
_SOURCE, _SINK = "edge", "target"


class Weights(NamedTuple):
    """What a cut weighs.

    Attributes:
        edge: Weight of each layer on the edge, shape [n_layers].
        target: Weight of each layer on the other device, shape [n_layers].
        per_byte: Weight of each byte that crosses.
    """

    edge: np.ndarray
    target: np.ndarray
    per_byte: float


@dataclass(frozen=True, slots=True)
class Dads:
    """Minimum cut for the latency under light load, for the bottleneck under heavy load.

    Attributes:
        target: Name of the device that shares the layers with the edge; None: the last one.
        stale_s: Age after which the way to that device, or its load, is probed; None: never probe.
    """

    target: str | None = None
    stale_s: NonNegative | None = 3.0

    def init(self, problem: Problem) -> TwoTier:
        """Return the problem as the edge and the other device.

        Raises:
            ScenarioError: There is no such device.
        """
        return TwoTier.of(problem, self.target)

    def decide(self, observation: Observation, state: TwoTier) -> tuple[Decision, TwoTier]:
        """Minimise the latency, or the bottleneck if that plan cannot keep up with the requests."""
        weighed = light(state, observation)
        if not weighed:
            return Decision(state.otherwise(observation), "no cut in two can be carried out"), state
        rate_rps = _offered_rps(state.problem, weighed[0].latency_s)
        conditions = usable(state.problem, observation)
        bottleneck_s = predict(state.problem, weighed[0].partition, conditions).bottleneck_s
        if rate_rps * bottleneck_s <= 1 + _ROUNDING:
            reason = f"light load: least latency, {weighed[0].latency_s:.4g} s"
        else:
            weighed = heavy(state, observation) or weighed
            reason = f"heavy load: least bottleneck, {weighed[0].score:.4g} s"
        probes = state.probes(observation, self.stale_s)
        return Decision(weighed[0].partition, reason, tuple(weighed), probes), state


def light(tiers: TwoTier, observation: Observation) -> list[Candidate]:
    """The cut with the least latency first, then others; empty where none can be carried out."""
    problem, conditions = tiers.problem, usable(tiers.problem, observation)
    found: Partition | None = None
    if tiers.target and tiers.is_reachable(observation):
        costs = linear_latency(problem, conditions)
        times_s, k = problem.layer_time_s, tiers.target
        per_byte_s = float(costs.hop_per_byte[0, k])
        found = _minimum_cut(tiers, Weights(times_s[0] * costs.stage[0], times_s[k] * costs.stage[k], per_byte_s))
    whole = tuple(x for x in tiers.chains if len(set(x.placement)) == 1)
    fits = found is not None and problem.allows(found)
    plans = dict.fromkeys((*whole, found)) if found is not None and fits else dict.fromkeys(tiers.chains)
    return tiers.weigh(plans, conditions, observation, lambda x: x.latency_s)


def heavy(tiers: TwoTier, observation: Observation) -> list[Candidate]:
    """The cut with the least bottleneck that is found first, then others; empty where none can be carried out."""
    conditions = usable(tiers.problem, observation)
    plans = dict.fromkeys(tiers.chains)
    if tiers.target and tiers.is_reachable(observation):
        plans |= dict.fromkeys(_balanced(tiers, conditions))
    return tiers.weigh(plans, conditions, observation, lambda x: x.bottleneck_s)


def _balanced(tiers: TwoTier, conditions: Conditions) -> list[Partition]:
    """Minimum cuts of weighted sums of the times of edge, transmission and target, plain sum first.

    The weights are multiplied by how near each time is to the largest (Arora, Hazan and Kale 2012, The Multiplicative
    Weights Update Method, Theory of Computing 8), in steps that shrink.
    """
    problem = tiers.problem
    slots = [problem.continuum.devices[device].slots for device in (0, tiers.target)]
    slowdown = conditions.slowdown[[0, tiers.target]] / slots
    codec = problem.codec_s_per_byte[[0, tiers.target]] * slowdown
    link_s_per_byte, station = _slowest(tiers, conditions)
    shares = np.ones(3)
    found: list[Partition] = []
    for turn in range(1, _ROUNDS + 1):
        per_byte = shares[:2] @ codec + shares[2] * link_s_per_byte
        times_s = problem.layer_time_s[[0, tiers.target]] * (shares[:2] * slowdown)[:, None]
        plan = _minimum_cut(tiers, Weights(times_s[0], times_s[1], float(per_byte)))
        if plan is None:
            break
        if problem.allows(plan):
            found.append(plan)
        busy_s = predict(problem, plan, conditions).busy_s[[0, tiers.target, station]]
        if not 0 < busy_s.max() < math.inf:
            break
        shares = shares * np.exp(_STEP / math.sqrt(turn) * busy_s / busy_s.max())
        shares /= shares.sum()
    return found


def _slowest(tiers: TwoTier, conditions: Conditions) -> tuple[float, int]:
    """Seconds per byte of the slowest link on the way to the target, and the index of its station."""
    hops = tiers.problem.continuum.path(0, tiers.target)
    slowest = min(hops, key=lambda hop: float(conditions.rate_bps[hop.link, hop.direction]))
    rate_bps = float(conditions.rate_bps[slowest.link, slowest.direction])
    station = tiers.problem.n_devices + station_of(tiers.problem, slowest.link, slowest.direction)
    return BITS_PER_BYTE / rate_bps if rate_bps > 0 else math.inf, station


def _offered_rps(problem: Problem, latency_s: float) -> float:
    """Requests per second that come, whatever can be served."""
    demand = problem.demand
    if demand.rate_rps is not None:
        return demand.rate_rps
    cycle_s = latency_s + demand.think_time_s
    return demand.clients / cycle_s if cycle_s > 0 else 0.0


def _minimum_cut(tiers: TwoTier, weights: Weights) -> Partition | None:
    """The cut with the least weight; of equal ones that which leaves most to the edge.

    Overheads that every cut has that uses both devices are left out: a plan on one device alone has fewer of them, and
    is compared as a whole. None where pinned layers or a link without rate allow no cut in two.
    """
    import networkx as nx  # noqa: PLC0415 - slow to import and not needed by every command

    if not {0, tiers.target}.issuperset(tiers.problem.pinned.values()):
        return None
    try:
        _, (edge_side, _) = nx.minimum_cut(_network(tiers.problem, weights), _SOURCE, _SINK)
    except nx.NetworkXUnbounded:
        return None
    return tiers.split(node for node in edge_side if isinstance(node, int))


def _network(problem: Problem, weights: Weights) -> nx.DiGraph[object]:
    """The flow network: layers by position, tensors by name; an edge without capacity cannot be cut."""
    import networkx as nx  # noqa: PLC0415 - slow to import and not needed by every command

    sizes = {INPUT: problem.graph.input_bytes} | {x.name: x.output_bytes for x in problem.graph.layers}
    crossing = {name: size * weights.per_byte if size else 0.0 for name, size in sizes.items()}
    total = float(weights.edge.sum() + weights.target.sum()) + sum(x for x in crossing.values() if math.isfinite(x))
    network: nx.DiGraph[object] = nx.DiGraph()
    network.add_nodes_from([_SOURCE, _SINK])

    def add(start: object, end: object, weight: float) -> None:
        network.add_edge(start, end)
        if math.isfinite(weight):
            network.edges[start, end]["capacity"] = round(weight * _RESOLUTION / total) if weight else 0

    add(_SOURCE, ("tensor", INPUT), crossing[INPUT])
    for name in problem.graph.outputs:
        add(("tensor", name), _SINK, math.inf)
    for position, layer in enumerate(problem.graph.layers):
        device = problem.pinned.get(position)
        add(_SOURCE, position, math.inf if device == 0 else float(weights.target[position]))
        add(position, _SINK, math.inf if device else float(weights.edge[position]))
        add(position, ("tensor", layer.name), crossing[layer.name])
        for name in layer.inputs:
            add(("tensor", name), position, math.inf)
        for source in problem.graph.predecessors[position]:
            add(position, source, math.inf)
    return network
