"""Estimators: raw samples of messages and stages -> the conditions of links and devices."""

from __future__ import annotations

from collections import deque
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from twin.problem import Conditions
from twin.units import BITS_PER_BYTE

if TYPE_CHECKING:
    from twin.problem import Problem, Samples

BULK_BYTES = 8_000
"""A message above this size tells the goodput; one below it tells the round-trip time."""
_WINDOW = 3
"""Newest samples that an estimate rests on: few, so that it follows a link that changes."""
_BREAK = 2.0
"""A sample that differs from the estimate by this factor starts the window anew: the link or device has changed."""
_DELAY_WINDOW = 5
_SMALLEST_S = 1e-9


class Estimator:
    """Follows links and devices by the samples that arrive.

    The time of a message is `message overhead + round-trip time + size / goodput`. Large messages settle the
    goodput (the harmonic mean of the newest few, which is the mean of time per byte), small ones the round-trip
    time (the median of the newest few). What was never sampled keeps its first value. A message or stage that has
    been under way for longer than the estimate allows lowers the estimate until it ends.

    Args:
        problem: Gives the first conditions and the known message overheads.
    """

    def __init__(self, problem: Problem) -> None:
        initial = problem.initial
        n_links, n_devices = len(problem.continuum.links), problem.n_devices
        self._rate_bps = initial.rate_bps.copy()
        self._rtt_s = initial.rtt_s.copy()
        self._slowdown = initial.slowdown.copy()
        self._overhead_s = [link.message_overhead_s for link in problem.continuum.links]
        self._s_per_bit: list[list[deque[float]]] = [[deque(maxlen=_WINDOW) for _ in range(2)] for _ in range(n_links)]
        self._delay_s: list[deque[float]] = [deque(maxlen=_DELAY_WINDOW) for _ in range(n_links)]
        self._ratio: list[deque[float]] = [deque(maxlen=_WINDOW) for _ in range(n_devices)]
        self._link_seen_s = np.zeros((n_links, 2))
        self._device_seen_s = np.zeros(n_devices)

    def update(self, samples: Samples) -> Conditions:
        """Take in the samples of one tick and return the new estimates."""
        columns = (samples.link, samples.direction, samples.size_bytes, samples.transfer_s, samples.link_t_s)
        for link, direction, size_bytes, transfer_s, t_s in zip(*(c.tolist() for c in columns), strict=True):
            self._message(link, direction, size_bytes, transfer_s)
            if size_bytes > BULK_BYTES:
                self._link_seen_s[link, direction] = t_s
        stages = (samples.device, samples.nominal_s, samples.service_s, samples.stage_t_s)
        for device, nominal_s, service_s, t_s in zip(*(c.tolist() for c in stages), strict=True):
            if nominal_s > 0:
                _keep(self._ratio[device], service_s / nominal_s)
                self._slowdown[device] = median(self._ratio[device])
                self._device_seen_s[device] = t_s
        return self._with_open(samples)

    def _with_open(self, samples: Samples) -> Conditions:
        """The estimates, lowered by what has been under way for too long; no longer once it has ended."""
        rate_bps, slowdown = self._rate_bps.copy(), self._slowdown.copy()
        messages = (samples.open_link, samples.open_direction, samples.open_bytes, samples.open_transfer_s)
        for link, direction, size_bytes, since_s in zip(*(c.tolist() for c in messages), strict=True):
            sending_s = since_s - self._overhead_s[link] - self._rtt_s[link]
            if sending_s > 0:
                most_bps = size_bytes * BITS_PER_BYTE / sending_s
                rate_bps[link, direction] = min(rate_bps[link, direction], most_bps)
        stages = (samples.open_device, samples.open_nominal_s, samples.open_service_s)
        for device, nominal_s, since_s in zip(*(c.tolist() for c in stages), strict=True):
            if nominal_s > 0:
                slowdown[device] = max(slowdown[device], since_s / nominal_s)
        return Conditions(rate_bps, self._rtt_s.copy(), slowdown)

    def ages_s(self, t_s: float) -> tuple[np.ndarray, np.ndarray]:
        """Age of the newest sample of each link direction and of each device; since the start where none came."""
        return t_s - self._link_seen_s, t_s - self._device_seen_s

    def _message(self, link: int, direction: int, size_bytes: float, transfer_s: float) -> None:
        size_bits = size_bytes * BITS_PER_BYTE
        if size_bytes > BULK_BYTES:
            beside_s = self._overhead_s[link] + self._rtt_s[link]
            recent = self._s_per_bit[link][direction]
            _keep(recent, max(transfer_s - beside_s, _SMALLEST_S) / size_bits)
            self._rate_bps[link, direction] = len(recent) / sum(recent)
        else:
            rate_bps = self._rate_bps[link, direction]
            transmit_s = size_bits / rate_bps if rate_bps > 0 else 0.0
            self._delay_s[link].append(max(transfer_s - self._overhead_s[link] - transmit_s, 0.0))
            self._rtt_s[link] = median(self._delay_s[link])


def _keep(recent: deque[float], value: float) -> None:
    """Add a value to a window, which starts anew if the value is far from the rest."""
    if recent:
        mean = sum(recent) / len(recent)
        if not mean / _BREAK <= value <= mean * _BREAK:
            recent.clear()
    recent.append(value)
