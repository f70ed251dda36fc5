"""A change of the partition: what it holds back, moves and costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twin.engine.plan import Plan, make_plan, message_visit
from twin.records import LOAD

if TYPE_CHECKING:
    from twin.engine.events import Play
    from twin.engine.station import Job
    from twin.partition import Partition

LOAD_RANK = 5


class Switch:
    """Brings a new plan into force: its weights are loaded first, then new requests wait for the downtime.

    The old plan serves while weights are on their way. A later decision replaces one that is still loading.

    Attributes:
        plan: The plan in force.
        held_until_s: Until when new requests are held back.

    Args:
        play: The run.
    """

    plan: Plan

    def __init__(self, play: Play) -> None:
        self._play = play
        self._target: Plan | None = None
        self._loading = 0
        self.held_until_s = 0.0

    def to(self, partition: Partition, epoch: int, now_s: float) -> None:
        """Begin a change to a partition, unless it is in force or on its way."""
        if self._target is None:
            self._target = self.plan = make_plan(self._play.problem, partition, epoch)
        elif epoch != self._target.epoch:
            self._target = make_plan(self._play.problem, partition, epoch)
            gains = self._play.problem.gained_bytes(self.plan.partition, partition)
            self._charge(gains)
            self._loading = 0
            self._load(gains, now_s)
            if self._loading == 0:
                self._activate(now_s)

    def loaded(self, job: Job, now_s: float) -> None:
        """Weights have arrived at their device."""
        if self._target is not None and job.plan.epoch == self._target.epoch:
            self._loading -= 1
            if self._loading == 0:
                self._activate(now_s)

    def load_lost(self, job: Job, now_s: float) -> None:
        """Weights were lost on their way; they are sent again after the detection time, if still wanted then."""
        retry_s = now_s + self._play.faults.retry_s
        self._play.clock.call_at(retry_s, LOAD_RANK, self._load_again, job.plan, retry_s)

    def _load_again(self, plan: Plan, now_s: float) -> None:
        if self._target is not None and plan.epoch == self._target.epoch:
            self._play.advance(self._play.stops.job(LOAD, plan), now_s)

    def _charge(self, gains_bytes: dict[int, float]) -> None:
        energy_j = self._play.problem.switch.energy_j
        if energy_j > 0:
            self._play.controller.log[-1]["charged_j"] = dict.fromkeys(gains_bytes, energy_j)

    def _load(self, gains_bytes: dict[int, float], now_s: float) -> None:
        """Send the weights of new layers to their devices; they queue on the links like anything else."""
        play, source = self._play, self._play.problem.switch.weights_from
        if source is None:
            return
        assert self._target is not None  # noqa: S101 - set before any change
        jobs = []
        for device, size_bytes in sorted(gains_bytes.items()):
            hops = play.problem.continuum.path(source, device)
            visits = tuple(message_visit(play.problem, hop.link, hop.direction, size_bytes) for hop in hops)
            if visits and size_bytes > 0:
                plan = Plan(self._target.partition, self._target.epoch, visits)
                jobs.append(play.stops.job(LOAD, plan))
        self._loading = len(jobs)
        for job in jobs:
            play.advance(job, now_s)

    def _activate(self, now_s: float) -> None:
        assert self._target is not None  # noqa: S101 - set before any change
        if self._target.partition != self.plan.partition:
            self.held_until_s = max(self.held_until_s, now_s + self._play.problem.switch.downtime_s)
        self.plan = self._target
