"""What is stale, what is hoped of it, and what is sent to find out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from worlds import make_links, make_problem

from twin.partition import Partition
from twin.policies.probing import Hopes
from twin.problem import Conditions, Demand, LinkProbe, Observation, Samples, StageProbe
from twin.traces import LinkTrace

CLOUD = Partition((2, 2, 2, 2), 3)
ALL = np.ones((2, 2), dtype=bool), np.ones(3, dtype=bool)
NONE = np.zeros((2, 2), dtype=bool), np.zeros(3, dtype=bool)


def problem(**changes):
    return make_problem(demand=Demand(0.01), **changes)


def observe(t_s=100.0, age_s=0.0, device_age_s=0.0, **changes):
    values = {
        "t_s": t_s,
        "samples": Samples.none(),
        "conditions": problem().initial,
        "age_s": np.full((2, 2), age_s),
        "device_age_s": np.full(3, device_age_s),
        "queue_length": np.zeros(3, dtype=int),
        "arrived": 0,
        "partition": None,
        "available": np.ones(3, dtype=bool),
        "link_up": np.ones(2, dtype=bool),
        "link_queue": np.zeros((2, 2), dtype=int),
    }
    return Observation(**{**values, **changes})


def conditions(up_bps=20e6, pc=1.0):
    now = problem().initial
    rate_bps = now.rate_bps.copy()
    rate_bps[0, 0] = up_bps
    return Conditions(rate_bps, now.rtt_s, np.array([1.0, 1.0, pc]))


def test_the_best_is_remembered():
    hopes = Hopes.first(problem()).look(conditions(50e6, pc=0.5)).look(conditions(1e6, pc=9.0))
    assert hopes.best_rate_bps[0].tolist() == [50e6, 10e6]
    assert hopes.least_slowdown.tolist() == [1.0, 1.0, 0.5]


class TestStale:
    def stale(self, hopes=None, **changes):
        hopes = hopes or Hopes.first(problem())
        return hopes.stale(problem(), observe(**changes), 3.0)

    def test_by_its_age(self):
        links, devices = self.stale(age_s=3.0, device_age_s=2.9)
        assert links.all()
        assert not devices.any()
        links, devices = self.stale(age_s=2.9, device_age_s=3.0)
        assert not links.any()
        assert devices.all()

    def test_what_was_asked_a_moment_ago_is_not_asked_again(self):
        probes = (LinkProbe(0, 1, 1e3), StageProbe(2, (0,)))
        hopes = Hopes.first(problem()).asked(98.0, probes)
        links, devices = self.stale(hopes, age_s=10.0, device_age_s=10.0)
        assert links.tolist() == [[True, False], [True, True]]
        assert devices.tolist() == [True, True, False]
        links, devices = self.stale(hopes, t_s=101.0, age_s=10.0, device_age_s=10.0)
        assert links.all()
        assert devices.all()

    def test_what_is_being_sent_will_tell_by_itself(self):
        one = np.array([1])
        sending = replace(
            Samples.none(), open_link=one, open_direction=one - 1, open_bytes=one * 1e5, open_transfer_s=one * 9.0
        )
        links, _ = self.stale(age_s=10.0, samples=sending)
        assert links.tolist() == [[True, True], [False, True]]

    def test_what_is_gone_cannot_be_asked(self):
        links, _ = self.stale(age_s=10.0, link_up=np.array([False, True]))
        assert links.tolist() == [[False, False], [True, True]]
        links, devices = self.stale(age_s=10.0, device_age_s=10.0, available=np.array([True, True, False]))
        assert links.tolist() == [[True, True], [False, False]]
        assert devices.tolist() == [True, True, False]


class TestHopeful:
    hopes = Hopes.first(problem())

    def rate_bps(self, up_bps, age_s, stale=ALL, stale_s=3.0):
        return self.hopes.hopeful(observe(age_s=age_s), conditions(up_bps), stale, stale_s).rate_bps[0, 0]

    def test_as_good_as_it_ever_was(self):
        assert self.rate_bps(1e6, 10.0) == 20e6
        hopeful = self.hopes.hopeful(observe(age_s=10.0), conditions(pc=9.0), ALL, 3.0)
        assert hopeful.slowdown.tolist() == [1.0, 1.0, 1.0]

    def test_what_was_never_better_is_hoped_to_be_the_longer_the_more(self):
        assert self.rate_bps(20e6, 2.0) == 20e6
        assert self.rate_bps(20e6, 6.0) == 40e6
        assert self.rate_bps(20e6, 30.0) == pytest.approx(200e6)

    def test_what_is_known_stays(self):
        assert self.rate_bps(1e6, 10.0, NONE) == 1e6
        hopeful = self.hopes.hopeful(observe(age_s=10.0), conditions(pc=9.0), NONE, 3.0)
        assert hopeful.slowdown.tolist() == [1.0, 1.0, 9.0]

    def test_at_an_age_of_zero_there_is_no_growth(self):
        assert self.rate_bps(1e6, 0.0, stale_s=0.0) == 20e6
        assert self.rate_bps(20e6, 5.0, stale_s=0.0) == 20e6

    def test_of_what_never_delivered_anything_is_hoped(self):
        dead = problem(links=[LinkTrace.constant(0.0, 0.004, down_bps=10e6), make_links()[1]])
        hopeful = Hopes.first(dead).hopeful(observe(age_s=10.0), dead.initial, ALL, 3.0)
        assert hopeful.rate_bps[0, 0] == np.inf
        assert np.isfinite(hopeful.rate_bps[0, 1])


class TestProbes:
    def probes(self, now, stale=ALL, wish=CLOUD, time_s=0.05):
        return Hopes.first(problem()).probes(problem(), now, wish, stale, time_s)

    def test_a_small_and_a_large_message(self):
        up = [x for x in self.probes(conditions(8e6)) if isinstance(x, LinkProbe) and (x.link, x.direction) == (0, 0)]
        assert up == [LinkProbe(0, 0, 1e3), LinkProbe(0, 0, 50e3)]

    @pytest.mark.parametrize(
        ("up_bps", "time_s", "size_bytes"),
        [
            (1e5, 0.05, 16e3),  # no less than tells a goodput
            (8e6, 0.025, 25e3),
            (20e6, 0.05, 100e3),  # 125 kB, but the plan sends 100 kB
        ],
    )
    def test_the_large_one_takes_about_the_time(self, up_bps, time_s, size_bytes):
        assert LinkProbe(0, 0, size_bytes) in self.probes(conditions(up_bps), time_s=time_s)

    def test_a_direction_that_carries_little_gets_the_small_one_alone(self):
        # the answer holds 4 kB
        down = [x for x in self.probes(conditions()) if isinstance(x, LinkProbe) and x.direction == 1]
        assert down == [LinkProbe(1, 1, 1e3), LinkProbe(0, 1, 1e3)]

    def test_only_what_is_stale_and_would_be_used(self):
        assert self.probes(conditions(), NONE) == ()
        assert self.probes(conditions(), wish=Partition((0, 0, 0, 0), 3)) == ()
        on_laptop = self.probes(conditions(), wish=Partition((1, 1, 1, 1), 3))
        assert {x.link for x in on_laptop} == {0}

    def test_a_device_that_was_once_faster(self):
        assert StageProbe(2, (0, 1, 2, 3)) in self.probes(conditions(pc=1.3))
        assert not any(isinstance(x, StageProbe) for x in self.probes(conditions(pc=1.1)))


def test_asking_leaves_the_state_before_as_it_was():
    hopes = Hopes.first(problem())
    asked = hopes.asked(5.0, (LinkProbe(0, 0, 1e3), StageProbe(1, (0,))))
    assert asked.probed_s.tolist() == [[5.0, 0.0], [0.0, 0.0]]
    assert asked.tested_s.tolist() == [0.0, 5.0, 0.0]
    assert not hopes.probed_s.any()
    assert not hopes.tested_s.any()
