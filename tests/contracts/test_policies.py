"""What every policy must keep: pure, deterministic, replayable, legal, and unmoved by missing samples."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
from observations import observe, replay
from players import run
from worlds import make_links, make_problem, make_workload, make_world

from twin.policies import POLICIES
from twin.problem import Objective, SwitchCost
from twin.steps import Steps
from twin.topology import Continuum
from twin.traces import LinkTrace
from twin.world import Fault

OPTIONS = {"device-only": {"device": "laptop"}}
"""Options of the policies that need some."""

KINDS = sorted(POLICIES)


def policy(kind):
    return POLICIES[kind](**OPTIONS.get(kind, {}))


def fading_world(**changes):
    """The first link falls to a twentieth for ten seconds, the laptop is lost for three."""
    up = Steps((0.0, 10.0, 20.0), (20e6, 1e6, 20e6))
    trace = LinkTrace("fading", up, Steps.constant(10e6), Steps.constant(0.004))
    workload = make_workload(kind="poisson", clients=0, rate_rps=5.0, requests=None, duration_s=30.0)
    values = {
        "links": (trace, make_links()[1]),
        "workload": workload,
        "objective": Objective(0.5, 0.5, "node", deadline_s=0.5),
        "faults": (Fault("device_down", 1, 24.0, 27.0),),
        "dispersion": np.array([0.05, 0.05, 0.05]),
    }
    return make_world(**{**values, **changes})


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_logged_and_fed_again_gives_the_same_decisions(kind):
    world = fading_world()
    result = run(world, policy(kind))
    for entry, decision in replay(result, policy(kind), world.problem):
        assert decision.partition.to_json() == entry["partition"]
        assert decision.reason == entry["reason"]
    assert len(result.decisions) > 25


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_run_twice_is_the_same(kind):
    first, second = (run(fading_world(), policy(kind)) for _ in range(2))
    assert first.decisions == second.decisions
    assert np.array_equal(first.requests.done_s, second.requests.done_s, equal_nan=True)


@pytest.mark.parametrize("kind", KINDS)
def test_deciding_leaves_the_observation_and_the_state_as_they_were(kind):
    world = fading_world()
    subject = policy(kind)
    state = subject.init(world.problem)
    observation = observe(world.problem)
    before = pickle.dumps((observation.conditions.to_json(), observation.age_s, observation.queue_length))
    kept = copy.copy(state)
    decisions = [subject.decide(observation, state)[0] for _ in range(3)]
    after = pickle.dumps((observation.conditions.to_json(), observation.age_s, observation.queue_length))
    assert before == after
    assert decisions[0] == decisions[1] == decisions[2]
    assert subject.decide(observation, kept)[0] == decisions[0]


@pytest.mark.parametrize("kind", KINDS)
def test_no_samples_at_all_is_survived(kind):
    world = fading_world()
    subject = policy(kind)
    state = subject.init(world.problem)
    partition = None
    for tick in range(20):
        observation = replace(observe(world.problem), t_s=float(tick), partition=partition)
        decision, state = subject.decide(observation, state)
        partition = decision.partition.check(world.problem.graph)


@pytest.mark.parametrize("kind", KINDS)
def test_only_legal_partitions_under_memory_limits_and_pins(kind):
    base = make_problem()
    devices = list(base.continuum.devices)
    devices[1] = replace(devices[1], memory_bytes=270_000.0)
    problem = make_problem(
        continuum=Continuum(tuple(devices), base.continuum.links),
        pinned={0: 0} if kind != "device-only" else {},
        switch=SwitchCost(downtime_s=0.05, energy_j=0.1),
    )
    if kind == "device-only":
        pytest.skip("asks for one device, whatever its memory")
    for entry in run(fading_world(problem=problem), policy(kind)).decisions:
        assert entry["partition"]["placement"][0] == 0


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_lost_when_a_device_is(kind):
    requests = run(fading_world(), policy(kind)).requests
    assert np.all(requests.completed)
