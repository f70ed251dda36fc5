"""The cost model: by hand on the default world, and its two forms against each other on random ones."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from brute import near
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import conditions, partitions, problems
from worlds import DEVICES, LINKS, make_problem

from twin.cost import (
    Linear,
    is_sporadic,
    linear_energy,
    linear_latency,
    message_delay_s,
    predict,
    station_of,
    throughput_rps,
)
from twin.partition import Partition
from twin.problem import BOUNDARIES, Conditions, Demand
from twin.topology import DOWN, UP, Continuum, Device, Link, PowerStates

SPLIT = Partition((0, 1, 1, 2), 3)
"""conv1 | conv2, conv3 | head"""


def additive(problem, linear: Linear, partition):
    """A cost by the coefficients of its terms."""
    visited = partition.visited
    total = linear.constant + linear.entry[visited[0].device] + linear.answer[visited[-1].device]
    for stage in visited:
        work_s = problem.layer_time_s[stage.device, list(stage.layers)].sum()
        total += linear.stage[stage.device] * work_s + linear.overhead[stage.device]
    for here, there in pairwise(visited):
        cut_bytes = problem.graph.cut_bytes(partition.down_set(here.device))
        j, k = here.device, there.device
        total += linear.hop_fixed[j, k] + linear.hop_per_byte[j, k] * cut_bytes
    return total


def test_latency_by_hand():
    prediction = predict(make_problem(), SPLIT, make_problem().initial)
    up = 200_000 * 8 / 20e6 + 0.002
    onwards = 10_000 * 8 / 100e6 + 0.001
    back = 4_000 * 8 / 100e6 + 0.001 + 4_000 * 8 / 10e6 + 0.002
    assert prediction.latency_s == pytest.approx(0.010 + up + 0.015 + onwards + 0.0015 + back, rel=1e-12)
    assert [stage.service_s for stage in prediction.stages] == pytest.approx([0.010, 0.015, 0.0015])
    assert [x.size_bytes for x in prediction.transfers] == [200_000, 10_000, 4_000, 4_000]
    assert prediction.answer_from == 2
    assert prediction.bottleneck_s == pytest.approx(0.08)


def test_overheads_codec_and_slowdown_by_hand():
    problem = make_problem(stage_overhead_s=np.array([0.001, 0.002, 0.003]), codec_s_per_byte=np.full(3, 1e-8))
    given = Conditions(problem.initial.rate_bps, problem.initial.rtt_s, np.array([2.0, 1.0, 3.0]))
    edge, fog, cloud = predict(problem, SPLIT, given).stages
    assert edge.service_s == pytest.approx(2 * (0.010 + 0.001 + 200_000 * 1e-8))
    assert fog.service_s == pytest.approx(0.015 + 0.002 + 210_000 * 1e-8)
    assert cloud.service_s == pytest.approx(3 * (0.0015 + 0.003 + 10_000 * 1e-8))
    assert cloud.codec_s == pytest.approx(3 * 10_000 * 1e-8)


def test_a_device_without_layers_is_passed_through_and_costs_nothing():
    prediction = predict(make_problem(), Partition((0, 2, 2, 2), 3), make_problem().initial)
    assert [stage.device for stage in prediction.stages] == [0, 2]
    assert [x.size_bytes for x in prediction.transfers[:2]] == [200_000, 200_000]
    assert prediction.busy_s[1] == 0


def test_energy_by_hand():
    problem = make_problem(demand=Demand(rate_rps=2.0))
    prediction = predict(problem, SPLIT, problem.initial)
    up_s, home_s = 200_000 * 8 / 20e6, 4_000 * 8 / 10e6
    pi = 9 * 0.010 + 1.0 * up_s + 0.5 * home_s
    laptop, pc = 11 * 0.015, 12 * 0.0015
    assert prediction.marginal_j == pytest.approx([pi, laptop, pc])
    assert prediction.compute_only_j == pytest.approx([12 * 0.010, 15 * 0.015, 32 * 0.0015])
    assert prediction.node_j == pytest.approx(np.array([pi, laptop, pc]) + np.array([3.0, 4.0, 20.0]) / 2)
    assert prediction.energy_j("node") == pytest.approx(pi + laptop + pc + 27 / 2)


def test_half_duplex_links_are_one_station():
    half = tuple(replace(link, duplex="half") for link in LINKS)
    problem = make_problem(continuum=Continuum(DEVICES, half))
    assert station_of(problem, 0, UP) == station_of(problem, 0, DOWN)
    busy_s = predict(problem, SPLIT, problem.initial).busy_s
    assert busy_s[3] == pytest.approx(200_000 * 8 / 20e6 + 4_000 * 8 / 10e6)
    assert busy_s[4] == 0


def test_slots_share_the_load():
    devices = (replace(DEVICES[0], slots=4), *DEVICES[1:])
    problem = make_problem(continuum=Continuum(devices, LINKS))
    assert predict(problem, problem.on_device(0), problem.initial).bottleneck_s == pytest.approx(0.025)


@pytest.mark.parametrize(
    ("demand", "expected"),
    [
        (Demand(rate_rps=3.0), 3.0),
        (Demand(rate_rps=30.0), 10.0),
        (Demand(clients=1), 5.0),
        (Demand(clients=1, think_time_s=0.3), 2.0),
        (Demand(clients=9), 10.0),
    ],
)
def test_throughput_is_the_demand_capped_by_the_bottleneck(demand, expected):
    assert throughput_rps(demand, 0.2, 0.1) == pytest.approx(expected)


def test_throughput_without_any_time_is_without_bound():
    assert throughput_rps(Demand(clients=1), 0.0, 0.0) == math.inf
    assert throughput_rps(Demand(rate_rps=3.0), 0.0, 0.0) == 3.0


def test_a_link_without_rate_takes_for_ever_unless_nothing_is_sent():
    problem = make_problem()
    dead = Conditions(np.array([[0.0, 10e6], [100e6, 100e6]]), problem.initial.rtt_s, problem.initial.slowdown)
    assert predict(problem, SPLIT, dead).latency_s == math.inf
    assert predict(problem, problem.on_device(0), dead).latency_s == pytest.approx(0.1)
    empty = make_problem(graph=replace(problem.graph, input_bytes=0))
    assert math.isfinite(predict(empty, empty.on_device(2), dead).latency_s)


def test_unknown_power_is_not_a_number_rather_than_zero():
    devices = (Device("pi", "edge"), *DEVICES[1:])
    problem = make_problem(continuum=Continuum(devices, LINKS))
    prediction = predict(problem, SPLIT, problem.initial)
    assert math.isnan(prediction.energy_j("node"))
    assert math.isfinite(prediction.marginal_j[2])


def test_slow_start_counts_where_messages_are_rare():
    link = Link(0, 1, message_overhead_s=0.001, slow_start_s=0.02, slow_start_idle_s=0.2)
    rare = make_problem(continuum=Continuum(DEVICES, (link, LINKS[1])), demand=Demand(rate_rps=1.0))
    assert message_delay_s(rare, 0, rare.initial) == pytest.approx(0.001 + 0.02 + 0.002)
    often = replace(rare, demand=Demand(rate_rps=50.0))
    assert message_delay_s(often, 0, often.initial) == pytest.approx(0.001 + 0.002)
    assert is_sporadic(Demand(clients=1, think_time_s=1.0), 0.2)
    assert not is_sporadic(Demand(clients=2, think_time_s=1.0), 0.2)


def test_no_extra_power_over_an_endless_time_is_nothing():
    devices = tuple(replace(d, power=PowerStates(1.0, 5.0, 1.0, 1.0)) for d in DEVICES)
    problem = make_problem(continuum=Continuum(devices, LINKS))
    dead = Conditions(np.zeros((2, 2)), problem.initial.rtt_s, problem.initial.slowdown)
    assert linear_energy(problem, dead, "marginal").entry == pytest.approx(np.zeros(3))
    assert predict(problem, SPLIT, dead).latency_s == math.inf


@settings(max_examples=150, deadline=None, derandomize=True)
@given(problems(dead=False), st.data())
def test_the_additive_terms_add_up_to_the_walk(problem, data):
    given_now = data.draw(conditions(problem.continuum, dead=False))
    for partition in partitions(problem)[:40]:
        prediction = predict(problem, partition, given_now)
        assert near(prediction.latency_s, additive(problem, linear_latency(problem, given_now), partition))
        for boundary in BOUNDARIES:
            linear = linear_energy(problem, given_now, boundary)
            expected = prediction.energy_j("marginal" if boundary == "node" else boundary)
            assert near(expected, additive(problem, linear, partition))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(problems(), st.data())
def test_what_a_walk_reports_is_consistent(problem, data):
    given_now = data.draw(conditions(problem.continuum))
    partition = data.draw(st.sampled_from(partitions(problem)))
    prediction = predict(problem, partition, given_now)
    assert near(prediction.bottleneck_s, prediction.busy_s.max())
    slots = sum(x.service_s / problem.continuum.devices[x.device].slots for x in prediction.stages)
    assert near(prediction.busy_s.sum(), slots + sum(x.transmit_s for x in prediction.transfers))
    idle_w = problem.power_w[:, 0].sum()
    if prediction.throughput_rps > 0 and math.isfinite(prediction.latency_s):
        share_j = idle_w / prediction.throughput_rps
        assert near(prediction.energy_j("node"), prediction.energy_j("marginal") + share_j)
