"""Moments: sleeping precisely until one, and telling the time of a run."""

from __future__ import annotations

import ctypes
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from twin.steps import Steps

_PR_SET_TIMERSLACK = 29
"""From linux/prctl.h: by how much the kernel may round the timers of the calling thread up."""

_NAP_S = 0.1
"""Longest sleep between two looks at whether to stop."""


def wake_promptly() -> bool:
    """Let sleeps of the calling thread end about 10 us late instead of 60 us, where Linux allows it.

    Returns:
        Whether the kernel took the request.
    """
    if not sys.platform.startswith("linux"):
        return False
    least_slack_ns = 1
    answer: int = ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_TIMERSLACK, least_slack_ns, 0, 0, 0)
    return answer == 0


def sleep_until(deadline_s: float, stop: Callable[[], bool] | None = None, *, awake_s: float = 0.0) -> bool:
    """Sleep until a moment of the monotonic clock.

    Args:
        deadline_s: The moment, possibly infinite if `stop` is given.
        stop: Ends the sleep within 0.1 s once it returns True.
        awake_s: The last so many seconds are spent awake, giving way to others, because a system wakes nobody on time.

    Returns:
        Whether the moment was reached.
    """
    while (left_s := deadline_s - time.monotonic()) > 0.0:
        if stop is not None and stop():
            return False
        nap_s = left_s if stop is None else min(left_s, _NAP_S)
        time.sleep(nap_s if nap_s < left_s else max(left_s - awake_s, 0.0))
    return True


@dataclass(slots=True)
class RunTime:
    """The time of a run on the monotonic clock of this machine.

    Before the run starts the conditions of run time 0 hold.

    Attributes:
        t0_s: The moment that is run time 0, or None while nobody has said it.
    """

    t0_s: float | None = None

    def at(self, moment_s: float) -> float:
        """Run time of a moment, at least 0."""
        return 0.0 if self.t0_s is None else max(0.0, moment_s - self.t0_s)

    def value(self, steps: Steps, moment_s: float) -> float:
        """Value of a function of run time at a moment."""
        return steps.at(self.at(moment_s))

    def finish(self, steps: Steps, start_s: float, amount: float) -> float:
        """First moment at which `amount` has been delivered since the moment `start_s`; infinite if never.

        The same integration as the twin's, `Steps.finish`.
        """
        t0_s = self.t0_s
        if t0_s is not None and start_s >= t0_s:
            return t0_s + steps.finish(start_s - t0_s, amount)
        rate = steps.at(0.0)
        if amount <= 0.0:
            return start_s
        early_s = start_s + amount / rate if rate > 0.0 else float("inf")
        if t0_s is None or early_s <= t0_s:
            return early_s
        return t0_s + steps.finish(0.0, amount - rate * (t0_s - start_s))

    def delivered(self, steps: Steps, start_s: float, stop_s: float) -> float:
        """Amount delivered between two moments."""
        t0_s = stop_s if self.t0_s is None else min(max(self.t0_s, start_s), stop_s)
        before = steps.at(0.0) * (t0_s - start_s)
        return before + (steps.integral(self.at(t0_s), self.at(stop_s)) if stop_s > t0_s else 0.0)
