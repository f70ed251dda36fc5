"""Measures one direction of a link again and again: once in every interval, with a share of its time.

A turn sends some empty messages, for the round trip, and then bursts of mixed sizes. A burst is one transfer cut into
parcels, of which only a few are on their way at a time: when the link gets slower in the middle of one, or stops,
little is left in it that would have to drain before the next turn. What drains all the same is noted too.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

import numpy as np

from hardware.node.interval import EMPTY_BYTES, LEAST_BYTES, MOST_BYTES, Interval
from hardware.transport.parcel import Kind, Parcel, TensorSpec
from twin.records import PROBE
from twin.units import BITS_PER_BYTE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hardware.node.interval import Schedule
    from hardware.transport.lane import Lane
    from hardware.transport.loop import Loop
    from hardware.transport.receipt import Listener, Receipt

_EMPTIES = 3
_EMPTY_SHARE = 0.1
"""Share of a turn's time after which no more of them are sent than one."""
_ENOUGH = 3
"""Bursts that a turn should give, even if the link's delay does not leave its time for them."""
_SHARES = (0.06, 0.06, 0.22, 0.13, 0.22, 0.13, 0.22)
"""Bursts of a turn, as shares of its time; the first one opens the window of TCP and is not counted."""
_PARCEL_S = 0.02
"""Time of a parcel within a burst, at the rate that is expected."""
_PARCEL_BYTES = (4_000, 64_000)
_FAST_PARCEL_S = 0.002
"""On fast links parcels may be larger than that, or handling them would take longer than sending them."""
_MOST_PARCEL_BYTES = 1_000_000
_FIRST_BPS = 10e6
"""Rate that is expected before anything is known."""
_LEAST_BPS = 10e3
_CHANGE = 16.0
"""Factor by which one burst may change what is expected: a small one does not tell more."""
_LEAST_S = 1e-6
_REDIAL_S = 3.0
"""Silence after which a connection with something under way is dialled anew: TCP may wait far longer than a gap."""


@dataclass(slots=True)
class _Burst:
    number: int
    left: deque[int]
    window_bytes: int
    counts: bool
    start_s: float | None = None
    last_s: float = 0.0
    open_bytes: int = 0
    came_bytes: int = 0


