"""Estimators: raw samples of messages and stages -> the conditions of links and devices."""

from __future__ import annotations

import math
from collections import deque
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from twin.problem import Conditions
from twin.units import BITS_PER_BYTE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from twin.problem import Problem, Samples

BULK_BYTES = 8_000
"""A message above this size tells the goodput; one below it tells the round-trip time."""
_WINDOW = 6
"""Newest messages that an estimate rests on: few, so that it follows a link that changes."""
_RECENT_S = 2.0
"""A message that ended longer before the newest one no longer counts."""
_DELAYS = 3
"""Newest small messages that the delay rests on."""
_STAGES = 3
"""Newest stages that an estimate rests on."""
_BREAK = 2.0
"""A sample that differs from what was expected by this factor starts its window anew: something has changed."""
_SPREAD = 4.0
"""Factor between the sizes of messages from which on they tell delay and goodput apart."""
_MOST = 16
"""Newest messages or stages of a kind that are taken in at a tick: more than an estimate rests on, so that older ones
do not count. Large and small messages of each direction are kinds of their own, and the stages of each device."""
_MOST_DELAY = 0.5
"""Share of a large message's time that may be delay where nothing tells the two apart."""
_MOST_MEASURED = 0.9
"""Likewise where small messages have told the delay, which may have changed since."""


class Estimator:
    """Follows links and devices by the samples that arrive.

    The time of a message is `message overhead + delay + size / goodput`. The delay is the round-trip time, the same in
    both directions of a link: the median over the newest small messages of either, such as answers. The goodput of a
    direction follows from its newest large messages, the delay taken off. A link without small messages has a line
    fitted to large ones of several sizes. The slowdown of a device is the median over its newest stages.

    Of many samples at a tick, only the newest count. A sample far from what was expected starts anew. What was never
    sampled keeps its first value. A message or stage that has been under way for longer than the estimate allows lowers
    the estimate until it ends.

    Args:
        problem: Gives the first conditions and the known message overheads.
    """

    def __init__(self, problem: Problem) -> None:
        initial = problem.initial
        n_links, n_devices = len(problem.continuum.links), problem.n_devices
        self._overhead_s = [link.message_overhead_s for link in problem.continuum.links]
        self._links = [_Link(float(initial.rtt_s[link]), initial.rate_bps[link].tolist()) for link in range(n_links)]
        self._slowdown = initial.slowdown.copy()
        self._ratio: list[deque[float]] = [deque(maxlen=_STAGES) for _ in range(n_devices)]
        self._link_seen_s = np.zeros((n_links, 2))
        self._device_seen_s = np.zeros(n_devices)

    def update(self, samples: Samples) -> Conditions:
        """Take in the samples of one tick and return the new estimates."""
        self._messages(samples)
        self._stages(samples)
        return self._with_open(samples)

    def ages_s(self, t_s: float) -> tuple[np.ndarray, np.ndarray]:
        """Age of the newest sample of each link direction and of each device; since the start where none came."""
        return t_s - self._link_seen_s, t_s - self._device_seen_s

    def _messages(self, samples: Samples) -> None:
        """Take in messages, in the order of their receipts: the newest large and small ones of each direction."""
        kind = 4 * samples.link + 2 * samples.direction + (samples.size_bytes > BULK_BYTES)
        columns = (samples.link, samples.direction, samples.size_bytes, samples.transfer_s, samples.link_t_s)
        for link, direction, size_bytes, transfer_s, t_s in _newest(kind, columns):
            self._links[link].add(t_s, direction, size_bytes * BITS_PER_BYTE, transfer_s - self._overhead_s[link])
            if size_bytes > BULK_BYTES:
                self._link_seen_s[link, direction] = t_s

    def _stages(self, samples: Samples) -> None:
        """Take in the newest stages of each device; those without work say nothing."""
        kind = 2 * samples.device + (samples.nominal_s > 0)
        columns = (samples.device, samples.nominal_s, samples.service_s, samples.stage_t_s)
        for device, nominal_s, service_s, t_s in _newest(kind, columns):
            if nominal_s > 0:
                self._stage(device, service_s / nominal_s)
                self._device_seen_s[device] = t_s

    def _stage(self, device: int, ratio: float) -> None:
        recent = self._ratio[device]
        if recent and not self._slowdown[device] / _BREAK <= ratio <= self._slowdown[device] * _BREAK:
            recent.clear()
        recent.append(ratio)
        self._slowdown[device] = median(recent)

    def _with_open(self, samples: Samples) -> Conditions:
        """The estimates, lowered by what has been under way for too long; no longer once it has ended."""
        rate_bps = np.array([link.rate_bps for link in self._links]).reshape(-1, 2)
        rtt_s = np.array([link.delay_s for link in self._links])
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


