"""Many samples at a tick against the same samples one by one: only the newest count."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from worlds import make_problem

from twin.conditions import Estimator
from twin.problem import Samples

UP_BPS = make_problem().initial.rate_bps[0, 0]


def messages(random, n, fades_at):
    """Large and small messages over two links, of which the first fades to a quarter after a while."""
    link, direction = random.integers(0, 2, n), random.integers(0, 2, n)
    size_bytes = random.choice([2_000.0, 50_000.0, 200_000.0], n)
    rate_bps = np.where((np.arange(n) >= fades_at) & (link == 0), UP_BPS / 4, UP_BPS)
    took_s = (0.004 + size_bytes * 8 / rate_bps) * random.lognormal(0, 0.05, n)
    columns = {"link_t_s": np.cumsum(random.uniform(0, 0.02, n)), "link": link, "direction": direction}
    return replace(Samples.none(), **columns, size_bytes=size_bytes, transfer_s=took_s)


def stages(random, n, fades_at):
    """Stages of three devices, some without nominal time, of which all slow down after a while."""
    device, nominal_s = random.integers(0, 3, n), random.choice([0.0, 0.01, 0.02], n)
    slowdown = np.where(np.arange(n) >= fades_at, 5.0, 1.0)
    service_s = nominal_s * slowdown * random.lognormal(0, 0.05, n)
    columns = {"stage_t_s": np.cumsum(random.uniform(0, 0.02, n)), "device": device}
    return replace(Samples.none(), **columns, nominal_s=nominal_s, service_s=service_s)


def in_turn(samples, names):
    """The estimates after as many ticks as there are samples."""
    estimator = Estimator(make_problem())
    for row in range(len(getattr(samples, names[0]))):
        own = {name: getattr(samples, name)[row : row + 1] for name in names}
        conditions = estimator.update(replace(Samples.none(), **own))
    return conditions, estimator.ages_s(1e4)


NAMES = [x.name for x in fields(Samples)]


@given(st.integers(0, 10_000), st.integers(1, 600), st.integers(0, 600))
def test_many_stages_at_once_leave_the_estimates_of_each_in_turn(seed, n, fades_at):
    samples = stages(np.random.default_rng(seed), n, fades_at)
    estimator = Estimator(make_problem())
    at_once = estimator.update(samples)
    conditions, ages_s = in_turn(samples, NAMES[5:9])
    assert at_once.slowdown.tolist() == conditions.slowdown.tolist()
    assert estimator.ages_s(1e4)[1].tolist() == ages_s[1].tolist()


@given(st.integers(0, 10_000), st.integers(1, 600), st.integers(0, 600))
def test_many_messages_at_once_leave_about_the_estimates_of_each_in_turn(seed, n, fades_at):
    samples = messages(np.random.default_rng(seed), n, fades_at)
    estimator = Estimator(make_problem())
    at_once = estimator.update(samples)
    conditions, ages_s = in_turn(samples, NAMES[:5])
    assert estimator.ages_s(1e4)[0].tolist() == ages_s[0].tolist()
    assert at_once.rate_bps == pytest.approx(conditions.rate_bps, rel=0.15)


def test_what_is_long_past_is_not_looked_at():
    # A thousand messages at a tenth of the goodput before twenty at the whole of it.
    n = 1020
    rate_bps = np.where(np.arange(n) < 1000, UP_BPS / 10, UP_BPS)
    zeros = np.zeros(n, dtype=np.int64)
    columns = {"link_t_s": np.arange(n) / 100, "link": zeros, "direction": zeros}
    samples = replace(Samples.none(), **columns, size_bytes=np.full(n, 2e5), transfer_s=0.004 + 2e5 * 8 / rate_bps)
    whole = Estimator(make_problem()).update(samples)
    newest = replace(samples, **{name: getattr(samples, name)[-16:] for name in NAMES[:5]})
    assert whole.rate_bps.tolist() == Estimator(make_problem()).update(newest).rate_bps.tolist()
    assert whole.rate_bps[0, 0] == pytest.approx(UP_BPS, rel=0.02)
