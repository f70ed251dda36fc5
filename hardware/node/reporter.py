"""What one machine has to tell the edge in a run, and when it does."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from hardware.edge.report import Report

if TYPE_CHECKING:
    from collections.abc import Callable

    from hardware.node.machine import Machine
    from hardware.node.plans import Plans

_REPORT_S = 0.02
"""Least time between two reports."""
_BEATS = 4
"""Reports in the time after which a machine counts as lost, where there is nothing to report."""


class Reporter:
    """Collects what has happened on a machine since its last report, and reports before long; in the loop's thread.

    Args:
        machine: The machine.
        plans: Its plans.
        hear: Takes each report that is due.
    """

    def __init__(self, machine: Machine, plans: Plans, hear: Callable[[Report], None]) -> None:
        self._machine, self._plans, self._hear = machine, plans, hear
        self._link_rows: list[list[float]] = []
        self._stage_rows: list[list[float]] = []
        self._failed: list[list[int]] = []
        self._dropped: list[list[int]] = []
        self._reported_s = -math.inf
        self._due = False
        self._closed = False

    def message(self, acked_s: float, link: int, direction: int, size_bytes: float, transfer_s: float) -> None:
        """A parcel that this machine sent has arrived."""
        self._link_rows.append([acked_s, link, direction, size_bytes, transfer_s])
        self._soon()

    def stage(self, end_s: float, nominal_s: float, service_s: float) -> None:
        """A stage visit has ended."""
        self._stage_rows.append([end_s, nominal_s, service_s])
        self._soon()

    def lost(self, request: int, attempt: int) -> None:
        """A request cannot go on."""
        self._failed.append([request, attempt])
        self._soon()

    def dropped(self, request: int, attempt: int) -> None:
        """The queue had no room for a request."""
        self._dropped.append([request, attempt])
        self._soon()

    def report(self) -> Report:
        """How things stand on this machine, with what has happened since the last report."""
        machine, now_s = self._machine, time.monotonic()
        lanes = machine.links.lanes
        waiting = [[link, direction, lane.waiting] for (link, direction), lane in lanes.items() if lane.waiting]
        under_way: list[list[float]] = [
            [link, direction, size_bytes, start_s]
            for (link, direction), lane in lanes.items()
            for size_bytes, start_s in lane.under_way(now_s)
        ]
        under_way += [[-1, machine.me, job.visit.nominal_s, job.start_s] for job in machine.station.serving]
        report = Report(
            machine.me,
            len(machine.station),
            waiting,
            under_way,
            self._link_rows,
            self._stage_rows,
            self._failed,
            self._dropped,
            machine.links.silent,
            self._plans.rows,
        )
        self._link_rows, self._stage_rows, self._failed, self._dropped = [], [], [], []
        self._reported_s = now_s
        return report

    def now(self) -> None:
        """Report."""
        self._due = False
        if not self._closed:
            self._hear(self.report())

    def beat(self) -> None:
        """Report now and again that this machine is there; the edge need not tell itself."""
        machine = self._machine
        if not self._closed and not machine.is_edge:
            self.now()
            beat_s = max(machine.world.detect_s / _BEATS, _REPORT_S)
            machine.loop.call_at(time.monotonic() + beat_s, self.beat)

    def close(self) -> None:
        """Report no more."""
        self._closed = True

    def _soon(self) -> None:
        """Report before long; on the edge itself the conductor asks, unless a request has failed."""
        if self._machine.is_edge and not (self._failed or self._dropped):
            return
        if not self._due:
            self._due = True
            self._machine.loop.call_at(max(self._reported_s + _REPORT_S, time.monotonic()), self.now)
