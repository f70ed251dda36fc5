"""The events engine: plays every feature of a scenario on SimPy's event loop.

A FIFO station knows when a job will end the moment the job arrives, so a visit costs one event: the arrival at the
next station. What is caught on a lost device is taken off its station and its pending event does nothing.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from twin.control import Controller
from twin.energy import power_samples
from twin.engine.clock import Clock
from twin.engine.faults import Faults, faulted_rates
from twin.engine.loop import Arrivals, Ticker
from twin.engine.plan import Plan, message_visit, work_visit
from twin.engine.recorder import RequestColumns, SampleColumns, SpanColumns
from twin.engine.station import Job, Station
from twin.engine.switching import Switch
from twin.problem import LinkProbe
from twin.records import LOAD, PROBE, Kind, Outcome, Reason, RunResult
from twin.workload import ServiceNoise

if TYPE_CHECKING:
    from collections.abc import Callable

    from twin.control import Policy
    from twin.engine.plan import Visit
    from twin.problem import Decision, Probe
    from twin.world import World

FIRST_RANK = 10
"""Rank of request 0 among events at the same time; requests follow in order, everything else goes before."""
PROBE_RANK = 5


class EventsEngine:
    """The simulated backend that supports every feature.

    Args:
        service: Replaces the sampled service time of a stage visit: given device, request and the nominal seconds,
            returns the seconds of work. Used to check the engine against queueing theory.
    """

    def __init__(self, service: Callable[[int, int, float], float] | None = None) -> None:
        self._service = service

    def run(self, world: World, policy: Policy[Any], label: str, replication: int) -> RunResult:
        """Play one policy once; see `twin.backend.Backend`."""
        return Play(world, policy, replication, self._service).play(label)


class Play:
    """One policy being played once.

    Args:
        world: The scenario, resolved.
        policy: The policy.
        replication: Number of the replication.
        service: See `EventsEngine`.
    """

    def __init__(
        self,
        world: World,
        policy: Policy[Any],
        replication: int,
        service: Callable[[int, int, float], float] | None = None,
    ) -> None:
        self.world = world
        self.problem = world.problem
        self.replication = replication
        self.clock = Clock()
        self.controller = Controller(policy, world.problem, replication)
        self.requests = RequestColumns()
        self.spans = SpanColumns()
        self.samples = SampleColumns()
        noise = ServiceNoise(world.dispersion, world.seed, replication)
        self._service = service or (lambda device, request, nominal_s: nominal_s * noise.factor(device, request))
        continuum = world.problem.continuum
        self.stations = [Station(device.slots) for device in continuum.devices]
        self.stations += [Station() for _ in range(2 * len(continuum.links))]
        self._rates = [rate.finish for rate in faulted_rates(world)]
        self._sent_s = [-np.inf] * len(self._rates)
        self.faults = Faults(self)
        self.switch = Switch(self)
        self.ticker = Ticker(self)
        self.arrivals = Arrivals(self)
        self.under_way = 0
        self.stuck = 0

    def play(self, label: str) -> RunResult:
        """Play to the end and return the records."""
        self.ticker.tick(0.0)
        self.faults.start()
        self.arrivals.start()
        self.clock.play(self.is_over)
        spans = self.spans.table(self.replication, self._cut_off())
        decisions = tuple(self.controller.log)
        requests = self.requests.table(self.replication, self.world.workload)
        power = power_samples(self.world, requests, spans, decisions)
        raw = self.controller.raw
        return RunResult(label, "simulated", requests, spans, power, raw, decisions, {"engine": "events"})

    def is_over(self) -> bool:
        """Whether nothing can happen any more that counts."""
        if self.arrivals.over:
            return self.under_way == 0 or self.clock.peek() > self.arrivals.limit_s
        return self.arrivals.all_stuck and self.faults.pending == 0

    def release(self, request: int, now_s: float) -> None:
        """Send a request on its way, or hold it back while the partition changes."""
        if now_s < self.switch.held_until_s:
            held_until_s = self.switch.held_until_s
            self.spans.add(request, self.switch.plan.epoch, Kind.HOLD, 0, now_s, held_until_s, 0.0)
            self.clock.call_at(held_until_s, FIRST_RANK + request, self.release, request, held_until_s)
            return
        self.requests.epoch[request] = self.switch.plan.epoch
        job = Job(request, self.switch.plan)
        if self.clock.peek() > now_s:
            self.advance(job, now_s)
        else:
            # Earlier requests may enter the same station at this very time; they go first.
            self.clock.call_at(now_s, FIRST_RANK + request, self.advance, job, now_s)

    def advance(self, job: Job, now_s: float) -> None:
        """Let a job enter the station of its present visit."""
        visit = job.plan.visits[job.step]
        if self.faults.lost(visit):
            self._lose(job, now_s)
            return
        station = self.stations[visit.station]
        if visit.device >= 0:
            if self._drops(station, visit.device, now_s):
                self.end(job, now_s, Outcome.DROPPED, Reason.QUEUE_LIMIT)
                return
            luck_of = job.request if job.request >= 0 else len(self.requests)
            amount = self._service(visit.device, luck_of, visit.amount)
            station.admit(job, now_s, self._rates[visit.place], amount)
            delay_s = 0.0
        else:
            station.admit(job, now_s, self._rates[visit.place], visit.amount)
            delay_s = self._delay_s(visit, job)
        if job.finish_s < np.inf:
            rank = FIRST_RANK + job.request if job.request >= 0 else PROBE_RANK
            self.clock.call_at(job.finish_s + delay_s, rank, self._served, job, delay_s)
        elif job.request >= 0:
            self.stuck += 1

    def end(self, job: Job, now_s: float, outcome: Outcome, reason: Reason = Reason.NONE) -> None:
        """End a request."""
        job.alive = False
        if job.request < 0:
            return
        answered = outcome <= Outcome.LATE
        self.requests.end(job.request, now_s if answered else np.nan, outcome, reason)
        self.under_way -= 1
        self.arrivals.ended(job.request, now_s, lost=reason == Reason.LOST)

    def caught(self, job: Job, now_s: float) -> None:
        """Take a job off a station that was lost while the job was there."""
        self.stuck -= job.finish_s == np.inf and job.request >= 0
        place = job.plan.visits[job.step].place
        self._sent_s[place] = min(self._sent_s[place], now_s)
        self._record(job, now_s)
        self._lose(job, now_s)

    def decide(self, now_s: float, arrived: int) -> Decision:
        """Ask the policy and carry out what it decides."""
        links = range(len(self.problem.continuum.links))
        decision = self.controller.tick(
            now_s,
            self.samples.take(now_s, self._under_way(now_s)),
            queue_length=np.array([len(self.stations[device]) for device in range(self.problem.n_devices)]),
            link_queue=self._link_queue(),
            arrived=arrived,
            available=np.array([device not in self.faults.lost_devices for device in range(self.problem.n_devices)]),
            link_up=np.array([link not in self.faults.lost_links for link in links], dtype=bool),
        )
        self.switch.to(decision.partition, self.controller.epoch, now_s)
        for probe in decision.probes:
            self._probe(probe, now_s)
        return decision

    def _lose(self, job: Job, now_s: float) -> None:
        """A job cannot go on: a request is sent once more, on the plan now in force; weights are sent again."""
        job.alive = False
        if job.request == LOAD:
            self.switch.load_lost(job, now_s)
        elif job.request >= 0 and self.requests.replays[job.request] == 0:
            self.requests.replays[job.request] = 1
            self.release(job.request, now_s)
        elif job.request >= 0:
            self.end(job, now_s, Outcome.FAILED, Reason.LOST)

    def _probe(self, probe: Probe, now_s: float) -> None:
        if isinstance(probe, LinkProbe):
            visit = message_visit(self.problem, probe.link, probe.direction, probe.size_bytes)
        else:
            if len(self.stations[probe.device]) > 0:
                return
            work_s = self.problem.layer_time_s[probe.device, list(probe.layers)].sum()
            visit = work_visit(probe.device, float(work_s + self.problem.stage_overhead_s[probe.device]))
        if not self.faults.lost(visit):
            self.advance(Job(PROBE, Plan(self.switch.plan.partition, self.switch.plan.epoch, (visit,))), now_s)

    def _under_way(self, now_s: float) -> list[tuple[int, int, float, float]]:
        """Messages that are being sent and stages that are being computed, as `SampleColumns.take` wants them."""
        rows = []
        for station in self.stations:
            for job in station.serving(now_s):
                visit = job.plan.visits[job.step]
                if visit.device >= 0:
                    rows.append((-1, visit.device, visit.amount, job.start_s))
                else:
                    rows.append((visit.link, visit.direction, visit.size_bytes, job.start_s))
        return rows

    def _link_queue(self) -> np.ndarray:
        """Messages waiting or being sent per link and direction, shape [n_links, 2]."""
        n, links = self.problem.n_devices, len(self.problem.continuum.links)
        queue = np.zeros((links, 2), dtype=np.int64)
        for station in self.stations[n:]:
            for job in station:
                visit = job.plan.visits[job.step]
                queue[visit.link, visit.direction] += 1
        return queue

    def _drops(self, station: Station, device: int, now_s: float) -> bool:
        limit = self.problem.continuum.devices[device].queue_limit
        return limit is not None and station.is_full(now_s) and station.waiting(now_s) >= limit

    def _delay_s(self, visit: Visit, job: Job) -> float:
        """What a message takes beside its transmission; half the rtt is read at the transmission's end."""
        if job.finish_s == np.inf:
            return 0.0
        idle_since_s, self._sent_s[visit.place] = self._sent_s[visit.place], job.finish_s
        link = self.problem.continuum.links[visit.link]
        delay_s = link.message_overhead_s + self.world.links[visit.link].rtt.at(job.finish_s) / 2
        if link.slow_start_s and job.start_s - idle_since_s > link.slow_start_idle_s:
            delay_s += link.slow_start_s
        return delay_s

    def _served(self, job: Job, delay_s: float) -> None:
        """A job has left its station and is where it goes next."""
        if not job.alive:
            return
        visit = job.plan.visits[job.step]
        self.stations[visit.station].leave(job)
        self._record(job, job.finish_s)
        now_s = job.finish_s + delay_s
        if visit.device < 0:
            self.spans.add(job.request, job.plan.epoch, Kind.PROPAGATE, visit.place, job.finish_s, now_s, 0.0)
        if self.controller.looks:
            self._sample(visit, job, now_s)
        job.step += 1
        if job.step < len(job.plan.visits):
            self.advance(job, now_s)
        elif job.request >= 0:
            self._answer(job, now_s)
        elif job.request == LOAD:
            self.switch.loaded(job, now_s)

    def _sample(self, visit: Visit, job: Job, now_s: float) -> None:
        """Let the policy know of a visit, of a message once its receipt is back."""
        if visit.device >= 0:
            self.samples.stage(now_s, visit.device, visit.amount, job.finish_s - job.start_s)
        else:
            back_s = self.world.links[visit.link].rtt.at(job.finish_s) / 2
            transfer_s = now_s - job.start_s + back_s
            self.samples.message(now_s + back_s, visit.link, visit.direction, visit.size_bytes, transfer_s)

    def _answer(self, job: Job, now_s: float) -> None:
        latency_s = now_s - self.requests.arrival_s[job.request]
        deadline_s = self.problem.objective.deadline_s
        late = deadline_s is not None and latency_s > deadline_s
        if self.controller.looks:
            self.samples.done(now_s, latency_s, job.plan.epoch)
        self.end(job, now_s, Outcome.LATE if late else Outcome.OK)

    def _record(self, job: Job, until_s: float) -> None:
        """Record the wait for the present station and the service there."""
        visit, epoch = job.plan.visits[job.step], job.plan.epoch
        if job.start_s > job.arrived_s:
            self.spans.add(job.request, epoch, Kind.QUEUE, visit.place, job.arrived_s, min(job.start_s, until_s), 0.0)
        if until_s > job.start_s:
            kind = Kind.COMPUTE if visit.device >= 0 else Kind.TRANSMIT
            self.spans.add(job.request, epoch, kind, visit.place, job.start_s, until_s, visit.size_bytes)

    def _cut_off(self) -> float:
        """Record what was still under way when the run ended, and name what could never have ended.

        Returns:
            When the run ended.
        """
        now_s = self.arrivals.limit_s if self.arrivals.over and self.under_way else float(self.clock.now)
        for job in itertools.chain(*self.stations):
            visit = job.plan.visits[job.step]
            self._record(job, min(job.finish_s, now_s))
            if visit.device < 0 and job.finish_s < now_s:
                self.spans.add(job.request, job.plan.epoch, Kind.PROPAGATE, visit.place, job.finish_s, now_s, 0.0)
            if job.request >= 0 and job.finish_s == np.inf:
                self.requests.end(job.request, np.nan, Outcome.FAILED, Reason.NO_CAPACITY)
        return now_s
