"""The way of a request through the stations of the events engine, looked up once for each plan."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from twin.engine.station import Job
from twin.engine.windows import at_of, finish_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twin.engine.plan import Plan, Visit
    from twin.engine.recorder import SpanColumns
    from twin.engine.station import Station
    from twin.steps import Steps
    from twin.workload import ServiceNoise
    from twin.world import World


class Stop:
    """One visit of a plan, with all that the engine needs to know of it.

    Attributes:
        visit: The visit.
        epoch: Plan epoch.
        number: What `SpanColumns` calls it.
        after: The next one; None after the last.
        device: Position of the device that computes, or -1 for a message.
        amount: Seconds of nominal work, or bits.
        station: The station.
        finish: When an amount of work that starts at a time is done.
        luck: Factor of a request's work, or None where there is none.
        queue_limit: How many jobs may wait, or None.
        overhead_s: Message overhead; 0 for work.
        slow_start_s: What a message takes longer after a pause; 0 for work.
        slow_start_idle_s: Length of such a pause.
        rtt_at: Round-trip time of the link at a time; of no use for work.
    """

    __slots__ = (
        "after",
        "amount",
        "device",
        "epoch",
        "finish",
        "luck",
        "number",
        "overhead_s",
        "queue_limit",
        "rtt_at",
        "slow_start_idle_s",
        "slow_start_s",
        "station",
        "visit",
    )

    def __init__(self, world: World, visit: Visit, epoch: int, number: int, station: Station, rate: Steps) -> None:
        self.visit, self.epoch, self.number = visit, epoch, number
        self.station, self.finish = station, finish_of(rate)
        self.device, self.amount = visit.device, visit.amount
        self.after: Stop | None = None
        self.luck: Callable[[int], float] | None = None
        self.queue_limit: int | None = None
        self.overhead_s = self.slow_start_s = self.slow_start_idle_s = 0.0
        self.rtt_at: Callable[[float], float] = float
        if visit.device >= 0:
            self.queue_limit = world.problem.continuum.devices[visit.device].queue_limit
        else:
            link = world.problem.continuum.links[visit.link]
            self.overhead_s = link.message_overhead_s
            self.slow_start_s, self.slow_start_idle_s = link.slow_start_s, link.slow_start_idle_s
            self.rtt_at = at_of(world.links[visit.link].rtt)


class Stops:
    """Lays out plans as stops.

    Args:
        world: The scenario.
        stations: The stations.
        rates: Rate at which each place delivers work.
        spans: Numbers the stops.
        noise: Luck of each device.
    """

    def __init__(
        self,
        world: World,
        stations: Sequence[Station],
        rates: Sequence[Steps],
        spans: SpanColumns,
        noise: ServiceNoise,
    ) -> None:
        self._world, self._stations, self._rates, self._spans = world, stations, rates, spans
        self._luck = [noise.of(device) for device in range(world.problem.n_devices)]
        self._plan: Plan | None = None
        self._first: Stop | None = None

    def job(self, request: int, plan: Plan) -> Job:
        """A job at the first stop of a plan."""
        if plan is not self._plan or self._first is None:
            self._plan, self._first = plan, self._laid_out(plan)
        return Job(request, plan, self._first)

    def _laid_out(self, plan: Plan) -> Stop:
        stops = [self._stop(visit, plan.epoch) for visit in plan.visits]
        for stop, after in itertools.pairwise(stops):
            stop.after = after
        return stops[0]

    def _stop(self, visit: Visit, epoch: int) -> Stop:
        number = self._spans.number(visit, epoch)
        stop = Stop(self._world, visit, epoch, number, self._stations[visit.station], self._rates[visit.place])
        if visit.device >= 0:
            stop.luck = self._luck[visit.device]
        return stop
