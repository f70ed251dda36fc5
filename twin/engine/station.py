"""A FIFO station that knows when each job will end the moment the job arrives."""

from __future__ import annotations

import math
from collections import deque
from heapq import heapreplace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from twin.engine.plan import Plan
    from twin.engine.stops import Stop


FIRST_RANK = 10
"""Rank of request 0 among events at the same time; requests follow in order, everything else goes before."""
PROBE_RANK = 5


class Job:
    """A request, probe or load on its way; what the event loop calls when it has left its station.

    Attributes:
        request: Number of the request, or `records.PROBE` or `records.LOAD`.
        rank: Of what happens at the same time, the lower rank goes first.
        plan: What it passes.
        stop: Its present visit.
        arrived_s: When it came to the present station.
        start_s: When its service there starts.
        finish_s: When its service there ends.
        leave_s: When it is at the next station.
        alive: False once it was taken off its way.
        callbacks: What the event loop calls at `leave_s`.
    """

    __slots__ = ("alive", "arrived_s", "callbacks", "finish_s", "leave_s", "plan", "rank", "request", "start_s", "stop")

    _ok = True  # what the event loop asks of an event

    def __init__(self, request: int, plan: Plan, stop: Stop) -> None:
        self.request = request
        self.rank = FIRST_RANK + request if request >= 0 else PROBE_RANK
        self.plan = plan
        self.stop = stop
        self.arrived_s = self.start_s = self.finish_s = self.leave_s = 0.0
        self.alive = True
        self.callbacks: Sequence[Callable[[Job], None]] | None = None


class Station:
    """Serves jobs in order of arrival, `slots` at once, each at the full rate.

    Attributes:
        jobs: Those that wait or are served.

    Args:
        slots: Number of servers.
    """

    def __init__(self, slots: int = 1) -> None:
        self._free_s = [0.0] * slots
        self._is_single = slots == 1
        self.jobs: deque[Job] = deque()

    def admit(self, job: Job, now_s: float, finish: Callable[[float, float], float], amount: float) -> None:
        """Queue a job and set its times.

        Args:
            job: The job.
            now_s: The time of its arrival.
            finish: Gives the time at which an amount of work that starts at a time is done.
            amount: Its work.
        """
        free_s = self._free_s
        start_s = free_s[0]
        if start_s < now_s:  # noqa: PLR1730 - a call of `max` takes longer
            start_s = now_s
        finish_s = finish(start_s, amount) if start_s < math.inf else math.inf
        job.arrived_s, job.start_s, job.finish_s = now_s, start_s, finish_s
        if self._is_single:
            free_s[0] = finish_s
        else:
            heapreplace(free_s, finish_s)
        self.jobs.append(job)

    def __len__(self) -> int:
        return len(self.jobs)

    def __iter__(self) -> Iterator[Job]:
        return iter(self.jobs)

    def waiting(self, now_s: float) -> int:
        """Number of jobs whose service has not started."""
        return sum(job.start_s > now_s for job in self.jobs)

    def serving(self, now_s: float) -> list[Job]:
        """The jobs whose service has started and not ended."""
        return [job for job in self.jobs if job.start_s < now_s < job.finish_s]

    def is_full(self, now_s: float) -> bool:
        """Whether every server is taken; one whose job ends now is free."""
        return sum(job.finish_s > now_s for job in self.jobs) >= len(self._free_s)

    def clear(self, now_s: float) -> list[Job]:
        """Take out all jobs that are not done and free the servers."""
        jobs = [job for job in self.jobs if job.finish_s > now_s]
        self.jobs = deque(job for job in self.jobs if job.finish_s <= now_s)
        self._free_s = [now_s] * len(self._free_s)
        return jobs
