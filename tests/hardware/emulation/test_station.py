"""The paced FIFO against the twin's integration, played with made-up moments."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shaping import steps

from hardware.emulation.moments import RunTime
from hardware.emulation.station import LARGEST_CHUNK_BYTES, LEAST_CHUNK_BYTES, Station, chunk_bytes
from twin.steps import Steps


@dataclass
class Outlet:
    """Keeps what a station hands on."""

    rate: Steps
    closed: bool = False
    got: list[tuple[bytes, float]] = field(default_factory=list)

    def sent(self, data: memoryview, finish_s: float) -> None:
        self.got.append((bytes(data), finish_s))


def play(station: Station, until_s: float = math.inf) -> None:
    """Let time pass, looking only at the moments that the station asks for."""
    while station.next_s <= until_s and station.next_s < math.inf:
        station.advance(station.next_s)


MESSAGES = st.lists(st.tuples(st.floats(0.0, 0.5), st.integers(1, 60_000)), min_size=1, max_size=8)


@given(MESSAGES, st.booleans())
def test_messages_end_when_the_twin_says(messages: list[tuple[float, int]], once: bool) -> None:
    """The end of message k is finish(max(arrival, end of k - 1), bits), also when the process wakes late."""
    rate = steps((0.0, 8e6), (0.3, 1e6), (0.6, 0.0), (0.9, 40e6))
    station, outlet = Station(RunTime(10.0)), Outlet(rate)
    ends, end_s, at_s = [], 0.0, 0.0
    for gap_s, size_bytes in messages:
        at_s += gap_s
        if not once:
            play(station, 10.0 + at_s)
        station.put(outlet, bytes(size_bytes), 10.0 + at_s)
        end_s = rate.finish(max(end_s, at_s), 8 * size_bytes)
        ends.append(end_s)
    station.advance(1e9)
    sizes, got = [size for _, size in messages], iter(outlet.got)
    for size_bytes, end_s in zip(sizes, ends, strict=True):
        taken = 0
        while taken < size_bytes:
            data, finish_s = next(got)
            taken += len(data)
        assert taken == size_bytes
        assert finish_s - 10.0 == pytest.approx(end_s, abs=1e-6)


def test_two_outlets_share_a_station_in_order_of_arrival() -> None:
    up, down = Outlet(Steps.constant(8e6)), Outlet(Steps.constant(4e6))
    station = Station(RunTime(0.0))
    station.put(up, bytes(1000), 0.0)
    station.put(down, bytes(1000), 0.0)
    station.put(up, bytes(1000), 0.0)
    station.advance(1.0)
    assert [t for _, t in up.got] == pytest.approx([0.001, 0.004])
    assert [t for _, t in down.got] == pytest.approx([0.003])


def test_a_pause_in_the_middle_of_a_chunk_costs_just_the_pause() -> None:
    outlet, station = Outlet(Steps.constant(8e6)), Station(RunTime(0.0))
    station.put(outlet, bytes(1000), 0.0)
    station.put(outlet, bytes(1000), 0.0)
    station.pause(0.0004)
    station.advance(2.0)
    station.put(outlet, bytes(1000), 2.0)
    assert outlet.got == []
    station.resume(5.0)
    play(station)
    assert [t for _, t in outlet.got] == pytest.approx([5.0006, 5.0016, 5.0026])


def test_what_arrives_at_an_idle_station_that_is_paused_waits() -> None:
    outlet, station = Outlet(Steps.constant(8e6)), Station(RunTime(0.0))
    station.pause(1.0)
    station.put(outlet, bytes(1000), 1.5)
    assert station.next_s == math.inf
    station.resume(2.0)
    assert station.next_s == pytest.approx(2.001)


def test_bytes_of_a_closed_connection_take_no_time() -> None:
    gone, kept, station = Outlet(Steps.constant(8e6)), Outlet(Steps.constant(8e6)), Station(RunTime(0.0))
    station.put(kept, bytes(1000), 0.0)
    for _ in range(100):
        station.put(gone, bytes(100_000), 0.0)
    station.put(kept, b"x", 0.0)
    gone.closed = True
    station.advance(1.0)
    assert kept.got[-1] == (b"x", pytest.approx(0.001001))


def test_the_start_of_the_run_changes_when_the_chunk_under_way_ends() -> None:
    run_time = RunTime(None)
    outlet, station = Outlet(steps((0.0, 0.0), (1.0, 8e6))), Station(run_time)
    station.put(outlet, bytes(1000), 3.0)
    assert station.next_s == math.inf
    run_time.t0_s = 4.0
    station.replan()
    assert station.next_s == pytest.approx(5.001)


@pytest.mark.parametrize(
    ("rate_bps", "expected"),
    [(0.0, LEAST_CHUNK_BYTES), (1e6, LEAST_CHUNK_BYTES), (20e6, 5000), (1e9, LARGEST_CHUNK_BYTES)],
)
def test_chunks_take_about_two_milliseconds(rate_bps: float, expected: int) -> None:
    assert chunk_bytes(rate_bps) == expected
