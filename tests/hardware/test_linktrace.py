"""Link traces: from what was sent in each interval to a file that scenarios read."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.coordinator.linktrace import (
    METHOD,
    csv_text,
    goodput_bps,
    interval_of,
    sizes_and_numbers,
    trace_rows,
    write_trace,
)
from hardware.node.interval import EMPTY_BYTES, Interval
from twin.errors import MeasurementError
from twin.traces import load_link_trace


def seen(number: int, rate_bps: float, delay_s: float, sizes=(20_000, 60_000, 40_000, 60_000)) -> Interval:
    """An interval of a link that keeps to T = L + 8 S / B."""
    bursts = [(size, delay_s + 8 * size / rate_bps) for size in sizes]
    return Interval(number, [delay_s + 8 * EMPTY_BYTES / rate_bps] * 3, bursts, [], sum(sizes) + 3)


@given(st.floats(1e5, 1e9), st.floats(0, 0.2))
def test_the_goodput_of_a_link_that_keeps_to_the_line_is_found_whatever_its_delay(rate_bps, delay_s):
    assert goodput_bps(seen(0, rate_bps, delay_s), 1.0) == pytest.approx(rate_bps, rel=1e-6)


def test_one_slow_transfer_in_five_moves_nothing():
    interval = seen(0, 20e6, 0.01, (20_000, 60_000, 40_000, 60_000, 40_000))
    size, time_s = interval.bursts[2]
    interval.bursts[2] = (size, 10 * time_s)
    assert goodput_bps(interval, 1.0) == pytest.approx(20e6, rel=0.01)


def test_one_burst_counts_less_the_round_trip():
    assert goodput_bps(Interval(0, [0.01], [(50_000, 0.05)], [], 50_001), 1.0) == pytest.approx(8 * 50_000 / 0.04)


def test_without_a_burst_what_is_left_of_earlier_ones_tells_the_rate():
    assert goodput_bps(Interval(3, [], [], [(10_000, 0.1), (30_000, 0.3)], 90_000), 1.0) == pytest.approx(8e5)


def test_what_came_through_counts_over_the_whole_interval_where_nothing_else_is_known():
    assert goodput_bps(Interval(3, [], [], [], 5_000), 0.5) == 80_000.0
    assert goodput_bps(Interval(3), 0.5) == 0.0


def test_an_outage_is_a_rate_of_zero_with_the_last_round_trip():
    up = [seen(0, 8e6, 0.01), Interval(1), seen(2, 4e6, 0.03)]
    down = [seen(0, 16e6, 0.02), Interval(1), seen(2, 16e6, 0.02)]
    rows = trace_rows(up, down, 0.5)
    assert [row.time_s for row in rows] == [0.0, 0.5, 1.0]
    assert [row.up_bps for row in rows] == pytest.approx([8e6, 0.0, 4e6])
    assert [row.down_bps for row in rows] == pytest.approx([16e6, 0.0, 16e6])
    assert [row.rtt_s for row in rows] == pytest.approx([0.01, 0.01, 0.02], abs=1e-5)


def test_a_trace_that_begins_in_an_outage_has_the_first_round_trip_that_was_seen():
    rows = trace_rows([Interval(0), seen(1, 8e6, 0.01)], [Interval(0), Interval(1)], 1.0)
    assert (rows[0].up_bps, rows[0].rtt_s) == (0.0, pytest.approx(0.01, abs=1e-5))


def test_a_trace_is_as_long_as_both_ends_have_told():
    assert len(trace_rows([seen(0, 8e6, 0.01), seen(1, 8e6, 0.01)], [seen(0, 8e6, 0.01)], 1.0)) == 1


def test_a_link_through_which_nothing_came_is_no_trace():
    with pytest.raises(MeasurementError, match=r"nothing came through the link.*reach each other"):
        trace_rows([Interval(0)], [Interval(0)], 1.0)


def test_the_file_is_one_that_scenarios_read(tmp_path):
    up, down = [seen(0, 8e6, 0.01), Interval(1)], [seen(0, 16e6, 0.01), seen(1, 12e6, 0.01)]
    path = tmp_path / "traces" / "mine.csv"
    meta = {"source": "measured", "duration_s": 1.0, "method": METHOD, "up": sizes_and_numbers(up)}
    write_trace(path, trace_rows(up, down, 0.5), meta)
    trace = load_link_trace(path)
    assert (trace.source, trace.up.duration_s) == ("measured", 1.0)
    assert [trace.up.at(0.2), trace.up.at(0.7), trace.down.at(0.7)] == pytest.approx([8e6, 0.0, 12e6])
    assert trace.rtt.at(0.9) == pytest.approx(0.01, abs=1e-5)
    assert trace.provenance["up"] == {
        "bursts": 4,
        "empty_messages": 3,
        "burst_bytes": [20_000, 50_000, 60_000],
        "intervals_without_burst": 1,
        "intervals_without_anything": 1,
    }
    assert trace.provenance["burst_limits_bytes"] == [2_000, 8_000_000]


def test_a_trace_that_cannot_be_written_is_one_message(tmp_path):
    (tmp_path / "file").touch()
    rows = trace_rows([seen(0, 8e6, 0.01)], [seen(0, 8e6, 0.01)], 1.0)
    with pytest.raises(MeasurementError, match=r"x\.csv: cannot be written"):
        write_trace(tmp_path / "file" / "x.csv", rows, {"source": "measured"})


def test_intervals_survive_being_sent():
    interval = Interval(4, [0.01], [(50, 0.5)], [(7, 0.25)], 60)
    assert interval_of(interval.to_json()) == interval


def test_times_of_many_intervals_keep_their_digits():
    rows = trace_rows([seen(k, 8e6, 0.01) for k in range(3)], [seen(k, 8e6, 0.01) for k in range(3)], 0.3)
    times = [float(line.split(",")[0]) for line in csv_text(rows).splitlines()[1:]]
    assert times == pytest.approx([0.0, 0.3, 0.6])
    assert math.isclose(times[2], 0.6, rel_tol=1e-9)
