"""Predicted latency, bottleneck and energy of a partition under given conditions.

Two forms of the same model. `predict` walks through one partition and keeps the breakdown (`Predictor` does so for many
partitions under the same conditions). `linear_latency` and `linear_energy` give the coefficients of the additive terms,
from which `search` scores every partition at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from twin.route import (
    COMPUTE,
    IDLE,
    RECEIVE,
    TRANSMIT,
    Route,
    is_sporadic,
    route_of,
    routes_of,
    station_of,
)
from twin.units import BITS_PER_BYTE

if TYPE_CHECKING:
    from twin.partition import Partition
    from twin.problem import Boundary, Conditions, Demand, Problem

__all__ = [
    "COMPUTE",
    "IDLE",
    "RECEIVE",
    "TRANSMIT",
    "Linear",
    "Prediction",
    "Predictor",
    "Route",
    "StageCost",
    "TransferCost",
    "is_sporadic",
    "linear_energy",
    "linear_latency",
    "message_delay_s",
    "predict",
    "route_of",
    "station_of",
    "throughput_rps",
    "walk",
]


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


class Prediction:
    """What one request costs when it meets no other; the breakdown is worked out when it is read.

    Attributes:
        latency_s: End-to-end latency.
        bottleneck_s: Largest time that any device slot or link direction is held per request.

    Args:
        predictor: Gives the problem and the conditions.
        route: The way of the request.
    """

    __slots__ = ("_held_s", "_predictor", "_route", "_services_s", "_transmits_s", "bottleneck_s", "latency_s")

    def __init__(self, predictor: Predictor, route: Route) -> None:
        slowdown, rate_bps, delay_s = predictor.slowdown, predictor.rate_bps, predictor.delay_s
        self._predictor, self._route = predictor, route
        self._held_s = held_s = [0.0] * predictor.n_stations
        services_s: list[float] = []
        for device, nominal_s, slots, _, _ in route.work:
            service_s = nominal_s * slowdown[device]
            services_s.append(service_s)
            held_s[device] += service_s / slots
        transmits_s: list[float] = []
        totals_s: list[float] = []
        for link, way, station, bits, _, _, _, _ in route.loads:
            per_s = rate_bps[way]
            transmit_s = bits / per_s if per_s > 0 else math.inf if bits else 0.0
            transmits_s.append(transmit_s)
            totals_s.append(transmit_s + delay_s[link])
            held_s[station] += transmit_s
        self._services_s, self._transmits_s = services_s, transmits_s
        self.latency_s = sum(services_s) + sum(totals_s)
        self.bottleneck_s = max(held_s) if not math.isnan(self.latency_s) else float(self.busy_s.max())

    def held_s(self, station: int) -> float:
        """Time per request for which one station is held; see `busy_s`."""
        return self._held_s[station]

    @property
    def busy_s(self) -> np.ndarray:
        """Time per request for which each station is held: devices first, then link directions.

        Shape [n_devices + 2 * n_links]; half-duplex links count both directions on the first.
        """
        return np.array(self._held_s)

    @property
    def queues(self) -> list[tuple[int, list[float]]]:
        """Slots of each station that one request visits, with the service time of each visit."""
        transmits_s, route = self._transmits_s, self._route
        stages = [(work.slots, [time_s]) for work, time_s in zip(route.work, self._services_s, strict=True)]
        if len(route.queues) == len(transmits_s):
            return stages + [(1, [time_s]) for time_s in transmits_s]
        return stages + [(1, [transmits_s[at] for at in positions]) for positions in route.queues]

    @property
    def stages(self) -> tuple[StageCost, ...]:
        """The stage visits in order."""
        slowdown, overhead_s = self._predictor.slowdown, self._predictor.problem.stage_overhead_s.tolist()
        return tuple(
            StageCost(device, layers, service_s, codec_s * slowdown[device], overhead_s[device] * slowdown[device])
            for (device, layers, _, codec_s), service_s in zip(self._route.stages, self._services_s, strict=True)
        )

    @property
    def transfers(self) -> tuple[TransferCost, ...]:
        """The messages in order, the answer's last."""
        delay_s = self._predictor.delay_s
        return tuple(
            TransferCost(*hop, size_bytes, transmit_s, delay_s[hop.link])
            for (hop, size_bytes), transmit_s in zip(self._route.messages, self._transmits_s, strict=True)
        )

    @property
    def answer_from(self) -> int:
        """Index in `transfers` of the answer's first message."""
        return self._route.answer_from

    @property
    def throughput_rps(self) -> float:
        """Completed requests per second that the demand leads to."""
        return throughput_rps(self._predictor.problem.demand, self.latency_s, self.bottleneck_s)

    @property
    def compute_only_j(self) -> np.ndarray:
        """Compute power times compute time by device."""
        joules = [0.0] * self._predictor.problem.n_devices
        for work, service_s in zip(self._route.work, self._services_s, strict=True):
            joules[work.device] += work.compute_w * service_s
        return np.array(joules)

    @property
    def marginal_j(self) -> np.ndarray:
        """Joules above idle by device, shape [n_devices]; NaN where the power is unknown."""
        return np.array(self._marginal())

    @property
    def node_j(self) -> np.ndarray:
        """All joules by device per completed request, at the throughput that the demand leads to."""
        rate_rps = self.throughput_rps
        idle_w = self._predictor.idle_w
        return np.array(
            [
                extra_j + (each_w / rate_rps if rate_rps > 0 else math.inf)
                for extra_j, each_w in zip(self._marginal(), idle_w, strict=True)
            ]
        )

    def energy_by_device_j(self, boundary: Boundary) -> np.ndarray:
        """Joules per request by device at an accounting boundary, shape [n_devices]."""
        if boundary == "node":
            return self.node_j
        return self.marginal_j if boundary == "marginal" else self.compute_only_j

    def energy_j(self, boundary: Boundary) -> float:
        """Joules per request of all devices at an accounting boundary; NaN where a power is unknown."""
        return float(self.energy_by_device_j(boundary).sum())

    def _marginal(self) -> list[float]:
        joules = [0.0] * len(self._predictor.slowdown)
        for work, service_s in zip(self._route.work, self._services_s, strict=True):
            joules[work.device] += work.extra_w * service_s
        for load, transmit_s in zip(self._route.loads, self._transmits_s, strict=True):
            joules[load.sender] += _product(load.sender_w, transmit_s)
            joules[load.receiver] += _product(load.receiver_w, transmit_s)
        return joules


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


