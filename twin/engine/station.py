"""A FIFO station that knows when each job will end the moment the job arrives."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from heapq import heapreplace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from twin.engine.plan import Plan


@dataclass(slots=True, eq=False)
class Job:
    """A request, probe or load on its way.

    Attributes:
        request: Number of the request, or `records.PROBE` or `records.LOAD`.
        plan: What it passes.
        step: Position of the present visit.
        arrived_s: When it came to the present station.
        start_s: When its service there starts.
        finish_s: When its service there ends.
        alive: False once it was taken off its way.
    """

    request: int
    plan: Plan
    step: int = 0
    arrived_s: float = 0.0
    start_s: float = 0.0
    finish_s: float = 0.0
    alive: bool = True


class Station:
    """Serves jobs in order of arrival, `slots` at once, each at the full rate.

    Args:
        slots: Number of servers.
    """

    def __init__(self, slots: int = 1) -> None:
        self._free_s = [0.0] * slots
        self._jobs: deque[Job] = deque()

    def admit(self, job: Job, now_s: float, finish: Callable[[float, float], float], amount: float) -> None:
        """Queue a job and set its times.

        Args:
            job: The job.
            now_s: The time of its arrival.
            finish: Gives the time at which an amount of work that starts at a time is done.
            amount: Its work.
        """
        free_s = self._free_s[0]
        job.arrived_s = now_s
        job.start_s = start_s = max(free_s, now_s)
        job.finish_s = finish_s = finish(start_s, amount) if start_s < math.inf else math.inf
        if len(self._free_s) == 1:
            self._free_s[0] = finish_s
        else:
            heapreplace(self._free_s, finish_s)
        self._jobs.append(job)

    def leave(self, job: Job) -> None:
        """Take out a job whose service has ended."""
        if self._jobs[0] is job:
            self._jobs.popleft()
        else:
            self._jobs.remove(job)

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[Job]:
        return iter(self._jobs)

    def waiting(self, now_s: float) -> int:
        """Number of jobs whose service has not started."""
        return sum(job.start_s > now_s for job in self._jobs)

    def serving(self, now_s: float) -> list[Job]:
        """The jobs whose service has started and not ended."""
        return [job for job in self._jobs if job.start_s < now_s < job.finish_s]

    def is_full(self, now_s: float) -> bool:
        """Whether every server is taken; one whose job ends now is free."""
        return sum(job.finish_s > now_s for job in self._jobs) >= len(self._free_s)

    def clear(self, now_s: float) -> list[Job]:
        """Take out all jobs that are not done and free the servers."""
        jobs = [job for job in self._jobs if job.finish_s > now_s]
        self._jobs = deque(job for job in self._jobs if job.finish_s <= now_s)
        self._free_s = [now_s] * len(self._free_s)
        return jobs
