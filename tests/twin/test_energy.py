"""Joules by hand, by brute force and by integration."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from results import fading_results, fading_world, make_decision, make_requests, make_spans
from worlds import DEVICES, make_problem, make_workload, make_world

from twin.energy import State, Window, account, accounting_window, occupied_s, power_samples
from twin.partition import thirds
from twin.problem import BOUNDARIES
from twin.records import LOAD, PROBE, Kind
from twin.topology import Continuum
from twin.world import Fault

PI, LAPTOP, PC = 0, 1, 2
UP0, DOWN0, UP1, DOWN1 = 3, 4, 5, 6
THREE_REQUESTS = make_spans(
    [
        # Request 0 computes on the pi for 1 s and on the laptop for 0.5 s.
        (0, 0, Kind.COMPUTE, PI, 0.0, 1.0, 0),
        (0, 0, Kind.TRANSMIT, UP0, 1.0, 1.5, 100),
        (0, 0, Kind.PROPAGATE, UP0, 1.5, 1.6, 0),
        (0, 0, Kind.COMPUTE, LAPTOP, 1.6, 2.1, 0),
        (0, 0, Kind.TRANSMIT, DOWN0, 2.1, 2.2, 10),
        # Request 1 waits for the pi and stays there.
        (1, 0, Kind.QUEUE, PI, 0.5, 1.0, 0),
        (1, 0, Kind.COMPUTE, PI, 1.0, 2.0, 0),
        # Request 2 is relayed to the pc.
        (2, 0, Kind.HOLD, PI, 2.0, 3.0, 0),
        (2, 0, Kind.TRANSMIT, UP0, 3.0, 3.5, 100),
        (2, 0, Kind.TRANSMIT, UP1, 3.5, 3.75, 100),
        (2, 0, Kind.COMPUTE, PC, 3.75, 4.0, 0),
        (2, 0, Kind.TRANSMIT, DOWN1, 4.0, 4.1, 10),
        (2, 0, Kind.TRANSMIT, DOWN0, 4.1, 4.3, 10),
    ]
)


def test_three_requests_by_hand():
    energy = account(make_problem(), THREE_REQUESTS, (), Window(0.0, 5.0))
    # idle: 3, 4, 20 W; compute - idle: 9, 11, 12 W; the pi adds 1 W to send and 0.5 W to receive, the others nothing.
    expected = [
        [15.0, 9 * 2.0, 1 * 1.0, 0.5 * 0.3, 0],
        [20.0, 11 * 0.5, 0, 0, 0],
        [100.0, 12 * 0.25, 0, 0, 0],
    ]
    np.testing.assert_allclose(energy.by_state_j, expected, rtol=1e-14)
    np.testing.assert_allclose(energy.node_j, [34.15, 25.5, 103.0], rtol=1e-14)
    np.testing.assert_allclose(energy.marginal_j, [19.15, 5.5, 3.0], rtol=1e-14)
    np.testing.assert_allclose(energy.compute_only_j, [12 * 2.0, 15 * 0.5, 32 * 0.25], rtol=1e-14)
    assert energy.total_j("node") == pytest.approx(162.65)


def test_each_boundary_is_made_of_the_same_states():
    energy = account(make_problem(), THREE_REQUESTS, (), Window(0.0, 5.0))
    np.testing.assert_allclose(energy.node_j - energy.by_state_j[:, State.IDLE], energy.marginal_j)
    assert [energy.total_j(boundary) for boundary in BOUNDARIES] == [
        pytest.approx(energy.by_device_j(boundary).sum()) for boundary in BOUNDARIES
    ]


def test_a_relay_receives_and_sends():
    devices = tuple(replace(d, power=replace(d.power, transmit_w=10.0, receive_w=7.0)) for d in DEVICES)
    problem = make_problem(continuum=Continuum(devices, make_problem().continuum.links))
    energy = account(problem, THREE_REQUESTS, (), Window(3.0, 4.0))
    busy_s = energy.by_state_j[LAPTOP] / [4.0, 11.0, 6.0, 3.0, 1.0]
    np.testing.assert_allclose(busy_s, [1.0, 0.0, 0.25, 0.5, 0.0])


def test_spans_are_clipped_to_the_window():
    spans = make_spans([(0, 0, Kind.COMPUTE, PI, 0.0, 10.0, 0), (1, 0, Kind.COMPUTE, PI, 20.0, 30.0, 0)])
    energy = account(make_problem(), spans, (), Window(4.0, 6.0))
    np.testing.assert_allclose(energy.by_state_j[PI], [6.0, 18.0, 0.0, 0.0, 0.0])


def test_requests_on_several_slots_add_up():
    spans = make_spans([(i, 0, Kind.COMPUTE, PI, 0.0, 1.0, 0) for i in range(3)])
    assert account(make_problem(), spans, (), Window(0.0, 1.0)).marginal_j[PI] == pytest.approx(27.0)


def test_probes_and_loads_are_charged():
    spans = make_spans([(PROBE, 0, Kind.COMPUTE, PC, 0.0, 1.0, 0), (LOAD, 0, Kind.TRANSMIT, DOWN0, 0.0, 1.0, 10)])
    np.testing.assert_allclose(account(make_problem(), spans, (), Window(0.0, 1.0)).marginal_j, [0.5, 0.0, 12.0])


def test_charges_of_switches_fall_due_in_the_window():
    decisions = [make_decision(t_s, thirds(4, 3), charged_j={1: 2.0, "2": 5.0}) for t_s in (0.0, 1.0, 2.0, 2.5)]
    energy = account(make_problem(), make_spans([]), decisions, Window(1.0, 2.0))
    np.testing.assert_allclose(energy.by_state_j[:, State.SWITCH], [0.0, 4.0, 10.0])
    np.testing.assert_allclose(energy.node_j, [3.0, 8.0, 30.0])
    np.testing.assert_allclose(energy.marginal_j, [0.0, 4.0, 10.0])
    assert not energy.compute_only_j.any()


def test_unknown_power_is_not_zero():
    problem = make_problem(
        continuum=Continuum((DEVICES[0], replace(DEVICES[1], power=None), DEVICES[2]), make_problem().continuum.links)
    )
    energy = account(problem, THREE_REQUESTS, (), Window(0.0, 5.0))
    assert np.isnan(energy.by_device_j("node")).tolist() == [False, True, False]
    assert [energy.total_j(boundary) for boundary in BOUNDARIES] == [None, None, None]


@pytest.mark.parametrize(
    ("workload", "expected"),
    [
        (make_workload(), Window(0.0, 4.0)),
        (make_workload(warm_up_s=1.5), Window(1.5, 4.0)),
        (make_workload(warm_up_requests=2), Window(2.5, 4.0)),
    ],
)
def test_window_goes_from_warm_up_to_the_last_completion(workload, expected):
    requests = make_requests([0.0, 1.0, 2.5, 3.0], [1.0, 2.0, 4.0, np.nan], [0, 1, 0, 3])
    requests = replace(requests, counted=(requests.arrival_s >= 1.5) | (workload.warm_up_s == 0))
    if workload.warm_up_requests:
        requests = replace(requests, counted=requests.request >= 2)
    assert accounting_window(workload, requests) == expected


def test_no_window_without_a_completion():
    assert accounting_window(make_workload(), make_requests([0.0], [np.nan], [3])) is None
    assert accounting_window(make_workload(warm_up_s=9.0), make_requests([0.0], [1.0], [0], warm_up_s=9.0)) is None


def test_occupancy_equals_brute_force():
    random = np.random.default_rng(3)
    start_s = random.uniform(-1.0, 11.0, 400)
    end_s = start_s + random.exponential(2.0, 400) * random.integers(0, 2, 400)
    start_s[:3], end_s[:3] = (0.0, 2.5, 10.0), (2.5, 2.5, 10.0)
    series = random.integers(0, 3, 400)
    edges_s = np.array([0.0, 1.0, 2.5, 2.75, 6.0, 10.0])
    expected = [
        [
            np.maximum(np.minimum(end_s, b) - np.maximum(start_s, a), 0.0)[series == row].sum()
            for a, b in pairwise(edges_s)
        ]
        for row in range(3)
    ]
    np.testing.assert_allclose(occupied_s(series, 3, start_s, end_s, edges_s), expected, atol=1e-12)


def test_a_busy_device_is_busy_exactly():
    spans = make_spans([(0, 0, Kind.COMPUTE, PI, 0.0, 100.0, 0)])
    power = power_samples(make_world(), make_requests([0.0], [100.0], [0]), spans)
    assert set(power.power_w[power.device == PI].tolist()) == {12.0}


@pytest.mark.parametrize("interval_s", [0.3, 1.0, 7.0, 1000.0])
def test_power_samples_integrate_to_the_energy(interval_s):
    world = fading_world(replications=1)
    result = fading_results(world)[1]
    decisions = [*result.decisions, make_decision(12.0, thirds(4, 3), charged_j={1: 3.0})]
    power = power_samples(world, result.requests, result.spans, decisions, interval_s)
    end_s = power.t_s[-1] + power.interval_s[-1] / 2
    energy = account(world.problem, result.spans, decisions, Window(0.0, end_s))
    integral_j = np.bincount(power.device, power.power_w * power.interval_s)
    np.testing.assert_allclose(integral_j, energy.node_j, rtol=1e-12)
    assert end_s == pytest.approx(result.spans.end_s.max())
    assert (power.power_w >= world.problem.power_w[power.device, State.IDLE] - 1e-12).all()


def test_power_samples_lie_in_the_middle_of_their_interval():
    spans = make_spans([(0, 0, Kind.COMPUTE, PI, 0.5, 2.5, 0)])
    requests = make_requests([0.5], [2.5], [0], replication=4)
    power = power_samples(make_world(), requests, spans)
    assert power.t_s[:3].tolist() == [0.5, 1.5, 2.25]
    assert power.interval_s[:3].tolist() == [1.0, 1.0, 0.5]
    assert power.power_w[:3].tolist() == [7.5, 12.0, 12.0]
    assert set(power.replication.tolist()) == {4}


def test_a_meter_that_is_gone_reads_nothing():
    world = make_world(faults=(Fault("meter_gone", LAPTOP, 1.0, 2.0),))
    spans = make_spans([(0, 0, Kind.COMPUTE, PI, 0.0, 4.0, 0)])
    power = power_samples(world, make_requests([0.0], [4.0], [0]), spans)
    assert np.isnan(power.power_w[power.device == LAPTOP]).tolist() == [False, True, False, False]
    assert not np.isnan(power.power_w[power.device != LAPTOP]).any()


def test_nothing_happened():
    power = power_samples(make_world(), make_requests([], [], []), make_spans([]))
    assert len(power) == 0
