"""What a coordinator makes of what it is told: links, clocks, and the records of many machines as those of one run."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from results import make_requests
from worlds import make_world

from hardware.coordinator.collect import ClockFit, put_together
from hardware.coordinator.linkcheck import TOLERANCE, check, fit, sizes_bytes
from hardware.coordinator.remote import Reply
from hardware.node.arrays import pack_arrays
from hardware.node.recorder import Recorder
from twin.records import Kind, RawSamples
from twin.runs.parquet import empty


class TestLinks:
    @pytest.mark.parametrize(("rate_bps", "delay_s"), [(5e6, 0.02), (20e6, 0.001), (200e6, 0.0)])
    def test_a_line_is_found_whatever_a_quarter_of_the_transfers_did(self, rate_bps, delay_s):
        sizes = sizes_bytes(rate_bps)
        times_s = [delay_s + 8 * size / rate_bps for size in sizes]
        rng = np.random.default_rng(3)
        for outlier in rng.choice(len(sizes), len(sizes) // 5, replace=False):
            times_s[outlier] += 0.5
        found_bps, low_bps, high_bps, found_s = fit(sizes, times_s)
        assert found_bps == pytest.approx(rate_bps, rel=0.02)
        assert found_s == pytest.approx(delay_s, abs=2e-3)
        assert low_bps <= found_bps <= high_bps

    def test_noise_is_within_its_interval(self):
        rng, hits = np.random.default_rng(5), 0
        for _ in range(50):
            sizes = sizes_bytes(20e6)
            times_s = [0.004 + 8 * size / 20e6 + rng.normal(0, 1e-3) for size in sizes]
            _, low_bps, high_bps, _ = fit(sizes, times_s)
            hits += low_bps <= 20e6 <= high_bps
        assert hits >= 43

    def test_sizes_that_tell_nothing(self):
        assert fit([1000, 1000], [0.1, 0.2]) is None
        assert fit([1000, 2000], [0.2, 0.1]) is None

    def test_sizes_are_mixed_and_within_limits(self):
        for rate_bps in (1e3, 20e6, 1e12):
            sizes = sizes_bytes(rate_bps)
            assert 1_000 <= min(sizes) <= max(sizes) <= 8_000_000
            assert sizes[1:4] == sizes[4:7][::-1]

    def test_a_link_is_held_against_the_scenario(self):
        world = make_world()
        for factor, warned in ((1.0, False), (1 - 0.9 * TOLERANCE, False), (0.9, True), (1.2, True)):
            rows = [[0.0, size, 0.005 + 8 * size / (20e6 * factor)] for size in sizes_bytes(20e6)]
            found = check(world, 0, 0, [[0.0, 1000, 9.0], *rows])
            assert found.difference == pytest.approx(factor - 1)
            assert (found.warning(("pi", "laptop")) is not None) == warned
            assert found.delay_s == pytest.approx(0.005)
            assert found.wanted_delay_s == pytest.approx(0.004)
            assert json.dumps(found.to_json())

    def test_one_that_could_not_be_measured_says_so(self):
        found = check(make_world(), 1, 1, [[0.0, 1000, 0.1]] * 4)
        assert (found.rate_bps, found.difference) == (None, None)
        assert "could not be measured" in found.warning(("pc", "laptop"))


class TestClocks:
    def test_a_constant_offset(self):
        fit_ = ClockFit((10.0, 10.0), (500.0, 500.0), 0.0)
        assert fit_.shift_s(np.array([510.0, 600.0])) == pytest.approx([-500.0, -500.0])
        assert fit_.to_json()["drift"] is None

    @given(st.floats(-1e5, 1e5), st.floats(-1e-4, 1e-4), st.floats(0.0, 1.0))
    def test_drift_is_taken_out_between_the_measurements(self, offset_s, drift, share):
        start_s, end_s = 1000.0, 1100.0
        machine = lambda t_s: t_s + offset_s + drift * (t_s - start_s)  # noqa: E731 - a line
        clock = ClockFit((start_s, end_s), (offset_s, offset_s + drift * (end_s - start_s)), 1e-3)
        t_s = start_s + share * (end_s - start_s)
        there_s = np.array([machine(t_s)])
        assert there_s + clock.shift_s(there_s) == pytest.approx([t_s], abs=1e-6)
        assert clock.to_json()["drift"] == pytest.approx(drift, abs=1e-9)

    def test_beyond_them_the_nearer_one_holds(self):
        clock = ClockFit((0.0, 100.0), (10.0, 11.0), 0.0)
        assert clock.shift_s(np.array([[0.0, 500.0]])) == pytest.approx(np.array([[-10.0, -11.0]]))


def reply(spans, **content):
    recorder = Recorder()
    for row in spans:
        recorder.add(*row)
    return Reply({"meters": [], "troubles": [], **content}, [pack_arrays(recorder.columns())])


def test_records_of_all_machines_become_those_of_one_run():
    world = make_world()
    requests = make_requests([0.0, 1.0], [0.5, 1.5], [0, 0])
    # Run time 0 is 100 s on the coordinator's clock; the edge is 1000 s ahead of it, the laptop 50 s behind.
    edge = reply(
        [(1, 0, Kind.COMPUTE, 0, 1101.0, 1101.1), (0, 0, Kind.COMPUTE, 0, 1100.0, 1100.1)],
        edge=True, zero_s=1100.0, end_s=2.0, duplicates=3, switches=[{"epoch": 0}], answers=[[1, 2]],
    )  # fmt: skip
    log = [{"tick": 0, "t_s": 0.0, "rows": [0, 0], "charged_j": {}}]
    tables = [pack_arrays(table.columns()) for table in (requests, empty(RawSamples))]
    edge.blobs.extend([*tables, json.dumps(log).encode(), b"a", b"b"])
    laptop = reply([(0, 0, Kind.COMPUTE, 1, 50.2, 50.4)])
    clocks = [ClockFit((0.0, 0.0), (offset_s,) * 2, 0.0) for offset_s in (1000.0, -50.0, 7.0)]
    collected = put_together(world, "static", "emulated", 0, [edge, laptop, None], clocks, {"backend": "testbed"})
    result = collected.result
    assert list(result.spans.request) == [0, 0, 1]
    assert list(result.spans.place) == [0, 1, 0]
    assert result.spans.start_s == pytest.approx([0.0, 0.2, 1.0])
    assert result.spans.end_s == pytest.approx([0.1, 0.4, 1.1])
    assert np.array_equal(result.requests.done_s, requests.done_s)
    assert (result.source, result.facts["duplicates"], result.facts["length_s"]) == ("emulated", 3, 2.0)
    assert collected.answers == [(1, 0, [b"a", b"b"])]
    assert [entry["tick"] for entry in result.decisions] == [0]


def test_a_loss_cannot_be_noticed_in_no_time(tmp_path):
    from worlds import tiny_project

    from hardware.run import main
    from twin.errors import ScenarioError

    with pytest.raises(ScenarioError, match="detect_s"):
        main([str(tiny_project(tmp_path)), "--set", "detect_s=0", "--out", str(tmp_path / "out")])
