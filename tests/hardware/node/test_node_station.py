"""The queue of a machine with its threads, on a real loop and with stages that last some milliseconds."""

from __future__ import annotations

import threading
import time
from itertools import pairwise
from types import SimpleNamespace

import pytest
from nodes import Release

from hardware.emulation.speed import Speed
from hardware.node.compute import NoCompute
from hardware.node.station import Job, Station
from hardware.node.workshop import Visit
from hardware.transport.loop import Loop
from twin.steps import Steps


class Gate:
    """A stage that lasts until it is let through."""

    takes = gives = ()

    def __init__(self):
        self.open = threading.Event()

    def __call__(self, buffers):
        assert self.open.wait(10.0)
        return buffers


@pytest.fixture
def loop():
    made = Loop()
    yield made
    made.close()


@pytest.fixture
def made(loop):
    stations = []

    def make(slots=1, speed=None):
        done = []
        station = Station(loop, done.append, slots)
        station.speed = speed
        stations.append(station)
        return SimpleNamespace(station=station, done=done)

    yield make
    for station in stations:
        station.clear()
        station.close()


def job(request, compute=None, nominal_s=0.005):
    compute = compute or NoCompute((), (), (b"out",))
    return Job(request, 0, 0, Visit(nominal_s, compute, 0, is_last=True), (b"in",), Release(), time.monotonic())


def run_until(loop, condition, timeout_s=5.0):
    end_s = time.monotonic() + timeout_s

    def look():
        if condition() or time.monotonic() > end_s:
            loop.stop()
        else:
            loop.call_at(time.monotonic() + 0.001, look)

    loop.post(look)
    loop.run()
    assert condition()


def test_jobs_are_served_in_order_one_at_a_time(loop, made):
    own, gates = made(), [Gate() for _ in range(3)]
    jobs = [job(request, gate) for request, gate in enumerate(gates)]
    for each in jobs:
        own.station.put(each)
    assert (len(own.station), own.station.waiting, own.station.is_full) == (3, 2, True)
    # Only what left the queue is let go.
    assert [each.release.n for each in jobs] == [1, 0, 0]
    for gate in gates:
        gate.open.set()
    run_until(loop, lambda: len(own.done) == 3)
    assert [done.job.request for done in own.done] == [0, 1, 2]
    assert [each.release.n for each in jobs] == [1, 1, 1]
    assert (len(own.station), own.station.is_full) == (0, False)


def test_two_slots_serve_two_at_once(loop, made):
    own, gates = made(slots=2), [Gate() for _ in range(3)]
    for request, gate in enumerate(gates):
        own.station.put(job(request, gate))
    assert own.station.waiting == 1
    gates[1].open.set()
    run_until(loop, lambda: len(own.done) == 1)
    assert own.done[0].job.request == 1
    assert [each.request for each in own.station.serving] == [0, 2]
    for gate in gates:
        gate.open.set()
    run_until(loop, lambda: len(own.done) == 3)


def test_a_stage_that_raises_ends_its_own_job_only(loop, made):
    def broken(_buffers):
        raise RuntimeError("broken")

    own = made()
    own.station.put(job(0, broken))
    own.station.put(job(1))
    run_until(loop, lambda: len(own.done) == 2)
    assert own.done[0].outputs is None
    assert "broken" in str(own.done[0].error)
    assert own.done[1].outputs == (b"out",)


def test_paused_it_starts_nothing_new(loop, made):
    own, gate = made(), Gate()
    own.station.put(job(0, gate))
    own.station.pause(paused=True)
    own.station.put(job(1))
    gate.open.set()
    run_until(loop, lambda: len(own.done) == 1)
    assert own.station.waiting == 1
    resumed_s = time.monotonic()
    own.station.pause(paused=False)
    run_until(loop, lambda: len(own.done) == 2)
    assert own.done[1].job.start_s >= resumed_s


def test_what_is_cleared_is_let_go_and_ends_unnoticed(loop, made):
    own, gate = made(), Gate()
    jobs = [job(0, gate), job(1), job(2)]
    for each in jobs:
        own.station.put(each)
    own.station.pause(paused=True)
    own.station.clear()
    assert [each.release.n for each in jobs] == [1, 1, 1]
    gate.open.set()
    own.station.put(job(3))
    run_until(loop, lambda: len(own.done) == 1)
    assert own.done[0].job.request == 3


def test_a_sleep_that_is_cleared_holds_up_nobody_for_long(loop, made):
    own = made(speed=Speed("sleep", Steps((0.0,), (1.0,))))
    own.station.put(job(0, nominal_s=3600.0))
    time.sleep(0.01)
    own.station.clear()
    own.station.put(job(1))
    run_until(loop, lambda: len(own.done) == 1, 2.0)
    assert own.done[0].job.request == 1


def test_a_device_that_sleeps_is_not_late_in_sum(loop, made):
    own = made(speed=Speed("sleep", Steps((0.0,), (1.0,))))
    start_s = time.monotonic()
    for request in range(10):
        own.station.put(job(request, nominal_s=0.004))
    run_until(loop, lambda: len(own.done) == 10)
    starts_s = [done.job.start_s for done in own.done]
    gaps_s = [later - earlier for earlier, later in pairwise(starts_s)]
    # Each begins when the one before should have ended, whenever a thread was woken.
    assert gaps_s == pytest.approx([0.004] * 9, abs=1e-6)
    assert starts_s[0] == pytest.approx(start_s, abs=5e-3)
    assert all(done.end_s - done.job.start_s >= 0.004 - 1e-9 for done in own.done)


def test_luck_goes_by_request_and_probes_share_that_of_the_first(loop, made):
    seen = []
    speed = Speed("sleep", Steps((0.0,), (1.0,)), lambda request: seen.append(request) or 1.0)
    own = made(speed=speed)
    for request in (4, -1):
        own.station.put(job(request, nominal_s=0.001))
    run_until(loop, lambda: len(own.done) == 2)
    assert seen == [4, 0]
