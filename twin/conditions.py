"""Estimators: raw samples of messages and stages -> the conditions of links and devices."""

from __future__ import annotations

import math
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
_WINDOW = 6
"""Newest messages that an estimate rests on: few, so that it follows a link that changes."""
_STAGES = 3
"""Newest stages that an estimate rests on."""
_BREAK = 2.0
"""A sample that differs from what was expected by this factor starts its window anew: something has changed."""
_SPREAD = 4.0
"""Factor between the sizes of messages from which on they tell delay and goodput apart."""
_MOST_DELAY = 0.5
"""Share of a large message's time that may be delay where nothing tells the two apart."""


class Estimator:
    """Follows links and devices by the samples that arrive.

    The time of a message is `message overhead + delay + size / goodput`. Per direction, a line is fitted to the newest
    few messages by least squares on relative error; where their sizes are too alike for that, a large message settles
    the goodput and a small one the delay, the other term kept. The round-trip time of a link is the smaller of the
    delays of the directions that were sampled. The slowdown of a device is the median over its newest stages.

    A sample far from what was expected starts anew. What was never sampled keeps its first value. A message or stage
    that has been under way for longer than the estimate allows lowers the estimate until it ends.

    Args:
        problem: Gives the first conditions and the known message overheads.
    """

    def __init__(self, problem: Problem) -> None:
        initial = problem.initial
        n_links, n_devices = len(problem.continuum.links), problem.n_devices
        self._overhead_s = [link.message_overhead_s for link in problem.continuum.links]
        self._lines = [
            [_Line(float(initial.rtt_s[link]), float(initial.rate_bps[link, way])) for way in range(2)]
            for link in range(n_links)
        ]
        self._slowdown = initial.slowdown.copy()
        self._ratio: list[deque[float]] = [deque(maxlen=_STAGES) for _ in range(n_devices)]
        self._link_seen_s = np.zeros((n_links, 2))
        self._device_seen_s = np.zeros(n_devices)

    def update(self, samples: Samples) -> Conditions:
        """Take in the samples of one tick and return the new estimates."""
        columns = (samples.link, samples.direction, samples.size_bytes, samples.transfer_s, samples.link_t_s)
        for link, direction, size_bytes, transfer_s, t_s in zip(*(c.tolist() for c in columns), strict=True):
            self._lines[link][direction].add(size_bytes * BITS_PER_BYTE, transfer_s - self._overhead_s[link])
            if size_bytes > BULK_BYTES:
                self._link_seen_s[link, direction] = t_s
        stages = (samples.device, samples.nominal_s, samples.service_s, samples.stage_t_s)
        for device, nominal_s, service_s, t_s in zip(*(c.tolist() for c in stages), strict=True):
            if nominal_s > 0:
                self._stage(device, service_s / nominal_s)
                self._device_seen_s[device] = t_s
        return self._with_open(samples)

    def ages_s(self, t_s: float) -> tuple[np.ndarray, np.ndarray]:
        """Age of the newest sample of each link direction and of each device; since the start where none came."""
        return t_s - self._link_seen_s, t_s - self._device_seen_s

    def _stage(self, device: int, ratio: float) -> None:
        recent = self._ratio[device]
        if recent and not self._slowdown[device] / _BREAK <= ratio <= self._slowdown[device] * _BREAK:
            recent.clear()
        recent.append(ratio)
        self._slowdown[device] = median(recent)

    def _with_open(self, samples: Samples) -> Conditions:
        """The estimates, lowered by what has been under way for too long; no longer once it has ended."""
        rate_bps = np.array([[line.rate_bps for line in lines] for lines in self._lines]).reshape(-1, 2)
        rtt_s = np.array([_round_trip_s(lines) for lines in self._lines])
        slowdown = self._slowdown.copy()
        messages = (samples.open_link, samples.open_direction, samples.open_bytes, samples.open_transfer_s)
        for link, direction, size_bytes, since_s in zip(*(c.tolist() for c in messages), strict=True):
            sending_s = since_s - self._overhead_s[link] - rtt_s[link]
            if sending_s > 0:
                most_bps = size_bytes * BITS_PER_BYTE / sending_s
                rate_bps[link, direction] = min(rate_bps[link, direction], most_bps)
        stages = (samples.open_device, samples.open_nominal_s, samples.open_service_s)
        for device, nominal_s, since_s in zip(*(c.tolist() for c in stages), strict=True):
            if nominal_s > 0:
                slowdown[device] = max(slowdown[device], since_s / nominal_s)
        return Conditions(rate_bps, rtt_s, slowdown)


class _Line:
    """Delay and goodput of one link direction: `time = delay + bits / goodput`.

    Args:
        delay_s: First value of the delay.
        rate_bps: First value of the goodput.
    """

    def __init__(self, delay_s: float, rate_bps: float) -> None:
        self.delay_s = delay_s
        self.rate_bps = rate_bps
        self._recent: deque[tuple[float, float]] = deque(maxlen=_WINDOW)

    @property
    def is_sampled(self) -> bool:
        """Whether any message was taken in."""
        return bool(self._recent)

    def add(self, size_bits: float, time_s: float) -> None:
        """Take in one message; a time that is not positive says nothing."""
        if time_s <= 0:
            return
        expected_s = self.delay_s + (size_bits / self.rate_bps if self.rate_bps > 0 else math.inf)
        if not expected_s / _BREAK <= time_s <= expected_s * _BREAK:
            self._recent.clear()
        self._recent.append((size_bits, time_s))
        sizes = [bits for bits, _ in self._recent]
        if not (max(sizes) > _SPREAD * min(sizes) and self._fit()):
            self._one_term(size_bits)

    def _fit(self) -> bool:
        """Fit both terms by least squares on relative error; False where no line with positive terms fits."""
        weights = [1 / time_s**2 for _, time_s in self._recent]
        total = sum(weights)
        mean_bits = sum(w * bits for w, (bits, _) in zip(weights, self._recent, strict=True)) / total
        mean_s = sum(w * time_s for w, (_, time_s) in zip(weights, self._recent, strict=True)) / total
        spread = sum(w * (bits - mean_bits) ** 2 for w, (bits, _) in zip(weights, self._recent, strict=True))
        joint = sum(
            w * (bits - mean_bits) * (time_s - mean_s) for w, (bits, time_s) in zip(weights, self._recent, strict=True)
        )
        s_per_bit = joint / spread
        delay_s = mean_s - s_per_bit * mean_bits
        if s_per_bit <= 0 or delay_s < 0:
            return False
        self.delay_s, self.rate_bps = delay_s, 1 / s_per_bit
        return True

    def _one_term(self, newest_bits: float) -> None:
        """Settle the term that messages like the newest one show, from those of its kind, and keep the other."""
        is_bulk = newest_bits > BULK_BYTES * BITS_PER_BYTE
        alike = [x for x in self._recent if (x[0] > BULK_BYTES * BITS_PER_BYTE) == is_bulk]
        if is_bulk:
            delay_s = min(self.delay_s, _MOST_DELAY * min(time_s for _, time_s in alike))
            self.rate_bps = len(alike) / sum((time_s - delay_s) / bits for bits, time_s in alike)
        elif self.rate_bps > 0:
            self.delay_s = max(median(time_s - bits / self.rate_bps for bits, time_s in alike), 0.0)


def _round_trip_s(lines: list[_Line]) -> float:
    """The delay of a link, over the directions that were sampled; the first value if none was."""
    return min((line.delay_s for line in lines if line.is_sampled), default=lines[0].delay_s)
