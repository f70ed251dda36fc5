"""The run as the edge leads it: requests arrive, the controller decides, answers come, what is lost is sent again.

Everything that must survive the loss of the other machines lives here, and nothing here waits for them.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from hardware.edge.clock import RunClock
from hardware.edge.feed import Feed
from hardware.edge.presence import Presence
from hardware.edge.switching import Switch
from twin.columns import RequestColumns, SampleColumns
from twin.control import Controller
from twin.driving import Arrivals, Ticker
from twin.records import Outcome, Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from hardware.edge.plan import EdgePlan
    from hardware.edge.report import Report
    from hardware.edge.switching import SwitchMode
    from hardware.transport.loop import Loop
    from twin.control import Policy
    from twin.problem import Decision, Probe
    from twin.world import World

_LEAST_RETRY_S = 1e-3
_PRESENCE_RANK = 0
_LOOKS_PER_DETECTION = 8
_LEAST_LOOK_S = 0.02


class Site(Protocol):
    """What the machine at the edge does for its conductor."""

    def send(self, request: int, attempt: int, plan: EdgePlan) -> None:
        """Put a request on its way."""
        ...

    def announce(self, plan: EdgePlan, devices: tuple[int, ...]) -> None:
        """Tell machines to prepare a plan."""
        ...

    def probe(self, probe: Probe, epoch: int) -> None:
        """Let a machine measure a link or a stage."""
        ...

    def report(self) -> Report:
        """How things stand on this machine, with its measurements since the last report."""
        ...

    def held(self, request: int, epoch: int, start_s: float, end_s: float) -> None:
        """Note that a request was held back, in run time."""
        ...


@dataclass(frozen=True, slots=True)
class Options:
    """How a run is led.

    Attributes:
        switch: How the partition is changed.
        downtime_s: Time for which every change holds back new requests beside what it really takes.
        shift_s: What to add to each device's monotonic clock to get that of the edge, by device.
        follow: Whether somebody follows the run and wants to be told what is measured.
    """

    switch: SwitchMode = "epoch"
    downtime_s: float = 0.0
    shift_s: tuple[float, ...] = ()
    follow: bool = False


class Conductor:
    """Leads one run.

    Attributes:
        duplicates: Answers that came when their request had ended already; they change nothing.
        over: Whether the run is over.
        feed: What is kept for whoever follows the run; None if nobody does.

    Args:
        world: The scenario, resolved.
        policy: The policy.
        replication: Number of the replication.
        loop: The loop of this machine.
        site: This machine.
        options: How the run is led.
        on_over: Called once when the run is over.
    """

    def __init__(
        self,
        world: World,
        policy: Policy[Any],
        replication: int,
        *,
        loop: Loop,
        site: Site,
        options: Options,
        on_over: Callable[[], None],
    ) -> None:
        self.world, self.replication = world, replication
        self.clock = RunClock(loop)
        self.requests = RequestColumns()
        self.controller = Controller(policy, world.problem, replication)
        self.under_way = self.stuck = 0
        self.duplicates = 0
        self.over = False
        self._site, self._options, self._on_over = site, options, on_over
        self.feed = Feed() if options.follow else None
        self._samples = SampleColumns()
        self._last: dict[int, Report] = {}
        self._sent: dict[int, EdgePlan] = {}
        self._held: dict[int, float] = {}
        self._failed: list[list[int]] = []
        self._downtimes = 0
        self.presence = Presence(world.problem.continuum, world.detect_s)
        self.switch = Switch(
            world.problem,
            site.announce,
            self._plan_active,
            mode=options.switch,
            downtime_s=options.downtime_s,
        )
        self.ticker = Ticker(self)
        self.arrivals = Arrivals(self)

    @property
    def retry_s(self) -> float:
        """Time after which what was lost is tried again."""
        return max(self.world.detect_s, _LEAST_RETRY_S)

    def prepare(self) -> None:
        """Make the first decision; the run can start once `switch.plan` is there."""
        self.ticker.tick(0.0)

    def start(self, zero_s: float) -> None:
        """Let run time 0 be `zero_s` of this machine's monotonic clock."""
        for device in range(self.world.problem.n_devices):
            self.presence.heard(device, 0.0)
        self.clock.start(zero_s)
        self.arrivals.start()
        self._look(0.0)

    def halt(self) -> None:
        """End the run here and now."""
        if not self.over:
            self.over = True
            self.clock.stop()
            self._on_over()

    def decide(self, now_s: float, arrived: int) -> Decision:
        """Ask the policy and carry out what it decides, and see to what has failed meanwhile."""
        self._absorb(self._site.report())
        # What has been absorbed may be a little younger than the time that this tick was meant for.
        now_s = max(now_s, self.clock.now_s)
        problem = self.world.problem
        queue_length = np.zeros(problem.n_devices, dtype=np.int64)
        link_queue = np.zeros((len(problem.continuum.links), 2), dtype=np.int64)
        for device, report in self._last.items():
            queue_length[device] = report.queue
            for link, direction, number in report.lanes:
                link_queue[link, direction] = number
        before_s = time.monotonic()
        decision = self.controller.tick(
            now_s,
            self._samples.take(now_s, self._under_way(now_s)),
            queue_length=queue_length,
            link_queue=link_queue,
            arrived=arrived,
            available=self.presence.available,
            link_up=self.presence.link_up,
        )
        self.controller.log[-1]["took_s"] = time.monotonic() - before_s
        if self.feed is not None:
            self.feed.plan(self.controller.epoch, now_s, decision.partition.placement)
        self.switch.to(decision.partition, self.controller.epoch, now_s, self.presence.lost)
        for probe in decision.probes:
            self._site.probe(probe, self.controller.epoch)
        self._see_to_failed()
        return decision

    def release(self, request: int, now_s: float) -> None:
        """Send a request on its way, or hold it back while the partition changes."""
        plan = self.switch.plan
        if plan is None or self._downtimes or self.switch.holds(self.presence.lost):
            self._held[request] = now_s
            return
        self.requests.epoch[request] = plan.epoch
        self._sent[request] = plan
        if plan.uses & self.presence.lost:
            self.lost(request, self.requests.replays[request])
        else:
            self._site.send(request, self.requests.replays[request], plan)

    def answered(self, request: int) -> bool:
        """An answer is there; False if its request has ended already, or the run.

        What was lost on its way to the edge and waits to be sent again may be answered all the same.
        """
        now_s = self.clock.now_s
        is_open = request in self._sent or (request in self._held and self.requests.replays[request] > 0)
        if self.over or not is_open or now_s > self.arrivals.limit_s:
            self.duplicates += not is_open
            return False
        latency_s = now_s - self.requests.arrival_s[request]
        if self.controller.looks:
            self._samples.done(now_s, latency_s, self.requests.epoch[request])
        deadline_s = self.world.problem.objective.deadline_s
        late = deadline_s is not None and latency_s > deadline_s
        self._end(request, now_s, Outcome.LATE if late else Outcome.OK)
        return True

    def lost(self, request: int, attempt: int) -> None:
        """A request cannot go on: it is sent once more, on the plan then in force, and fails if that is lost too."""
        if self.over or request not in self._sent or attempt != self.requests.replays[request]:
            return
        now_s = self.clock.now_s
        if attempt == 0:
            del self._sent[request]
            self.requests.replays[request] = 1
            self.release(request, now_s)
            # A change that waits for what is under way waits for one less.
            self.switch.review(now_s, len(self._sent))
        else:
            self._end(request, now_s, Outcome.FAILED, Reason.LOST)

    def hear(self, report: Report) -> None:
        """Take in what a machine reports, and act on it.

        Raises:
            TransportError: The report does not fit the scenario.
        """
        if self.over:
            return
        report.check(self.world.problem.continuum)
        self._absorb(report)
        self.review()
        if report.device != 0:
            self.switch.heard(report.device, report.plans, self.clock.now_s, len(self._sent))
        self._see_to_failed()

    def ready(self, device: int, epoch: int) -> None:
        """A machine has prepared a plan."""
        if not self.over:
            self.switch.ready(device, epoch, self.clock.now_s, len(self._sent))

    def review(self) -> None:
        """Act on machines and links that are lost or back."""
        if self.over or self.clock.zero_s == math.inf:
            return
        now_s = self.clock.now_s
        lost, back = self.presence.review(now_s)
        if not lost and not back:
            return
        for kind, position in back:
            if kind == "device":
                self.switch.back(position, now_s)
        gone = {position for kind, position in lost if kind == "device"}
        for device in gone:
            # What it said last is not so any more.
            self._last.pop(device, None)
        self.ticker.tick(now_s)
        self.switch.gone(gone, now_s, len(self._sent))
        for request in sorted(request for request, plan in self._sent.items() if plan.uses & lost):
            self.lost(request, self.requests.replays[request])

    def refresh(self) -> None:
        """Take in what this machine itself has measured, which otherwise waits for the next decision."""
        if not self.over and self.clock.zero_s < math.inf:
            self._absorb(self._site.report())

    def _absorb(self, report: Report) -> None:
        now_s, shift_s = self.clock.now_s, self._shift_s(report.device)
        self._last[report.device] = report
        self.presence.heard(report.device, now_s)
        for to in (self._samples if self.controller.looks else None, self.feed):
            if to is not None:
                for t_s, link, direction, size_bytes, transfer_s in report.links:
                    to.message(min(t_s + shift_s, now_s), int(link), int(direction), size_bytes, transfer_s)
                for t_s, nominal_s, service_s in report.stages:
                    to.stage(min(t_s + shift_s, now_s), report.device, nominal_s, service_s)
        for position, joined in enumerate(self.world.problem.continuum.links):
            if joined.a == report.device:
                self.presence.link(position, up=position not in report.silent)
        self._failed += report.failed
        for request, attempt in report.dropped:
            if request in self._sent and attempt == self.requests.replays[request]:
                self._end(request, now_s, Outcome.DROPPED, Reason.QUEUE_LIMIT)

    def _see_to_failed(self) -> None:
        """Send again what has failed: only now, when the controller knows what is lost."""
        failed, self._failed = self._failed, []
        for request, attempt in failed:
            self.lost(request, attempt)

    def _look(self, now_s: float) -> None:
        """Look again and again whether everybody is still there, and whether the run is over."""
        self.review()
        if self.arrivals.over and (self.under_way == 0 or now_s >= self.arrivals.limit_s):
            self.halt()
            return
        next_s = max(now_s, self.clock.now_s) + max(self.world.detect_s / _LOOKS_PER_DETECTION, _LEAST_LOOK_S)
        self.clock.call_at(next_s, _PRESENCE_RANK, self._look, next_s)

    def _plan_active(self, held_until_s: float) -> None:
        if held_until_s > self.clock.now_s:
            self._downtimes += 1
            self.clock.call_at(held_until_s, _PRESENCE_RANK, self._up_again)
        else:
            self._flush()

    def _up_again(self) -> None:
        self._downtimes -= 1
        self._flush()

    def _flush(self) -> None:
        """Send what was held back, unless a downtime lasts."""
        if self._downtimes:
            return
        held, self._held = self._held, {}
        now_s = self.clock.now_s
        for request, since_s in held.items():
            self._site.held(request, self.controller.epoch, since_s, now_s)
            self.release(request, now_s)

    def _end(self, request: int, now_s: float, outcome: Outcome, reason: Reason = Reason.NONE) -> None:
        answered = outcome <= Outcome.LATE
        self.requests.end(request, now_s if answered else math.nan, outcome, reason)
        if self.feed is not None:
            latency_s = now_s - self.requests.arrival_s[request] if answered else math.nan
            self.feed.ended(now_s, request, self.requests.epoch[request], latency_s)
        self._sent.pop(request, None)
        if request in self._held:
            self._site.held(request, self.controller.epoch, self._held.pop(request), now_s)
        self.under_way -= 1
        self.arrivals.ended(request, now_s, lost=reason == Reason.LOST)
        self.switch.review(now_s, len(self._sent))
        if self.arrivals.over and self.under_way == 0:
            self.halt()

    def _under_way(self, now_s: float) -> list[tuple[int, int, float, float]]:
        """What is being sent and computed everywhere, as `SampleColumns.take` wants it."""
        return [
            (int(link), int(place), amount, min(began_s + self._shift_s(report.device), now_s))
            for report in self._last.values()
            for link, place, amount, began_s in report.open
        ]

    def _shift_s(self, device: int) -> float:
        """What to add to a device's monotonic clock to get run time."""
        if self.clock.zero_s == math.inf:
            return 0.0
        own_s = self._options.shift_s[device] if self._options.shift_s else 0.0
        return own_s - self.clock.zero_s
