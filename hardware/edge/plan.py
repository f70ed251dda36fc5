"""A partition as the edge sees it: who takes part, and what the way of a request rests on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from twin.cost import route_of

if TYPE_CHECKING:
    from hardware.edge.presence import Place
    from twin.partition import Partition
    from twin.problem import Problem


@dataclass(frozen=True, slots=True)
class EdgePlan:
    """A partition with its plan epoch.

    Attributes:
        partition: The partition.
        epoch: Its plan epoch.
        devices: The devices that run a stage, in order.
        uses: All devices and links that a request passes.
    """

    partition: Partition
    epoch: int
    devices: tuple[int, ...]
    uses: frozenset[Place]


def edge_plan(problem: Problem, partition: Partition, epoch: int) -> EdgePlan:
    """Lay out what a partition rests on."""
    route = route_of(problem, partition)
    devices = tuple(stage[0] for stage in route.stages)
    passed = {device for hop, _ in route.messages for device in (hop.sender, hop.receiver)}
    uses = {("device", device) for device in passed.union(devices) if device != 0}
    uses |= {("link", hop.link) for hop, _ in route.messages}
    return EdgePlan(partition, epoch, devices, frozenset(uses))
