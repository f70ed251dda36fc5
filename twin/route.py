"""The way of a request under a partition, whatever the conditions, with what can be worked out of it beforehand."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

from twin.topology import UP
from twin.units import BITS_PER_BYTE

if TYPE_CHECKING:
    from twin.partition import Partition
    from twin.problem import Demand, Problem
    from twin.topology import Hop

IDLE, COMPUTE, TRANSMIT, RECEIVE = range(4)

_MOST_ROUTES = 4096


class Route(NamedTuple):
    """The stages and messages of a request.

    Attributes:
        stages: Device, layers, profiled time of the layers and codec time of each stage visit.
        messages: Hop and bytes of each message, the answer's last.
        answer_from: Index in `messages` of the answer's first message.
        work: What each stage visit costs.
        loads: What each message costs.
        queues: The messages that share a station: positions in `messages`, in the order of their first.
    """

    stages: tuple[tuple[int, tuple[int, ...], float, float], ...]
    messages: tuple[tuple[Hop, float], ...]
    answer_from: int
    work: tuple[Work, ...]
    loads: tuple[Load, ...]
    queues: tuple[tuple[int, ...], ...]


class Work(NamedTuple):
    """One stage visit.

    Attributes:
        device: The device.
        nominal_s: Layers, overhead and codec.
        slots: How many visits the device serves at once.
        compute_w: Power of the device while it computes.
        extra_w: By how much that is more than idle.
    """

    device: int
    nominal_s: float
    slots: int
    compute_w: float
    extra_w: float


class Load(NamedTuple):
    """One message.

    Attributes:
        link: The link.
        way: Position of its direction among those of all links.
        station: Position of the station that serves it among those of the problem, devices first.
        bits: Its size.
        sender: The device that sends it.
        receiver: The device that receives it.
        sender_w: By how much the sender's power rises above idle.
        receiver_w: The same of the receiver.
    """

    link: int
    way: int
    station: int
    bits: float
    sender: int
    receiver: int
    sender_w: float
    receiver_w: float


_ROUTES: WeakKeyDictionary[Problem, dict[Partition, Route]] = WeakKeyDictionary()


def routes_of(problem: Problem) -> dict[Partition, Route]:
    """The routes of a problem that are known by now."""
    return _ROUTES.setdefault(problem, {})


def route_of(problem: Problem, partition: Partition) -> Route:
    """Follow one request through its stages and over the links between them; remembered for each problem."""
    routes = routes_of(problem)
    known = routes.get(partition)
    if known is None:
        if len(routes) >= _MOST_ROUTES:
            routes.clear()
        known = routes[partition] = _route(problem, partition)
    return known


def station_of(problem: Problem, link: int, direction: int) -> int:
    """Index of the station that serves a link direction; both directions of a half-duplex link share one."""
    return 2 * link + (UP if problem.continuum.links[link].duplex == "half" else direction)


def is_sporadic(demand: Demand, idle_s: float) -> bool:
    """Whether requests come so rarely that a link pauses for longer than `idle_s` between them."""
    if demand.rate_rps is not None:
        return demand.rate_rps * idle_s < 1.0
    return demand.clients == 1 and demand.think_time_s > idle_s


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
    loads = tuple(_load(problem, hop, size_bytes) for hop, size_bytes in messages)
    queues: dict[int, list[int]] = {}
    for position, load in enumerate(loads):
        queues.setdefault(load.station, []).append(position)
    work = tuple(_work(problem, device, compute_s, codec_s) for device, _, compute_s, codec_s in stages)
    return Route(tuple(stages), tuple(messages), answer_from, work, loads, tuple(map(tuple, queues.values())))


def _work(problem: Problem, device: int, compute_s: float, codec_s: float) -> Work:
    idle_w, compute_w, *_ = problem.power_w[device].tolist()
    nominal_s = compute_s + float(problem.stage_overhead_s[device]) + codec_s
    return Work(device, nominal_s, problem.continuum.devices[device].slots, compute_w, compute_w - idle_w)


def _load(problem: Problem, hop: Hop, size_bytes: float) -> Load:
    sender_w, receiver_w = problem.power_w[hop.sender].tolist(), problem.power_w[hop.receiver].tolist()
    return Load(
        hop.link,
        2 * hop.link + hop.direction,
        problem.n_devices + station_of(problem, hop.link, hop.direction),
        size_bytes * BITS_PER_BYTE,
        hop.sender,
        hop.receiver,
        sender_w[TRANSMIT] - sender_w[IDLE],
        receiver_w[RECEIVE] - receiver_w[IDLE],
    )
