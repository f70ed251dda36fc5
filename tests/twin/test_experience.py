"""What is remembered of links and devices, by hand."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from worlds import make_problem

from twin.policies import experience
from twin.policies.experience import Experience, Fall, slower, speeds
from twin.problem import Conditions, Demand, Observation, Samples

UP = 3
"""Place of the first link's up direction: three devices come first."""
FAST_BPS = 20e6
LEVEL = 24
"""Of 20 Mbit/s: log2(2e7) = 24.25."""


def problem():
    return make_problem(demand=Demand(1.0))


def conditions(up_bps=FAST_BPS, laptop=1.0):
    now = problem().initial
    rate_bps = now.rate_bps.copy()
    rate_bps[0, 0] = up_bps
    return Conditions(rate_bps, now.rtt_s, np.array([1.0, laptop, 1.0]))


def observe(t_s, up_bps=FAST_BPS, age_s=0.0, stuck=False, laptop=1.0):
    """An observation; `stuck`: a message is being sent over the first link, and a stage is under way on the laptop."""
    samples = Samples.none()
    if stuck:
        one = np.array([0])
        samples = replace(samples, open_link=one, open_direction=one, open_bytes=one + 1e5, open_transfer_s=one + 1.0)
        samples = replace(samples, open_device=one + 1, open_nominal_s=one + 0.01, open_service_s=one + 0.5)
    return Observation(
        t_s=t_s,
        samples=samples,
        conditions=conditions(up_bps, laptop),
        age_s=np.full((2, 2), age_s),
        device_age_s=np.full(3, age_s),
        queue_length=np.zeros(3, dtype=int),
        arrived=0,
        partition=None,
        available=np.ones(3, dtype=bool),
        link_up=np.ones(2, dtype=bool),
        link_queue=np.zeros((2, 2), dtype=int),
    )


def watch(*looks):
    """Experience after looks at (time, goodput)."""
    experience = Experience.none(problem())
    for t_s, up_bps in looks:
        experience = experience.look(observe(t_s, up_bps))
    return experience


def steady(start_s, end_s, up_bps=FAST_BPS):
    return [(float(t_s), up_bps) for t_s in range(start_s, end_s + 1)]


ONCE = [*steady(0, 10), (11.0, 2e6), (12.0, 2e6), *steady(13, 21)]
"""20 Mbit/s but for two seconds at a tenth."""


class TestLevels:
    def test_time_counts_for_the_level_before(self):
        # 0 to 11 s and 13 to 21 s at 20 Mbit/s; 11 to 13 s at 2 Mbit/s, whose logarithm is 20.9
        assert watch(*ONCE).seen_s[UP] == {LEVEL: 19.0, 21: 2.0}

    def test_time_without_news_counts_for_none(self):
        experience = watch(*steady(0, 4))
        assert experience.look(observe(5.0, age_s=1.9)).seen_s[UP] == {LEVEL: 5.0}
        assert experience.look(observe(5.0, age_s=2.0)).seen_s[UP] == {LEVEL: 4.0}

    def test_the_same_moment_twice_counts_once(self):
        experience = watch(*steady(0, 4))
        again = experience.look(observe(4.0, 15e6))
        assert again.seen_s == experience.seen_s
        assert again.speed[UP] == 15e6

    @given(
        rates_bps=st.lists(st.floats(1e3, 1e9), min_size=1, max_size=20),
        steps_s=st.lists(st.floats(0.01, 5.0), min_size=20, max_size=20),
    )
    def test_all_time_is_counted_and_every_fall_is_one(self, rates_bps, steps_s):
        t_s = np.cumsum(steps_s)[: len(rates_bps)].tolist()
        experience = watch(*zip(t_s, rates_bps, strict=True))
        assert sum(experience.seen_s[UP].values()) == pytest.approx(t_s[-1] - t_s[0])
        assert all(fall.after < fall.before for fall in experience.falls[UP])
        for risk in experience.risks(conditions(rates_bps[-1])):
            assert 0 <= risk.within(1.0) <= 1
            assert risk.slowness > 1 / speeds(conditions(rates_bps[-1]))[risk.place]


