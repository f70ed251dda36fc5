"""What the edge has heard of the machines, and shows to the controller and to whoever follows the run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from hardware.edge.feed import Feed
from twin.columns import SampleColumns

if TYPE_CHECKING:
    from hardware.edge.clock import RunClock
    from hardware.edge.presence import Presence
    from hardware.edge.report import Report
    from twin.problem import Samples
    from twin.topology import Continuum


class Picture:
    """Takes in reports; their times become run time.

    Attributes:
        feed: What is kept for whoever follows the run; None if nobody does.

    Args:
        continuum: The machines and links.
        clock: Run time.
        presence: Is told which machines and links are heard.
        shift_s: What to add to each device's monotonic clock to get that of the edge, by device; empty for nothing.
        looks: Whether the policy looks at anything that is measured.
        follow: Whether somebody follows the run.
    """

    def __init__(
        self,
        continuum: Continuum,
        clock: RunClock,
        presence: Presence,
        shift_s: tuple[float, ...],
        *,
        looks: bool,
        follow: bool,
    ) -> None:
        self.feed = Feed() if follow else None
        self._continuum, self._clock, self._presence, self._shifts_s = continuum, clock, presence, shift_s
        self._samples = SampleColumns()
        self._shown = self._samples if looks else None
        self._last: dict[int, Report] = {}

    @property
    def queue_length(self) -> np.ndarray:
        """Requests that wait or are served at each device, shape [n_devices]."""
        queue_length = np.zeros(len(self._continuum), dtype=np.int64)
        for device, report in self._last.items():
            queue_length[device] = report.queue
        return queue_length

    @property
    def link_queue(self) -> np.ndarray:
        """Messages that wait or are sent in each direction of each link, shape [n_links, 2]."""
        link_queue = np.zeros((len(self._continuum.links), 2), dtype=np.int64)
        for report in self._last.values():
            for link, direction, number in report.lanes:
                link_queue[link, direction] = number
        return link_queue

    def hear(self, report: Report, now_s: float) -> None:
        """Take in what a machine reports, and that it was heard."""
        device, shift_s = report.device, self._shift_s(report.device)
        self._last[device] = report
        self._presence.heard(device, now_s)
        for to in (self._shown, self.feed):
            if to is not None:
                for t_s, link, direction, size_bytes, transfer_s in report.links:
                    to.message(min(t_s + shift_s, now_s), int(link), int(direction), size_bytes, transfer_s)
                for t_s, nominal_s, service_s in report.stages:
                    to.stage(min(t_s + shift_s, now_s), device, nominal_s, service_s)
        for position, joined in enumerate(self._continuum.links):
            if joined.a == device:
                self._presence.link(position, up=position not in report.silent)

    def ended(self, now_s: float, request: int, epoch: int, latency_s: float) -> None:
        """A request has ended; the latency is NaN where there is no answer."""
        if self._shown is not None and not math.isnan(latency_s):
            self._shown.done(now_s, latency_s, epoch)
        if self.feed is not None:
            self.feed.ended(now_s, request, epoch, latency_s)

    def gone(self, device: int) -> None:
        """A machine is lost: what it said last is not so any more."""
        self._last.pop(device, None)

    def take(self, now_s: float) -> Samples:
        """What was measured and has not been taken yet, with what is being sent and computed everywhere."""
        under_way = [
            (int(link), int(place), amount, min(began_s + self._shift_s(report.device), now_s))
            for report in self._last.values()
            for link, place, amount, began_s in report.open
        ]
        return self._samples.take(now_s, under_way)

    def _shift_s(self, device: int) -> float:
        """What to add to a device's monotonic clock to get run time."""
        if self._clock.zero_s == math.inf:
            return 0.0
        own_s = self._shifts_s[device] if self._shifts_s else 0.0
        return own_s - self._clock.zero_s
