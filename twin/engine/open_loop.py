"""The arrays engine in an open loop: whole control intervals at once."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from twin.engine.batches import REQUEST
from twin.engine.course import Course
from twin.engine.spans import End

if TYPE_CHECKING:
    from twin.control import Policy
    from twin.engine.batches import Chunk, Floats, Ints
    from twin.records import RunResult
    from twin.world import World


_BLOCK = 1 << 15
"""Requests that are served together where no decision needs to know of them: few enough for a processor's cache."""


class OpenLoop:
    """Plays arrivals that are known beforehand, from tick to tick.

    Between two ticks the plan in force stays the same. Each station serves what reaches it before the tick; what comes
    later waits in its pool for the next interval. For a policy that does not look, many intervals are served at once.

    Args:
        world: The scenario.
        policy: The policy.
        replication: Number of the replication.
    """

    def __init__(self, world: World, policy: Policy[Any], replication: int) -> None:
        self._course = Course(world, policy, replication)
        self._arrival_s = world.workload.arrivals_s(world.seed, replication)
        self._request = np.arange(len(self._arrival_s), dtype=REQUEST)
        self._epoch = np.full(len(self._arrival_s), -1, dtype=np.int32)
        self._arrived = self._served = 0
        self._held: list[tuple[float, Ints]] = []
        self._over_s = self._when_over(world)
        self._limit_s = max(self._over_s, 0.0) + world.drain_s

    def play(self, label: str) -> RunResult:
        """Play to the end and return the records."""
        course, everyone = self._course, len(self._arrival_s)
        course.tick(0.0, self._arrival_s[:0])
        end = self._ended(before_s=0.0)
        while end is None:
            time_s, arrived = self._next_tick()
            if time_s > self._limit_s:
                self._send(math.nextafter(self._limit_s, math.inf), everyone)
                self._serve(math.nextafter(self._limit_s, math.inf))
                end = self._ended(math.inf) or End(self._limit_s, by_clock=False)
            else:
                self._send(time_s, arrived)
                if not self._may_wait(time_s):
                    self._serve(time_s)
                end = self._ended(time_s)
                if end is None:
                    course.tick(time_s, self._arrival_s[:arrived])
        client = np.zeros(everyone, dtype=np.int32)
        return course.result(label, client, self._arrival_s, self._epoch, end)

    def _when_over(self, world: World) -> float:
        """From when on no request arrives; minus infinity if none ever does."""
        if world.workload.duration_s is not None:
            return world.workload.duration_s
        return float(self._arrival_s[-1]) if len(self._arrival_s) else -math.inf

    def _next_tick(self) -> tuple[float, int]:
        """When the next decision falls due, and how many requests will have arrived."""
        timer_s, everyone = self._course.timer_s, len(self._arrival_s)
        request = max(self._course.next_request, self._arrived)
        if request < everyone and self._arrival_s[int(request)] < timer_s:
            return float(self._arrival_s[int(request)]), int(request)
        return timer_s, int(np.searchsorted(self._arrival_s, timer_s))

    def _may_wait(self, until_s: float) -> bool:
        """Whether stations need not be played yet: the policy does not look, and the run cannot have ended."""
        few = self._arrived - self._served < _BLOCK
        return few and not self._course.looks and until_s <= self._over_s

    def _serve(self, until_s: float) -> None:
        """Play the stations until just before a time."""
        self._course.floor.serve(until_s)
        self._served = self._arrived

    def _send(self, until_s: float, arrived: int) -> None:
        """Send what arrives before a time on its way, up to the given number of requests."""
        held, self._held = self._held, []
        for time_s, request in held:
            self._resume(request, time_s, until_s)
        new = slice(self._arrived, arrived)
        self._arrived = arrived
        self._release(self._request[new], self._arrival_s[new], until_s)

    def _release(self, request: Ints, time_s: Floats, until_s: float) -> None:
        """Send requests on their way, or hold them back."""
        chunk, hold = self._course.release(request, time_s)
        self._epoch[chunk.request] = self._course.changes.plan.epoch
        self._course.floor.enter(chunk)
        if hold is not None:
            self._resume(hold.request, hold.end_s, until_s)

    def _resume(self, request: Ints, time_s: float, until_s: float) -> None:
        """Send on what was held back, in this interval or later."""
        if time_s < until_s:
            self._release(request, np.full(len(request), time_s), until_s)
        else:
            self._held.append((time_s, request))

    def _ended(self, before_s: float) -> End | None:
        """How the run ended if it did before a time: no request arrives any more and none is under way."""
        if not self._over_s < before_s:
            return None
        done_s = [chunk.time_s[(chunk.time_s < before_s) & (chunk.time_s <= self._limit_s)] for chunk in self._answers]
        if sum(map(len, done_s)) < len(self._arrival_s):
            return None
        last_s = max((float(times_s.max(initial=-math.inf)) for times_s in done_s), default=-math.inf)
        if last_s >= self._over_s and last_s > -math.inf:
            return End(last_s, by_clock=False)
        return End(max(self._over_s, 0.0), by_clock=True)

    @property
    def _answers(self) -> list[Chunk]:
        return self._course.floor.answers
