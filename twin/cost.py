"""Predicted latency, bottleneck and energy of a partition under given conditions.

Two forms of the same model. `predict` walks through one partition and keeps the breakdown. `linear_latency`
and `linear_energy` give the coefficients of the additive terms, from which `search` scores every partition at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from twin.topology import UP
from twin.units import BITS_PER_BYTE

if TYPE_CHECKING:
    from twin.partition import Partition
    from twin.problem import Boundary, Conditions, Demand, Problem
    from twin.topology import Hop

IDLE, COMPUTE, TRANSMIT, RECEIVE = range(4)


class StageCost(NamedTuple):
    """One stage visit: `service_s` = layers + overhead + codec, all slowed by the device's slowdown."""

    device: int
    layers: tuple[int, ...]
    service_s: float
    codec_s: float
    overhead_s: float


class TransferCost(NamedTuple):
    """One message over one link."""

    link: int
    direction: int
    sender: int
    receiver: int
    size_bytes: float
    transmit_s: float
    delay_s: float

    @property
    def total_s(self) -> float:
        """Transmission, propagation and message overhead."""
        return self.transmit_s + self.delay_s


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What one request costs when it meets no other.

    Attributes:
        latency_s: End-to-end latency.
        stages: The stage visits in order.
        transfers: The messages in order, the answer's last.
        answer_from: Index in `transfers` of the answer's first message.
        bottleneck_s: Largest time that any device slot or link direction is held per request.
        busy_s: Time per request for which each station is held: devices first, then link directions,
            shape [n_devices + 2 * n_links] (half-duplex links count both directions on the first).
        marginal_j: Joules above idle by device, shape [n_devices]; NaN where the power is unknown.
        compute_only_j: Compute power times compute time by device.
        node_j: All joules by device per completed request, at the throughput that the demand leads to.
        throughput_rps: That throughput.
    """

    latency_s: float
    stages: tuple[StageCost, ...]
    transfers: tuple[TransferCost, ...]
    answer_from: int
    bottleneck_s: float
    busy_s: np.ndarray
    marginal_j: np.ndarray
    compute_only_j: np.ndarray
    node_j: np.ndarray
    throughput_rps: float

    def energy_by_device_j(self, boundary: Boundary) -> np.ndarray:
        """Joules per request by device at an accounting boundary, shape [n_devices]."""
        return {"node": self.node_j, "marginal": self.marginal_j, "compute_only": self.compute_only_j}[boundary]

    def energy_j(self, boundary: Boundary) -> float:
        """Joules per request of all devices at an accounting boundary; NaN where a power is unknown."""
        return float(self.energy_by_device_j(boundary).sum())


def throughput_rps(demand: Demand, latency_s: float, bottleneck_s: float) -> float:
    """Completed requests per second that a demand leads to.

    Open loop: the offered rate, capped by the bottleneck. Closed loop: clients / (latency + think time), capped
    likewise (the asymptotic bound of operational analysis).
    """
    cap = 1.0 / bottleneck_s if bottleneck_s > 0 else math.inf
    if demand.rate_rps is not None:
        return min(demand.rate_rps, cap)
    cycle_s = latency_s + demand.think_time_s
    return min(demand.clients / cycle_s if cycle_s > 0 else math.inf, cap)


def predict(problem: Problem, partition: Partition, conditions: Conditions) -> Prediction:
    """Predict one partition, with the breakdown per stage and message."""
    stages, transfers, answer_from = walk(problem, partition, conditions)
    latency_s = sum(x.service_s for x in stages) + sum(x.total_s for x in transfers)
    busy_s = _busy(problem, stages, transfers)
    bottleneck_s = float(busy_s.max())
    power_w = problem.power_w.tolist()
    compute_only = [0.0] * problem.n_devices
    marginal = [0.0] * problem.n_devices
    for stage in stages:
        idle_w, compute_w, *_ = power_w[stage.device]
        compute_only[stage.device] += compute_w * stage.service_s
        marginal[stage.device] += (compute_w - idle_w) * stage.service_s
    for x in transfers:
        sender_w, receiver_w = power_w[x.sender], power_w[x.receiver]
        marginal[x.sender] += _product(sender_w[TRANSMIT] - sender_w[IDLE], x.transmit_s)
        marginal[x.receiver] += _product(receiver_w[RECEIVE] - receiver_w[IDLE], x.transmit_s)
    rate_rps = throughput_rps(problem.demand, latency_s, bottleneck_s)
    node = [
        extra_j + (states_w[IDLE] / rate_rps if rate_rps > 0 else math.inf)
        for extra_j, states_w in zip(marginal, power_w, strict=True)
    ]
    return Prediction(
        latency_s,
        tuple(stages),
        tuple(transfers),
        answer_from,
        bottleneck_s,
        busy_s,
        np.array(marginal),
        np.array(compute_only),
        np.array(node),
        rate_rps,
    )


class Route(NamedTuple):
    """The way of a request under a partition, whatever the conditions.

    Attributes:
        stages: Device, layers, profiled time of the layers and codec time of each stage visit.
        messages: Hop and bytes of each message, the answer's last.
        answer_from: Index in `messages` of the answer's first message.
    """

    stages: tuple[tuple[int, tuple[int, ...], float, float], ...]
    messages: tuple[tuple[Hop, float], ...]
    answer_from: int


_ROUTES: WeakKeyDictionary[Problem, dict[Partition, Route]] = WeakKeyDictionary()
_MOST_ROUTES = 4096


def route_of(problem: Problem, partition: Partition) -> Route:
    """Follow one request through its stages and over the links between them; remembered for each problem."""
    routes = _ROUTES.setdefault(problem, {})
    known = routes.get(partition)
    if known is None:
        if len(routes) >= _MOST_ROUTES:
            routes.clear()
        known = routes[partition] = _route(problem, partition)
    return known


def _route(problem: Problem, partition: Partition) -> Route:
    stages: list[tuple[int, tuple[int, ...], float, float]] = []
    messages: list[tuple[Hop, float]] = []
    visited = partition.visited
    here, carried_bytes = 0, float(problem.graph.input_bytes)
    for position, stage in enumerate(visited):
        device = stage.device
        messages += [(hop, carried_bytes) for hop in problem.continuum.path(here, device)]
        decoded_bytes = carried_bytes if device != here else 0.0
        carried_bytes = float(problem.graph.cut_bytes(partition.down_set(device)))
        encoded_bytes = carried_bytes if position + 1 < len(visited) else 0.0
        compute_s = float(problem.layer_time_s[device, list(stage.layers)].sum())
        codec_s = (decoded_bytes + encoded_bytes) * float(problem.codec_s_per_byte[device])
        stages.append((device, stage.layers, compute_s, codec_s))
        here = device
    answer_from = len(messages)
    messages += [(hop, float(problem.graph.output_bytes)) for hop in problem.continuum.path(here, 0)]
    return Route(tuple(stages), tuple(messages), answer_from)


def walk(
    problem: Problem, partition: Partition, conditions: Conditions
) -> tuple[list[StageCost], list[TransferCost], int]:
    """Cost the stages and messages of one request, in order; the last value is the index of the answer's first."""
    route = route_of(problem, partition)
    slowdown = conditions.slowdown.tolist()
    overhead_s = problem.stage_overhead_s.tolist()
    stages = [
        StageCost(
            device,
            layers,
            (compute_s + overhead_s[device] + codec_s) * slowdown[device],
            codec_s * slowdown[device],
            overhead_s[device] * slowdown[device],
        )
        for device, layers, compute_s, codec_s in route.stages
    ]
    rate_bps = conditions.rate_bps.tolist()
    delay_s = [message_delay_s(problem, link, conditions) for link in range(len(rate_bps))]
    transfers = [
        TransferCost(*hop, size_bytes, _transmit_s(size_bytes, rate_bps[hop.link][hop.direction]), delay_s[hop.link])
        for hop, size_bytes in route.messages
    ]
    return stages, transfers, route.answer_from