class Prober:
    """Measures by a schedule; everything here is called in the loop's thread.

    Attributes:
        intervals: What was found, by interval; the last one may be under way.

    Args:
        loop: The loop.
        dial: Opens the lane, given who listens to it.
        schedule: When to measure.
    """

    def __init__(self, loop: Loop, dial: Callable[[Listener], Lane], schedule: Schedule) -> None:
        self.intervals: list[Interval] = []
        self._loop, self._schedule = loop, schedule
        self._rate_bps, self._rtt_s = _FIRST_BPS, 0.0
        self._heard_s = monotonic()
        self._steps: deque[float] = deque()
        self._burst: _Burst | None = None
        self._numbers, self._began_s, self._until_s = 0, 0.0, 0.0
        self._zeros = memoryview(bytes(_MOST_PARCEL_BYTES))
        self._lane = dial(self)
        self._timers = [loop.call_at(schedule.zero_s, self._begin)]

    @property
    def state(self) -> str:
        """What is wrong with the connection, in words; empty if nothing is."""
        return self._lane.why

    @property
    def complete(self) -> int:
        """Number of intervals that are over."""
        over = int((monotonic() - self._schedule.zero_s) // self._schedule.every_s)
        return max(min(over, len(self.intervals)), 0)

    def close(self) -> None:
        """Stop measuring."""
        for timer in self._timers:
            timer.cancel()
        self._lane.close()

    def sent(self, receipt: Receipt) -> None:
        """A parcel has arrived (called by the lane)."""
        self._heard_s = receipt.acked_s
        if not self.intervals:
            return
        interval, burst = self.intervals[-1], self._burst
        # An empty message that was late says nothing of the rate.
        is_empty = receipt.size_bytes == EMPTY_BYTES
        interval.came_bytes += 0 if is_empty else receipt.size_bytes
        if burst is not None and receipt.request == burst.number:
            self._arrived(interval, burst, receipt)
        else:
            if receipt.start_s >= self._schedule.start_s(interval.number) and not is_empty:
                # Where parcels follow each other, only the first one's time holds the round trip.
                trip_s = self._rtt_s if receipt.start_s <= receipt.queued_s else 0.0
                interval.rough.append((receipt.size_bytes, max(receipt.transfer_s - trip_s, _LEAST_S)))
            self._look()

    def lost(self, parcels: Sequence[Parcel]) -> None:  # noqa: ARG002 - whatever they were, they did not arrive
        """Parcels did not arrive: the other machine was started anew (called by the lane)."""
        self._burst = None
        self._steps.clear()

    def _begin(self) -> None:
        """An interval begins."""
        number, schedule = len(self.intervals), self._schedule
        if number == schedule.n:
            return
        self._over()
        self.intervals.append(Interval(number))
        self._steps = deque([0.0] * _EMPTIES + list(_SHARES))
        start_s = schedule.start_s(number)
        self._timers = [
            self._loop.call_at(start_s + schedule.phase_s, self._look),
            self._loop.call_at(schedule.start_s(number + 1), self._begin),
        ]
        if self._lane.waiting and monotonic() - self._heard_s > _REDIAL_S:
            self._heard_s = monotonic()
            self._lane.redial()

    def _look(self) -> None:
        """Begin the turn if it is due and nothing is under way."""
        schedule, now_s = self._schedule, monotonic()
        start_s = schedule.start_s(self.intervals[-1].number)
        due = start_s + schedule.phase_s <= now_s < start_s + schedule.until_s
        if due and self._burst is None and len(self._steps) == _EMPTIES + len(_SHARES) and not self._lane.waiting:
            self._began_s, self._until_s = now_s, start_s + schedule.until_s
            self._timers.append(self._loop.call_at(self._until_s, self._over))
            self._next()

    def _next(self) -> None:
        """Send the next burst of the turn, if there is time for it."""
        now_s, budget_s, interval = monotonic(), self._schedule.budget_s, self.intervals[-1]
        while (
            self._steps and not self._steps[0] and interval.empty_s and now_s > self._began_s + _EMPTY_SHARE * budget_s
        ):
            self._steps.popleft()
        # Round trips take time too, but send nothing: for the first few bursts there is all that the interval has.
        end_s = self._until_s if len(interval.bursts) < _ENOUGH else self._began_s + budget_s
        left_s = end_s - now_s - self._rtt_s
        if not self._steps or left_s <= 0:
            self._over()
            return
        share = self._steps.popleft()
        size_bytes = EMPTY_BYTES
        if share:
            most_bytes = min(left_s * self._rate_bps / BITS_PER_BYTE, MOST_BYTES)
            wanted_bytes = max(share * budget_s * self._rate_bps / BITS_PER_BYTE, LEAST_BYTES)
            size_bytes = max(int(min(wanted_bytes, most_bytes)), EMPTY_BYTES + 1)
        self._send_burst(size_bytes, counts=share == 0 or len(self._steps) < len(_SHARES) - 1)

    def _send_burst(self, size_bytes: int, *, counts: bool) -> None:
        parcel_bytes = parcel_size_bytes(self._rate_bps)
        trip_bytes = int(self._rate_bps * self._rtt_s / BITS_PER_BYTE)
        window_bytes = 2 * (parcel_bytes + trip_bytes)
        n_whole, rest = divmod(size_bytes, parcel_bytes)
        parts = deque([parcel_bytes] * n_whole + [rest] * (rest > 0))
        self._numbers += 1
        self._burst = _Burst(self._numbers, parts, window_bytes, counts)
        self._fill(self._burst)

    def _fill(self, burst: _Burst) -> None:
        while burst.left and (not burst.open_bytes or burst.open_bytes + burst.left[0] <= burst.window_bytes):
            size_bytes = burst.left.popleft()
            burst.open_bytes += size_bytes
            specs = (TensorSpec("uint8", (size_bytes,)),)
            self._lane.send(Parcel(Kind.PROBE, burst.number, 0, PROBE, 0, specs, (self._zeros[:size_bytes],)))

    def _arrived(self, interval: Interval, burst: _Burst, receipt: Receipt) -> None:
        if burst.start_s is None:
            burst.start_s = receipt.start_s
        burst.last_s = receipt.acked_s
        burst.open_bytes -= receipt.size_bytes
        burst.came_bytes += receipt.size_bytes
        self._fill(burst)
        if burst.open_bytes:
            return
        self._burst = None
        time_s = burst.last_s - burst.start_s
        if burst.came_bytes == EMPTY_BYTES:
            interval.empty_s.append(time_s)
            self._rtt_s = min(interval.empty_s)
        elif not self._learn(burst, time_s):
            # Once more, with a window that is large enough.
            self._steps.appendleft(_SHARES[0])
        elif burst.counts:
            interval.bursts.append((burst.came_bytes, time_s))
        else:
            interval.rough.append((burst.came_bytes, max(time_s - self._rtt_s, _LEAST_S)))
        self._next()

    def _learn(self, burst: _Burst, time_s: float) -> bool:
        """Expect another rate from now on; False if the burst was held back by its window instead of the link."""
        found_bps = burst.came_bytes * BITS_PER_BYTE / max(time_s - self._rtt_s, _LEAST_S)
        self._rate_bps = float(np.clip(found_bps, self._rate_bps / _CHANGE, self._rate_bps * _CHANGE))
        self._rate_bps = max(self._rate_bps, _LEAST_BPS)
        needed_bytes = 1.2 * found_bps * self._rtt_s / BITS_PER_BYTE
        return burst.came_bytes <= burst.window_bytes or burst.window_bytes >= needed_bytes

    def _over(self) -> None:
        """The turn is over: what has not been handed to the link stays here, and what has been drains."""
        burst, self._burst = self._burst, None
        self._steps.clear()
        if burst is None or not self.intervals:
            return
        if burst.start_s is None or not burst.came_bytes:
            self._rate_bps = max(self._rate_bps / _CHANGE, _LEAST_BPS)
        else:
            time_s = burst.last_s - burst.start_s
            self._learn(burst, time_s)
            if burst.came_bytes > EMPTY_BYTES:
                self.intervals[-1].bursts.append((burst.came_bytes, time_s))


def parcel_size_bytes(rate_bps: float) -> int:
    """Size of the parcels of a burst at a rate: a few percent of a second of it, within limits."""
    most = max(_PARCEL_BYTES[1], min(rate_bps * _FAST_PARCEL_S / BITS_PER_BYTE, _MOST_PARCEL_BYTES))
    return int(np.clip(rate_bps * _PARCEL_S / BITS_PER_BYTE, _PARCEL_BYTES[0], most))
