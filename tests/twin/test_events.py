"""The events engine against hand-made schedules, the cost model and its own laws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from players import Fixed, Script, Watched, one_station, run
from worlds import make_links, make_problem, make_workload, make_world

from twin.cost import predict
from twin.partition import Partition
from twin.problem import LinkProbe, Objective, StageProbe, SwitchCost
from twin.records import LOAD, PROBE, Kind, Outcome, Reason
from twin.topology import Continuum, Device, Link
from twin.traces import LinkTrace, LoadTrace
from twin.world import Control, Fault

PLACEMENTS = [(0, 0, 0, 0), (0, 0, 1, 2), (0, 1, 1, 1), (1, 1, 2, 2), (2, 2, 2, 2), (0, 2, 2, 2), (1, 1, 1, 1)]


def partition(*placement):
    return Partition(tuple(placement), 3)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_one_request_alone_takes_what_the_cost_model_says(placement):
    problem = make_problem(stage_overhead_s=np.array([1e-3, 2e-3, 3e-3]), codec_s_per_byte=np.array([1e-9, 2e-9, 3e-9]))
    world = make_world(problem=problem, workload=make_workload(requests=1))
    result = run(world, Fixed(partition(*placement)))
    predicted = predict(world.problem, partition(*placement), world.problem.initial)
    assert result.requests.latency_s[0] == pytest.approx(predicted.latency_s, rel=1e-9)


def test_deterministic_arrivals_and_service_by_hand():
    # Every 30 ms a request, 100 ms of work: request n starts when n-1 has finished and waits n * 70 ms.
    workload = make_workload(kind="periodic", clients=0, rate_rps=1 / 0.03, requests=5)
    result = run(make_world(workload=workload), Fixed(partition(0, 0, 0, 0)))
    assert result.requests.arrival_s == pytest.approx(np.arange(5) * 0.03)
    assert result.requests.latency_s == pytest.approx(0.1 + np.arange(5) * 0.07)
    queue = result.spans.where(result.spans.kind == Kind.QUEUE)
    assert queue.end_s - queue.start_s == pytest.approx(np.arange(1, 5) * 0.07)


def test_a_transfer_follows_the_trace_through_an_outage():
    # 100 000 input bytes = 0.8 Mbit at 1 Mbit/s, nothing from 0.5 s to 2 s: 0.5 Mbit before and 0.3 Mbit after.
    from twin.steps import Steps

    up = Steps((0.0, 0.5, 2.0), (1e6, 0.0, 1e6))
    trace = LinkTrace("outage", up, Steps.constant(1e9), Steps.constant(0.004), "derived")
    world = make_world(links=(trace, make_links()[1]), workload=make_workload(requests=1))
    result = run(world, Fixed(partition(1, 1, 1, 1)))
    transmit = result.spans.where(result.spans.kind == Kind.TRANSMIT)
    assert transmit.end_s[0] == pytest.approx(2.3, rel=1e-12)
    assert result.requests.latency_s[0] == pytest.approx(2.3 + 0.002 + 0.025 + 4000 * 8 / 1e9 + 0.002)


def test_load_slows_work_as_it_changes():
    from twin.steps import Steps

    load = LoadTrace("busy", Steps((0.0, 0.05), (1.0, 2.0)), "derived")
    loads = (load, LoadTrace.constant(1.0), LoadTrace.constant(1.0))
    result = run(make_world(loads=loads, workload=make_workload(requests=1)), Fixed(partition(0, 0, 0, 0)))
    assert result.requests.latency_s[0] == pytest.approx(0.05 + 2 * 0.05)


def test_half_duplex_directions_share_the_medium():
    continuum = Continuum(make_problem().continuum.devices, (Link(0, 1, "half"), Link(1, 2)))
    workload = make_workload(kind="replay", clients=0, times_s=np.array([0.0, 0.0648]), requests=None)
    both = {}
    for name, problem in (("full", make_problem()), ("half", make_problem(continuum=continuum))):
        result = run(make_world(problem=problem, workload=workload), Fixed(partition(1, 1, 1, 1)))
        both[name] = result.requests.latency_s
    # 40 ms up, 2 ms on the way, 25 ms of work: the first answer is ready at 67 ms, while the second request is sent.
    assert both["half"][0] > both["full"][0]
    assert both["half"][0] == pytest.approx(0.1048 + 0.0032 + 0.002)


def test_fifo_at_every_station():
    workload = make_workload(kind="poisson", clients=0, rate_rps=60.0, requests=300)
    result = run(make_world(workload=workload), Fixed(partition(0, 1, 1, 2)))
    served = result.spans.where((result.spans.kind == Kind.COMPUTE) | (result.spans.kind == Kind.TRANSMIT))
    for place in np.unique(served.place):
        rows = served.where(served.place == place)
        order = np.argsort(rows.start_s, kind="stable")
        assert np.all(np.diff(rows.request[order]) >= 1)
        assert np.all(rows.start_s[order][1:] >= rows.end_s[order][:-1] - 1e-12)


@settings(max_examples=40, deadline=None)
@given(
    placement=st.sampled_from(PLACEMENTS),
    rate_rps=st.floats(1.0, 200.0),
    queue_limit=st.one_of(st.none(), st.integers(0, 5)),
    deadline_s=st.one_of(st.none(), st.floats(0.05, 1.0)),
    drain_s=st.floats(0.0, 2.0),
    seed=st.integers(0, 100),
)
def test_every_request_ends_exactly_once(placement, rate_rps, queue_limit, deadline_s, drain_s, seed):
    base = make_problem()
    devices = tuple(replace(device, queue_limit=queue_limit) for device in base.continuum.devices)
    problem = make_problem(continuum=Continuum(devices, base.continuum.links))
    workload = make_workload(kind="poisson", clients=0, rate_rps=rate_rps, requests=50)
    world = make_world(
        problem=problem, workload=workload, objective=Objective(deadline_s=deadline_s), seed=seed, drain_s=drain_s
    )
    requests = run(world, Fixed(partition(*placement))).requests
    counts = np.bincount(requests.outcome, minlength=4)
    assert counts.sum() == len(requests) == 50
    assert np.array_equal(np.isfinite(requests.done_s), requests.completed)
    assert np.all(requests.latency_s[requests.completed] > 0)
    if queue_limit is None:
        assert counts[Outcome.DROPPED] == 0
    if deadline_s is not None:
        assert np.all(
            (requests.outcome == Outcome.LATE)[requests.completed]
            == (requests.latency_s[requests.completed] > deadline_s)
        )


def test_spans_of_a_request_fill_its_latency():
    workload = make_workload(kind="poisson", clients=0, rate_rps=12.0, requests=200)
    result = run(make_world(workload=workload), Fixed(partition(0, 1, 1, 2)))
    length_s = np.bincount(result.spans.request, result.spans.end_s - result.spans.start_s)
    assert length_s == pytest.approx(result.requests.latency_s, rel=1e-9)


def test_closed_loop_with_think_time():
    result = run(make_world(workload=make_workload(think_time_s=0.5)), Fixed(partition(0, 0, 0, 0)))
    assert result.requests.arrival_s == pytest.approx(np.arange(10) * 0.6)


def test_closed_loop_ends_by_time():
    workload = make_workload(requests=None, duration_s=0.95, clients=2)
    requests = run(make_world(workload=workload), Fixed(partition(0, 0, 0, 0))).requests
    assert requests.arrival_s.max() < 0.95
    assert len(requests) == 11
    assert np.all(requests.outcome == Outcome.OK)


def test_work_that_can_never_finish_fails_as_no_capacity():
    trace = LinkTrace.constant(0.0, 0.004, down_bps=1e6)
    world = make_world(links=(trace, make_links()[1]), drain_s=5.0)
    requests = run(world, Fixed(partition(1, 1, 1, 1))).requests
    assert list(requests.outcome) == [Outcome.FAILED]
    assert list(requests.reason) == [Reason.NO_CAPACITY]
    open_loop = make_workload(kind="periodic", clients=0, rate_rps=10.0, requests=3)
    requests = run(replace(world, workload=open_loop), Fixed(partition(1, 1, 1, 1))).requests
    assert list(requests.reason) == [Reason.NO_CAPACITY] * 3


def test_what_the_drain_time_cuts_off_is_unfinished():
    workload = make_workload(kind="periodic", clients=0, rate_rps=100.0, requests=10)
    world = make_world(workload=workload, drain_s=0.2)
    result = run(world, Fixed(partition(0, 0, 0, 0)))
    limit_s = 0.09 + 0.2
    assert np.sum(result.requests.completed) == 2
    assert set(result.requests.reason[2:]) == {Reason.UNFINISHED}
    assert result.spans.end_s.max() == pytest.approx(limit_s)


def test_same_seed_same_records_and_another_seed_others():
    workload = make_workload(kind="poisson", clients=0, rate_rps=10.0, requests=100)
    world = make_world(workload=workload, dispersion=np.array([0.1, 0.1, 0.1]))
    first, second = (run(world, Fixed(partition(0, 1, 1, 2))) for _ in range(2))
    for name, column in first.requests.columns().items():
        assert np.array_equal(column, getattr(second.requests, name), equal_nan=True)
    other = run(world, Fixed(partition(0, 1, 1, 2)), replication=1)
    assert not np.array_equal(other.requests.arrival_s, first.requests.arrival_s)


def test_every_policy_meets_the_same_luck():
    workload = make_workload(kind="periodic", clients=0, rate_rps=1.0, requests=20)
    world = make_world(workload=workload, dispersion=np.array([0.2, 0.2, 0.2]))
    slow = run(world, Fixed(partition(0, 0, 0, 0))).spans
    split = run(world, Fixed(partition(0, 0, 0, 1))).spans
    edge = [s.where((s.kind == Kind.COMPUTE) & (s.place == 0)) for s in (slow, split)]
    factors = [(s.end_s - s.start_s) / nominal for s, nominal in zip(edge, (0.1, 0.07), strict=True)]
    assert factors[0] == pytest.approx(factors[1])
    assert factors[0].std() > 0.05


def test_new_requests_carry_the_new_epoch_and_those_under_way_finish_on_the_old():
    workload = make_workload(kind="periodic", clients=0, rate_rps=20.0, requests=40)
    world = make_world(workload=workload, control=Control(every_s=1.0))
    result = run(world, Script([partition(0, 0, 0, 0), partition(1, 1, 1, 1)]))
    requests = result.requests
    assert np.array_equal(requests.epoch, (requests.arrival_s >= 1.0).astype(int))
    late_edge = result.spans.where((result.spans.kind == Kind.COMPUTE) & (result.spans.place == 0))
    assert late_edge.end_s.max() > 1.5
    assert np.all(late_edge.epoch == 0)
    assert [entry["switched"] for entry in result.decisions[:3]] == [False, True, False]


def test_downtime_holds_new_requests_back_at_the_edge():
    problem = make_problem(switch=SwitchCost(downtime_s=0.3, energy_j=2.0))
    workload = make_workload(kind="periodic", clients=0, rate_rps=5.0, requests=10)
    world = make_world(problem=problem, workload=workload, control=Control(every_s=0.9))
    result = run(world, Script([partition(0, 0, 0, 0), partition(1, 1, 1, 1)]))
    held = result.spans.where(result.spans.kind == Kind.HOLD)
    assert list(held.request) == [5]
    assert held.end_s - held.start_s == pytest.approx([0.2])
    assert result.decisions[1]["charged_j"] == {1: 2.0}


def test_weights_are_loaded_over_the_links_before_the_new_plan_serves():
    # conv3 and head (2 000 bytes of weights) move to the laptop, from the pc, at 1 000 bit/s: 16 s.
    problem = make_problem(switch=SwitchCost(weights_from=2))
    slow = LinkTrace.constant(100e6, 0.0, down_bps=1_000.0)
    workload = make_workload(kind="periodic", clients=0, rate_rps=1.0, requests=25)
    world = make_world(problem=problem, links=(make_links()[0], slow), workload=workload)
    result = run(world, Script([partition(0, 0, 0, 0), partition(0, 0, 1, 1)]))
    load = result.spans.where((result.spans.request == LOAD) & (result.spans.kind == Kind.TRANSMIT))
    assert list(load.size_bytes) == [2_000.0]
    assert load.end_s - load.start_s == pytest.approx([16.0])
    assert np.array_equal(result.requests.epoch, (result.requests.arrival_s > 17.0).astype(int))


def test_control_interval_in_requests():
    world = make_world(workload=make_workload(requests=10), control=Control(every_s=None, every_requests=4))
    result = run(world, Fixed(partition(0, 0, 0, 0)))
    assert [entry["arrived"] for entry in result.decisions] == [0, 4, 4]
    assert [entry["t_s"] for entry in result.decisions] == pytest.approx([0.0, 0.4, 0.8])


def test_samples_show_what_was_measured_and_nothing_of_the_future():
    problem = make_problem(
        continuum=Continuum(make_problem().continuum.devices, (Link(0, 1, "full", 0.001), Link(1, 2)))
    )
    workload = make_workload(kind="periodic", clients=0, rate_rps=4.0, requests=12)
    world = make_world(problem=problem, workload=workload)
    result = run(world, Watched(partition(0, 1, 1, 1)))
    for entry in result.decisions:
        samples = result.raw.samples(*entry["rows"])
        for times in (samples.link_t_s, samples.stage_t_s, samples.done_t_s):
            assert np.all(times <= entry["t_s"])
    samples = result.raw.samples(0, len(result.raw))
    up = (samples.link == 0) & (samples.direction == 0)
    assert samples.transfer_s[up] == pytest.approx(200_000 * 8 / 20e6 + 0.001 + 0.004)
    fog = samples.device == 1
    assert samples.nominal_s[fog] == pytest.approx(0.005 + 0.01 + 0.0075)
    assert samples.service_s[fog] == pytest.approx(samples.nominal_s[fog])
    assert len(samples.done_t_s) == 8


def test_probes_take_their_station_and_are_sampled():
    workload = make_workload(kind="periodic", clients=0, rate_rps=2.0, requests=6)
    probes = {1: (LinkProbe(1, 0, 50_000.0), StageProbe(2, (0, 1)), StageProbe(0, (0,)))}
    result = run(make_world(workload=workload), Script([partition(0, 0, 0, 0)], probes))
    spans = result.spans.where(result.spans.request == PROBE)
    transmit = spans.where(spans.kind == Kind.TRANSMIT)
    assert transmit.end_s - transmit.start_s == pytest.approx([50_000 * 8 / 100e6])
    compute = spans.where(spans.kind == Kind.COMPUTE)
    assert sorted(compute.place) == [0, 2]
    samples = result.raw.samples(*result.decisions[2]["rows"])
    assert samples.transfer_s[samples.link == 1] == pytest.approx([0.004 + 0.002])
    assert samples.nominal_s[samples.device == 2] == pytest.approx([0.0015])


def test_a_stage_probe_is_skipped_while_its_device_is_busy():
    workload = make_workload(kind="periodic", clients=0, rate_rps=20.0, requests=40)
    result = run(make_world(workload=workload), Script([partition(0, 0, 0, 0)], {1: (StageProbe(0, (0,)),)}))
    assert not np.any(result.spans.request == PROBE)


class TestFaults:
    workload = make_workload(kind="periodic", clients=0, rate_rps=10.0, requests=100)

    def world(self, *faults, **changes):
        return make_world(workload=self.workload, faults=faults, detect_s=0.5, **changes)

    def test_what_a_lost_device_held_is_sent_again_once(self):
        world = self.world(Fault("device_down", 1, 3.0, 6.0))
        policy = Script([partition(0, 0, 1, 1)], fallback=partition(0, 0, 0, 0))
        result = run(world, policy)
        requests = result.requests
        assert np.all(requests.outcome == Outcome.OK)
        # Caught: arrived before the loss was noticed at 3.5 s, not yet answered at 3 s.
        caught = (requests.arrival_s >= 2.9) & (requests.arrival_s < 3.5)
        assert np.array_equal(requests.replays, caught.astype(int)) or abs(requests.replays.sum() - caught.sum()) <= 2
        assert np.all(requests.done_s[requests.replays == 1] > 3.5)
        assert not result.decisions[4]["available"][1]
        fog = result.spans.where((result.spans.kind == Kind.COMPUTE) & (result.spans.place == 1))
        assert not np.any((fog.start_s > 3.5) & (fog.end_s < 6.0))
        assert np.any(fog.start_s > 6.0)

    def test_a_policy_that_stays_loses_the_request_the_second_time(self):
        world = self.world(Fault("device_down", 1, 3.0, 6.0))
        requests = run(world, Fixed(partition(0, 0, 1, 1))).requests
        lost = requests.reason == Reason.LOST
        assert lost.sum() > 0
        assert np.all(requests.replays[lost] == 1)
        assert np.all(requests.outcome[lost] == Outcome.FAILED)

    def test_a_short_loss_goes_unnoticed_and_delays(self):
        world = self.world(Fault("device_down", 1, 3.0, 3.4))
        requests = run(world, Fixed(partition(0, 0, 1, 1))).requests
        assert np.all(requests.outcome == Outcome.OK)
        assert requests.replays.sum() == 0
        assert requests.latency_s.max() > 0.35

    def test_a_link_that_is_down_is_reported_and_what_it_carried_is_sent_again(self):
        world = self.world(Fault("link_down", 0, 3.0, 5.0))
        policy = Script([partition(1, 1, 1, 1)], fallback=partition(0, 0, 0, 0))
        result = run(world, policy)
        assert np.all(result.requests.outcome == Outcome.OK)
        assert result.requests.replays.sum() > 0
        down = [entry for entry in result.decisions if not entry["link_up"][0]]
        assert down
        assert all(3.5 <= entry["t_s"] < 5.0 for entry in down)

    def test_a_slow_device_takes_longer(self):
        world = self.world(Fault("device_slow", 0, 2.0, 4.0, slowdown=1.5))
        result = run(world, Fixed(partition(0, 0, 1, 1)))
        edge = result.spans.where((result.spans.kind == Kind.COMPUTE) & (result.spans.place == 0))
        inside = (edge.start_s >= 2.0) & (edge.end_s <= 4.0)
        length_s = edge.end_s - edge.start_s
        assert length_s[inside] == pytest.approx(0.045)
        assert length_s[edge.end_s <= 2.0] == pytest.approx(0.03)


def test_queue_limit_drops_what_finds_the_queue_full():
    base = make_problem()
    devices = (Device("pi", "edge", base.continuum.devices[0].power, queue_limit=1), *base.continuum.devices[1:])
    problem = make_problem(continuum=Continuum(devices, base.continuum.links))
    workload = make_workload(kind="periodic", clients=0, rate_rps=100.0, requests=4)
    requests = run(make_world(problem=problem, workload=workload), Fixed(partition(0, 0, 0, 0))).requests
    assert list(requests.outcome) == [Outcome.OK, Outcome.OK, Outcome.DROPPED, Outcome.DROPPED]
    assert list(requests.reason[2:]) == [Reason.QUEUE_LIMIT] * 2


def test_slots_serve_at_once():
    result = one_station(100.0, 4, lambda device, request, nominal_s: 0.1, slots=2, kind="periodic")
    assert result.requests.done_s == pytest.approx([0.1, 0.11, 0.2, 0.21])
