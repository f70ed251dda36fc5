"""The estimators, on messages and stages whose true cost is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from worlds import make_problem

from twin.conditions import Estimator
from twin.problem import Samples
from twin.topology import Continuum, Link

OVERHEAD_S = 0.002


def problem():
    continuum = Continuum(make_problem().continuum.devices, (Link(0, 1, "full", OVERHEAD_S), Link(1, 2)))
    return make_problem(continuum=continuum)


def messages(rows):
    """Samples of messages: (t_s, link, direction, size_bytes, transfer_s)."""
    t_s, link, direction, size_bytes, transfer_s = np.array(rows, dtype=float).T
    return replace(
        Samples.none(),
        link_t_s=t_s,
        link=link.astype(int),
        direction=direction.astype(int),
        size_bytes=size_bytes,
        transfer_s=transfer_s,
    )


def message(t_s, size_bytes, rate_bps, rtt_s, link=0, direction=0, overhead_s=OVERHEAD_S):
    return (t_s, link, direction, size_bytes, overhead_s + rtt_s + size_bytes * 8 / rate_bps)


def test_nothing_sampled_leaves_the_first_conditions():
    subject = problem()
    conditions = Estimator(subject).update(Samples.none())
    assert np.array_equal(conditions.rate_bps, subject.initial.rate_bps)
    assert np.array_equal(conditions.rtt_s, subject.initial.rtt_s)
    assert np.array_equal(conditions.slowdown, subject.initial.slowdown)


@given(rate_bps=st.floats(1e6, 1e9), rtt_s=st.floats(1e-4, 0.2))
def test_a_small_and_a_large_message_settle_both_terms(rate_bps, rtt_s):
    estimator = Estimator(problem())
    rows = []
    for t in range(12):
        rows += [message(t, 1_000, rate_bps, rtt_s), message(t + 0.5, 500_000, rate_bps, rtt_s)]
    conditions = estimator.update(messages(rows))
    # at most nine tenths of a message's time are taken to be delay
    sending_s = 4e6 / rate_bps
    expected_bps = 4e6 / max(sending_s, 0.1 * (rtt_s + sending_s))
    assert conditions.rate_bps[0, 0] == pytest.approx(expected_bps, rel=0.02)
    assert conditions.rtt_s[0] == pytest.approx(rtt_s, rel=0.02, abs=2e-5)


def test_a_drop_is_seen_at_once():
    estimator = Estimator(problem())
    estimator.update(messages([message(t, 200_000, 20e6, 0.004) for t in range(10)]))
    conditions = estimator.update(messages([message(10, 200_000, 2e6, 0.004)]))
    assert conditions.rate_bps[0, 0] == pytest.approx(2e6, rel=1e-6)
    assert conditions.rate_bps[0, 1] == problem().initial.rate_bps[0, 1]


def test_several_messages_average_as_time_per_byte():
    estimator = Estimator(problem())
    rates = [14e6, 20e6, 26e6]
    conditions = estimator.update(messages([message(t, 200_000, r, 0.004) for t, r in enumerate(rates)]))
    assert conditions.rate_bps[0, 0] == pytest.approx(3 / sum(1 / r for r in rates))


DOWN_BPS = 10e6
"""Goodput of the down direction under the first conditions."""


class TestDelay:
    """The first link's up direction carries large messages, its down direction answers of 4 kB."""

    def answer(self, t_s, rtt_s):
        return message(t_s, 4_000, DOWN_BPS, rtt_s, direction=1)

    def test_answers_tell_the_delay_of_both_directions(self):
        estimator = Estimator(problem())
        conditions = estimator.update(messages([self.answer(t, 0.05) for t in range(3)]))
        assert conditions.rtt_s[0] == pytest.approx(0.05)
        conditions = estimator.update(messages([message(3.0, 200_000, 20e6, 0.05)]))
        assert conditions.rate_bps[0].tolist() == pytest.approx([20e6, DOWN_BPS])
        assert conditions.rtt_s[1] == problem().initial.rtt_s[1]

    def test_after_a_fade_the_goodput_is_the_true_one(self):
        # In the fade the round trip takes half a second; then it takes 4 ms again. A delay kept from the fade would
        # leave a large message of 84 ms half of its time, and so twice the goodput.
        estimator = Estimator(problem())
        faded = [row for t in range(4) for row in (message(t, 200_000, 2e6, 0.5), self.answer(t + 0.6, 0.5))]
        conditions = estimator.update(messages(faded))
        assert conditions.rate_bps[0, 0] == pytest.approx(2e6, rel=0.01)
        assert conditions.rtt_s[0] == pytest.approx(0.5)
        whole = [row for t in range(4, 8) for row in (message(t, 200_000, 20e6, 0.004), self.answer(t + 0.1, 0.004))]
        conditions = estimator.update(messages(whole))
        assert conditions.rtt_s[0] == pytest.approx(0.004)
        assert conditions.rate_bps[0, 0] == pytest.approx(20e6, rel=0.01)

    def test_it_is_the_median_of_the_newest_three(self):
        estimator = Estimator(problem())
        delays_s = [0.004, 0.006, 0.005, 0.007]
        conditions = estimator.update(messages([self.answer(t, d) for t, d in enumerate(delays_s)]))
        assert conditions.rtt_s[0] == pytest.approx(0.006)

    def test_a_changed_one_counts_at_once(self):
        estimator = Estimator(problem())
        estimator.update(messages([self.answer(t, 0.004) for t in range(3)]))
        assert estimator.update(messages([self.answer(3.0, 0.02)])).rtt_s[0] == pytest.approx(0.02)

    def test_it_is_at_most_nine_tenths_of_a_large_message(self):
        estimator = Estimator(problem())
        estimator.update(messages([self.answer(t, 0.5) for t in range(3)]))
        conditions = estimator.update(messages([(3.0, 0, 0, 200_000, OVERHEAD_S + 0.1)]))
        assert conditions.rate_bps[0, 0] == pytest.approx(1.6e6 / 0.01)

    def test_where_nothing_told_it_at_most_half(self):
        estimator = Estimator(problem())
        conditions = estimator.update(messages([(3.0, 0, 0, 200_000, OVERHEAD_S + 0.006)]))
        assert conditions.rate_bps[0, 0] == pytest.approx(1.6e6 / 0.003)


