"""The detector against closed forms, a Markov chain, and its own simulated run lengths."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from hardware.following.drift import Cusum, Tuning, run_length


def markov_run_length(tuning, bias, cells=400):
    """Mean run length of one side by Brook and Evans (1972): the sum as a Markov chain on a grid, two sides by Kemp."""

    def one_sided(mean):
        width = 2 * tuning.threshold / (2 * cells - 1)
        at = np.arange(cells) * width
        upper = at[None, :] - at[:, None] + tuning.allowance - mean + width / 2
        step = norm.cdf(upper)
        chain = np.diff(step, axis=1, prepend=0.0)
        chain[:, 0] = step[:, 0]
        return np.linalg.solve(np.eye(cells) - chain, np.ones(cells))[0]

    return 1 / (1 / one_sided(bias) + 1 / one_sided(-bias))


def flags_at(residuals, tuning=None, deviation=0.0):
    detector = Cusum(tuning or Tuning())
    return [position for position, x in enumerate(residuals) if detector.add(x, deviation) is not None]


@pytest.mark.parametrize(
    ("threshold", "bias", "published"),
    [(4.0, 0.0, 168), (4.0, 1.0, 8.38), (4.0, 2.0, 3.34), (5.0, 0.0, 465), (5.0, 1.0, 10.4), (5.0, 2.0, 4.01)],
)
def test_the_closed_form_agrees_with_the_chain_and_the_textbook(threshold, bias, published):
    tuning = Tuning(threshold=threshold)
    assert markov_run_length(tuning, bias) == pytest.approx(published, rel=0.01)
    # Siegmund's correction of the overshoot is for small biases; 3 % off at two standard deviations.
    assert run_length(tuning, bias) == pytest.approx(published, rel=0.04)


def test_the_stated_run_lengths_are_those_of_the_default():
    assert run_length(Tuning()) == pytest.approx(70_000, rel=0.02)
    assert markov_run_length(Tuning(), 0.0) == pytest.approx(70_000, rel=0.02)
    for bias, length in ((1.0, 20), (2.0, 7), (4.0, 3)):
        assert markov_run_length(Tuning(), bias) == pytest.approx(length, abs=0.5)


def test_noise_alone_raises_flags_as_rarely_as_stated():
    random, tuning = np.random.default_rng(5), Tuning(threshold=6.0)
    detector, n = Cusum(tuning), 200_000
    flags = sum(detector.add(x, 1.0) is not None for x in random.standard_normal(n).tolist())
    expected = n / run_length(tuning)
    # The number of flags is nearly Poisson, with a mean of 155.
    assert abs(flags - expected) < 3 * np.sqrt(expected)


@pytest.mark.parametrize("bias", [1.0, 2.0, -2.0])
def test_a_bias_is_noticed_as_soon_as_stated(bias):
    random, lengths = np.random.default_rng(7), []
    for _ in range(1_000):
        detector, length = Cusum(Tuning()), 0
        alarm = None
        while alarm is None:
            alarm, length = detector.add(bias + float(random.standard_normal()), 1.0), length + 1
        assert alarm.sign == np.sign(bias)
        lengths.append(length)
    assert np.mean(lengths) == pytest.approx(markov_run_length(Tuning(), bias), rel=0.05)


def test_sums_by_hand():
    detector = Cusum(Tuning(allowance=0.5, threshold=2.0, clip=4.0, floor=0.1))
    assert detector.add(0.1) is None
    assert (detector.high, detector.low) == (pytest.approx(0.5), 0.0)
    assert detector.add(0.2) is None
    assert detector.high == pytest.approx(2.0)
    alarm = detector.add(0.06)
    assert (alarm.sign, alarm.since, alarm.statistic) == (1, 3, pytest.approx(2.1))
    assert (detector.high, detector.low) == (0.0, 0.0)


@given(st.floats(-1e6, 1e6), st.floats(0.0, 10.0))
def test_one_residual_is_never_enough(residual, deviation):
    assert flags_at([residual, residual], deviation=deviation) == []


def test_the_change_is_dated():
    detector = Cusum()
    alarms = [detector.add(x) for x in [0.0] * 20 + [0.3] * 3]
    assert alarms[-1] is not None
    assert alarms[-1].since == 3


@given(st.lists(st.floats(-0.025, 0.025), max_size=200))
def test_what_is_within_the_allowance_is_never_flagged(residuals):
    assert flags_at(residuals) == []


@given(st.lists(st.floats(-1.0, 1.0), max_size=60))
def test_both_sides_are_alike(residuals):
    assert flags_at(residuals) == flags_at([-x for x in residuals])
