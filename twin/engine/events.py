"""The events engine: plays every feature of a scenario on SimPy's event loop.

A FIFO station knows when a job will end the moment the job arrives, so a visit costs one event: the arrival at the
next station. What is caught on a lost device is taken off its station and its pending event does nothing.
"""

from __future__ import annotations

import itertools
import math
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from twin.columns import RequestColumns, SampleColumns
from twin.control import Controller
from twin.driving import Arrivals, Ticker
from twin.energy import Busy, power_samples
from twin.engine.clock import Clock
from twin.engine.faults import Faults
from twin.engine.plan import Plan, message_visit, work_visit
from twin.engine.recorder import SpanColumns
from twin.engine.station import FIRST_RANK, Station
from twin.engine.stops import Stops
from twin.engine.switching import Switch
from twin.problem import LinkProbe
from twin.records import LOAD, PROBE, Outcome, Reason, RunResult, Spans
from twin.workload import ServiceNoise
from twin.world import faulted_rates

if TYPE_CHECKING:
    from collections.abc import Callable

    from twin.control import Policy
    from twin.engine.station import Job
    from twin.engine.stops import Stop
    from twin.problem import Decision, Probe
    from twin.world import World


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
        self._service = service
        noise = ServiceNoise(world.dispersion, world.seed, replication)
        continuum, rates = world.problem.continuum, faulted_rates(world)
        self.stations = [Station(device.slots) for device in continuum.devices]
        self.stations += [Station() for _ in range(2 * len(continuum.links))]
        self.stops = Stops(world, self.stations, rates, self.spans, noise)
        self._sent_s = [-math.inf] * len(rates)
        self._on_served, self._call_job = (self._served,), self.clock.job_caller()
        self.faults = Faults(self)
        self.switch = Switch(self)
        self.ticker = Ticker(self)
        self.arrivals = Arrivals(self)
        self.under_way = 0
        self.stuck = 0
        self._visited, self._looks = self.spans.visited, self.controller.looks

    @property
    def retry_s(self) -> float:
        """Time after which what was lost is tried again."""
        return self.faults.retry_s

    def play(self, label: str) -> RunResult:
        """Play to the end and return the records."""
        self.ticker.tick(0.0)
        self.faults.start()
        self.arrivals.start()
        self.clock.play(self.is_over)
        visits = self.spans.visits(self.replication, self._cut_off())
        decisions = tuple(self.controller.log)
        requests = self.requests.table(self.replication, self.world.workload)
        spans, busy = Spans.deferred([visits]), Busy(visits.last_s, partial(visits.busy_s, self.problem))
        power = power_samples(self.world, requests, spans, decisions, busy=busy)
        raw = self.controller.raw
        return RunResult(label, "simulated", requests, spans, power, raw, decisions, {"engine": "events"})

    def is_over(self) -> bool:
        """Whether nothing can happen any more that counts."""
        if self.arrivals.over:
            return self.under_way == 0 or self.clock.peek() > self.arrivals.limit_s
        return self.stuck > 0 and self.arrivals.all_stuck and self.faults.pending == 0

    def release(self, request: int, now_s: float) -> None:
        """Send a request on its way, or hold it back while the partition changes."""
        if now_s < self.switch.held_until_s:
            held_until_s = self.switch.held_until_s
            self.spans.held(request, self.switch.plan.epoch, now_s, held_until_s)
            self.clock.call_at(held_until_s, FIRST_RANK + request, self.release, request, held_until_s)
            return
        plan = self.switch.plan
        self.requests.epoch[request] = plan.epoch
        self.spans.pack()
        job = self.stops.job(request, plan)
        if self.clock.peek() > now_s:
            self.advance(job, now_s)
        else:
            # Earlier requests may enter the same station at this very time; they go first.
            self.clock.call_at(now_s, FIRST_RANK + request, self.advance, job, now_s)

    def advance(self, job: Job, now_s: float) -> None:
        """Let a job enter the station of its present visit."""
        stop, request = job.stop, job.request
        if self.faults.any_lost and self.faults.lost(stop.visit):
            self._lose(job, now_s)
            return
        station, amount = stop.station, stop.amount
        if stop.queue_limit is not None and station.is_full(now_s) and station.waiting(now_s) >= stop.queue_limit:
            self.end(job, now_s, Outcome.DROPPED, Reason.QUEUE_LIMIT)
            return
        if self._service is not None and stop.device >= 0:
            amount = self._service(stop.device, request if request >= 0 else len(self.requests), amount)
        elif stop.luck is not None:
            amount *= stop.luck(request if request >= 0 else len(self.requests))
        station.admit(job, now_s, stop.finish, amount)
        finish_s = job.finish_s
        if finish_s < math.inf:
            if stop.device >= 0:
                leave_s = finish_s
            elif stop.slow_start_s:
                leave_s = finish_s + self._delay_s(stop, job)
            else:
                leave_s = finish_s + (stop.overhead_s + stop.rtt_at(finish_s) / 2)
            job.leave_s, job.callbacks = leave_s, self._on_served
            self._call_job(leave_s, job)
        elif request >= 0:
            self.stuck += 1
            self.clock.may_end = True

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
        place = job.stop.visit.place
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
            plan = Plan(self.switch.plan.partition, self.switch.plan.epoch, (visit,))
            self.advance(self.stops.job(PROBE, plan), now_s)

    def _under_way(self, now_s: float) -> list[tuple[int, int, float, float]]:
        """Messages that are being sent and stages that are being computed, as `SampleColumns.take` wants them."""
        rows = []
        for station in self.stations:
            for job in station.serving(now_s):
                visit = job.stop.visit
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
                visit = job.stop.visit
                queue[visit.link, visit.direction] += 1
        return queue

    def _delay_s(self, stop: Stop, job: Job) -> float:
        """What a message takes beside its transmission; half the rtt is read at the transmission's end.

        Of a link without slow start, `advance` adds it up itself.
        """
        delay_s, place = stop.overhead_s + stop.rtt_at(job.finish_s) / 2, stop.visit.place
        if job.start_s - self._sent_s[place] > stop.slow_start_idle_s:
            delay_s += stop.slow_start_s
        self._sent_s[place] = job.finish_s
        return delay_s

    def _served(self, job: Job) -> None:
        """A job has left its station and is where it goes next."""
        if not job.alive:
            return
        stop, now_s = job.stop, job.leave_s
        jobs = stop.station.jobs
        if jobs[0] is job:
            jobs.popleft()
        else:
            jobs.remove(job)
        self._visited((job.request, stop.number, job.arrived_s, job.start_s, job.finish_s, now_s))
        if self._looks:
            self._sample(stop, job)
        after = stop.after
        if after is not None:
            job.stop = after
            self.advance(job, now_s)
        elif job.request >= 0:
            self._answer(job, now_s)
        elif job.request == LOAD:
            self.switch.loaded(job, now_s)

    def _sample(self, stop: Stop, job: Job) -> None:
        """Let the policy know of a visit, of a message once its receipt is back."""
        visit = stop.visit
        if visit.device >= 0:
            self.samples.stage(job.leave_s, visit.device, visit.amount, job.finish_s - job.start_s)
        else:
            back_s = stop.rtt_at(job.finish_s) / 2
            transfer_s = job.leave_s - job.start_s + back_s
            self.samples.message(job.leave_s + back_s, visit.link, visit.direction, visit.size_bytes, transfer_s)

    def _answer(self, job: Job, now_s: float) -> None:
        latency_s = now_s - self.requests.arrival_s[job.request]
        deadline_s = self.problem.objective.deadline_s
        late = deadline_s is not None and latency_s > deadline_s
        if self.controller.looks:
            self.samples.done(now_s, latency_s, job.plan.epoch)
        self.end(job, now_s, Outcome.LATE if late else Outcome.OK)

    def _record(self, job: Job, until_s: float, there_s: float = math.nan) -> None:
        """Record a visit that is cut short: until when it was served, and until when it was then on its way."""
        self.spans.visited((job.request, job.stop.number, job.arrived_s, job.start_s, until_s, there_s))

    def _cut_off(self) -> float:
        """Record what was still under way when the run ended, and name what could never have ended.

        Returns:
            When the run ended.
        """
        now_s = self.arrivals.limit_s if self.arrivals.over and self.under_way else float(self.clock.now)
        for job in itertools.chain(*self.stations):
            self._record(job, min(job.finish_s, now_s), now_s if job.finish_s < now_s else math.nan)
            if job.request >= 0 and job.finish_s == np.inf:
                self.requests.end(job.request, np.nan, Outcome.FAILED, Reason.NO_CAPACITY)
        return now_s
