"""The robust policy: its estimate by hand, and the link that it leaves before the adaptive policy does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from observations import quiet_tick
from test_neurosurgeon import CLOUD, EDGE, observe
from worlds import make_problem

from twin.control import Controller
from twin.errors import ScenarioError
from twin.policies.adaptive import Adaptive
from twin.policies.robust import History, Robust
from twin.problem import Conditions, Demand, Samples

RTT_S = 0.004


def messages(rates_bps, t_s=0.0, size_bytes=100_000.0, direction=0):
    """Samples of the first link that show these goodputs."""
    n = len(rates_bps)
    times_s = size_bytes * 8 / np.array(rates_bps) + RTT_S
    return replace(
        Samples.none(),
        link_t_s=np.full(n, t_s),
        link=np.zeros(n, dtype=np.int64),
        direction=np.full(n, direction),
        size_bytes=np.full(n, size_bytes),
        transfer_s=times_s,
    )


def history(rates_bps, window=5):
    known = History()
    for rate_bps in rates_bps:
        known = known.add(rate_bps, window)
    return known


class TestEstimate:
    def test_one_sample_is_its_own_prediction(self):
        assert history([12e6]).low_bps == 12e6

    def test_two_samples_by_hand(self):
        # 10 was predicted and 20 came: an error of a half; the harmonic mean is 2 / (1/10 + 1/20) = 13.33
        known = history([10e6, 20e6])
        assert known.errors == (0.5,)
        assert known.low_bps == pytest.approx(40e6 / 3 / 1.5)

    def test_three_samples_by_hand(self):
        # then 13.33 was predicted and 8 came: an error of 2/3; the mean of 10, 20, 8 is 3 / 0.275 = 10.909
        known = history([10e6, 20e6, 8e6])
        assert known.errors == pytest.approx((0.5, 2 / 3))
        assert known.low_bps == pytest.approx(3e6 / 0.275 / (5 / 3))

    def test_only_the_newest_count(self):
        known = history([1e6] + [10e6] * 5)
        assert known.rates_bps == (10e6,) * 5
        assert known.errors[0] == pytest.approx(0.9)
        assert history([1e6] + [10e6] * 12).low_bps == pytest.approx(10e6)
        assert len(history([10e6, 20e6, 8e6, 9e6], window=2).errors) == 2

    def test_none_is_not_known(self):
        assert np.isnan(History().low_bps)


def shown(monkeypatch, samples, conditions=None, policy=None):
    """The goodputs that the decision rests on."""
    seen = []
    decide = Adaptive.decide

    def spy(self, observation, state):
        seen.append(observation.conditions.rate_bps)
        return decide(self, observation, state)

    monkeypatch.setattr(Adaptive, "decide", spy)
    problem, policy = make_problem(demand=Demand(0.01)), policy or Robust()
    given = conditions or problem.initial
    policy.decide(observe(problem, samples=samples, conditions=given), policy.init(problem))
    return seen[0]


def test_the_decision_rests_on_the_low_estimate(monkeypatch):
    rate_bps = shown(monkeypatch, messages([10e6, 20e6]))
    assert rate_bps[0, 0] == pytest.approx(40e6 / 3 / 1.5)
    assert rate_bps[0, 1] == 10e6
    assert rate_bps[1].tolist() == [100e6, 100e6]


def test_it_is_never_above_the_controllers_estimate(monkeypatch):
    stuck = Conditions(np.array([[1e5, 10e6], [100e6, 100e6]]), make_problem().initial.rtt_s, np.ones(3))
    assert shown(monkeypatch, messages([20e6]), stuck)[0, 0] == 1e5


def test_small_messages_say_nothing_of_the_goodput(monkeypatch):
    assert shown(monkeypatch, messages([1e6], size_bytes=1_000.0))[0, 0] == 20e6


def test_a_round_trip_as_long_as_the_message_is_not_believed(monkeypatch):
    quick = replace(messages([1e9]), transfer_s=np.array([0.004]))
    assert shown(monkeypatch, quick)[0, 0] == pytest.approx(20e6)
    assert shown(monkeypatch, replace(quick, size_bytes=np.array([2e4])))[0, 0] == 20e6


def ticks(policy, rounds, size_bytes=100_000.0):
    """Partition after each tick, the samples of the first link being shown tick by tick."""
    problem = make_problem(demand=Demand(0.01))
    controller = Controller(policy, problem)
    chosen = []
    for tick, rates_bps in enumerate(rounds):
        quiet_tick(controller, 3.0 * tick, messages(rates_bps, 3.0 * tick, size_bytes))
        chosen.append(controller.partition)
    return chosen


def test_a_link_whose_samples_scatter_is_left_earlier():
    scattered = [(20e6,), *[(20e6, 6e6, 20e6)] * 5, *[(2e6, 2e6)] * 3]
    robust, adaptive = ticks(Robust(), scattered), ticks(Adaptive(), scattered)
    assert robust == [CLOUD, *[EDGE] * 8]
    assert adaptive == [*[CLOUD] * 6, *[EDGE] * 3]


def test_a_steady_link_is_kept_as_the_adaptive_policy_keeps_it():
    steady = [(15e6, 15e6)] * 6
    chosen = ticks(Robust(), steady)
    assert chosen == ticks(Adaptive(), steady)
    assert EDGE not in chosen


def test_the_state_is_not_changed_by_deciding():
    problem, policy = make_problem(), Robust()
    state = policy.init(problem)
    _, after = policy.decide(observe(problem, samples=messages([10e6])), state)
    assert state.links[0][0] == History()
    assert after.links[0][0].rates_bps == (pytest.approx(10e6),)


def test_an_empty_window_is_a_mistake():
    with pytest.raises(ScenarioError, match="window is 0"):
        Robust(window=0).init(make_problem())
