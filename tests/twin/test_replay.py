"""Replays: a simulated run, taken as if measured, gives its latencies back from its own inputs."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from measuring import Truth, as_measured, believed_world, simulated, varied
from players import Fixed
from results import fading_world
from worlds import DEVICES, make_links, make_problem, make_workload

from twin.calibration.apply import calibrated
from twin.calibration.inputs import Inputs, MeasuredService, take
from twin.calibration.replay import replay, replay_all
from twin.errors import CalibrationError
from twin.partition import Partition
from twin.policies import POLICIES
from twin.problem import SwitchCost
from twin.records import PROBE, Kind, Spans
from twin.topology import Continuum, Link
from twin.traces import LinkTrace, LoadTrace
from twin.world import Fault, PolicySpec

DECISIONS = Inputs(decisions=True)
LABELS = ("static", "adaptive", "pi-only")


def played(world, label, replications=2):
    spec = next(spec for spec in world.policies if spec.label == label)
    return simulated(world, POLICIES[spec.kind](**spec.options), label, replications)


def steady_world(**changes):
    """Constant links, devices that vary, and changes that hold requests back."""
    problem = make_problem(switch=SwitchCost(0.05))
    return fading_world(problem=problem, links=make_links(), dispersion=np.full(3, 0.1), **changes)


def gaps_s(one, other):
    assert np.array_equal(one.requests.arrival_s, other.requests.arrival_s)
    return np.abs(one.requests.latency_s - other.requests.latency_s)


@pytest.mark.parametrize("label", LABELS)
def test_constant_links_give_the_latencies_back_exactly(label):
    run = played(steady_world(), label)
    again = replay(steady_world(), run, DECISIONS)
    assert gaps_s(run, again).max() < 1e-12
    assert again.source == "simulated"
    assert again.label == label
    assert again.facts["replay"]["inputs"] == ["arrivals", "links", "loads", "decisions"]


@pytest.mark.parametrize("label", LABELS)
def test_policies_decide_the_same_from_the_same_inputs(label):
    run = played(steady_world(), label)
    again = replay(steady_world(), run)
    assert gaps_s(run, again).max() < 1e-12
    assert [x["partition"] for x in run.decisions] == [x["partition"] for x in again.decisions]


def changing_run():
    """A run on a rate that changes, whose plan changes every second, with downtime and probes."""
    world = calibrated(believed_world(0), Truth().calibration)
    return world, simulated(world, varied(), "static")


def test_message_by_message_a_changing_rate_is_given_back_too():
    world, run = changing_run()
    again = replay(world, run, replace(DECISIONS, window_s=0.0))
    assert gaps_s(run, again).max() < 1e-9
    assert np.array_equal(run.requests.epoch, again.requests.epoch)


@pytest.mark.parametrize(("window_s", "mean", "worst"), [(0.1, 0.005, 0.15), (1.0, 0.03, 0.6)])
def test_windows_blur_a_changing_rate(window_s, mean, worst):
    world, run = changing_run()
    again = replay(world, run, replace(DECISIONS, window_s=window_s))
    measured_s, replayed_s = run.requests.latency_s, again.requests.latency_s
    assert replayed_s.mean() == pytest.approx(measured_s.mean(), rel=mean)
    assert gaps_s(run, again).max() < worst


def test_holds_and_probes_are_replayed():
    world, run = changing_run()
    again = replay(world, run, replace(DECISIONS, window_s=0.0))
    for kind, request in ((Kind.HOLD, None), (Kind.TRANSMIT, PROBE)):
        one, other = (
            x.spans.where((x.spans.kind == kind) & ((x.spans.request == request) | (request is None)))
            for x in (run, again)
        )
        assert len(one) == len(other) > 20
        assert np.sort(other.start_s) == pytest.approx(np.sort(one.start_s), abs=1e-9)
        assert np.sort(other.end_s) == pytest.approx(np.sort(one.end_s), abs=1e-9)
    assert [x["partition"] for x in run.decisions] == [x["partition"] for x in again.decisions]


def test_a_run_of_a_testbed_is_predicted_from_its_own_inputs():
    world = calibrated(believed_world(0), Truth(slow_start_s=(0.0, 0.0)).calibration)
    run = as_measured(world, simulated(world, varied()), 0, jitter_s=0.0, fading=0.0)
    again = replay(world, run, replace(DECISIONS, window_s=0.0))
    assert gaps_s(run, again).max() < 1e-9


def as_senders_see_it(world, run):
    """The run with each message beginning when its sender could begin, whatever the other direction was doing."""
    spans, n = run.spans, world.problem.n_devices
    start_s = spans.start_s.copy()
    queued_s = {
        (place, request, end_s): from_s
        for place, request, kind, from_s, end_s in zip(
            spans.place, spans.request, spans.kind, spans.start_s, spans.end_s, strict=True
        )
        if kind == Kind.QUEUE
    }
    for place in (n, n + 1):
        rows = np.flatnonzero((spans.kind == Kind.TRANSMIT) & (spans.place == place))
        free_s = 0.0
        for row in rows[np.argsort(spans.start_s[rows])]:
            came_s = queued_s.get((place, spans.request[row], spans.start_s[row]), spans.start_s[row])
            start_s[row] = max(came_s, free_s)
            free_s = spans.end_s[row]
    return replace(run, source="emulated", spans=Spans(**{**spans.columns(), "start_s": start_s}))


def test_waiting_for_the_other_direction_is_not_taken_for_a_slow_link():
    problem = make_problem(continuum=Continuum(DEVICES, (Link(0, 1, "half"), Link(1, 2))))
    links = (LinkTrace.constant(8e6, 0.004), make_links()[1])
    world = believed_world(0, problem=problem, links=links)
    run = simulated(world, varied())
    seen = as_senders_see_it(world, run)
    assert np.abs(seen.spans.start_s - run.spans.start_s).max() > 0.01
    again = replay(world, seen, replace(DECISIONS, window_s=0.0))
    assert again.requests.latency_s == pytest.approx(run.requests.latency_s, abs=1e-9)


def test_inputs_and_not_the_scenario_decide():
    """A scenario whose links, devices and arrivals are wrong predicts the same from the inputs of the run."""
    world = steady_world()
    run = played(world, "static")
    wrong = replace(
        steady_world(seed=99),
        links=tuple(replace(trace, up=trace.up.scaled(0.3)) for trace in world.links),
        loads=(LoadTrace.constant(5.0),) * 3,
    )
    assert gaps_s(run, replay(wrong, run, DECISIONS)).max() < 1e-12
    for missing in ("links", "loads"):
        kept = replay(wrong, run, replace(DECISIONS, **{missing: False}))
        assert kept.requests.latency_s.mean() > 1.05 * run.requests.latency_s.mean(), missing
    assert len(replay(wrong, run, replace(DECISIONS, arrivals=False)).requests) != len(run.requests)


def test_a_closed_loop_stays_closed():
    world = steady_world(workload=make_workload(clients=2, think_time_s=0.05, requests=60))
    run = played(world, "static", 1)
    again = replay(world, run, DECISIONS)
    assert again.requests.latency_s == pytest.approx(run.requests.latency_s, abs=1e-12)
    assert again.requests.client.tolist() == run.requests.client.tolist()


def test_outages_and_slow_devices_are_played_once():
    faults = (Fault("link_down", 0, 5.0, 5.5), Fault("device_slow", 0, 8.0, 12.0, 3.0))
    world = steady_world(faults=faults, detect_s=2.0)
    run = played(world, "static", 1)
    again = replay(world, run, DECISIONS)
    assert run.spans.end_s.max() > 0
    assert again.requests.latency_s == pytest.approx(run.requests.latency_s, abs=1e-9)


def test_a_request_that_did_not_visit_a_device_is_like_its_neighbour():
    world, run = changing_run()
    service = MeasuredService(world, run, 0)
    visited = run.spans.where((run.spans.kind == Kind.COMPUTE) & (run.spans.place == 2) & (run.spans.request >= 0))
    numbers = sorted(set(visited.request.tolist()))
    gap = next(a for a, b in itertools.pairwise(numbers) if b - a > 3)
    assert service(2, gap + 1, 1.0) == service(2, gap, 1.0)
    assert service(2, numbers[-1] + 50, 2.0) == 2 * service(2, numbers[-1], 1.0)


def test_what_was_not_measured_is_played_as_the_scenario_says():
    world = steady_world()
    run = played(world, "pi-only", 1)
    taken = take(world, run, 0, Inputs())
    assert taken.world.links == tuple(
        replace(new, up=old.up, down=old.down, rtt=old.rtt)
        for new, old in zip(taken.world.links, world.links, strict=True)
    )
    assert "laptop: no stage was measured; the scenario's load is played" in taken.notes
    assert sum("the scenario's goodput is played" in note for note in taken.notes) == 4


def test_other_things_are_refused():
    world = steady_world()
    run = played(world, "static", 1)
    with pytest.raises(CalibrationError, match=r"policies\.odd: the scenario has no such policy"):
        replay(world, replace(run, label="odd"))
    with pytest.raises(CalibrationError, match="--window"):
        Inputs(window_s=-1.0)
    empty = replace(run, requests=run.requests.where(np.zeros(len(run.requests), dtype=bool)))
    with pytest.raises(CalibrationError, match="holds no request"):
        replay(world, empty)


def test_all_policies_of_a_folder():
    world = steady_world()
    runs = [played(world, label, 1) for label in LABELS]
    assert [x.label for x in replay_all(world, runs)] == list(LABELS)


def test_partitions_beyond_those_of_the_policies_can_be_replayed():
    world = replace(steady_world(), policies=(PolicySpec("test", "static", {"split": "thirds"}),))
    run = simulated(world, Fixed(Partition.from_cuts((0, 2), 4)), "test")
    assert gaps_s(run, replay(world, run, DECISIONS)).max() < 1e-12