class TestFalls:
    def test_less_than_half_is_a_fall(self):
        assert watch((0.0, FAST_BPS), (1.0, 10.0e6)).falls[UP] == ()
        assert watch((0.0, FAST_BPS), (1.0, 9.99e6)).falls[UP] == (Fall(1.0, FAST_BPS, 9.99e6),)

    def test_it_deepens_for_three_seconds(self):
        experience = watch((10.0, FAST_BPS), (11.0, 2e6), (12.0, 1e6), (14.0, 0.9e6))
        assert experience.falls[UP] == (Fall(11.0, FAST_BPS, 0.9e6),)

    def test_later_it_is_another(self):
        experience = watch((10.0, FAST_BPS), (11.0, 2e6), (14.5, 0.9e6))
        assert experience.falls[UP] == (Fall(11.0, FAST_BPS, 2e6), Fall(14.5, 2e6, 0.9e6))

    def test_a_rise_within_that_time_leaves_it(self):
        experience = watch((10.0, FAST_BPS), (11.0, 2e6), (12.0, FAST_BPS), (13.0, 19e6))
        assert experience.falls[UP] == (Fall(11.0, FAST_BPS, 2e6),)

    def test_places_do_not_mix(self):
        experience = watch(*ONCE)
        assert [len(falls) for falls in experience.falls] == [0, 0, 0, 1, 0, 0, 0]

    def test_a_device_that_slows_down_falls(self):
        experience = Experience.none(problem()).look(observe(0.0)).look(observe(1.0, laptop=4.0))
        assert experience.falls[1] == (Fall(1.0, 1.0, 0.25),)


class TestUsualChange:
    def test_newer_changes_count_more(self):
        experience = watch((0.0, FAST_BPS), (1.0, 30e6), (2.0, FAST_BPS), (3.0, FAST_BPS))
        first = 0.3 * math.log(1.5)
        second = first + 0.3 * (math.log(1.5) - first)
        assert experience.change[UP] == pytest.approx(0.7 * second)
        assert experience.change[UP + 1] == 0

    def test_a_fall_is_none(self):
        assert watch((0.0, FAST_BPS), (1.0, 2e6)).change[UP] == 0

    def test_without_a_new_sample_it_stays(self):
        experience = watch((0.0, FAST_BPS), (1.0, 30e6))
        assert experience.look(observe(2.0, FAST_BPS, age_s=1.1)).change[UP] == experience.change[UP]


class TestRisks:
    def test_one_fall_by_hand(self):
        (risk,) = watch(*ONCE).risks(conditions())
        assert risk.place == UP
        # 19 s at that level, and 10 s that are taken to have been before
        assert risk.rate_per_s == pytest.approx(1 / 29)
        assert risk.within(2.0) == pytest.approx(1 - math.exp(-2 / 29))
        assert risk.slowness == pytest.approx(1 / 2e6)

    def test_time_at_neighbouring_levels_counts(self):
        # 11 Mbit/s is one level lower, 80 Mbit/s two levels higher; neither is a fall
        for up_bps, alike_s in ((11e6, 20 + 10), (80e6, 20)):
            looks = [(float(t_s), up_bps) for t_s in range(22, 32)]
            (risk,) = watch(*ONCE, *looks).look(observe(32.0, up_bps)).risks(conditions())
            assert risk.rate_per_s == pytest.approx(1 / (alike_s + 10))

    def test_the_mean_is_over_times_not_over_speeds(self):
        again = [(22.0, 0.5e6), (23.0, 0.5e6), (24.0, FAST_BPS)]
        (risk,) = watch(*ONCE, *again).risks(conditions())
        assert risk.rate_per_s == pytest.approx(2 / 30)
        assert risk.slowness == pytest.approx((1 / 2e6 + 1 / 0.5e6) / 2)

    @pytest.mark.parametrize(("up_bps", "count"), [(10.1e6, 1), (39e6, 1), (9.9e6, 0), (41e6, 0)])
    def test_only_falls_from_about_the_present_speed(self, up_bps, count):
        assert len(watch(*ONCE).risks(conditions(up_bps))) == count

    def test_a_fall_to_nothing_is_reckoned_with_as_a_deep_one(self):
        (risk,) = watch(*steady(0, 10), (11.0, 0.0), (12.0, FAST_BPS)).risks(conditions())
        assert risk.slowness == pytest.approx(1 / (1e-4 * FAST_BPS))

    def test_what_has_stopped_cannot_fall(self):
        assert watch(*steady(0, 10), (11.0, 0.0)).risks(conditions(0.0)) == []

    def test_nothing_seen_nothing_feared(self):
        assert watch(*steady(0, 30)).risks(conditions()) == []


