"""Corners of the events engine: ties, losses in a closed loop, changes of mind, and what the end of a run cuts off."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from players import Fixed, Script, run
from worlds import make_links, make_problem, make_workload, make_world

from twin.engine.events import Play
from twin.engine.plan import Plan, work_visit
from twin.engine.station import Job, Station
from twin.partition import Partition
from twin.problem import LinkProbe, StageProbe, SwitchCost
from twin.records import LOAD, PROBE, Kind, Outcome, Reason
from twin.steps import Steps
from twin.topology import Continuum, Link
from twin.traces import LinkTrace
from twin.world import Control, Fault


def partition(*placement):
    return Partition(tuple(placement), 3)


EDGE, FOG = partition(0, 0, 0, 0), partition(1, 1, 1, 1)


def periodic(rate_rps, requests):
    return make_workload(kind="periodic", clients=0, rate_rps=rate_rps, requests=requests)


def test_of_two_that_come_to_a_station_at_once_the_earlier_request_goes_first():
    # Sent over a half-duplex link in 1/4 s, worked on for 1/4 s: an answer meets the raw input of a later request.
    base = make_problem()
    problem = make_problem(
        continuum=Continuum(base.continuum.devices, (Link(0, 1, "half"), Link(1, 2))),
        layer_time_s=np.full((3, 4), 1 / 16),
    )
    wlan = LinkTrace.constant(100_000 * 8 * 4, 0.0, down_bps=4_000 * 8 * 4)
    world = make_world(problem=problem, links=(wlan, make_links()[1]), workload=periodic(2.0, 2))
    assert list(run(world, Fixed(FOG)).requests.done_s) == [0.75, 1.5]


def test_a_request_that_arrives_as_the_downtime_ends_does_not_overtake_those_held_back():
    problem = make_problem(switch=SwitchCost(downtime_s=0.25), layer_time_s=np.full((3, 4), 1 / 32))
    world = make_world(problem=problem, workload=periodic(8.0, 20), control=Control(every_s=1.0))
    requests = run(world, Script([EDGE, partition(0, 0, 0, 1)])).requests
    edge_first_s = requests.done_s[8:11]
    assert np.all(np.diff(edge_first_s) > 0)


def test_a_server_that_frees_itself_at_this_very_time_is_free():
    station = Station()
    job = Job(0, Plan(EDGE, 0, (work_visit(0, 1.0),)), None)
    station.admit(job, 0.0, Steps.constant(1.0).finish, 1.0)
    assert station.is_full(0.5)
    assert not station.is_full(1.0)


def test_a_closed_loop_goes_on_after_a_loss_and_does_not_spin():
    # The link is needed at once, so that a request fails the moment it arrives.
    workload = make_workload(clients=2, requests=None, duration_s=6.0)
    world = make_world(workload=workload, faults=(Fault("link_down", 0, 1.0, 4.0),), detect_s=0.5)
    requests = run(world, Fixed(FOG)).requests
    lost = requests.reason == Reason.LOST
    assert 2 <= lost.sum() <= 12
    assert np.all(requests.outcome[requests.arrival_s >= 4.0] == Outcome.OK)
    assert np.sum(requests.arrival_s >= 4.0) > 10


def test_a_closed_loop_that_is_caught_while_stuck_ends():
    dead = LinkTrace.constant(0.0, 0.004, down_bps=1e6)
    world = make_world(links=(dead, make_links()[1]), faults=(Fault("device_down", 1, 3.0, 6.0),), detect_s=0.5)
    requests = run(world, Fixed(FOG)).requests
    assert set(requests.reason[:-1]) == {Reason.LOST}
    assert requests.reason[-1] == Reason.NO_CAPACITY


def test_a_run_that_is_stuck_from_the_start_is_recorded_though_it_charged_a_switch():
    dead = LinkTrace.constant(0.0, 0.004, down_bps=1e6)
    problem = make_problem(switch=SwitchCost(energy_j=2.0))
    world = make_world(problem=problem, links=(dead, make_links()[1]), workload=make_workload(clients=2))
    world = replace(world, control=Control(every_s=None, every_requests=1))
    result = run(world, Script([FOG, partition(1, 1, 2, 2)]))
    assert list(result.requests.reason) == [Reason.NO_CAPACITY] * 2
    assert list(result.requests.epoch) == [0, 1]
    assert len(result.power) == 0


def test_losses_of_one_device_may_follow_each_other_at_once():
    faults = (Fault("device_down", 1, 2.0, 4.0), Fault("device_down", 1, 4.0, 6.0))
    world = make_world(workload=periodic(10.0, 100), faults=faults, detect_s=0.0)
    result = run(world, Script([FOG], fallback=EDGE))
    seen = {entry["t_s"]: entry["available"][1] for entry in result.decisions}
    assert not seen[4.0]
    assert not seen[5.0]
    assert seen[6.0]
    assert np.all(result.requests.completed)


def test_slow_start_comes_back_after_a_loss():
    links = (Link(0, 1, slow_start_s=0.03), Link(1, 2))
    problem = make_problem(continuum=Continuum(make_problem().continuum.devices, links))
    world = make_world(problem=problem, workload=periodic(10.0, 40), faults=(Fault("link_down", 0, 1.05, 3.0),))
    world = replace(world, detect_s=0.5)
    result = run(world, Script([FOG], fallback=EDGE))
    up = result.spans.where((result.spans.kind == Kind.PROPAGATE) & (result.spans.place == 3))
    slow = up.end_s - up.start_s > 0.03
    assert list(up.start_s[slow] > 3.0) == [False, True]
    assert np.all(np.flatnonzero(up.start_s > 3.0)[0] == np.flatnonzero(slow)[1])


def test_half_duplex_directions_start_slowly_each_on_its_own():
    links = (Link(0, 1, "half", slow_start_s=0.03), Link(1, 2))
    problem = make_problem(continuum=Continuum(make_problem().continuum.devices, links))
    result = run(make_world(problem=problem, workload=make_workload(requests=2)), Fixed(FOG))
    flight = result.spans.where(result.spans.kind == Kind.PROPAGATE)
    assert flight.end_s - flight.start_s == pytest.approx([0.032, 0.032, 0.002, 0.002])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_laws_hold_whatever_breaks(data):
    def pick(*values):
        return data.draw(st.sampled_from(values))

    def trace(*values):
        starts_s = (0.0, *data.draw(st.sets(st.integers(1, 40).map(lambda n: n / 8), max_size=3).map(sorted)))
        return Steps(starts_s, tuple(pick(*values) for _ in starts_s))

    links = (Link(0, 1, pick("full", "half")), Link(pick(0, 1), 2, slow_start_s=0.02))
    devices = [replace(device, slots=pick(1, 2)) for device in make_problem().continuum.devices]
    switch = SwitchCost(pick(0.0, 0.3), pick(None, 0, 1, 2), 1.0)
    lines = [LinkTrace("", trace(0.0, 1e5, 2e7), trace(0.0, 1e6), Steps.constant(pick(0.0, 0.5))) for _ in links]
    closed, times = make_workload(clients=3, requests=40), make_workload(clients=2, requests=None, duration_s=6.0)
    broken = [
        Fault(kind, target, start_s, start_s + pick(0.25, 1.0, 20.0))
        for kind, target in (("device_down", 1), ("device_down", 2), ("link_down", pick(0, 1)))
        if (start_s := pick(None, 0.0, 1.25, 3.0)) is not None
    ]
    plans = [partition(*sorted(pick(0, 1, 2) for _ in range(4))) for _ in range(pick(1, 8))]
    world = make_world(
        problem=make_problem(continuum=Continuum(tuple(devices), links), switch=switch),
        links=lines,
        workload=pick(closed, times, periodic(8.0, 40)),
        faults=tuple(broken),
        detect_s=pick(0.0, 0.5),
        drain_s=pick(0.0, 3.0, 60.0),
        control=pick(Control(0.3), Control(None, 1)),
    )
    probes = dict.fromkeys(range(1, 9), (LinkProbe(pick(0, 1), 0, 1e4), StageProbe(pick(0, 1, 2), (0,))))
    play = Play(world, Script(plans, pick({}, probes), pick(None, EDGE)), 0)
    result = play.play("test")
    requests, spans = result.requests, result.spans
    assert play.under_way == np.sum(np.isin(requests.reason, [Reason.UNFINISHED, Reason.NO_CAPACITY]))
    assert play.stuck == np.sum(requests.reason == Reason.NO_CAPACITY)
    assert np.all(requests.replays[requests.reason == Reason.LOST] == 1)
    own = spans.where(spans.request >= 0)
    length_s = np.bincount(own.request, own.end_s - own.start_s, len(requests))
    straight = requests.completed & (requests.replays == 0)
    assert length_s[straight] == pytest.approx(requests.latency_s[straight])
    served = spans.where(np.isin(spans.kind, [Kind.COMPUTE, Kind.TRANSMIT]))
    for place in np.unique(served.place):
        rows = served.where(served.place == place)
        slots = devices[place].slots if place < 3 else 1
        rows = rows.where(np.argsort(rows.start_s, kind="stable"))
        assert np.all(rows.start_s[slots:] >= np.sort(rows.end_s)[:-slots] - 1e-9)
    for entry in result.decisions:
        shown = result.raw.samples(*entry["rows"])
        assert np.all(np.concatenate([shown.link_t_s, shown.stage_t_s, shown.done_t_s]) <= entry["t_s"])


class TestSwitching:
    slow = LinkTrace.constant(100e6, 0.0, down_bps=1_000.0)

    def world(self, **changes):
        problem = make_problem(switch=SwitchCost(downtime_s=0.5, weights_from=2))
        return make_world(problem=problem, links=(make_links()[0], self.slow), workload=periodic(5.0, 40), **changes)

    def test_going_back_to_the_plan_in_force_costs_no_downtime(self):
        result = run(self.world(), Script([EDGE, FOG, EDGE]))
        assert not np.any(result.spans.kind == Kind.HOLD)
        assert [entry["epoch"] for entry in result.decisions[:4]] == [0, 1, 2, 2]

    def test_lost_weights_that_nobody_wants_any_more_are_not_sent_again(self):
        fault = Fault("link_down", 1, 1.5, 3.0)
        result = run(self.world(faults=(fault,), detect_s=0.5), Script([EDGE, FOG, FOG, EDGE]))
        loads = result.spans.where((result.spans.request == LOAD) & (result.spans.kind == Kind.TRANSMIT))
        assert list(loads.start_s) == [1.0]
        assert list(loads.end_s) == [2.0]


def test_stage_probes_have_luck_of_their_own():
    probe = (StageProbe(2, (0, 1)),)
    world = make_world(workload=periodic(2.0, 20), dispersion=np.full(3, 0.2))
    result = run(world, Script([EDGE], {1: probe, 2: probe, 3: probe}))
    probes = result.spans.where(result.spans.request == PROBE)
    lengths_s = probes.end_s - probes.start_s
    assert len(lengths_s) == len(np.unique(np.round(lengths_s, 9))) == 3


class TestCutOff:
    def test_a_message_on_its_way_was_sent(self):
        far = LinkTrace.constant(20e6, 4.0)
        world = make_world(links=(far, make_links()[1]), workload=periodic(1.0, 1), drain_s=1.0)
        spans = run(world, Fixed(FOG)).spans
        assert list(spans.kind) == [Kind.TRANSMIT, Kind.PROPAGATE]
        assert list(spans.start_s) == pytest.approx([0.0, 0.04])
        assert list(spans.end_s) == pytest.approx([0.04, 1.0])

    def test_what_waits_behind_work_that_never_ends_has_waited(self):
        dead = LinkTrace.constant(0.0, 0.0, down_bps=1e6)
        world = make_world(links=(dead, make_links()[1]), workload=periodic(1.0, 2), drain_s=1.0)
        spans = run(world, Fixed(FOG)).spans
        queued = spans.where(spans.kind == Kind.QUEUE)
        assert (list(queued.request), list(queued.start_s), list(queued.end_s)) == ([1], [1.0], [2.0])

    def test_nothing_lasts_longer_than_the_run(self):
        problem = make_problem(switch=SwitchCost(downtime_s=100.0))
        probes = {2: (LinkProbe(1, 0, 50_000.0),)}
        world = make_world(problem=problem, workload=periodic(2.0, 6), drain_s=1.0)
        result = run(world, Script([EDGE, FOG], probes))
        assert result.spans.end_s.max() == pytest.approx(3.5)
        assert list(result.requests.reason[2:]) == [Reason.UNFINISHED] * 4
