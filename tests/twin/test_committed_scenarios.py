"""The scenarios that come with the project load, and ask what they say they ask."""

from __future__ import annotations

from pathlib import Path

import pytest

from twin.scenario import load_world
from twin.search import best

PROJECT = Path(__file__).parents[2]
SCENARIOS = sorted((PROJECT / "scenarios").glob("*.yaml"))


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_committed_scenarios_load(path):
    world = load_world(path)
    assert world.question.endswith("?")
    assert path.read_text().startswith("# ")
    assert world.name == path.stem


def test_there_are_committed_scenarios():
    assert {path.stem for path in SCENARIOS} >= {"quickstart", "vgg16", "alexnet", "mobilenetv2"}


@pytest.mark.parametrize(("name", "pi_s"), [("vgg16", 0.667), ("alexnet", 0.1324), ("mobilenetv2", 0.0719)])
def test_the_edge_of_the_committed_scenarios_is_as_slow_as_a_pi(name, pi_s):
    world = load_world(PROJECT / "scenarios" / f"{name}.yaml")
    edge_only_s = world.problem.layer_time_s[0].sum() * world.problem.initial.slowdown[0]
    assert edge_only_s == pytest.approx(pi_s, rel=0.1)
    assert {profile.source for profile in world.profiles} == {"measured"}
    assert (world.workload.duration_s, world.replications) == (1800.0, 5)


@pytest.mark.parametrize("name", ["vgg16", "alexnet", "mobilenetv2"])
def test_the_best_partition_of_the_committed_scenarios_changes(name):
    world = load_world(PROJECT / "scenarios" / f"{name}.yaml")
    at_some_time = {
        best(world.problem, world.conditions_at(float(t_s)), or_nearest=True).partition for t_s in range(0, 300, 5)
    }
    assert len(at_some_time) >= 2


def test_the_quickstart_is_short():
    world = load_world(PROJECT / "scenarios" / "quickstart.yaml")
    assert world.workload.duration_s <= 30.0
    assert {"static", "adaptive"} <= {spec.kind for spec in world.policies}
    assert len(world.policies) <= 4
