"""DADS against every cut in two: least latency under light load, least bottleneck under heavy load."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from strategies import partitions, problems
from test_neurosurgeon import CLOUD, EDGE, observe
from worlds import make_problem

from twin.cost import predict
from twin.errors import ScenarioError
from twin.graph import Layer, LayerGraph
from twin.policies.dads import Dads, heavy, light
from twin.policies.weighing import TwoTier
from twin.problem import Conditions, Demand, StageProbe
from twin.search import best
from twin.topology import Continuum


def two_tier(problem, target=None):
    """Every cut in two that keeps the constraints, predicted, and those of them that end."""
    target = target or problem.n_devices - 1
    found = [x for x in partitions(problem) if {0, target}.issuperset(x.placement) and problem.allows(x)]
    predictions = [predict(problem, x, problem.initial) for x in found]
    return [x for x in predictions if math.isfinite(x.latency_s)]


def decide(problem, policy=None, **changes):
    policy = policy or Dads()
    return policy.decide(observe(problem, **changes), policy.init(problem))[0]


@settings(max_examples=200, deadline=None)
@given(problem=problems(memory=False, deadline=False))
def test_light_load_has_the_least_latency_of_all_cuts(problem):
    known = two_tier(problem)
    weighed = light(TwoTier.of(problem, None), observe(problem))
    if known:
        assert weighed[0].latency_s == pytest.approx(min(x.latency_s for x in known))
    else:
        assert weighed == []


@settings(max_examples=200, deadline=None)
@given(problem=problems(memory=False, deadline=False))
def test_heavy_load_has_a_bottleneck_within_the_stated_factor(problem):
    known = two_tier(problem)
    weighed = heavy(TwoTier.of(problem, None), observe(problem))
    if known:
        least_s = min(x.bottleneck_s for x in known)
        links = len(problem.continuum.path(0, problem.n_devices - 1))
        assert weighed[0].score <= least_s * (3 if links == 1 else 4) + 1e-12
        chain = ("input", *(layer.name for layer in problem.graph.layers))
        if all(layer.inputs == (before,) for before, layer in zip(chain, problem.graph.layers, strict=False)):
            assert weighed[0].score == pytest.approx(least_s)


def diamond(**changes):
    """A stem that two branches read; the branches are quick on the cloud, and the join is pinned there."""
    layers = (
        Layer("stem", "Op", ("input",), (1,), 100_000, 0, 0.0),
        Layer("left", "Op", ("stem",), (1,), 90_000, 0, 0.0),
        Layer("right", "Op", ("stem",), (1,), 90_000, 0, 0.0),
        Layer("join", "Op", ("left", "right"), (1,), 4_000, 0, 0.0),
    )
    graph = LayerGraph("diamond", (1,), 1_000_000, layers, ("join",))
    times_s = np.array([[0.001, 0.03, 0.03, 0.02]]) / np.array([[1.0], [4.0], [20.0]])
    return make_problem(graph=graph, layer_time_s=times_s, **changes)


def test_a_tensor_with_two_consumers_crosses_once():
    # after the stem 100 kB cross; counted once for each branch, the edge alone would be better with 0.081 s
    decision = decide(diamond())
    assert decision.partition.placement == (0, 2, 2, 2)
    expected = 0.001 + 0.004 + 0.1 * 8 / 20 + 0.1 * 8 / 100 + 0.004 * 8 / 10 + 0.004 * 8 / 100 + 0.006
    assert decision.candidates[0].latency_s == pytest.approx(expected)


def test_pinned_layers_stay():
    assert decide(diamond(pinned={1: 0})).partition.placement[:2] == (0, 0)
    assert decide(make_problem(pinned={0: 2})).partition == CLOUD
    assert decide(make_problem(pinned={3: 0})).partition == EDGE
    subject = make_problem(pinned={1: 1})
    assert decide(subject).partition == best(subject, subject.initial, objective="latency").partition


def test_the_load_decides_what_is_minimised():
    # alone, the cloud answers after 0.0625 s and holds the first link for 0.04 s: up to 25 requests per second
    assert decide(make_problem(demand=Demand(24.0))).reason == "light load: least latency, 0.06252 s"
    decision = decide(make_problem(demand=Demand(26.0)))
    assert decision.reason == "heavy load: least bottleneck, 0.03 s"
    assert decision.partition.placement == (0, 0, 2, 2)


def test_one_client_that_waits_is_a_light_load_and_many_are_a_heavy_one():
    slow = Conditions(np.array([[1e5, 1e7], [1e8, 1e8]]), make_problem().initial.rtt_s, np.ones(3))
    assert decide(make_problem(), conditions=slow).reason.startswith("light load")
    assert decide(make_problem(demand=Demand(clients=9))).reason.startswith("heavy load")


def test_it_goes_back_to_the_edge_where_the_target_cannot_be_reached():
    for demand in (Demand(1.0), Demand(400.0)):
        subject = make_problem(demand=demand)
        for lost in range(2):
            assert decide(subject, link_up=np.arange(2) != lost).partition == EDGE
            assert decide(subject, available=np.arange(3) != lost + 1).partition == EDGE


def test_a_minimum_cut_that_breaks_a_memory_limit_gives_way_to_a_chain_cut():
    base = diamond()
    devices = (*base.continuum.devices[:2], replace(base.continuum.devices[2], memory_bytes=190_000.0))
    # the stem's 100 kB and the answer's 4 kB fit; so does all but the 1 MB of the input
    assert decide(diamond(continuum=Continuum(devices, base.continuum.links))).partition.placement == (0, 2, 2, 2)
    devices = (*devices[:2], replace(devices[2], memory_bytes=50_000.0))
    for demand in (Demand(1.0), Demand(400.0)):
        subject = diamond(continuum=Continuum(devices, base.continuum.links), demand=demand)
        assert decide(subject).partition.placement == (0, 0, 0, 0)


def test_another_target_and_its_mistakes():
    decision = decide(make_problem(), Dads("laptop"))
    assert {0, 1}.issuperset(decision.partition.placement)
    with pytest.raises(ScenarioError, match="there is no device `tablet`"):
        Dads("tablet").init(make_problem())


def test_what_is_stale_is_probed():
    changes = {"age_s": np.full((2, 2), 5.0), "device_age_s": np.full(3, 5.0)}
    assert StageProbe(2, (0,)) in decide(make_problem(), **changes).probes
    assert decide(make_problem(), Dads(stale_s=None), **changes).probes == ()
