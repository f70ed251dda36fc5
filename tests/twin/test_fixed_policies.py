"""The policies that never change their mind, and what they do when something on their way is lost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from players import run
from worlds import make_problem, make_workload, make_world

from twin.errors import GraphError, ScenarioError
from twin.graph import Layer, LayerGraph
from twin.partition import Partition, thirds
from twin.policies.device_only import DeviceOnly
from twin.policies.static import Static
from twin.search import best
from twin.topology import Continuum
from twin.world import Fault

WORKLOAD = make_workload(kind="periodic", clients=0, rate_rps=5.0, requests=50)


def placement_of(policy, problem):
    return policy.init(problem)[1]


def test_static_is_what_was_asked_for():
    problem = make_problem()
    assert placement_of(Static(), problem) == thirds(4, 3)
    assert placement_of(Static(split="best"), problem) == best(problem, problem.initial).partition
    assert placement_of(Static(after=("conv1", "conv3")), problem) == Partition((0, 1, 1, 2), 3)
    with pytest.raises(ScenarioError, match="`after` names 1 layers, but 3 devices need 2"):
        Static(after=("conv1",)).init(problem)
    with pytest.raises(GraphError, match="tiny has no layer `conv`: did you mean"):
        Static(after=("conv", "conv3")).init(problem)
    with pytest.raises(ScenarioError, match="moves a pinned layer"):
        Static().init(make_problem(pinned={0: 2}))


def test_a_module_stands_for_its_last_layer():
    layers = tuple(
        Layer(name, "Conv2d", (source,), (1, 100), 400, 10, 1e3)
        for name, source in (("a.0", "input"), ("a.1", "a.0"), ("b.0", "a.1"), ("b.1", "b.0"))
    )
    problem = make_problem(graph=LayerGraph("blocks", (1, 100), 400, layers, ("b.1",)))
    assert placement_of(Static(after=("a", "b.0")), problem) == Partition((0, 0, 1, 2), 3)
    assert placement_of(Static(after=("a.0", "b")), problem) == Partition((0, 1, 1, 1), 3)


def test_device_only_is_all_on_one():
    assert set(placement_of(DeviceOnly("laptop"), make_problem()).placement) == {1}
    with pytest.raises(ScenarioError, match="there is no device `po`"):
        DeviceOnly("po").init(make_problem())


@pytest.mark.parametrize("policy", [Static(after=("conv1", "conv1")), DeviceOnly("pc")], ids=["static", "device-only"])
@pytest.mark.parametrize(
    "fault", [Fault("device_down", 1, 2.0, 5.0), Fault("link_down", 1, 2.0, 5.0)], ids=["relay", "link"]
)
def test_a_relay_or_link_that_is_lost_sends_all_to_the_edge(policy, fault):
    result = run(make_world(workload=WORKLOAD, faults=(fault,), detect_s=0.3), policy)
    assert np.all(result.requests.completed)
    away = [entry for entry in result.decisions if set(entry["partition"]["placement"]) == {0}]
    assert away
    assert all(2.3 <= entry["t_s"] < 5.0 for entry in away)


def test_where_the_edge_cannot_hold_everything_the_plan_stays():
    base = make_problem()
    devices = list(base.continuum.devices)
    devices[0] = replace(devices[0], memory_bytes=10_000.0)
    problem = make_problem(continuum=Continuum(tuple(devices), base.continuum.links))
    world = make_world(problem=problem, workload=WORKLOAD, faults=(Fault("device_down", 2, 2.0, 5.0),), detect_s=0.3)
    result = run(world, DeviceOnly("pc"))
    assert {tuple(entry["partition"]["placement"]) for entry in result.decisions} == {(2, 2, 2, 2)}
