"""What a scenario's links become."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from shaping import one_link
from worlds import make_links, make_problem, make_world

from hardware.emulation.gate import Gate
from hardware.emulation.moments import RunTime
from hardware.emulation.wiring import Wire, Wiring
from twin.steps import Steps
from twin.topology import Continuum, Link
from twin.traces import LinkTrace
from twin.world import Fault, link_outages_s


def test_a_scenario_becomes_three_pipes_per_link() -> None:
    wiring = Wiring.from_world(make_world())
    assert [(p.key, p.device) for p in wiring.pipes] == [
        ((0, 0, "data"), 1),
        ((0, 1, "data"), 0),
        ((0, 0, "control"), 1),
        ((1, 0, "data"), 2),
        ((1, 1, "data"), 1),
        ((1, 0, "control"), 2),
    ]
    assert [p.rate.at(0.0) for p in wiring.pipes if p.rate is not None] == [20e6, 10e6, 100e6, 100e6]
    assert len({p.station for p in wiring.pipes if p.lane == "data"}) == 4
    assert [w.name for w in wiring.wires] == ["pi-laptop", "laptop-pc"]
    assert [w.rtt.at(0.0) for w in wiring.wires] == [0.004, 0.002]


def test_both_directions_of_a_half_duplex_link_share_a_station() -> None:
    problem = make_problem()
    devices = problem.continuum.devices
    continuum = Continuum(devices, (Link(0, 1, duplex="half"), Link(1, 2)))
    pipes = Wiring.from_world(make_world(problem=make_problem(continuum=continuum))).pipes
    assert pipes[0].station == pipes[1].station
    assert pipes[3].station != pipes[4].station


def test_a_device_that_is_down_takes_its_links_with_it() -> None:
    faults = (
        Fault("device_down", 2, 3.0, 5.0),
        Fault("link_down", 0, 1.0, 2.0),
        Fault("device_slow", 1, 0.0, 9.0, 2.0),
    )
    world = make_world(faults=faults)
    assert link_outages_s(world, 0) == [(1.0, 2.0)]
    assert link_outages_s(world, 1) == [(3.0, 5.0)]
    wiring = Wiring.from_world(world)
    assert wiring.wires[1].outages_s == ((3.0, 5.0),)
    assert [p.rate.at(4.0) for p in wiring.pipes if p.rate is not None] == [20e6, 10e6, 0.0, 0.0]


def test_a_trace_that_must_not_run_out_holds_for_heartbeats() -> None:
    ending = replace(make_links()[0], up=Steps((0.0, 1.0), (1e6, 2e6), "error", 2.0))
    rate = Wiring.from_world(make_world(links=(ending, make_links()[1]))).pipes[0].rate
    assert rate is not None
    assert rate.at(100.0) == 2e6


def test_a_wiring_survives_its_file_form() -> None:
    looping = LinkTrace(
        "walk", *(Steps((0.0, 1.0), (2e6, 1e6), "loop", 3.0, 1.0) for _ in range(2)), Steps.constant(0.1)
    )
    world = make_world(links=(looping, make_links()[1]), faults=(Fault("link_down", 0, 1.0, math.inf),))
    wiring = Wiring.from_world(world)
    assert Wiring.from_json(json.loads(json.dumps(wiring.to_json()))) == wiring
    assert Wiring.from_json(json.loads(json.dumps(one_link(Steps.constant(1.0)).to_json()))).pipes[2].rate is None


def test_a_gate_is_shut_by_faults_and_by_hand() -> None:
    run_time = RunTime(None)
    gate = Gate(Wire("a-b", Steps.constant(0.0), ((3.0, 4.0), (1.0, 2.0), (1.5, 3.0))), run_time)
    assert gate.opens_s(11.0) == 11.0
    run_time.t0_s = 10.0
    assert [gate.opens_s(t) for t in (10.5, 11.0, 12.0, 12.9, 14.0)] == [10.5, 14.0, 14.0, 14.0, 14.0]
    gate.cut = True
    assert gate.opens_s(20.0) == math.inf
    assert not gate.is_open(20.0)
    gate.cut = False
    assert gate.is_open(20.0)


@pytest.mark.parametrize("moment_s", [0.0, 5.0])
def test_without_outages_a_gate_is_open(moment_s: float) -> None:
    assert Gate(Wire("a-b", Steps.constant(0.0)), RunTime(0.0)).is_open(moment_s)