def _newest(kind: np.ndarray, columns: Sequence[np.ndarray]) -> Iterator[tuple[Any, ...]]:
    """Rows of columns of equal length, in order, without those that are followed by many of the same kind."""
    if len(kind) > _MOST:
        by_kind = np.argsort(kind, kind="stable")
        first = np.flatnonzero(np.diff(kind[by_kind], prepend=-1))
        after = np.append(first[1:], len(kind))
        place = np.empty_like(by_kind)
        place[by_kind] = np.repeat(after, after - first) - np.arange(len(kind))
        newest = place <= _MOST
        columns = [column[newest] for column in columns]
    return zip(*(column.tolist() for column in columns), strict=True)


class _Message(NamedTuple):
    """A large message: when its receipt came, its size and its time."""

    t_s: float
    size_bits: float
    time_s: float


class _Link:
    """Delay of a link and goodput of its directions: `time = delay + bits / goodput`.

    Args:
        delay_s: First value of the delay.
        rate_bps: First value of the goodput by direction.
    """

    def __init__(self, delay_s: float, rate_bps: Sequence[float]) -> None:
        self.delay_s = delay_s
        self.rate_bps = list(rate_bps)
        self._delays_s: deque[float] = deque(maxlen=_DELAYS)
        self._bulk: list[deque[_Message]] = [deque(maxlen=_WINDOW) for _ in rate_bps]

    def add(self, t_s: float, direction: int, size_bits: float, time_s: float) -> None:
        """Take in one message whose receipt came at `t_s`; a time that is not positive says nothing."""
        if time_s <= 0:
            return
        if size_bits > BULK_BYTES * BITS_PER_BYTE:
            self._add_bulk(t_s, direction, size_bits, time_s)
        elif self.rate_bps[direction] > 0:
            self._add_small(max(time_s - size_bits / self.rate_bps[direction], 0.0))

    def _add_small(self, delay_s: float) -> None:
        """A small message tells the delay, which is that of both directions."""
        if not self.delay_s / _BREAK <= delay_s <= self.delay_s * _BREAK:
            self._delays_s.clear()
        self._delays_s.append(delay_s)
        self.delay_s = median(self._delays_s)

    def _add_bulk(self, t_s: float, direction: int, size_bits: float, time_s: float) -> None:
        """A large message tells the goodput; the delay too, if sizes vary and no small message has told it."""
        rate_bps, recent = self.rate_bps[direction], self._bulk[direction]
        expected_s = self.delay_s + (size_bits / rate_bps if rate_bps > 0 else math.inf)
        if not expected_s / _BREAK <= time_s <= expected_s * _BREAK:
            recent.clear()
        while recent and recent[0].t_s < t_s - _RECENT_S:
            recent.popleft()
        recent.append(_Message(t_s, size_bits, time_s))
        sizes = [x.size_bits for x in recent]
        if self._delays_s or max(sizes) <= _SPREAD * min(sizes) or not self._fit(direction):
            most = _MOST_MEASURED if self._delays_s else _MOST_DELAY
            delay_s = min(self.delay_s, most * min(x.time_s for x in recent))
            self.rate_bps[direction] = len(recent) / sum((x.time_s - delay_s) / x.size_bits for x in recent)

    def _fit(self, direction: int) -> bool:
        """Fit both terms by least squares on relative error; False where no line with positive terms fits."""
        recent = self._bulk[direction]
        weights = [1 / x.time_s**2 for x in recent]
        total = sum(weights)
        mean_bits = sum(w * x.size_bits for w, x in zip(weights, recent, strict=True)) / total
        mean_s = sum(w * x.time_s for w, x in zip(weights, recent, strict=True)) / total
        spread = joint = 0.0
        for weight, x in zip(weights, recent, strict=True):
            spread += weight * (x.size_bits - mean_bits) ** 2
            joint += weight * (x.size_bits - mean_bits) * (x.time_s - mean_s)
        s_per_bit = joint / spread
        delay_s = mean_s - s_per_bit * mean_bits
        if s_per_bit <= 0 or delay_s < 0:
            return False
        self.delay_s, self.rate_bps[direction] = delay_s, 1 / s_per_bit
        return True
