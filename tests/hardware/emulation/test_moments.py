"""Sleeping until a moment, and the time of a run on the machine's clock."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shaping import steps

from hardware.emulation.moments import RunTime, sleep_until, wake_promptly
from twin.steps import Steps

RATE = steps((0.0, 10.0), (2.0, 0.0), (3.0, 40.0))


def test_work_after_the_start_ends_when_the_twin_says() -> None:
    assert RunTime(100.0).finish(RATE, 101.0, 15.0) == pytest.approx(100.0 + RATE.finish(1.0, 15.0))


def test_before_the_start_the_first_conditions_hold() -> None:
    assert RunTime(None).finish(RATE, 5.0, 30.0) == pytest.approx(8.0)
    assert RunTime(100.0).finish(RATE, 90.0, 30.0) == pytest.approx(93.0)


def test_work_that_is_under_way_at_the_start_goes_on() -> None:
    # 10 units before run time 0, 20 until the outage at 2 s, the other 10 from 3 s on at 40 per second.
    assert RunTime(100.0).finish(RATE, 99.0, 40.0) == pytest.approx(103.25)


def test_work_at_rate_zero_never_ends() -> None:
    assert RunTime(None).finish(Steps.constant(0.0), 1.0, 1.0) == math.inf
    assert RunTime(None).finish(Steps.constant(0.0), 1.0, 0.0) == 1.0


@given(st.floats(-3.0, 6.0), st.floats(0.1, 100.0))
def test_what_was_delivered_by_the_finish_is_the_amount(start_s: float, amount: float) -> None:
    run_time = RunTime(100.0)
    finish_s = run_time.finish(RATE, 100.0 + start_s, amount)
    assert run_time.delivered(RATE, 100.0 + start_s, finish_s) == pytest.approx(amount, rel=1e-9)


def test_a_sleep_ends_at_its_moment_or_when_told() -> None:
    wake_promptly()
    moment_s = time.monotonic() + 0.01
    assert sleep_until(moment_s)
    assert time.monotonic() >= moment_s
    assert not sleep_until(math.inf, lambda: True)
