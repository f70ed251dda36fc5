"""A timetable: what is done at which time of a run, by a thread of its own."""

from __future__ import annotations

import math
import threading
from itertools import count
from typing import TYPE_CHECKING

from hardware.emulation.moments import sleep_until, wake_promptly

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from twin.steps import Steps

    Entry = tuple[float, Callable[[], None]]


class Timetable:
    """Calls functions at their run times, in order.

    What is overdue when its turn comes is done at once, so that nothing is left out.

    Attributes:
        error: What one of them raised, which ends the timetable; None if all is well.

    Args:
        entries: Run times, ascending, and functions; may be endless.
        t0_s: Moment of run time 0.
    """

    def __init__(self, entries: Iterable[Entry], t0_s: float) -> None:
        self.error: Exception | None = None
        self._entries = entries
        self._t0_s = t0_s
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="timetable", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End it; an entry under way is finished."""
        self._ending.set()
        if self._thread is not threading.current_thread():
            self._thread.join(timeout=2.0)

    def _run(self) -> None:
        wake_promptly()
        for time_s, call in self._entries:
            if not sleep_until(self._t0_s + time_s, self._ending.is_set) or self._ending.is_set():
                return
            try:
                call()
            except Exception as error:  # noqa: BLE001 - handed to whoever looks after the run
                self.error = error
                return


def windows(spans_s: Iterable[tuple[float, float]], start: Callable[[], None], end: Callable[[], None]) -> list[Entry]:
    """Entries that call `start` and `end` around each window of time; windows that touch count as one."""
    joined: list[list[float]] = []
    for start_s, end_s in sorted(spans_s):
        if joined and start_s <= joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], end_s)
        else:
            joined.append([start_s, end_s])
    entries: list[Entry] = []
    for start_s, end_s in joined:
        entries.append((start_s, start))
        if math.isfinite(end_s):
            entries.append((end_s, end))
    return entries


def changes(steps: Steps) -> Iterator[tuple[float, float]]:
    """Times and values of a function of time, from its start on; endless if it loops."""
    pieces = list(zip(steps.times_s, steps.values, strict=True))
    yield from pieces
    if steps.after_end != "loop":
        return
    period_s = steps.end_s - steps.loop_from_s
    for turn in count(1):
        yield from ((time_s + turn * period_s, value) for time_s, value in pieces if time_s >= steps.loop_from_s)