class TestGoodput:
    def test_what_came_two_seconds_before_the_newest_no_longer_counts(self):
        rows = [message(t, 200_000, rate, 0.004) for t, rate in [(0.0, 14e6), (0.2, 22e6), (2.1, 26e6)]]
        conditions = Estimator(problem()).update(messages(rows))
        assert conditions.rate_bps[0, 0] == pytest.approx(2 / (1 / 22e6 + 1 / 26e6))

    def test_of_many_the_newest_six_count(self):
        rates = [14e6, 15e6, 18e6, 19e6, 20e6, 21e6, 22e6, 23e6]
        rows = [message(0.1 * t, 200_000, rate, 0.004) for t, rate in enumerate(rates)]
        conditions = Estimator(problem()).update(messages(rows))
        assert conditions.rate_bps[0, 0] == pytest.approx(6 / sum(1 / rate for rate in rates[2:]))


class TestLine:
    """Large messages of several sizes over a link whose round trip is not what it was at first."""

    rows = tuple(message(0.1 * t, size, 20e6, 0.02) for t, size in enumerate([400_000, 200_000, 60_000, 20_000]))

    def test_a_link_without_small_messages_has_one_fitted(self):
        conditions = Estimator(problem()).update(messages(self.rows))
        assert conditions.rate_bps[0, 0] == pytest.approx(20e6)
        assert conditions.rtt_s[0] == pytest.approx(0.02)

    def test_a_small_message_ever_seen_is_believed_instead(self):
        # the answer says 10 ms, which the line would not: the difference shows in the goodput
        estimator = Estimator(problem())
        estimator.update(messages([message(0.0, 4_000, DOWN_BPS, 0.01, direction=1)]))
        conditions = estimator.update(messages(self.rows))
        assert conditions.rtt_s[0] == pytest.approx(0.01)
        times = [(size * 8, size * 8 / 20e6 + 0.01) for size in (400_000, 200_000, 60_000, 20_000)]
        assert conditions.rate_bps[0, 0] == pytest.approx(4 / sum(time_s / bits for bits, time_s in times))

    def test_sizes_that_hardly_differ_tell_nothing_of_the_delay(self):
        rows = [message(0.1 * t, size, 20e6, 0.02) for t, size in enumerate([100_000, 390_000])]
        assert Estimator(problem()).update(messages(rows)).rtt_s[0] == problem().initial.rtt_s[0]


def test_a_link_slower_than_its_round_trip_allows_stays_finite():
    conditions = Estimator(problem()).update(messages([(0.0, 0, 0, 100_000, 1e-4)]))
    assert np.all(np.isfinite(conditions.rate_bps))


def test_slowdown_is_the_median_of_the_newest_stages():
    estimator = Estimator(problem())
    stages = replace(
        Samples.none(),
        stage_t_s=np.arange(5.0),
        device=np.array([1, 1, 1, 1, 0]),
        nominal_s=np.array([0.1, 0.1, 0.2, 0.1, 0.0]),
        service_s=np.array([0.1, 0.15, 0.32, 0.19, 0.0]),
    )
    conditions = estimator.update(stages)
    assert conditions.slowdown[1] == pytest.approx(1.6)
    assert conditions.slowdown[0] == 1.0


def test_ages_count_from_the_newest_large_message():
    estimator = Estimator(problem())
    estimator.update(messages([message(2.0, 200_000, 20e6, 0.004), message(3.0, 1_000, 20e6, 0.004)]))
    age_s, device_age_s = estimator.ages_s(5.0)
    assert age_s == pytest.approx(np.array([[3.0, 5.0], [5.0, 5.0]]))
    assert device_age_s == pytest.approx([5.0, 5.0, 5.0])


def test_a_message_that_does_not_end_lowers_the_goodput_until_it_does():
    estimator = Estimator(problem())
    estimator.update(messages([message(t, 200_000, 20e6, 0.004) for t in range(3)]))
    stuck = replace(
        Samples.none(),
        open_link=np.array([0]),
        open_direction=np.array([0]),
        open_bytes=np.array([200_000.0]),
        open_transfer_s=np.array([1.6 + OVERHEAD_S + 0.004]),
    )
    assert estimator.update(stuck).rate_bps[0, 0] == pytest.approx(1e6)
    assert estimator.update(Samples.none()).rate_bps[0, 0] == pytest.approx(20e6)


def test_a_message_that_has_just_begun_says_nothing():
    just = replace(
        Samples.none(),
        open_link=np.array([0]),
        open_direction=np.array([0]),
        open_bytes=np.array([200_000.0]),
        open_transfer_s=np.array([0.001]),
    )
    assert Estimator(problem()).update(just).rate_bps[0, 0] == problem().initial.rate_bps[0, 0]


def test_a_stage_that_does_not_end_raises_the_slowdown():
    stuck = replace(
        Samples.none(),
        open_device=np.array([2]),
        open_nominal_s=np.array([0.01]),
        open_service_s=np.array([0.5]),
    )
    assert Estimator(problem()).update(stuck).slowdown[2] == pytest.approx(50.0)