class TestForeseen:
    def look(self, t_s, up_bps, *, stuck, before=ONCE):
        now = observe(t_s, up_bps, stuck=stuck)
        experience = watch(*before).look(now)
        return experience, now, experience.foreseen(problem(), now, now.conditions)

    def test_what_is_stuck_is_taken_to_fall_as_low_as_before(self):
        experience, now, foreseen = self.look(22.0, 8e6, stuck=True)
        assert experience.falling(problem(), now) == [UP]
        assert foreseen.rate_bps[0, 0] == pytest.approx(2e6)
        expected = now.conditions.rate_bps.copy()
        expected[0, 0] = 2e6
        assert foreseen.rate_bps == pytest.approx(expected)
        assert np.array_equal(foreseen.slowdown, now.conditions.slowdown)

    def test_what_is_known_to_be_lower_stays(self):
        assert self.look(22.0, 1e6, stuck=True)[2].rate_bps[0, 0] == pytest.approx(1e6)

    def test_what_has_ended_is_known(self):
        experience, now, foreseen = self.look(22.0, 8e6, stuck=False)
        assert experience.falling(problem(), now) == []
        assert foreseen.rate_bps[0, 0] == 8e6

    def test_a_first_fall_has_no_model(self):
        experience, now, foreseen = self.look(22.0, 8e6, stuck=True, before=steady(0, 21))
        assert experience.falling(problem(), now) == [UP]
        assert foreseen.rate_bps[0, 0] == 8e6

    def test_after_three_seconds_it_is_no_longer_falling(self):
        before = [*ONCE, (22.0, 8e6)]
        assert self.look(25.0, 7e6, stuck=True, before=before)[2].rate_bps[0, 0] == pytest.approx(2e6)
        assert self.look(25.1, 7e6, stuck=True, before=before)[2].rate_bps[0, 0] == 7e6

    def test_a_device_as_well(self):
        experience = Experience.none(problem())
        for t_s, laptop in [(0.0, 1.0), (1.0, 10.0), (2.0, 1.0), (7.0, 1.0)]:
            experience = experience.look(observe(t_s, laptop=laptop))
        now = observe(8.0, laptop=3.0, stuck=True)
        foreseen = experience.look(now).foreseen(problem(), now, now.conditions)
        assert foreseen.slowdown == pytest.approx([1.0, 10.0, 1.0])


def test_a_look_leaves_what_was_known_before():
    experience = watch(*ONCE)
    kept = copy.deepcopy(
        (experience.t_s, experience.speed, experience.change, experience.seen_s, experience.falls),
    )
    now = observe(22.0, 1e6, stuck=True)
    seen = experience.look(now)
    seen.foreseen(problem(), now, now.conditions)
    assert (experience.t_s, experience.seen_s, experience.falls) == (kept[0], kept[3], kept[4])
    assert np.array_equal(experience.speed, kept[1])
    assert np.array_equal(experience.change, kept[2])
    assert seen.falls[UP] != experience.falls[UP]
    assert now.conditions.rate_bps[0, 0] == 1e6


def test_slower_changes_a_copy():
    now = conditions()
    changed = slower(problem(), now, {1: 4.0, UP: 1 / 5e6})
    assert (changed.slowdown[1], changed.rate_bps[0, 0]) == (4.0, pytest.approx(5e6))
    assert (now.slowdown[1], now.rate_bps[0, 0]) == (1.0, FAST_BPS)
    assert speeds(changed)[[1, UP]] == pytest.approx([0.25, 5e6])


def test_many_falls_count_as_few_do():
    # From 64 falls on they are looked through as columns, to the same bits.
    rng = np.random.default_rng(4)
    few, many = (), ()
    for _ in range(400):
        before = float(rng.choice([3e6, 20e6, 24e6, 90e6])) * float(rng.uniform(0.9, 1.1))
        gap_s = float(rng.choice([1.0, 10.0]))
        t_s = (few[-1].t_s if few else 0.0) + gap_s
        now = before * float(rng.choice([0.3, 1e-6, 0.8]))
        many = experience._with_fall(many, t_s, before, now)
        few = tuple(many)
        for speed in (2.5e6, 21e6, 80e6, 0.0):
            n, slowness = experience._usual(many, speed)
            alike = experience._alike(few, speed)
            assert n == len(alike)
            assert slowness == (experience._slowness(alike, speed) if alike else 0.0)
    assert len(many) == len(many.columns) > 64
