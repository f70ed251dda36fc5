"""A partition as the sequence of stations that a request passes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from twin.cost import station_of, walk
from twin.problem import Conditions
from twin.units import BITS_PER_BYTE

if TYPE_CHECKING:
    from twin.partition import Partition
    from twin.problem import Problem


@dataclass(frozen=True, slots=True)
class Visit:
    """One station of a request's way.

    Attributes:
        station: Which station serves it; half-duplex directions share one.
        place: Device k is k, direction d of link l is n_devices + 2 l + d.
        device: Position of the device that computes, or -1 for a message.
        link: The link of a message, or -1.
        direction: The direction of a message.
        amount: Seconds of nominal work, or bits.
        size_bytes: Bytes of a message; 0 for work.
    """

    station: int
    place: int
    device: int
    link: int
    direction: int
    amount: float
    size_bytes: float


@dataclass(frozen=True, slots=True)
class Plan:
    """A partition with its plan epoch.

    Attributes:
        partition: The partition.
        epoch: Its plan epoch.
        visits: The stations in order, the way of the answer included.
    """

    partition: Partition
    epoch: int
    visits: tuple[Visit, ...]


def nominal(problem: Problem) -> Conditions:
    """Conditions under which every device runs at its profiled speed."""
    n_links = len(problem.continuum.links)
    return Conditions(np.ones((n_links, 2)), np.zeros(n_links), np.ones(problem.n_devices))


def make_plan(problem: Problem, partition: Partition, epoch: int) -> Plan:
    """Lay out the way of a request under a partition."""
    stages, transfers, _ = walk(problem, partition, nominal(problem))
    waiting = list(transfers)
    visits: list[Visit] = []
    here = 0
    for stage in stages:
        while here != stage.device:
            message = waiting.pop(0)
            visits.append(message_visit(problem, message.link, message.direction, message.size_bytes))
            here = message.receiver
        visits.append(work_visit(stage.device, stage.service_s))
    visits += [message_visit(problem, x.link, x.direction, x.size_bytes) for x in waiting]
    return Plan(partition, epoch, tuple(visits))


def message_visit(problem: Problem, link: int, direction: int, size_bytes: float) -> Visit:
    """A message over one link direction."""
    n = problem.n_devices
    return Visit(
        n + station_of(problem, link, direction),
        n + 2 * link + direction,
        -1,
        link,
        direction,
        size_bytes * BITS_PER_BYTE,
        size_bytes,
    )


def work_visit(device: int, nominal_s: float) -> Visit:
    """Work on a device."""
    return Visit(device, device, device, -1, 0, nominal_s, 0.0)
