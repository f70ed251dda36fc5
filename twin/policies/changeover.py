"""What a change of the partition costs, in the units of the score, and how long its weights travel."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from twin.cost import predict, route_of, station_of
from twin.search import score_of
from twin.units import BITS_PER_BYTE

if TYPE_CHECKING:
    from twin.partition import Partition
    from twin.problem import Conditions, Problem


class Changeover(NamedTuple):
    """A change from one partition to another.

    Attributes:
        score: Score of one request times the requests that the change costs: those held back, and joules of loading.
        loading_s: Time for which the old partition still serves, until all weights have arrived; infinite over a link
            without rate.
    """

    score: float
    loading_s: float


def changeover(problem: Problem, running: Partition, wanted: Partition, conditions: Conditions) -> Changeover:
    """Cost a change under given conditions.

    New requests are held back for the downtime, and those that cross a link on which weights travel wait for them.
    In open loop, requests at rate r that are held for a time d wait r * d^2 / 2 in all, and others wait until those
    are worked off: r * d^2 / (2 * (1 - rho)) together, with rho the utilisation of the new partition's bottleneck (a
    fluid queue: Newell 1982, Applications of Queueing Theory, chapter 2). In closed loop each client waits for d.

    Args:
        problem: Gives the cost of switches, the demand and the objective.
        running: The partition in force.
        wanted: The partition to come.
        conditions: State of the links.
    """
    switch = problem.switch
    if running == wanted or not (switch.downtime_s or switch.energy_j or switch.weights_from is not None):
        return Changeover(0.0, 0.0)
    gains = problem.gained_bytes(running, wanted)
    loading_s, in_the_way_s = _weights_s(problem, running, gains, conditions)
    bottleneck_s = predict(problem, wanted, conditions).bottleneck_s
    held_s = sum(_held_s(problem, time_s, bottleneck_s) for time_s in (switch.downtime_s, in_the_way_s))
    return Changeover(score_of(problem, held_s, switch.energy_j * len(gains)), loading_s)


def _weights_s(
    problem: Problem, running: Partition, gains_bytes: dict[int, float], conditions: Conditions
) -> tuple[float, float]:
    """Time until all weights have arrived, and for which they hold a link that the running partition uses.

    Weights of different devices are taken to wait for each other on the links that they share.
    """
    source = problem.switch.weights_from
    if source is None:
        return 0.0, 0.0
    held_s: dict[int, float] = {}
    loading_s = 0.0
    for device, size_bytes in sorted(gains_bytes.items()):
        arrival_s = 0.0
        for hop in problem.continuum.path(source, device):
            rate_bps = float(conditions.rate_bps[hop.link, hop.direction])
            station = station_of(problem, hop.link, hop.direction)
            sending_s = size_bytes * BITS_PER_BYTE / rate_bps if rate_bps > 0 else float("inf")
            held_s[station] = held_s.get(station, 0.0) + (sending_s if size_bytes else 0.0)
            arrival_s += held_s[station]
        loading_s = max(loading_s, arrival_s)
    used = {station_of(problem, hop.link, hop.direction) for hop, _ in route_of(problem, running).messages}
    return loading_s, max((time_s for station, time_s in held_s.items() if station in used), default=0.0)


def _held_s(problem: Problem, time_s: float, bottleneck_s: float) -> float:
    """Time that all requests together wait when they are held back for a time; what never drains is left out."""
    rate_rps = problem.demand.rate_rps
    if rate_rps is None:
        return problem.demand.clients * time_s
    free = 1 - rate_rps * bottleneck_s
    return rate_rps * time_s**2 / (2 * free if free > 0 else 2)
