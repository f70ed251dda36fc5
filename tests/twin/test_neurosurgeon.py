"""Neurosurgeon against every cut of the topological order, and where no cut in two is possible."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import observations
import pytest
from hypothesis import HealthCheck, given, settings
from strategies import problems
from worlds import DEVICES, make_problem

from twin.cost import predict
from twin.errors import InfeasibleError, ScenarioError
from twin.partition import Partition
from twin.policies.dads import Dads
from twin.policies.neurosurgeon import Neurosurgeon
from twin.problem import Conditions, LinkProbe, Samples, StageProbe
from twin.search import best
from twin.topology import Continuum

EDGE = Partition((0, 0, 0, 0), 3)
CLOUD = Partition((2, 2, 2, 2), 3)


def observe(problem, **changes):
    return observations.observe(problem, **{"t_s": 10.0, **changes})


def decide(problem, policy=None, **changes):
    policy = policy or Neurosurgeon()
    return policy.decide(observe(problem, **changes), policy.init(problem))[0]


def chain_costs(problem, target, objective):
    """Cost of every cut that keeps the constraints, by partition."""
    costs = {}
    for cut in range(problem.n_layers + 1):
        placement = (0,) * cut + (target,) * (problem.n_layers - cut)
        partition = Partition(placement, problem.n_devices)
        prediction = predict(problem, partition, problem.initial)
        joules = prediction.energy_by_device_j(problem.objective.boundary)[0]
        if problem.allows(partition) and math.isfinite(prediction.latency_s):
            costs[partition] = prediction.latency_s if objective == "latency" else joules
    return costs


@pytest.mark.parametrize("objective", ["latency", "energy"])
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(problem=problems(pinned=False))
def test_it_takes_the_best_of_all_cuts(objective, problem):
    for target in (None, *problem.continuum.names[1:]):
        position = problem.continuum.position(target) if target else problem.n_devices - 1
        costs = chain_costs(problem, position, objective)
        if costs and all(map(math.isfinite, costs.values())):
            decision = decide(problem, Neurosurgeon(target, objective))
            assert costs[decision.partition] == pytest.approx(min(costs.values()))
            scores = [candidate.score for candidate in decision.candidates]
            assert scores == sorted(scores)
            assert len(scores) == min(len(costs), 8)


@pytest.mark.parametrize("policy", [Neurosurgeon(), Dads()])
@settings(max_examples=100, deadline=None)
@given(problem=problems())
def test_what_it_chooses_is_allowed(policy, problem):
    try:
        best(problem, problem.initial, or_nearest=True)
    except InfeasibleError:
        return
    for available in (np.ones(problem.n_devices, dtype=bool), np.arange(problem.n_devices) != problem.n_devices - 1):
        chosen = decide(problem, policy, available=available).partition
        assert problem.allows(chosen)
        chosen.check(problem.graph)


def test_the_first_choice_by_hand():
    # edge only 0.1 s; cloud only 100 kB: 0.04 + 0.008 + 0.005 + rtt/2 of both links twice 0.006 + answer 0.00352 s
    decision = decide(make_problem())
    assert decision.partition == CLOUD
    assert decision.candidates[0].latency_s == pytest.approx(0.06252)
    assert decision.reason == "least latency of the cuts in two: 0.06252 s"


def test_load_on_the_target_and_a_slow_link_move_the_cut():
    subject = make_problem()
    initial = subject.initial
    loaded = Conditions(initial.rate_bps, initial.rtt_s, np.array([1.0, 1.0, 12.0]))
    assert decide(subject, conditions=loaded).partition == EDGE
    slow = Conditions(initial.rate_bps * [[0.1, 1], [1, 1]], initial.rtt_s, initial.slowdown)
    assert decide(subject, conditions=slow).partition == EDGE


def test_the_energy_of_the_edge_alone_counts():
    subject = make_problem()
    joules = {x: predict(subject, x, subject.initial).node_j[0] for x in chain_costs(subject, 2, "latency")}
    assert decide(subject, Neurosurgeon(objective="energy")).partition == min(joules, key=joules.get)


def test_it_goes_back_to_the_edge_where_the_target_cannot_be_reached():
    subject = make_problem()
    for lost in range(2):
        assert decide(subject, link_up=np.arange(2) != lost).partition == EDGE
        assert decide(subject, available=np.arange(3) != lost + 1).partition == EDGE
    assert decide(subject, Neurosurgeon("laptop"), available=np.array([True, True, False])).partition != EDGE


def test_without_a_cut_in_two_the_exact_search_decides():
    subject = make_problem(pinned={1: 1})
    decision = decide(subject)
    assert decision.partition == best(subject, subject.initial, objective="latency").partition
    assert decision.reason == "no cut in two can be carried out"
    small = (replace(DEVICES[0], memory_bytes=1_000.0), *DEVICES[1:])
    subject = make_problem(continuum=Continuum(small, make_problem().continuum.links))
    assert decide(subject).partition == CLOUD
    assert subject.allows(decide(subject, available=np.array([True, True, False])).partition)


STALE = {"age_s": np.full((2, 2), 5.0), "device_age_s": np.full(3, 5.0)}


class TestProbes:
    def test_what_is_stale_on_the_way_is_probed(self):
        probes = decide(make_problem(), **STALE).probes
        # 0.05 s at 20 Mbit/s are 125 kB; at 100 Mbit/s they are more than the most
        assert [x for x in probes if isinstance(x, LinkProbe)] == [
            LinkProbe(0, 0, 1_000.0),
            LinkProbe(0, 0, 125_000.0),
            LinkProbe(1, 0, 1_000.0),
            LinkProbe(1, 0, 400_000.0),
        ]
        assert [x for x in probes if isinstance(x, StageProbe)] == [StageProbe(2, (0,))]

    def test_what_is_being_measured_is_left_alone(self):
        one = np.array([0])
        samples = replace(
            Samples.none(),
            open_link=one,
            open_direction=one,
            open_bytes=np.array([1e5]),
            open_transfer_s=np.array([1.0]),
            open_device=np.array([2]),
            open_nominal_s=np.array([0.1]),
            open_service_s=np.array([1.0]),
        )
        assert {x.link for x in decide(make_problem(), samples=samples, **STALE).probes} == {1}

    def test_what_cannot_be_reached_or_is_not_asked_for_is_not_probed(self):
        assert decide(make_problem(), link_up=np.array([True, False]), **STALE).probes == ()
        assert decide(make_problem(), Neurosurgeon(stale_s=None), **STALE).probes == ()
        assert decide(make_problem(pinned={3: 0}), **STALE).probes == ()


def test_mistakes_in_the_options_are_named():
    with pytest.raises(ScenarioError, match="there is no device `tablet`"):
        Neurosurgeon("tablet").init(make_problem())
    with pytest.raises(ScenarioError, match="`pi` is the edge itself"):
        Neurosurgeon("pi").init(make_problem())
    dark = Continuum((replace(DEVICES[0], power=None), *DEVICES[1:]), make_problem().continuum.links)
    with pytest.raises(ScenarioError, match="the power of `pi` is not known"):
        Neurosurgeon(objective="energy").init(make_problem(continuum=dark))
