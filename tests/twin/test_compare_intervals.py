"""Intervals of a comparison: what they are made of, and how often they hold the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from comparisons import in_memory, noisy_world, played
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau

from twin.comparison.blocks import DRAWS, block_length, block_of, draws, edges_s, number_of_blocks
from twin.comparison.breakdown import parts_of
from twin.comparison.estimate import average, difference, relative_error, repeatability, scatter
from twin.comparison.pairing import pair
from twin.comparison.quantities import quantities, wasserstein
from twin.comparison.ranking import kendall_tau
from twin.comparison.sampled import Sampled, mean, quantile, ratio
from twin.metrics.intervals import t_quantile

PARTS = parts_of(3, 2)
PLACES = ["pi", "laptop", "pc", "pi-laptop", "laptop-pi", "laptop-pc", "pc-laptop"]
CASES = 100


def errors(sim, measured):
    """The compared quantities of two worlds, by name."""
    a, b = in_memory(sim, played(sim)), in_memory(measured, played(measured))
    pairing = pair(a, b, PARTS)
    return pairing.mode, {x.name: x for x in quantities(a, b, pairing, PARTS, PLACES)}


@pytest.mark.slow
@pytest.mark.parametrize("replications", [2, 3, 5])
@pytest.mark.parametrize("same_arrivals", [True, False])
def test_intervals_hold_the_truth(replications, same_arrivals):
    """Both sides play one world with luck of their own: the true error is zero."""
    names = ("latency_mean", "latency_p95", "compute.pi", "transfer.pi-laptop", "waiting.pi")
    held = dict.fromkeys(names, 0)
    for case in range(CASES):
        arrivals_of = case if same_arrivals else None
        sides = [noisy_world(seed, replications=replications, arrivals_of=arrivals_of) for seed in (case, 1000 + case)]
        mode, found = errors(*sides)
        assert (mode == "requests") == same_arrivals
        for name in names:
            error = found[name].error
            assert error.low is not None
            held[name] += error.low - 1e-12 <= 0.0 <= error.high + 1e-12
    assert min(held.values()) >= 0.9 * CASES, held


@pytest.mark.slow
@pytest.mark.parametrize("run_spread", [0.0, 0.02, 0.1])
def test_intervals_hold_the_truth_where_runs_differ(run_spread):
    """Correlated values (AR(1), 0.8) with an effect that all of a run shares; the true difference is known."""
    random, held, truth = np.random.default_rng(3), 0, 0.05
    for _ in range(CASES):
        sides = []
        for level in (1.0 + truth, 1.0):
            own = []
            for _ in range(5):
                noise = random.standard_normal(400) * 0.05
                series = np.empty(400)
                series[0] = noise[0] / 0.6
                for k in range(1, 400):
                    series[k] = 0.8 * series[k - 1] + noise[k]
                values = level + series + run_spread * random.standard_normal()
                cuts = edges_s(np.arange(400.0), number_of_blocks(400, block_length(values)))
                own.append(mean(values, block_of(np.arange(400.0), cuts), draws(len(cuts) + 1, random)))
            sides.append(own)
        error = relative_error(*sides, joint=False)
        held += error.low <= truth <= error.high
    assert held >= 0.9 * CASES


def test_pairing_by_request_takes_the_luck_of_arrivals_away():
    world = noisy_world(1, arrivals_of=1)
    other = noisy_world(2, arrivals_of=1)
    mode, found = errors(world, other)
    assert mode == "requests"
    apart = noisy_world(2, arrivals_of=3)
    mode, loose = errors(world, apart)
    assert mode != "requests"
    assert found["latency_mean"].error.half_width < loose["latency_mean"].error.half_width


def test_by_hand():
    """Two replications each, no draws: the variance of the paired differences over two, one degree of freedom."""
    sim, measured = [Sampled(11.0), Sampled(13.0)], [Sampled(10.0), Sampled(10.0)]
    error = relative_error(sim, measured, joint=True)
    assert error.value == pytest.approx(0.2)
    half = t_quantile(0.975, 1) * math.sqrt(0.02 / 2)
    assert (error.low, error.high) == pytest.approx((0.2 - half, 0.2 + half))
    assert difference(sim, measured, joint=True).value == pytest.approx(2.0)
    assert scatter(sim, measured) == pytest.approx(math.sqrt(0.02))
    assert repeatability(sim) == pytest.approx(math.sqrt(2) / 12)
    assert repeatability(sim[:1]) is None


def test_both_parts_of_the_variance_are_added():
    drawn = np.array([0.9, 1.1] * (DRAWS // 2))
    values = [Sampled(1.0 + step, drawn + step, 11) for step in (-0.1, 0.1)]
    found = average(values)
    between, within = 0.02 / 2, (0.01 * 11 / 10) * 2 / 4
    degrees = (between + within) ** 2 / (between**2 / 1 + within**2 / 20)
    half = t_quantile(0.975, int(degrees)) * math.sqrt(between + within)
    assert (found.low, found.high) == pytest.approx((1 - half, 1 + half))


def test_a_single_replication_has_no_interval():
    assert average([Sampled(1.0, np.array([0.9, 1.1] * (DRAWS // 2)), 11)]).low is None
    _, found = errors(noisy_world(1, replications=1), noisy_world(2, replications=1))
    assert found["latency_mean"].error.value is not None
    assert found["latency_mean"].error.half_width is None
    assert found["latency_mean"].repeatability is None
    _, found = errors(noisy_world(1, replications=1), noisy_world(1, replications=1))
    assert found["latency_mean"].error.half_width == 0.0


def test_what_no_interval_can_be_had_of():
    assert average([Sampled(1.0)]).low is None
    assert average([]).value is None
    assert relative_error([Sampled(1.0)], [Sampled(0.0)], joint=True).value is None
    assert relative_error([Sampled(0.0)], [Sampled(0.0)], joint=True).half_width == 0.0
    assert relative_error([Sampled(0.0)] * 2, [Sampled(2.0)] * 2, joint=True).value == -1.0


@settings(deadline=None)
@given(st.lists(st.floats(0, 10), min_size=1, max_size=30), st.floats(0, 1), st.integers(1, 6), st.integers(0, 99))
def test_a_draw_is_what_its_blocks_hold(values, probability, n_blocks, seed):
    values, random = np.array(values), np.random.default_rng(seed)
    block = np.sort(random.integers(0, n_blocks, len(values)))
    taken = draws(n_blocks, random)
    found, means = quantile(values, probability, block, taken), mean(values, block, taken)
    assert found.value == np.quantile(values, probability)
    assert means.value == values.mean()
    for k in range(0, DRAWS, 97):
        repeated = np.repeat(values, taken[k][block].astype(int))
        if len(repeated):
            assert found.drawn[k] == pytest.approx(np.quantile(repeated, probability), abs=1e-9)
            assert means.drawn[k] == pytest.approx(repeated.mean(), abs=1e-9)
        else:
            assert math.isnan(found.drawn[k])


def test_a_ratio_of_sums():
    taken = np.array([[1.0, 1.0], [2.0, 0.0]])
    found = ratio(np.array([1.0, 2.0, 6.0]), np.array([1.0, 1.0, 2.0]), np.array([0, 0, 1]), taken)
    assert found.value == pytest.approx(9 / 4)
    assert found.drawn == pytest.approx([9 / 4, 3 / 2])


def test_blocks_are_longer_where_values_follow_each_other():
    random = np.random.default_rng(1)
    white = random.standard_normal(2000)
    slow = np.empty(2000)
    slow[0] = white[0]
    for k in range(1, 2000):
        slow[k] = 0.9 * slow[k - 1] + white[k]
    assert block_length(white) <= 5
    # The rule's own optimum for an AR(1): G / sigma^2 = 2 a / (1 - a)^2 / (1 - a^2), D from the spectrum at zero.
    a, n = 0.9, 2000
    optimum = (2 * (2 * a / (1 - a) ** 2 / (1 - a**2) / (1 / (1 - a) ** 2)) ** 2 / (4 / 3)) ** (1 / 3) * n ** (1 / 3)
    assert optimum / 2 < block_length(slow) < optimum * 2
    assert block_length(np.ones(50)) == 1
    assert block_length(np.empty(0)) == 1


def test_blocks_hold_about_the_same_number():
    arrival_s = np.sort(np.random.default_rng(2).random(103))
    block = block_of(arrival_s, edges_s(arrival_s, 10))
    assert set(np.bincount(block, minlength=10)) <= {10, 11}
    assert number_of_blocks(1000, 20) == 50
    assert number_of_blocks(3, 20) == 3
    assert number_of_blocks(100, 90) == 8


def test_wasserstein_distance():
    assert wasserstein(np.array([0.0, 1.0]), np.array([2.0, 3.0])) == pytest.approx(2.0)
    assert wasserstein(np.array([1.0, 1.0]), np.array([1.0])) == 0.0
    a, b = np.random.default_rng(4).random((2, 40))
    assert wasserstein(a, b) == pytest.approx(np.abs(np.sort(a) - np.sort(b)).mean())


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=7))
def test_kendalls_tau_is_that_of_scipy(pairs):
    a, b = np.array(pairs, dtype=float).T
    tied = len(set(a)) == 1 or len(set(b)) == 1
    assert kendall_tau(a, b) == (None if tied else pytest.approx(kendalltau(a, b).statistic))
