"""The live twin on synthetic streams: what it predicts, what it flags, names and refits, and what it leaves alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from players import Script
from streams import SPLIT, Stream, follow, noisy_world, played, poisson, slowed
from worlds import make_links, make_workload

from hardware.following.core import Beat
from hardware.following.drift import Tuning, run_length
from hardware.following.outcome import KNOWN, LATENCY, scores, summary
from twin.engine.events import EventsEngine
from twin.partition import Partition
from twin.traces import LinkTrace


def flags_of(intervals):
    return [flag for x in intervals for flag in x.flags]


def quiet(kind="periodic", **changes):
    workload = make_workload(kind=kind, clients=0, rate_rps=5.0, requests=None, duration_s=20.0)
    return noisy_world(0.0, workload=workload, **changes)


class TestPredictions:
    def test_without_luck_they_are_exact(self):
        world = quiet()
        _, intervals = follow(world, Stream(played(world)))
        told = [x for x in intervals if x.is_told]
        assert len(told) >= 19
        for x in told:
            assert x.forecast.mean_s == pytest.approx(x.whole.measured_s, rel=1e-3)
            assert x.forecast.p95_s == pytest.approx(x.p95_s, rel=1e-3)
        for x in told[2:-1]:
            assert x.forecast.throughput_rps == pytest.approx(x.throughput_rps)
            for part in x.parts:
                assert part.relative == pytest.approx(0.0, abs=2e-3)

    def test_they_use_nothing_of_their_interval(self):
        world = quiet()
        other = slowed(world, 0, 1.5, 10.0)
        first, second = (follow(world, Stream(played(x)))[1] for x in (world, other))
        for one, two in zip(first, second, strict=False):
            if one.forecast.known_s < 10.0:
                assert one.forecast.mean_s == two.forecast.mean_s
            assert one.forecast.known_s < one.forecast.start_s

    def test_a_queue_that_builds_up_is_predicted(self):
        # 12 requests per second of 100 ms of compute each: more wait from second to second.
        workload = make_workload(kind="periodic", clients=0, rate_rps=12.0, requests=None, duration_s=15.0)
        world = noisy_world(0.0, workload=workload)
        _, intervals = follow(world, Stream(played(world, Partition((0, 0, 0, 0), 3))))
        told = [x for x in intervals if x.is_told]
        assert told[-1].whole.measured_s > 3 * told[0].whole.measured_s
        for x in told[1:]:
            assert x.forecast.mean_s == pytest.approx(x.whole.measured_s, rel=0.02)

    def test_clients_that_wait_are_predicted(self):
        world = noisy_world(0.0, workload=make_workload(clients=2, requests=None, duration_s=20.0))
        _, intervals = follow(world, Stream(played(world)))
        told = [x for x in intervals if x.is_told]
        assert len(told) >= 18
        errors = [x.forecast.mean_s / x.whole.measured_s - 1 for x in told[2:]]
        assert np.abs(errors).max() < 0.02
        rates = [x.forecast.throughput_rps / x.throughput_rps - 1 for x in told[2:-1]]
        assert np.abs(rates).mean() < 0.1

    def test_luck_of_arrivals_is_not_in_the_residual_once_they_are_known(self):
        world = noisy_world(0.0)
        _, intervals = follow(world, Stream(played(world)))
        known = [x for x in intervals if x.explained is not None]
        assert len(known) > 50
        assert np.abs([x.explained.relative for x in known]).max() < 0.01
        assert np.abs([x.whole.relative for x in known]).mean() > 0.03

    def test_a_change_of_the_plan_is_followed(self):
        world = quiet()
        policy = Script([SPLIT] * 8 + [Partition((2, 2, 2, 2), 3)])
        _, intervals = follow(world, Stream(EventsEngine().run(world, policy, "x", 0)))
        assert [x.forecast.epoch for x in intervals[:12]] == [0] * 8 + [1] * 4
        # The decision at 8 s is known to the interval that begins after it, and came into the end of the one before.
        assert [x.number for x in intervals[:12] if x.changed] == [7]
        for x in intervals[9:12]:
            assert x.forecast.mean_s == pytest.approx(x.whole.measured_s, rel=1e-3)

    def test_intervals_are_control_intervals_but_half_a_second_at_least(self):
        world = quiet()
        assert Beat.of(world).every_s == 1.0
        short = replace(world, control=replace(world.control, every_s=0.2))
        assert Beat.of(short).every_s == pytest.approx(0.6)
        assert Beat.of(short).span_s(1) == pytest.approx((0.75, 1.35))


class TestDrift:
    def test_a_device_that_becomes_slower_is_flagged_named_and_refitted(self):
        world = noisy_world(0.1)
        core, intervals = follow(world, Stream(played(slowed(world, 0, 1.3, 20.0))))
        (flag,) = flags_of(intervals)
        assert flag.name == "compute.pi"
        assert 20.0 < flag.t_s < 27.0
        assert flag.bias == pytest.approx(0.3, abs=0.05)
        assert core.monitor.corrections.device[0] == pytest.approx(1.3, rel=0.05)
        assert core.monitor.corrections.device[1:] == (1.0, 1.0)
        after = [r.relative for x in intervals for r in x.parts if r.place == 0 and x.forecast.known_s > flag.t_s]
        assert abs(np.mean(after)) < 0.05

    def test_a_device_that_recovers_is_fitted_again(self):
        world = noisy_world(0.05, workload=poisson(duration_s=60.0))
        loads = list(world.loads)
        loads[0] = loads[0].slowed(1.5, 15.0, 35.0)
        core, intervals = follow(world, Stream(played(replace(world, loads=tuple(loads)))))
        assert [flag.name for flag in flags_of(intervals)] == ["compute.pi", "compute.pi"]
        assert [np.sign(flag.bias) for flag in flags_of(intervals)] == [1, -1]
        assert core.monitor.corrections.device[0] == pytest.approx(1.0, rel=0.05)

    @pytest.mark.parametrize("device", [0, 1])
    def test_a_load_that_the_profile_does_not_know_is_found_at_once(self, device):
        world = noisy_world(0.05, workload=poisson(duration_s=20.0))
        _, intervals = follow(world, Stream(played(slowed(world, device, 1.5, 0.0))))
        flags = flags_of(intervals)
        assert [flag.place for flag in flags] == [device]
        assert flags[0].t_s < 6.0

    def test_noise_alone_raises_no_flag_within_the_run_length(self):
        """Six detectors over 240 intervals: at 1 flag in 70 000 residuals, 0.02 flags are to be expected."""
        flags, n = 0, 0
        for replication in range(4):
            world = replace(noisy_world(0.2), seed=replication)
            _, intervals = follow(world, Stream(played(world, replication=replication)))
            flags += len(flags_of(intervals))
            n += sum(len(x.parts) + 1 for x in intervals)
        assert n / run_length(Tuning()) < 0.05
        assert flags == 0

    def test_a_link_that_changes_is_followed_and_not_flagged(self):
        world = quiet()
        fast, other = make_links()
        slow = LinkTrace("fades", fast.up.scaled(0.5, 8.0), fast.down, fast.rtt)
        _, intervals = follow(world, Stream(played(replace(world, links=(slow, other)))))
        assert flags_of(intervals) == []
        late = [x for x in intervals if x.is_told and x.forecast.start_s > 10]
        assert max(abs(x.forecast.mean_s / x.whole.measured_s - 1) for x in late) < 0.02

    def test_what_no_part_explains_is_an_overhead_of_requests(self):
        world = quiet()
        core, intervals = follow(world, Stream(played(world), later_s=0.03))
        (flag,) = flags_of(intervals)
        assert flag.name == "latency"
        assert core.monitor.corrections.request_s == pytest.approx(0.03, rel=0.02)
        last = [x for x in intervals if x.is_told and x.forecast.version == 1]
        assert last[-1].forecast.mean_s == pytest.approx(last[-1].whole.measured_s, rel=0.01)


class TestRecords:
    def test_a_line_holds_prediction_outcome_residuals_and_flags(self):
        world = noisy_world(0.1)
        core, intervals = follow(world, Stream(played(slowed(world, 0, 1.3, 20.0))))
        line = next(x for x in intervals if x.flags).to_json(core.names)
        assert line["flags"][0]["part"] == "compute.pi"
        assert line["flags"][0]["fitted"]["quantity"] == "factor of layer times"
        assert line["residuals"]["compute.pi"]["relative"] == pytest.approx(0.3, abs=0.1)
        assert set(line["predicted"]["parts_s"]) == set(line["measured"]["parts_s"])

    def test_scores_by_hand(self):
        world = quiet()
        core, intervals = follow(world, Stream(played(world)))
        told = [x for x in intervals if x.is_told]
        for position, x in enumerate(told):
            x.forecast = replace(x.forecast, mean_s=x.whole.measured_s * (1.2 if position % 2 else 0.95))
        n, odd = len(told), len(told) // 2
        score = next(x for x in scores(intervals, core.names) if x.name == LATENCY)
        assert score.n == n
        assert score.mape == pytest.approx((0.2 * odd + 0.05 * (n - odd)) / n)
        assert score.bias == pytest.approx((0.2 * odd - 0.05 * (n - odd)) / n)
        assert score.close == pytest.approx((n - odd) / n)

    def test_the_summary_says_what_it_took(self):
        world = quiet()
        core, intervals = follow(world, Stream(played(world)))
        data = summary(intervals, core.names, 0.5, 20.0)
        assert data["cpu_share"] == pytest.approx(0.025)
        assert data["late"] == 0
        names = [score["name"] for score in data["scores"]]
        assert names[:2] == [LATENCY, KNOWN]
        assert "compute.pi" in names
        assert "compute.pc" not in names
