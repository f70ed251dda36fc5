"""Whether a partition can be carried out with what is there, and what else can be done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twin.cost import route_of

if TYPE_CHECKING:
    from twin.partition import Partition
    from twin.problem import Observation, Problem


def is_reachable(problem: Problem, partition: Partition, observation: Observation) -> bool:
    """Whether every device and link on a request's way is there, relays and the way of the answer included."""
    route = route_of(problem, partition)
    devices = {device for device, *_ in route.stages}
    for hop, _ in route.messages:
        devices |= {hop.sender, hop.receiver}
        if not observation.link_up[hop.link]:
            return False
    return all(observation.available[device] for device in devices)


def or_edge_only(problem: Problem, partition: Partition, observation: Observation) -> tuple[Partition, bool]:
    """A partition, or all on the edge while it cannot be reached and the edge may hold everything.

    Returns:
        The partition, and whether it is the fallback.
    """
    if is_reachable(problem, partition, observation):
        return partition, False
    edge_only = problem.on_device(0)
    return (edge_only, True) if problem.allows(edge_only) else (partition, False)