def message_delay_s(problem: Problem, position: int, conditions: Conditions) -> float:
    """Time of a message on a link beside its transmission: overhead, slow start where messages are rare, rtt / 2."""
    link = problem.continuum.links[position]
    slow_start_s = link.slow_start_s if is_sporadic(problem.demand, link.slow_start_idle_s) else 0.0
    return link.message_overhead_s + slow_start_s + float(conditions.rtt_s[position]) / 2


def is_sporadic(demand: Demand, idle_s: float) -> bool:
    """Whether requests come so rarely that a link pauses for longer than `idle_s` between them."""
    if demand.rate_rps is not None:
        return demand.rate_rps * idle_s < 1.0
    return demand.clients == 1 and demand.think_time_s > idle_s


def _transmit_s(size_bytes: float, rate_bps: float) -> float:
    if size_bytes == 0:
        return 0.0
    return size_bytes * BITS_PER_BYTE / rate_bps if rate_bps > 0 else math.inf


def _busy(problem: Problem, stages: list[StageCost], transfers: list[TransferCost]) -> np.ndarray:
    n = problem.n_devices
    busy_s = [0.0] * (n + 2 * len(problem.continuum.links))
    for stage in stages:
        busy_s[stage.device] += stage.service_s / problem.continuum.devices[stage.device].slots
    for x in transfers:
        busy_s[n + station_of(problem, x.link, x.direction)] += x.transmit_s
    return np.array(busy_s)


