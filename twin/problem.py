"""What a policy is given and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from twin.partition import Partition

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twin.graph import LayerGraph
    from twin.topology import Continuum

Boundary = Literal["node", "marginal", "compute_only"]
BOUNDARIES: tuple[Boundary, ...] = ("node", "marginal", "compute_only")


@dataclass(frozen=True, slots=True, eq=False)
class Conditions:
    """State of links and devices, as measured, estimated or assumed.

    Attributes:
        rate_bps: Payload goodput per link and direction (up, down), shape [n_links, 2], bits per second.
        rtt_s: Round-trip time per link, shape [n_links].
        slowdown: Time that work takes on each device / its profiled time, shape [n_devices].
    """

    rate_bps: np.ndarray
    rtt_s: np.ndarray
    slowdown: np.ndarray

    def to_json(self) -> dict[str, Any]:
        """Return the conditions as plain data."""
        return {
            "rate_bps": self.rate_bps.tolist(),
            "rtt_s": self.rtt_s.tolist(),
            "slowdown": self.slowdown.tolist(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Conditions:
        """Build conditions from the plain data that `to_json` returns."""
        return cls(
            np.array(data["rate_bps"], dtype=float).reshape(-1, 2),
            np.array(data["rtt_s"], dtype=float),
            np.array(data["slowdown"], dtype=float),
        )


@dataclass(frozen=True, slots=True)
class Objective:
    """What is to be kept small: `latency * L / latency_ref_s + energy * E / energy_ref_j`.

    Attributes:
        latency: Weight of the latency.
        energy: Weight of the energy.
        boundary: Which joules count.
        deadline_s: Latency that a request may not exceed, or None.
        latency_ref_s: Reference of the latency; None: of the best edge-only plan under the first conditions.
        energy_ref_j: Reference of the energy; None: likewise.
    """

    latency: float = 1.0
    energy: float = 0.0
    boundary: Boundary = "node"
    deadline_s: float | None = None
    latency_ref_s: float | None = None
    energy_ref_j: float | None = None


@dataclass(frozen=True, slots=True)
class Demand:
    """How requests are expected to come: at a rate (open loop), or from clients that wait (closed loop).

    Attributes:
        rate_rps: Mean arrival rate in open loop; None in closed loop.
        clients: Number of clients in closed loop; 0 in open loop.
        think_time_s: Pause of a client between an answer and its next request.
    """

    rate_rps: float | None = None
    clients: int = 0
    think_time_s: float = 0.0


@dataclass(frozen=True, slots=True)
class SwitchCost:
    """What a change of the partition costs.

    Attributes:
        downtime_s: Time for which new requests are held back at the edge.
        weights_from: Position of the device that sends the weights of layers that are new to a device;
            None where every device holds all weights.
        energy_j: Joules that each device spends that gains layers.
    """

    downtime_s: float = 0.0
    weights_from: int | None = None
    energy_j: float = 0.0


@dataclass(frozen=True, eq=False)
class Problem:
    """A model, the machines it may run on and what is wanted of it.

    Attributes:
        graph: The layers.
        continuum: The machines and links.
        layer_time_s: Time of each layer on each device, additivity applied, shape [n_devices, n_layers].
        stage_overhead_s: Fixed time of each stage visit by device, shape [n_devices].
        codec_s_per_byte: Time to serialise or to deserialise one byte by device, shape [n_devices].
        objective: What is to be kept small.
        demand: How requests come.
        initial: Conditions as measured at the start.
        switch: What a change of the partition costs.
        pinned: Device of each layer that may not move, by layer position.
    """

    graph: LayerGraph
    continuum: Continuum
    layer_time_s: np.ndarray
    stage_overhead_s: np.ndarray
    codec_s_per_byte: np.ndarray
    objective: Objective
    demand: Demand
    initial: Conditions
    switch: SwitchCost = SwitchCost()
    pinned: Mapping[int, int] = field(default_factory=dict)

    @property
    def n_devices(self) -> int:
        """Number of devices."""
        return len(self.continuum)

    @property
    def n_layers(self) -> int:
        """Number of layers."""
        return len(self.graph)

    @cached_property
    def power_w(self) -> np.ndarray:
        """Power by device and state (idle, compute, transmit, receive), shape [n_devices, 4]; NaN if unknown."""
        rows = [
            (d.power.idle_w, d.power.compute_w, d.power.transmit_w, d.power.receive_w) if d.power else (np.nan,) * 4
            for d in self.continuum.devices
        ]
        return np.array(rows)

    def on_device(self, device: int) -> Partition:
        """The partition that runs everything on one device."""
        return Partition.on_device(self.n_layers, device, self.n_devices)

    def allows(self, partition: Partition) -> bool:
        """Whether the partition keeps pinned layers in place and every stage within its device's memory."""
        if any(partition.placement[layer] != device for layer, device in self.pinned.items()):
            return False
        return all(
            memory is None or self.stage_memory_bytes(partition, device) <= memory
            for device, memory in enumerate(d.memory_bytes for d in self.continuum.devices)
        )

    def stage_memory_bytes(self, partition: Partition, device: int) -> float:
        """Memory of a stage: its parameters and the tensors of the cuts at both its ends; 0 if it is empty."""
        layers = partition.stages[device].layers
        if not layers:
            return 0.0
        parameters = sum(self.graph.layers[position].parameter_bytes for position in layers)
        before = self.graph.cut_bytes(partition.down_set(device - 1))
        after = self.graph.cut_bytes(partition.down_set(device))
        return float(parameters + before + after)

    def gained_bytes(self, before: Partition, after: Partition) -> dict[int, float]:
        """Parameter bytes of the layers that are new to each device that a change gives layers."""
        gains: dict[int, float] = {}
        for layer, was, now in zip(self.graph.layers, before.placement, after.placement, strict=True):
            if was != now:
                gains[now] = gains.get(now, 0.0) + layer.parameter_bytes
        return gains


