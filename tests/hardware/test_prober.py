"""The prober: by a loop whose time is made up, over a lane that is a formula, so that no test waits for anything."""

from __future__ import annotations

import heapq
import math
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware.coordinator.linktrace import goodput_bps, trace_rows
from hardware.node import prober
from hardware.node.interval import LEAST_BYTES, Schedule
from hardware.node.prober import Prober, parcel_size_bytes
from hardware.transport.receipt import Receipt
from twin.steps import Steps


class Timer:
    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Clock:
    """A loop: calls in the order of their times; nothing takes any time by itself."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._calls: list = []
        self._order = count()

    def call_at(self, t_s, call, *args) -> Timer:
        timer = Timer()
        heapq.heappush(self._calls, (max(t_s, self.now_s), next(self._order), timer, call, args))
        return timer

    def run(self, until_s: float) -> None:
        while self._calls and self._calls[0][0] <= until_s:
            self.now_s, _, timer, call, args = heapq.heappop(self._calls)
            if not timer.cancelled:
                call(*args)
        self.now_s = until_s


class FormulaLane:
    """A lane over a link of known rate and round trip: a FIFO of bits, and receipts a round trip after the last bit."""

    def __init__(self, clock: Clock, rate: Steps, rtt_s: float, listener) -> None:
        self.waiting = self.redials = self.most_waiting_bytes = self.sent_bytes = 0
        self.why = ""
        self._clock, self._rate, self._rtt_s, self._listener = clock, rate, rtt_s, listener
        self._free_s = self._acked_s = 0.0
        self._waiting_bytes = 0
        self.closed = False

    def send(self, parcel) -> None:
        size, now_s = parcel.size_bytes, self._clock.now_s
        self.waiting += 1
        self.sent_bytes += size
        self._waiting_bytes += size
        self.most_waiting_bytes = max(self.most_waiting_bytes, self._waiting_bytes)
        self._free_s = self._rate.finish(max(now_s, self._free_s), 8 * size)
        if math.isfinite(self._free_s):
            self._clock.call_at(self._free_s + self._rtt_s, self._ack, parcel, now_s)

    def _ack(self, parcel, queued_s: float) -> None:
        now_s = self._clock.now_s
        self.waiting -= 1
        self._waiting_bytes -= parcel.size_bytes
        start_s = max(queued_s, self._acked_s)
        self._acked_s = now_s
        self._listener.sent(
            Receipt(parcel.kind, parcel.request, 0, 0, parcel.size_bytes, queued_s, start_s, now_s, now_s)
        )

    def redial(self) -> None:
        self.redials += 1

    def close(self) -> None:
        self.closed = True


def probe(monkeypatch, rate: Steps, rtt_s: float, n: int, every_s: float = 1.0, phase: float = 0.0):
    clock = Clock()
    monkeypatch.setattr(prober, "monotonic", lambda: clock.now_s)
    schedule = Schedule(0.0, every_s, phase * every_s, (phase + 0.45) * every_s, 0.25 * every_s, n)
    made = Prober(clock, lambda listener: FormulaLane(clock, rate, rtt_s, listener), schedule)
    clock.run(n * every_s + 1.0)
    return made


def rates(made: Prober, every_s: float = 1.0):
    return [goodput_bps(interval, every_s) for interval in made.intervals]


@settings(deadline=None)
@given(rate_mbps=st.floats(0.5, 2000), rtt_ms=st.floats(0, 60), phase=st.sampled_from([0.0, 0.5]))
def test_a_steady_link_is_found_from_the_second_interval_on(rate_mbps, rtt_ms, phase):
    with pytest.MonkeyPatch.context() as patch:
        made = probe(patch, Steps.constant(rate_mbps * 1e6), rtt_ms * 1e-3, 4, phase=phase)
    assert len(made.intervals) == made.complete == 4
    assert rates(made)[1:] == pytest.approx([rate_mbps * 1e6] * 3, rel=0.02)
    for interval in made.intervals:
        assert min(interval.empty_s) == pytest.approx(rtt_ms * 1e-3 + 8 / (rate_mbps * 1e6), abs=1e-6)


def test_steps_at_the_beginning_of_an_interval_are_found_in_it(monkeypatch):
    values = (50e6, 5e6, 100e6, 20e6, 100e6, 5e6, 5e6)
    rate = Steps(tuple(2.0 * k for k in range(len(values))), values)
    made = probe(monkeypatch, rate, 0.01, 2 * len(values))
    assert rates(made)[1:] == pytest.approx([value for value in values for _ in "12"][1:], rel=0.02)


def test_a_burst_is_large_where_the_link_lets_it_and_never_longer_than_its_share(monkeypatch):
    made = probe(monkeypatch, Steps.constant(100e6), 0.01, 3)
    sizes = [size for size, _ in made.intervals[2].bursts]
    assert max(sizes) >= 400_000
    assert len(set(sizes)) >= 3
    slow = probe(monkeypatch, Steps.constant(1e6), 0.01, 3)
    sent = slow.intervals[2].came_bytes
    assert 8 * sent / 1e6 <= 0.25
    assert min(size for size, _ in slow.intervals[2].bursts) >= LEAST_BYTES


def test_an_outage_is_silence_and_what_was_under_way_is_little(monkeypatch):
    rate = Steps((0.0, 2.1, 5.0), (50e6, 0.0, 50e6))
    made = probe(monkeypatch, rate, 0.01, 7)
    assert [interval.came_bytes for interval in made.intervals[3:5]] == [0, 0]
    found = rates(made)
    assert found[3:5] == [0.0, 0.0]
    assert found[5:] == pytest.approx([50e6, 50e6], rel=0.05)
    assert made._lane.most_waiting_bytes < 0.1 * 50e6 / 8


def test_a_silent_connection_is_dialled_anew_again_and_again(monkeypatch):
    made = probe(monkeypatch, Steps((0.0, 1.1), (50e6, 0.0)), 0.01, 12)
    assert 2 <= made._lane.redials <= 4
    assert [row.up_bps for row in trace_rows(made.intervals, made.intervals, 1.0)][2:] == [0.0] * 10


def test_a_link_that_gets_a_thousand_times_slower_has_what_came_through(monkeypatch):
    made = probe(monkeypatch, Steps((0.0, 2.0), (50e6, 50e3)), 0.01, 40)
    assert rates(made)[-5:] == pytest.approx([50e3] * 5, rel=0.1)


def test_a_machine_that_was_started_anew_loses_a_turn_only(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(prober, "monotonic", lambda: clock.now_s)
    made = Prober(
        clock,
        lambda listener: FormulaLane(clock, Steps.constant(20e6), 0.01, listener),
        Schedule(0.0, 1.0, 0.0, 0.45, 0.25, 3),
    )
    clock.run(1.1)
    made.lost([])
    clock.run(3.5)
    assert made.intervals[2].bursts
    assert goodput_bps(made.intervals[2], 1.0) == pytest.approx(20e6, rel=0.02)


def test_a_prober_that_was_closed_sends_nothing_more(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(prober, "monotonic", lambda: clock.now_s)
    made = Prober(
        clock,
        lambda listener: FormulaLane(clock, Steps.constant(20e6), 0.01, listener),
        Schedule(0.0, 1.0, 0.0, 0.45, 0.25, 3),
    )
    clock.run(0.7)
    made.close()
    sent, n = made._lane.sent_bytes, len(made.intervals)
    clock.run(5.0)
    assert made._lane.closed
    assert (made._lane.sent_bytes, len(made.intervals)) == (sent, n)


def test_parcels_grow_with_the_rate_within_limits():
    sizes = [parcel_size_bytes(rate_bps) for rate_bps in (1e4, 1e6, 5e6, 1e8, 1e9, 1e11)]
    assert sizes == [4_000, 4_000, 12_500, 64_000, 250_000, 1_000_000]


def test_an_empty_message_that_an_outage_held_up_says_nothing_of_the_rate(monkeypatch):
    # The outage begins between the first and the second empty message of the third turn, and ends after the turn.
    rate = Steps((0.0, 2.015, 3.6), (50e6, 0.0, 50e6))
    made = probe(monkeypatch, rate, 0.01, 6)
    assert rates(made)[2:4] == [0.0, 0.0]
    assert rates(made)[4:] == pytest.approx([50e6, 50e6], rel=0.02)
