"""The run as the edge leads it: requests arrive, the controller decides, answers come, what is lost is sent again.

Everything that must survive the loss of the other machines lives here, and nothing here waits for them.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hardware.edge.clock import RunClock
from hardware.edge.ledger import Ledger
from hardware.edge.picture import Picture
from hardware.edge.presence import Presence
from hardware.edge.switching import Switch
from twin.control import Controller
from twin.driving import Arrivals, Ticker
from twin.records import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from hardware.edge.report import Report
    from hardware.edge.site import Site
    from hardware.edge.switching import SwitchMode
    from hardware.transport.loop import Loop
    from twin.control import Policy
    from twin.problem import Decision
    from twin.world import World

_LEAST_RETRY_S = 1e-3
_PRESENCE_RANK = 0
_LOOKS_PER_DETECTION = 8
_LEAST_LOOK_S = 0.02


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
        clock: Run time.
        controller: Asks the policy.
        feed: What is kept for whoever follows the run; None if nobody does.
        ledger: Sends requests, and knows how they end.
        presence: Which machines and links answer.
        switch: Brings plans into force.
        requests: The requests so far.
        under_way: Requests that have arrived and not ended.
        over: Whether the run is over.

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
        self.controller = Controller(policy, world.problem, replication)
        self.under_way = self.stuck = 0
        self.over = False
        self._site, self._on_over = site, on_over
        self._failed: list[list[int]] = []
        self.presence = presence = Presence(world.problem.continuum, world.detect_s)
        shift_s, looks, follow = options.shift_s, self.controller.looks, options.follow
        self._picture = Picture(world.problem.continuum, self.clock, presence, shift_s, looks=looks, follow=follow)
        self.switch = Switch(
            world.problem,
            site.announce,
            lambda held_until_s: self.ledger.plan_active(held_until_s),  # noqa: PLW0108 - there is no ledger yet
            mode=options.switch,
            downtime_s=options.downtime_s,
        )
        knows = (self.clock, self.controller, presence, self.switch, self._picture)
        self.ledger = Ledger(*knows, site, deadline_s=world.problem.objective.deadline_s, on_end=self._ended)
        self.feed, self.requests = self._picture.feed, self.ledger.requests
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
            self.ledger.close()
            self.clock.stop()
            self._on_over()

    def decide(self, now_s: float, arrived: int) -> Decision:
        """Ask the policy and carry out what it decides, and see to what has failed meanwhile."""
        self._absorb(self._site.report())
        # What has been absorbed may be a little younger than the time that this tick was meant for.
        now_s = max(now_s, self.clock.now_s)
        queue_length, link_queue = self._picture.queue_length, self._picture.link_queue
        before_s = time.monotonic()
        decision = self.controller.tick(
            now_s,
            self._picture.take(now_s),
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
        self.ledger.release(request, now_s)

    def answered(self, request: int) -> bool:
        """An answer is there; False if its request has ended already, or the run; see `Ledger.answered`."""
        return self.ledger.answered(request, self.clock.now_s, self.arrivals.limit_s)

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
            self.switch.heard(report.device, report.plans, self.clock.now_s, len(self.ledger.sent))
        self._see_to_failed()

    def ready(self, device: int, epoch: int) -> None:
        """A machine has prepared a plan."""
        if not self.over:
            self.switch.ready(device, epoch, self.clock.now_s, len(self.ledger.sent))

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
            self._picture.gone(device)
        self.ticker.tick(now_s)
        self.switch.gone(gone, now_s, len(self.ledger.sent))
        self.ledger.lost_with(lost)

    def refresh(self) -> None:
        """Take in what this machine itself has measured, which otherwise waits for the next decision."""
        if not self.over and self.clock.zero_s < math.inf:
            self._absorb(self._site.report())

    def _absorb(self, report: Report) -> None:
        now_s = self.clock.now_s
        self._picture.hear(report, now_s)
        self._failed += report.failed
        for request, attempt in report.dropped:
            self.ledger.dropped(request, attempt, now_s)

    def _see_to_failed(self) -> None:
        """Send again what has failed: only now, when the controller knows what is lost."""
        failed, self._failed = self._failed, []
        for request, attempt in failed:
            self.ledger.lost(request, attempt)

    def _look(self, now_s: float) -> None:
        """Look again and again whether everybody is still there, and whether the run is over."""
        self.review()
        if self.arrivals.over and (self.under_way == 0 or now_s >= self.arrivals.limit_s):
            self.halt()
            return
        next_s = max(now_s, self.clock.now_s) + max(self.world.detect_s / _LOOKS_PER_DETECTION, _LEAST_LOOK_S)
        self.clock.call_at(next_s, _PRESENCE_RANK, self._look, next_s)

    def _ended(self, request: int, now_s: float, reason: Reason) -> None:
        """A request has ended: its client may go on, and perhaps a change of the partition, or the run is over."""
        self.under_way -= 1
        self.arrivals.ended(request, now_s, lost=reason == Reason.LOST)
        self.switch.review(now_s, len(self.ledger.sent))
        if self.arrivals.over and self.under_way == 0:
            self.halt()