@dataclass(frozen=True, slots=True)
class LinkProbe:
    """A message to be sent over one link direction, to measure it."""

    link: int
    direction: int
    size_bytes: float


@dataclass(frozen=True, slots=True)
class StageProbe:
    """A stage to be run on a device, to measure it; skipped while the device is busy."""

    device: int
    layers: tuple[int, ...]


Probe = LinkProbe | StageProbe


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Raw measurements since the last tick, and what is still under way, as columns.

    A message or stage that takes long has not ended, and so is no sample yet; that it has taken so long already says
    that its link or device is slow.

    Attributes:
        link_t_s: Time at which each link sample ended, shape [m].
        link: Link of each sample.
        direction: Direction of each sample (0 up, 1 down).
        size_bytes: Bytes of each message.
        transfer_s: From the start of the transmission to the receipt: message overhead + transmission + rtt.
        stage_t_s: Time at which each stage sample ended, shape [n].
        device: Device of each stage sample.
        nominal_s: Profiled time of that stage, overhead and codec included.
        service_s: Measured time of that stage.
        done_t_s: Time at which each request was answered since the last tick, shape [c].
        latency_s: Its end-to-end latency.
        done_epoch: Its plan epoch.
        open_link: Link of each message that is being sent, shape [p].
        open_direction: Its direction.
        open_bytes: Its bytes.
        open_transfer_s: Time since its transmission started.
        open_device: Device of each stage that has begun and not ended, shape [q].
        open_nominal_s: Profiled time of that stage.
        open_service_s: Time since it began.
    """

    link_t_s: np.ndarray
    link: np.ndarray
    direction: np.ndarray
    size_bytes: np.ndarray
    transfer_s: np.ndarray
    stage_t_s: np.ndarray
    device: np.ndarray
    nominal_s: np.ndarray
    service_s: np.ndarray
    done_t_s: np.ndarray
    latency_s: np.ndarray
    done_epoch: np.ndarray
    open_link: np.ndarray
    open_direction: np.ndarray
    open_bytes: np.ndarray
    open_transfer_s: np.ndarray
    open_device: np.ndarray
    open_nominal_s: np.ndarray
    open_service_s: np.ndarray

    @classmethod
    def none(cls) -> Samples:
        """No samples at all."""
        f, i = np.empty(0), np.empty(0, dtype=np.int64)
        return cls(f, i, i, f, f, f, i, f, f, f, f, i, i, i, f, f, i, f, f)


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """What a policy sees at a tick.

    Attributes:
        t_s: Time since the start of the run.
        samples: Raw measurements since the last tick.
        conditions: The controller's estimates from all samples so far.
        age_s: Age of the newest sample per link direction, shape [n_links, 2]; the run's time where none came.
        device_age_s: Age of the newest stage sample per device, shape [n_devices].
        queue_length: Requests waiting or in service at each device, shape [n_devices].
        arrived: Requests that arrived since the last tick.
        partition: The partition in force; None at the first tick.
        available: Whether each device answers, shape [n_devices].
        link_up: Whether each link is up, shape [n_links].
        link_queue: Messages waiting or being sent per link and direction, shape [n_links, 2].
    """

    t_s: float
    samples: Samples
    conditions: Conditions
    age_s: np.ndarray
    device_age_s: np.ndarray
    queue_length: np.ndarray
    arrived: int
    partition: Partition | None
    available: np.ndarray
    link_up: np.ndarray
    link_queue: np.ndarray


@dataclass(frozen=True, slots=True)
class Candidate:
    """A partition that was weighed, with what was predicted of it."""

    partition: Partition
    score: float
    latency_s: float
    energy_j: float | None


@dataclass(frozen=True, slots=True)
class Decision:
    """What a policy wants.

    Attributes:
        partition: The partition for requests that arrive from now on.
        reason: Why, in words.
        candidates: The partitions that were weighed, the best first.
        probes: Measurements to be made now; they take their station's time and energy.
        next_s: Time to the next tick; None for the scenario's control interval.
        next_requests: Requests to the next tick; None for the scenario's control interval.
    """

    partition: Partition
    reason: str
    candidates: tuple[Candidate, ...] = ()
    probes: tuple[Probe, ...] = ()
    next_s: float | None = None
    next_requests: int | None = None
