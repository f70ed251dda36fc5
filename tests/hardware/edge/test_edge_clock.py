"""Run time on a machine: order, starting, stopping, and being late."""

from __future__ import annotations

import math

import pytest
from fakes import START_S, virtual_time
from hypothesis import given
from hypothesis import strategies as st

from hardware.edge.clock import RunClock


@pytest.fixture
def loop():
    with virtual_time() as loop:
        yield loop


def test_it_stands_still_until_it_is_started(loop):
    clock, seen = RunClock(loop), []
    clock.call_at(0.0, 0, seen.append, "now")
    loop.run_for(5.0)
    assert (clock.now_s, seen) == (0.0, [])
    clock.start(loop.now_s + 0.5)
    loop.run_for(0.4)
    assert (clock.now_s, seen) == (0.0, [])
    loop.run_for(0.2)
    assert clock.now_s == pytest.approx(0.1)
    assert seen == ["now"]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), max_size=20))
def test_equal_times_go_by_rank_and_then_by_order(entries):
    with virtual_time() as loop:
        clock, seen = RunClock(loop), []
        for number, (time_s, rank) in enumerate(entries):
            clock.call_at(float(time_s), rank, seen.append, (time_s, rank, number))
        clock.start(START_S)
        loop.run_for(10.0)
        assert seen == sorted((time_s, rank, number) for number, (time_s, rank) in enumerate(entries))


def test_a_call_may_ask_for_earlier_and_later_ones(loop):
    clock, seen = RunClock(loop), []

    def first():
        seen.append(("first", clock.now_s))
        clock.call_at(0.5, 0, lambda: seen.append(("overdue", clock.now_s)))
        clock.call_at(2.0, 0, lambda: seen.append(("later", clock.now_s)))

    clock.call_at(1.0, 0, first)
    clock.call_at(9.0, 0, seen.append, "last")
    clock.start(START_S)
    loop.run_for(3.0)
    assert [name for name, _ in seen] == ["first", "overdue", "later"]
    assert [time_s for _, time_s in seen] == pytest.approx([1.0, 1.0, 2.0])


def test_a_clock_that_was_late_makes_up_for_it_in_order(loop):
    clock, seen = RunClock(loop), []
    for time_s in (1.0, 2.0, 1.5):
        clock.call_at(time_s, 0, seen.append, time_s)
    clock.start(START_S)
    loop.sleep(4.0)
    loop.run_for(0.0)
    assert seen == [1.0, 1.5, 2.0]


def test_stopped_it_stands_still_and_calls_nothing_more(loop):
    clock, seen = RunClock(loop), []
    clock.call_at(2.0, 0, seen.append, "before")
    clock.start(START_S)
    loop.run_for(1.0)
    clock.stop()
    clock.call_at(1.5, 0, seen.append, "after")
    loop.run_for(5.0)
    assert seen == []
    assert clock.now_s == pytest.approx(1.0)


def test_a_clock_may_be_stopped_by_its_own_call(loop):
    clock, seen = RunClock(loop), []
    clock.call_at(1.0, 0, clock.stop)
    clock.call_at(1.0, 1, seen.append, "no")
    clock.start(START_S)
    loop.run_for(2.0)
    assert seen == []


def test_one_that_was_never_started_can_be_stopped(loop):
    clock = RunClock(loop)
    clock.stop()
    assert (clock.now_s, clock.zero_s) == (0.0, math.inf)
