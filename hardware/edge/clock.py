"""Run time on a machine: calls in order of time and rank, as the twin's clock makes them, on the loop's timers."""

from __future__ import annotations

import itertools
import math
import time
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from hardware.transport.loop import Loop, Timer


class RunClock:
    """A clock that stands still before `start` and after `stop`; run time 0 is an instant of this machine's clock.

    Attributes:
        may_end: Set by the arrivals once the run may end.
        zero_s: Monotonic time of run time 0; infinite until the clock is started.

    Args:
        loop: Its timers are used.
    """

    def __init__(self, loop: Loop) -> None:
        self.may_end = False
        self.zero_s = math.inf
        self._loop = loop
        self._calls: list[tuple[float, int, int, Callable[..., None], tuple[object, ...]]] = []
        self._order = itertools.count()
        self._timer: Timer | None = None
        self._armed_s = math.inf
        self._end_s = math.inf

    @property
    def now_s(self) -> float:
        """Run time now; 0 until the clock is started, and when it was stopped once that has happened."""
        return min(max(time.monotonic() - self.zero_s, 0.0), self._end_s)

    def start(self, zero_s: float) -> None:
        """Let run time 0 be `zero_s` of the monotonic clock."""
        self.zero_s = zero_s
        self._arm()

    def call_at(self, time_s: float, rank: int, function: Callable[..., None], *arguments: object) -> None:
        """Call `function(*arguments)` at `time_s`; of calls at the same time, the lower rank goes first.

        Nothing is called once the clock was stopped.
        """
        if self._end_s < math.inf:
            return
        entry: Any = (time_s, rank, next(self._order), function, arguments)
        heappush(self._calls, entry)
        self._arm()

    def stop(self) -> None:
        """Forget what has not been called, and call nothing more."""
        self._end_s = self.now_s
        self._calls.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        if not self._calls or self.zero_s == math.inf:
            return
        due_s = self._calls[0][0]
        if self._timer is not None and self._armed_s <= due_s:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._armed_s = due_s
        self._timer = self._loop.call_at(self.zero_s + due_s, self._fire)

    def _fire(self) -> None:
        self._timer = None
        # The same sum that the timer was set to: a difference may round to just before the time of a call.
        while self._calls and self.zero_s + self._calls[0][0] <= time.monotonic():
            _, _, _, function, arguments = heappop(self._calls)
            function(*arguments)
        self._arm()
