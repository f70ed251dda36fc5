"""A SimPy environment whose events carry exact times and a rank for ties."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

import simpy

if TYPE_CHECKING:
    from collections.abc import Callable

    from twin.engine.station import Job


class Clock(simpy.Environment):
    """SimPy's event loop with calls at an absolute time.

    Attributes:
        may_end: Whether `is_over` needs to be asked.

    `Environment.schedule` takes a delay; now + (t - now) differs from t in the last bit, which would break ties that
    the semantics decide by request number.
    """

    may_end = False

    def call_at(self, time_s: float, rank: int, function: Callable[..., None], *arguments: object) -> None:
        """Call `function(*arguments)` at `time_s`; of calls at the same time, the lower rank goes first."""
        event = _Call(self, function, arguments)
        entry: Any = (time_s, rank, next(self._eid), event)
        heappush(self._queue, entry)

    def job_caller(self) -> Callable[[float, Job], None]:
        """A function that has a job's `callbacks` called at a time; the job itself is the event, to save making one."""
        queue: Any = self._queue
        number = self._eid.__next__

        def call(time_s: float, job: Job) -> None:
            heappush(queue, (time_s, job.rank, number(), job))

        return call

    def play(self, is_over: Callable[[], bool]) -> None:
        """Process events until none are left or, once the run may end, `is_over` says so.

        As `step` does, without looking for events that fail or that stop the run: there are none.
        """
        queue = self._queue
        while queue and not (self.may_end and is_over()):
            self._now, _, _, event = heappop(queue)
            callbacks, event.callbacks = event.callbacks, None  # type: ignore[assignment]
            for callback in callbacks:
                callback(event)


class _Call(simpy.Event):
    """An event that calls a function when its time comes."""

    def __init__(self, clock: Clock, function: Callable[..., None], arguments: tuple[object, ...]) -> None:
        self.env = clock
        self.callbacks = [self]
        self._ok = True
        self._value = None
        self._defused = False
        self._function = function
        self._arguments = arguments

    def __call__(self, _event: simpy.Event) -> None:
        self._function(*self._arguments)
