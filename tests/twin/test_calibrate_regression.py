"""Robust regression: exact data, least squares as the benchmark, wild rows, and how often intervals hold the truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.calibration.regression import Data, regress
from twin.calibration.terms import Estimate, Term, fit_terms


def made(seed, *, n=200, sigma=0.05, wild=0.0, is_log=True, theta=(1.2, 0.004)):
    random = np.random.default_rng(seed)
    columns = np.stack([random.uniform(0.01, 0.1, n), np.ones(n)], axis=1)
    truth = np.array(theta)
    y = columns @ truth
    y = y * np.exp(random.normal(-(sigma**2) / 2, sigma, n)) if is_log else y + random.normal(0, sigma * 0.05, n)
    hit = random.random(n) < wild
    y[hit] *= random.choice([0.2, 6.0], int(hit.sum()))
    return Data(columns, np.zeros(n), y, np.ones(n), np.arange(n) // 10, is_log), truth


@pytest.mark.parametrize("is_log", [True, False])
def test_exact_data_are_fitted_exactly(is_log):
    data, truth = made(0, sigma=0.0, is_log=is_log)
    fitted = regress(data, np.array([1.0, 0.0]))
    assert fitted.theta == pytest.approx(truth, rel=1e-7)
    assert fitted.scale < 1e-6
    assert not fitted.wild.any()


def test_normal_errors_give_nearly_the_least_squares_line():
    data, truth = made(1, is_log=False)
    best, *_ = np.linalg.lstsq(data.columns, data.y, rcond=None)
    fitted = regress(data, np.array([1.0, 0.0]))
    assert np.all(np.abs(fitted.theta - best) < 0.2 * fitted.half)
    assert np.all(np.abs(fitted.theta - truth) < 2 * fitted.half)


def test_of_log_normal_factors_the_mean_is_fitted_and_not_the_median():
    data, _ = made(2, n=20_000, sigma=0.4, theta=(1.0, 0.0))
    only = Data(data.columns[:, :1], data.known, data.y, data.spread, data.block, is_log=True)
    fitted = regress(only, np.array([1.0]))
    assert fitted.theta[0] == pytest.approx(1.0, abs=0.01)
    assert fitted.scale == pytest.approx(0.4, rel=0.02)


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_one_row_in_twenty_may_be_wild(seed):
    plain, _ = made(seed)
    wild, _ = made(seed, wild=0.05)
    before, after = regress(plain, np.array([1.0, 0.0])), regress(wild, np.array([1.0, 0.0]))
    assert np.all(np.abs(after.theta - before.theta) <= before.half)
    assert abs(after.scale - before.scale) <= before.scale_half


def test_units_of_the_columns_do_not_matter():
    data, _ = made(3)
    scaled = Data(data.columns * [1e-6, 1e9], data.known, data.y, data.spread, data.block, data.is_log)
    one, other = regress(data, np.array([1.0, 0.0])), regress(scaled, np.array([1e6, 0.0]))
    assert other.theta * [1e-6, 1e9] == pytest.approx(one.theta, rel=1e-9)
    assert other.half * [1e-6, 1e9] == pytest.approx(one.half, rel=1e-6)


@pytest.mark.parametrize(("is_log", "sigma"), [(True, 0.05), (True, 0.3), (False, 0.05)])
def test_intervals_hold_the_truth_in_about_95_of_100(is_log, sigma):
    inside = np.zeros(2)
    scale = 0
    for seed in range(200):
        data, truth = made(seed, n=120, sigma=sigma, is_log=is_log)
        fitted = regress(data, np.array([1.0, 0.0]))
        inside += np.abs(fitted.theta - truth) <= fitted.half
        scale += abs(fitted.scale - (sigma if is_log else 0.05 * sigma)) <= fitted.scale_half
    assert np.all(inside >= 184)
    assert scale >= 184


def test_rows_of_a_stretch_that_are_alike_make_intervals_wider():
    random = np.random.default_rng(4)
    common = np.repeat(random.normal(0, 1, 20), 50)
    block, n = np.repeat(np.arange(20), 50), 1000
    data = Data(np.ones((n, 1)), np.zeros(n), 10 + common, np.ones(n), block, is_log=False)
    fitted = regress(data, np.array([10.0]))
    assert fitted.half[0] > 0.8 * 2.09 * common.std() / np.sqrt(20)


def terms(*columns, was=0.0):
    return [Term(name, column, was, "part") for name, column in zip("abcdef", columns, strict=False)]


def test_the_first_of_two_that_cannot_be_told_apart_is_fitted():
    n = 50
    x = np.linspace(1, 2, n)
    y = 3 * x
    given = [Term("a", x, 1.0, "factor"), Term("b", 2 * x, 0.5, "part")]
    answer = fit_terms(given, y, np.ones(n), np.arange(n), is_log=False)
    assert answer.estimates["a"].value == pytest.approx(3 - 2 * 0.5)
    assert answer.estimates["a"].note == "if b is as the scenario says"
    assert answer.estimates["b"] == Estimate.kept(0.5, "cannot be told from a")


def test_what_is_too_rare_keeps_its_value_and_says_so():
    n = 50
    rare = np.zeros(n)
    rare[:3] = 1.0
    answer = fit_terms(terms(np.ones(n), rare), np.full(n, 2.0), np.ones(n), np.arange(n), is_log=False)
    assert answer.estimates["b"].note == "3 rows say something of it; 8 are needed"
    assert not answer.estimates["b"].determined
    assert answer.estimates["a"].value == pytest.approx(2.0)


def test_nothing_becomes_negative():
    random = np.random.default_rng(5)
    x = random.uniform(1, 2, 400)
    y = 3 * x - 0.5 + random.normal(0, 0.01, 400)
    given = [Term("a", x, 1.0, "factor"), Term("b", np.ones(400), 0.0, "part")]
    answer = fit_terms(given, y, np.ones(400), np.arange(400), is_log=False)
    b = answer.estimates["b"]
    assert (b.value, b.low, b.high, b.determined) == (0.0, 0.0, 0.0, True)
    assert b.note == "the fit is below zero, which it cannot be"


def test_one_that_is_given_up_widens_the_intervals_of_the_others():
    x = np.repeat(np.linspace(0.9, 1.1, 30), 2)
    y = 1.5 * x + 0.2 + np.tile([0.15, -0.15], 30)
    given = [Term("a", x, 1.0, "factor"), Term("b", np.ones(60), 0.2, "part")]
    answer = fit_terms(given, y, np.ones(60), np.arange(60), is_log=False)
    a, b = answer.estimates["a"], answer.estimates["b"]
    assert (b.value, b.determined) == (0.2, False)
    assert b.note.startswith("its interval is wide: ± ")
    assert a.value == pytest.approx(1.5)
    alone = 2 * 0.15 / np.linalg.norm(x)
    assert (a.high - a.low) / 2 > 5 * alone


def test_with_all_rows_the_mean_is_met():
    y = np.concatenate([np.full(95, 1.0), np.full(5, 21.0)])
    data = Data(np.ones((100, 1)), np.zeros(100), y, np.ones(100), np.arange(100), is_log=False)
    robust, every = (regress(replace(data, is_robust=x), np.ones(1)) for x in (True, False))
    assert robust.theta[0] == pytest.approx(1.0)
    assert robust.wild.sum() == 5
    assert every.theta[0] == pytest.approx(2.0)
    assert not every.wild.any()
