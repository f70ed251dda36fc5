"""Devices made slow: the three ways, and which one is chosen."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
import pytest
from shaping import steps
from worlds import make_world

from hardware.emulation.kinds import choose_kind
from hardware.emulation.speed import Speed
from twin.errors import EmulationError
from twin.steps import Steps
from twin.traces import LoadTrace
from twin.workload import ServiceNoise
from twin.world import Fault

HALF = Steps.constant(0.5)


def busy(time_s: float) -> float:
    """Take a while, as computing does."""
    time.sleep(time_s)
    return time_s


@pytest.mark.parametrize("kind", ["profile", "sleep"])
def test_a_visit_takes_the_nominal_time_times_slowdown_and_noise(kind: str) -> None:
    visit = Speed(kind, HALF, lambda request: 1.0 + request).visit(lambda: "out", 0.005, 1, None)  # type: ignore[arg-type]
    assert visit.result == "out"
    # 5 ms of work, twice as much by its luck, at half the speed.
    assert visit.end_s - visit.start_s - visit.late_s == pytest.approx(0.020, abs=1e-9)
    assert visit.end_s - visit.start_s >= 0.020
    assert visit.computed_s < 0.020


def test_a_factor_keeps_the_time_of_the_host() -> None:
    visit = Speed("factor", HALF, lambda _: math.nan).visit(lambda: busy(0.003), 99.0, 0, None)
    assert visit.end_s - visit.start_s - visit.late_s == pytest.approx(2 * visit.computed_s, rel=0.01)


def test_a_host_that_is_too_slow_shows_as_lateness() -> None:
    visit = Speed("profile", Steps.constant(1.0)).visit(lambda: busy(0.004), 0.001, 0, None)
    assert visit.late_s >= 0.003


def test_load_and_faults_act_at_their_times() -> None:
    # Half speed from 1 s on, nothing from 1.01 to 1.03 s; the visit begins a little after 1 s.
    load = LoadTrace("busy", steps((0.0, 1.0), (1.0, 2.0)))
    faults = (Fault("device_down", 1, 1.01, 1.03), Fault("device_slow", 0, 0.0, 9.0, 3.0))
    world = make_world(loads=(LoadTrace.constant(), load, LoadTrace.constant()), faults=faults)
    t0_s = time.monotonic() - 1.0
    visit = Speed.from_world(world, 1, "sleep", 0).visit(lambda: None, 0.005, 0, t0_s)
    due_s = visit.end_s - visit.late_s
    assert due_s - visit.start_s == pytest.approx(0.030, abs=1e-6)


def test_the_luck_is_that_of_the_twin() -> None:
    world = make_world(dispersion=np.array([0.0, 0.4, 0.0]))
    speed = Speed.from_world(replace(world, seed=7), 1, "sleep", 3)
    noise = ServiceNoise(world.dispersion, 7, 3)
    visit = speed.visit(lambda: None, 0.002, 5, None)
    assert visit.end_s - visit.late_s - visit.start_s == pytest.approx(0.002 * noise.factor(1, 5))


def test_lateness_is_not_passed_on_to_the_next_visit() -> None:
    speed, first_s, due_s = Speed("sleep", Steps.constant(1.0)), time.monotonic(), None
    for request in range(5):
        visit = speed.visit(lambda: None, 0.002, request, None, start_s=first_s if due_s is None else due_s)
        due_s = visit.due_s
    assert due_s == pytest.approx(first_s + 0.010, abs=1e-9)
    future_s = time.monotonic() + 100.0
    assert speed.visit(lambda: None, 0.001, 0, None, start_s=future_s).start_s < future_s


def test_a_stalled_visit_can_be_stopped() -> None:
    with pytest.raises(EmulationError, match="request 4"):
        Speed("sleep", Steps.constant(0.0)).visit(lambda: None, 1.0, 4, None, stop=lambda: True)


@pytest.mark.parametrize(
    ("host_s", "threads", "kind", "words"),
    [
        ([0.1, 0.3], 2, "profile", "fast enough"),
        ([0.5, 1.5], 2, "sleep", "the model takes"),
        ([0.1, 0.3], 9, "sleep", "9 threads"),
        ([0.6, 0.1], 1, "sleep", "33%"),
    ],
)
def test_a_device_computes_where_the_host_is_fast_enough(
    host_s: list[float], threads: int, kind: str, words: str
) -> None:
    choice = choose_kind("pi", [0.5, 1.0], host_s, busy_threads=threads, cores=2)
    assert choice.kind == kind
    assert words in choice.reason
    assert "`pi`" in choice.reason


def test_whole_model_times_do_too() -> None:
    assert choose_kind("pi", 1.0, 0.7, busy_threads=1, cores=2).kind == "profile"
    assert choose_kind("pi", 1.0, 0.9, busy_threads=1, cores=2).kind == "sleep"
    with pytest.raises(ValueError, match="2 profiled times"):
        choose_kind("pi", [1.0, 2.0], 0.7, busy_threads=1, cores=2)
