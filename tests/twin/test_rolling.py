"""Many stages taken in at once against the same stages one tick each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from worlds import make_problem

from twin.conditions import Estimator
from twin.problem import Samples


def stages(random, n, spread):
    """Stages of three devices, some without nominal time, whose speed changes now and then."""
    device, nominal_s = random.integers(0, 3, n), random.choice([0.0, 0.01, 0.02], n)
    slowdown = np.repeat(random.choice([1.0, 1.0, 5.0], n // 40 + 1), 40)[:n]
    service_s = nominal_s * slowdown * random.lognormal(0, spread, n)
    columns = {"stage_t_s": np.cumsum(random.uniform(0, 1, n)), "device": device}
    return replace(Samples.none(), **columns, nominal_s=nominal_s, service_s=service_s)


def only(samples, row):
    names = ("stage_t_s", "device", "nominal_s", "service_s")
    return replace(samples, **{name: getattr(samples, name)[row : row + 1] for name in names})


@given(st.integers(0, 10_000), st.integers(1, 400), st.sampled_from([0.02, 0.3]))
def test_many_stages_at_once_leave_the_estimates_of_each_in_turn(seed, n, spread):
    random = np.random.default_rng(seed)
    at_once, in_turn = (Estimator(make_problem()) for _ in range(2))
    for _ in range(2):
        samples = stages(random, n, spread)
        one = at_once.update(samples)
        for row in range(n):
            other = in_turn.update(only(samples, row))
        assert one.slowdown.tolist() == other.slowdown.tolist()
        assert at_once.ages_s(1e4)[1].tolist() == in_turn.ages_s(1e4)[1].tolist()
        assert [list(x) for x in at_once._ratio] == [list(x) for x in in_turn._ratio]
