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
    assert conditions.rate_bps[0, 0] == pytest.approx(rate_bps, rel=0.02)
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
