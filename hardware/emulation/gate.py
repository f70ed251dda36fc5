"""The gate of a link: shut by the scenario's faults at their times, or by hand."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hardware.emulation.moments import RunTime
    from hardware.emulation.wiring import Wire


class Gate:
    """Tells when something that reaches a link may enter it.

    Attributes:
        cut: Whether it was shut by hand.

    Args:
        wire: The link.
        run_time: The time of the run, shared with the other parts.
    """

    def __init__(self, wire: Wire, run_time: RunTime) -> None:
        self._outages_s = sorted(wire.outages_s)
        self._run_time = run_time
        self.cut = False

    def opens_s(self, moment_s: float) -> float:
        """First moment from `moment_s` on at which the gate is open; infinite while it is shut by hand."""
        if self.cut:
            return math.inf
        t0_s = self._run_time.t0_s
        if t0_s is None:
            return moment_s
        for start_s, end_s in self._outages_s:
            if t0_s + start_s <= moment_s < t0_s + end_s:
                moment_s = t0_s + end_s
        return moment_s

    def is_open(self, moment_s: float) -> bool:
        """Whether something may enter at a moment."""
        return self.opens_s(moment_s) <= moment_s
