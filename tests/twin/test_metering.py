"""Joules of readings against closed forms, and how often the stated uncertainty holds."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from readings import Meter, square

from twin.errors import MeasurementError
from twin.metering import MeterFacts
from twin.metering.baseline import idle_baseline
from twin.metering.course import counter_course, power_course, without
from twin.metering.uncertainty import half_width_j
from twin.records import MeterReadings

TRIALS = 200
FACTS = Meter().facts()


def readings(t_s, power_w, counter_j=None):
    n = len(t_s)
    zeros = np.zeros(n, dtype=np.int32)
    nan = np.full(n, np.nan)
    power_w = nan if power_w is None else np.array(power_w, dtype=float)
    counter_j = nan if counter_j is None else np.array(counter_j, dtype=float)
    return MeterReadings(zeros, zeros, np.array(t_s, dtype=float), np.full(n, 0.01), nan, nan, power_w, counter_j)


def course(t_s, power_w, facts=FACTS):
    return power_course(readings(t_s, power_w), facts)


def joules(found, *edges_s):
    return found.joules(np.array(edges_s)).tolist()


class TestByHand:
    def test_a_line_has_the_area_of_its_trapezoid_with_edges_interpolated(self):
        line = course(np.arange(0, 10.5, 0.5), 2 + np.arange(0, 10.5, 0.5))
        # The integral of 2 + t from 1.3 to 7.7.
        assert joules(line, 1.3, 7.7) == pytest.approx([2 * 6.4 + (7.7**2 - 1.3**2) / 2])

    def test_a_corner_between_edges(self):
        corner = course([0.0, 0.5, 1.0], [0.0, 4.0, 0.0])
        assert joules(corner, 0.25, 0.75) == pytest.approx([2 * 0.25 * (2 + 4) / 2])

    def test_a_gap_adds_neither_joules_nor_covered_time(self):
        t_s = np.array([0.0, 0.5, 1.0, 3.0, 3.5, 4.0])
        found = course(t_s, np.full(6, 3.0))
        assert math.isnan(joules(found, 0.0, 4.0)[0])
        assert found.covered_s(np.array([0.0, 4.0])).tolist() == [2.0]
        np.testing.assert_array_equal(joules(found, 0.0, 1.0, 2.0, 3.0, 4.0), [3.0, math.nan, math.nan, 3.0])

    def test_one_lost_reading_is_no_gap_and_two_are(self):
        t_s = np.arange(0.0, 10.0, 0.5)
        assert not math.isnan(joules(course(np.delete(t_s, 7), np.ones(19)), 0.0, 9.0)[0])
        assert math.isnan(joules(course(np.delete(t_s, [7, 8]), np.ones(18)), 0.0, 9.0)[0])

    def test_nothing_is_known_outside_of_the_readings(self):
        found = course(np.arange(0.0, 10.0, 0.5), np.ones(20))
        assert math.isnan(joules(found, -0.1, 5.0)[0])
        assert math.isnan(joules(found, 5.0, 9.6)[0])

    def test_a_counter_is_the_difference_of_its_ends(self):
        counter = counter_course(readings([0.0, 0.5, 1.0, 1.5], None, [10.0, 11.0, 15.0, 16.0]), FACTS)
        assert joules(counter, 0.25, 1.25) == pytest.approx([0.5 + 4.0 + 0.5])

    def test_fewer_than_two_readings_are_no_course(self):
        assert course([1.0], [2.0]) is None
        assert course([1.0, 1.5], [2.0, np.nan]) is None
        assert counter_course(readings([0.0, 0.5], [1.0, 1.0]), FACTS) is None

    def test_a_meter_taken_away_leaves_a_gap(self):
        kept = without(readings(np.arange(0.0, 20.0, 0.5), np.ones(40)), [(5.0, 8.0)])
        assert joules(power_course(kept, FACTS), 0.0, 4.5) == pytest.approx([4.5])
        assert math.isnan(joules(power_course(kept, FACTS), 4.0, 9.0)[0])


class TestProperties:
    powers = st.lists(st.floats(0, 100), min_size=20, max_size=60)
    edges = st.lists(st.floats(0.0, 9.0), min_size=3, max_size=6, unique=True).map(sorted)

    @given(powers, edges)
    def test_windows_add_up(self, power_w, edges_s):
        found = course(np.arange(len(power_w)) * 0.5, power_w)
        whole = joules(found, edges_s[0], edges_s[-1])[0]
        assert sum(joules(found, *edges_s)) == pytest.approx(whole, rel=1e-9, abs=1e-9)

    @given(powers, edges, st.floats(-1e4, 1e4))
    def test_only_differences_of_time_matter(self, power_w, edges_s, by_s):
        t_s = np.arange(len(power_w)) * 0.5
        here, there = course(t_s, power_w), course(t_s + by_s, power_w)
        moved = joules(there, *(np.array(edges_s) + by_s))
        known = ~np.isnan(moved)
        assert known[:-1].all()
        np.testing.assert_allclose(np.array(joules(here, *edges_s))[known], np.array(moved)[known], atol=1e-6)
        pair = edges_s[0], edges_s[-1]
        assume(pair[1] - pair[0] > 1e-3)
        # A reading at the very rim of an edge may fall to either side.
        assert half_width_j(there, pair[0] + by_s, pair[1] + by_s) == pytest.approx(half_width_j(here, *pair), rel=0.5)

    @given(powers, st.floats(0.1, 10.0))
    def test_joules_grow_with_power(self, power_w, factor):
        t_s = np.arange(len(power_w)) * 0.5
        once, more = course(t_s, power_w), course(t_s, np.array(power_w) * factor)
        assert joules(more, 1.0, 8.0)[0] == pytest.approx(factor * joules(once, 1.0, 8.0)[0], rel=1e-9, abs=1e-9)

    @given(st.lists(st.booleans(), min_size=20, max_size=40))
    def test_covered_time_is_what_is_not_a_gap(self, kept):
        t_s = np.arange(len(kept))[kept] * 0.5
        assume(len(t_s) >= 2)
        found = course(t_s, np.ones(len(t_s)))
        covered_s = found.covered_s(np.array([t_s[0], t_s[-1]]))[0]
        assert covered_s == pytest.approx(np.diff(t_s)[found.known].sum())
        assert math.isnan(joules(found, t_s[0], t_s[-1])[0]) == (not found.known.all())


def signal(kind, random, start_s, length_s):
    """Joules since a fixed time of a signal drawn at random."""
    low_w, high_w = random.uniform(2, 4), random.uniform(5, 12)
    if kind == "constant":
        return lambda t_s: low_w * np.asarray(t_s)
    if kind == "ramp":
        slope = (high_w - low_w) / length_s
        return lambda t_s: low_w * np.asarray(t_s) + slope * (np.asarray(t_s) - start_s) ** 2 / 2
    period_s = math.exp(random.uniform(math.log(0.2), math.log(20)))
    return square(low_w, high_w, period_s, random.uniform(0.1, 0.9), random.uniform(0, 20))


def trial(kind, meter, seed):
    """Error and half-width of one trial, relative to the true joules, by readings and by the counter."""
    random = np.random.default_rng(seed)
    length_s, start_s = random.uniform(60, 120), random.uniform(0, 3)
    energy_j = signal(kind, random, start_s, length_s)
    end_s = start_s + length_s
    taken = meter.read(energy_j, start_s - 3, end_s + 3, random)
    true_j = float(energy_j(np.array(end_s)) - energy_j(np.array(start_s)))
    row = []
    for found in (power_course(taken, meter.facts()), counter_course(taken, meter.facts())):
        row += [abs(joules(found, start_s, end_s)[0] - true_j) / true_j, half_width_j(found, start_s, end_s) / true_j]
    return row


LIMITS = {"constant": 0.012, "ramp": 0.012, "square": 0.06}
"""Median relative half-width above which a stated uncertainty would be of little use."""


@pytest.mark.parametrize("step_w", [1e-4, 0.05])
@pytest.mark.parametrize("averages", [True, False])
@pytest.mark.parametrize("kind", ["constant", "ramp", "square"])
def test_the_stated_uncertainty_holds_in_95_of_100_trials(kind, averages, step_w):
    meter = Meter(averages=averages, power_step_w=step_w)
    rows = np.array([trial(kind, meter, seed) for seed in range(TRIALS)])
    for error, half in ((rows[:, 0], rows[:, 1]), (rows[:, 2], rows[:, 3])):
        assert (error <= half).mean() >= 0.95
    assert np.median(rows[:, 1]) < LIMITS[kind]
    assert np.median(rows[:, 3]) < 0.025


def test_a_signal_in_step_with_the_meter_is_seen_by_the_counter_only():
    meter = Meter(averages=False, jitter=0.0)
    energy_j = square(3.0, 9.0, 0.5, 0.3, 0.1)
    taken = meter.read(energy_j, -3.0, 123.0, np.random.default_rng(1))
    power, counter = power_course(taken, meter.facts()), counter_course(taken, meter.facts())
    true_j = float(energy_j(np.array(120.0)) - energy_j(np.array(0.0)))
    assert abs(joules(power, 0.0, 120.0)[0] - true_j) > half_width_j(power, 0.0, 120.0)
    assert abs(joules(counter, 0.0, 120.0)[0] - true_j) < half_width_j(counter, 0.0, 120.0)


class TestBaseline:
    def test_the_mean_of_both_stretches(self):
        t_s = np.arange(-20.0, 80.0, 0.5)
        power_w = np.where(t_s <= 0, 2.0, np.where(t_s > 60.0, 2.2, 8.0))
        found = idle_baseline(course(t_s, power_w), 60.0)
        assert found.mean_w == pytest.approx(2.1)
        assert found.drift_w == pytest.approx(0.2)
        assert found.drifts
        assert found.half_width_w >= 0.1

    def test_steady_idle_power_does_not_drift(self):
        t_s = np.arange(-20.0, 80.0, 0.5)
        noise_w = np.random.default_rng(3).normal(0, 0.05, len(t_s))
        found = idle_baseline(course(t_s, 2.0 + noise_w), 60.0)
        assert not found.drifts
        assert abs(found.mean_w - 2.0) < found.half_width_w

    def test_one_stretch_is_a_baseline_and_none_is_not(self):
        t_s = np.arange(-20.0, 60.0, 0.5)
        found = idle_baseline(course(t_s, np.full(len(t_s), 2.0)), 60.0)
        assert (found.after, found.drift_w, found.mean_w) == (None, None, pytest.approx(2.0))
        assert idle_baseline(course(t_s[t_s > 0], np.full((t_s > 0).sum(), 2.0)), 60.0) is None


class TestFacts:
    def test_there_and_back(self):
        assert MeterFacts.from_json(FACTS.to_json()) == FACTS
        rapl = replace(FACTS, counter_step_j=None)
        assert MeterFacts.from_json(rapl.to_json()) == rapl

    @pytest.mark.parametrize(
        "change", [{"refresh_s": 0.0}, {"power_step_w": -1.0}, {"source": "guessed"}, {"colour": "red"}]
    )
    def test_what_cannot_be_is_refused(self, change):
        with pytest.raises(MeasurementError, match="meter of `pi`"):
            MeterFacts.from_json({**FACTS.to_json(), **change}, "meter of `pi`")

    def test_a_missing_key_is_named(self):
        with pytest.raises(MeasurementError, match="refresh_s"):
            MeterFacts.from_json({key: value for key, value in FACTS.to_json().items() if key != "refresh_s"})
