"""Forecasts: what each way sees, and which one is followed."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from twin.policies.forecast import WAYS, Regression, Series

STEPS = 5


def series(values, steps=STEPS):
    known = Series()
    for value in values:
        known = known.add(value, steps)
    return known


def test_nothing_is_forecast_of_what_was_never_seen():
    assert Series().factors(3).tolist() == [1.0] * 3
    assert series([5e6]).factors(STEPS).tolist() == [1.0] * STEPS


def test_a_steady_value_stays():
    known = series([2e7] * 20)
    assert known.way == "stay"
    assert known.factors(STEPS).tolist() == [1.0] * STEPS


def test_a_single_jump_is_no_trend():
    known = series([2e7] * 10 + [2e6] * 3)
    assert known.way == "stay"
    assert [series([2e7] * 10 + [2e6] * n).expected[-1][1] for n in (1, 2)] == [(pytest.approx(np.log(2e6)),) * 5] * 2


def test_a_steady_fade_goes_on_damped():
    # 10 % less at each step: the next are 0.9 to the power of 0.8, 0.8 + 0.64, and so on
    known = series([2e7 * 0.9**n for n in range(10)])
    damped = np.cumsum(0.8 ** np.arange(1, STEPS + 1))
    trend = np.exp(np.array(known.expected[-1][WAYS.index("trend")]) - known.recent[-1])
    assert trend == pytest.approx(0.9**damped)


def test_a_steady_fade_is_foreseen_after_some_steps():
    for steps in range(7, 15):
        known = series([2e7 * 0.9**n for n in range(steps)])
        assert known.way != "stay"
        assert 0.9**6 < known.factors(STEPS)[-1] < 0.9**2
        assert np.all(np.diff(known.factors(STEPS)) < 0)


def test_a_swing_is_learned():
    swing = [2e7, 2e7, 2e6, 2e6] * 15
    known = series(swing)
    assert known.way == "return"
    # the newest two were low: high, high, low, low come next
    assert known.factors(4) == pytest.approx([10.0, 10.0, 1.0, 1.0], rel=0.6)


def test_a_trend_that_ends_is_given_up():
    known = series([2e7 * 0.8**n for n in range(8)])
    assert known.way != "stay"
    for _ in range(8):
        known = known.add(2e7 * 0.8**7, STEPS)
    assert known.factors(STEPS) == pytest.approx(np.ones(STEPS), rel=0.02)


def test_a_forecast_stays_near_what_was_seen():
    known = series([1e9 * 0.2**n for n in range(6)])
    seen = np.array(known.recent)
    assert np.log(known.factors(STEPS)).min() + seen[-1] >= seen.min() - 1.5 - 1e-9


def test_a_pause_ends_what_led_here_but_not_what_was_learned():
    known = series([2e7 * 0.9**n for n in range(10)])
    paused = known.pause()
    assert paused.factors(STEPS).tolist() == [1.0] * STEPS
    assert paused.errors == known.errors
    assert paused.regression is known.regression
    # the first estimate after it is followed by nothing that came before it
    assert paused.add(1e6, STEPS).regression is known.regression


def test_on_noise_the_followed_way_is_not_worse_than_to_stay():
    random = np.random.default_rng(5)
    values = 2e7 * np.exp(np.cumsum(random.normal(0, 0.1, 300)))
    known, errors = Series(), []
    for now, later in pairwise(values.tolist()):
        known = known.add(now, STEPS)
        forecast = now * known.factors(STEPS)[0]
        errors.append((abs(np.log(forecast / later)), abs(np.log(now / later))))
    followed, stayed = np.mean(errors, axis=0)
    assert followed <= stayed * 1.02


def test_the_regression_is_the_weighted_ridge_solution():
    values = [0.0, 1.0, 0.5, 0.7, -0.2, 0.1]
    regression = Regression.of(values[0])
    rows, targets = [], []
    for n in range(2, len(values)):
        change, before = values[n - 1] - values[n - 2], values[n - 1]
        regression = regression.learn(before, change, values[n] - before)
        rows.append([1.0, before, change])
        targets.append(values[n] - before)
    weights = 0.98 ** np.arange(len(rows) - 1, -1, -1)
    x, y = np.array(rows), np.array(targets)
    wanted = np.linalg.solve((x.T * weights) @ x + np.eye(3), (x.T * weights) @ y)
    a, b, c = wanted
    first = a + b * 0.1 + c * 0.3
    second = a + b * (0.1 + first) + c * first
    assert regression.ahead(0.1, 0.3, 2) == pytest.approx([0.1 + first, 0.1 + first + second])
