"""Functions of time that remember where they were asked last: the same as `Steps`, to the last bit."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.engine.windows import at_of, finish_of
from twin.errors import TraceError
from twin.steps import Steps

VALUES = st.sampled_from([0.0, 0.3, 1.0, 7.0, 1e7])


@st.composite
def functions(draw):
    times_s = np.cumsum([0.0, *draw(st.lists(st.sampled_from([0.1, 0.5, 1 / 3, 2.0]), max_size=5))])
    values = [draw(VALUES) for _ in times_s]
    after_end = draw(st.sampled_from(["hold", "loop"]))
    return Steps(tuple(times_s), tuple(values), after_end, float(times_s[-1]) + draw(st.sampled_from([0.1, 1.0])))


@settings(max_examples=200, deadline=None)
@given(steps=functions(), seed=st.integers(0, 2**32 - 1), late=st.sampled_from([0.0, 1e3, 3e5]))
def test_it_is_what_steps_say(steps, seed, late):
    rng = np.random.default_rng(seed)
    finish, at = finish_of(steps), at_of(steps)
    gaps_s = rng.choice([0.0, 0.01, 0.1, 0.5, 1 / 3], 60)
    starts_s = late + np.cumsum(gaps_s)
    starts_s[30:45] = starts_s[30:45][::-1]  # not always onwards
    amounts = rng.choice([0.0, 0.01, 0.1, 0.5, 1.0, 5e6], 60)
    for start_s, amount in zip(starts_s.tolist(), amounts.tolist(), strict=True):
        assert finish(start_s, amount) == steps.finish(start_s, amount)
        assert at(start_s) == steps.at(start_s)


def test_near_the_end_of_a_piece_it_asks():
    steps = Steps((0.0, 1.0, 2.0), (1.0, 0.0, 2.0), "loop", 3.0)
    finish, at = finish_of(steps), at_of(steps)
    for turn in range(40):
        for offset_s in (0.5, 1 - 2**-52, 1.0, 1.5, 2.0, 2.5, 3 - 2**-51):
            t_s = 3.0 * turn + offset_s
            for near_s in (math.nextafter(t_s, 0.0), t_s, math.nextafter(t_s, math.inf)):
                assert at(near_s) == steps.at(near_s)
                for amount in (0.25, 0.5, 1.0, 2.0):
                    assert finish(near_s, amount) == steps.finish(near_s, amount)


def test_what_is_wrong_is_refused_as_before():
    steps = Steps((0.0, 1.0), (1.0, 2.0), "error", 5.0)
    finish, at = finish_of(steps), at_of(steps)
    assert finish(2.0, 1.0) == 2.5
    with pytest.raises(ValueError, match="must be a number >= 0"):
        finish(2.0, -1.0)
    with pytest.raises(TraceError, match="cannot finish work"):
        finish(4.0, 10.0)
    assert at(2.0) == 2.0
    with pytest.raises(TraceError, match="is read at 6 s"):
        at(6.0)