class Predictor:
    """Predicts partitions under the same conditions.

    Attributes:
        problem: The problem.
        conditions: State of links and devices.
        slowdown: Of each device.
        rate_bps: Of each link direction, link by link.
        delay_s: Time of a message on each link beside its transmission.
        n_stations: Number of stations, those of both directions of each link counted.

    Args:
        problem: The problem.
        conditions: State of links and devices.
    """

    def __init__(self, problem: Problem, conditions: Conditions) -> None:
        self.problem, self.conditions = problem, conditions
        self.slowdown: list[float] = conditions.slowdown.tolist()
        self.rate_bps: list[float] = conditions.rate_bps.ravel().tolist()
        links = range(len(conditions.rtt_s))
        self.delay_s = [message_delay_s(problem, link, conditions) for link in links]
        self.n_stations = len(self.slowdown) + len(self.rate_bps)
        self._routes = routes_of(problem)

    def predict(self, partition: Partition) -> Prediction:
        """Predict one partition."""
        return Prediction(self, self._routes.get(partition) or route_of(self.problem, partition))

    @cached_property
    def idle_w(self) -> list[float]:
        """Idle power of each device."""
        idle_w: list[float] = self.problem.power_w[:, IDLE].tolist()
        return idle_w


def predict(problem: Problem, partition: Partition, conditions: Conditions) -> Prediction:
    """Predict one partition, with the breakdown per stage and message."""
    return Predictor(problem, conditions).predict(partition)


def walk(
    problem: Problem, partition: Partition, conditions: Conditions
) -> tuple[list[StageCost], list[TransferCost], int]:
    """Cost the stages and messages of one request, in order; the last value is the index of the answer's first."""
    prediction = predict(problem, partition, conditions)
    return list(prediction.stages), list(prediction.transfers), prediction.answer_from


def message_delay_s(problem: Problem, position: int, conditions: Conditions) -> float:
    """Time of a message on a link beside its transmission: overhead, slow start where messages are rare, rtt / 2."""
    link = problem.continuum.links[position]
    slow_start_s = link.slow_start_s if is_sporadic(problem.demand, link.slow_start_idle_s) else 0.0
    return link.message_overhead_s + slow_start_s + float(conditions.rtt_s[position]) / 2


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
