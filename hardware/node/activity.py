"""What an emulated machine would draw: its power states, by what it is doing.

P(t) = idle + sum over the activities under way of (power of the state - idle), as in the twin.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from twin.topology import PowerStates

State = Literal["compute", "transmit", "receive"]


@dataclass(slots=True, eq=False)
class Stretch:
    """A stretch of one activity.

    Attributes:
        extra_w: Power above idle.
        end_s: When it ended; infinite while it lasts.
        counted_s: Until when it has been counted.
    """

    extra_w: float
    end_s: float
    counted_s: float


class Activity:
    """Counts joules of a machine; may be told and asked from any thread.

    A stretch that becomes known only after the time when it was has been asked for (a message, when its receipt
    comes) is counted in the next answer: no joule is lost, some come a little late.

    Args:
        power: The power states.
    """

    def __init__(self, power: PowerStates) -> None:
        self._power = power
        self._stretches: list[Stretch] = []
        self._lock = threading.Lock()

    def begin(self, state: State, start_s: float) -> Stretch:
        """Something begins; set `end_s` of what is returned when it ends."""
        return self.add(state, start_s, math.inf)

    def add(self, state: State, start_s: float, end_s: float) -> Stretch:
        """Something has lasted from one monotonic time to another."""
        state_w = {
            "compute": self._power.compute_w,
            "transmit": self._power.transmit_w,
            "receive": self._power.receive_w,
        }[state]
        stretch = Stretch(state_w - self._power.idle_w, end_s, start_s)
        with self._lock:
            self._stretches.append(stretch)
        return stretch

    def power_w(self, start_s: float, end_s: float) -> float:
        """Mean power from one time to a later one; asked of stretches of time that follow each other."""
        extra_j = 0.0
        with self._lock:
            for stretch in self._stretches:
                until_s = min(stretch.end_s, end_s)
                if until_s > stretch.counted_s:
                    extra_j += stretch.extra_w * (until_s - stretch.counted_s)
                    stretch.counted_s = until_s
            self._stretches = [stretch for stretch in self._stretches if stretch.end_s > end_s]
        return self._power.idle_w + extra_j / (end_s - start_s)
