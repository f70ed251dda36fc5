"""What can be reached, what else can be done, and how large a message tells how fast the way there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twin.cost import route_of
from twin.search.space import situation_of
from twin.units import BITS_PER_BYTE

if TYPE_CHECKING:
    from twin.partition import Partition
    from twin.problem import Conditions, Observation, Problem

SMALL_PROBE_BYTES = 1_000.0
"""Size of the small message of a probe, which tells the round-trip time."""
_LEAST_BYTES, _MOST_BYTES = 16_000.0, 400_000.0


def large_probe_bytes(rate_bps: float, time_s: float) -> float:
    """Size of the large message of a probe, which may take about `time_s` at the last known goodput."""
    return min(max(rate_bps * time_s / BITS_PER_BYTE, _LEAST_BYTES), _MOST_BYTES)


def usable(problem: Problem, observation: Observation) -> Conditions:
    """The estimated conditions, with a goodput of zero on links that are down or lead to a lost device."""
    return situation_of(problem, observation.conditions, observation.available, observation.link_up).conditions


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
    if (observation.available.all() and observation.link_up.all()) or is_reachable(problem, partition, observation):
        return partition, False
    edge_only = problem.on_device(0)
    return (edge_only, True) if problem.allows(edge_only) else (partition, False)