def station_of(problem: Problem, link: int, direction: int) -> int:
    """Index of the station that serves a link direction; both directions of a half-duplex link share one."""
    return 2 * link + (UP if problem.continuum.links[link].duplex == "half" else direction)


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """Coefficients of an additive cost over devices (K of them) and cuts.

    A stage of nominal work w on device k costs `stage[k] * w + overhead[k]`; a cut of b bytes between the stages on
    j and k costs `hop_fixed[j, k] + hop_per_byte[j, k] * b` (codec work at both ends included); the input costs
    `entry[k]` when the first stage is on k, and the answer `answer[k]` when the last stage is on k. A byte over a link
    without rate has an infinite cost; no bytes cost nothing even there.
    """

    stage: np.ndarray
    overhead: np.ndarray
    hop_fixed: np.ndarray
    hop_per_byte: np.ndarray
    entry: np.ndarray
    answer: np.ndarray
    constant: float = 0.0

    def scaled(self, factor: float) -> Linear:
        """The same cost times `factor`."""
        return Linear(
            self.stage * factor,
            self.overhead * factor,
            self.hop_fixed * factor,
            self.hop_per_byte * factor,
            self.entry * factor,
            self.answer * factor,
            self.constant * factor,
        )

    def plus(self, other: Linear) -> Linear:
        """The sum of two costs."""
        return Linear(
            self.stage + other.stage,
            self.overhead + other.overhead,
            self.hop_fixed + other.hop_fixed,
            self.hop_per_byte + other.hop_per_byte,
            self.entry + other.entry,
            self.answer + other.answer,
            self.constant + other.constant,
        )


def linear_latency(problem: Problem, conditions: Conditions) -> Linear:
    """Coefficients of the end-to-end latency of one request that meets no other, in seconds."""
    delay_s = np.array([message_delay_s(problem, link, conditions) for link in range(len(problem.continuum.links))])
    return _linear(problem, conditions.slowdown, delay_s, _per_byte_s(conditions))


def linear_energy(problem: Problem, conditions: Conditions, boundary: Boundary) -> Linear:
    """Coefficients of the energy of one request of all devices, in joules.

    For `node` this is the marginal energy: the idle share is not additive (see `Prediction.node_j`).
    """
    idle_w, compute_w = problem.power_w[:, IDLE], problem.power_w[:, COMPUTE]
    per_byte_s = _per_byte_s(conditions)
    no_delay = np.zeros(len(problem.continuum.links))
    if boundary == "compute_only":
        return _linear(problem, compute_w * conditions.slowdown, no_delay, np.zeros_like(per_byte_s))
    ends = [(link.a, link.b) for link in problem.continuum.links]
    extra_w = problem.power_w - idle_w[:, None]
    joules = np.array(
        [
            [
                _product(extra_w[sender, TRANSMIT] + extra_w[receiver, RECEIVE], per_byte_s[link, direction])
                for direction, (sender, receiver) in enumerate(((a, b), (b, a)))
            ]
            for link, (a, b) in enumerate(ends)
        ]
    ).reshape(-1, 2)
    return _linear(problem, (compute_w - idle_w) * conditions.slowdown, no_delay, joules)


def _product(amount: float, each: float) -> float:
    """An amount (of watts, of bytes) times the cost of each, where nothing at an endless cost is nothing."""
    return amount * each if amount != 0 else 0.0


def _per_byte_s(conditions: Conditions) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.asarray(BITS_PER_BYTE / conditions.rate_bps, dtype=float)


def _linear(
    problem: Problem,
    device_cost: np.ndarray,
    message_cost: np.ndarray,
    byte_cost: np.ndarray,
) -> Linear:
    """Add the costs of device seconds, messages and bytes up along the paths.

    Args:
        problem: The problem.
        device_cost: Cost of a second of nominal work, shape [n_devices].
        message_cost: Cost of a message per link, shape [n_links].
        byte_cost: Cost of a byte per link and direction, shape [n_links, 2].
    """
    n = problem.n_devices
    fixed = np.zeros((n, n))
    per_byte = np.zeros((n, n))
    answer = np.zeros(n)
    codec = problem.codec_s_per_byte * device_cost
    for j in range(n):
        for k in range(j + 1, n):
            hops = problem.continuum.path(j, k)
            fixed[j, k] = sum(message_cost[hop.link] for hop in hops)
            per_byte[j, k] = sum(byte_cost[hop.link, hop.direction] for hop in hops)
        for hop in problem.continuum.path(j, 0):
            answer[j] += message_cost[hop.link]
            answer[j] += _product(problem.graph.output_bytes, byte_cost[hop.link, hop.direction])
    entry = fixed[0] + [_product(problem.graph.input_bytes, cost) for cost in per_byte[0]]
    entry[1:] += codec[1:] * problem.graph.input_bytes
    later = np.triu(np.ones((n, n)), 1)
    return Linear(
        stage=np.asarray(device_cost, dtype=float),
        overhead=problem.stage_overhead_s * device_cost,
        hop_fixed=fixed,
        hop_per_byte=per_byte + later * (codec[:, None] + codec[None, :]),
        entry=entry,
        answer=answer,
    )
