"""The search: every route against brute force and against the others, and what it does where nothing is possible."""

import math
from dataclasses import replace
from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
from brute import best as brute_best
from brute import front, near, points
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from strategies import conditions, partitions, problems
from worlds import DEVICES, LINKS, make_graph, make_links, make_problem

from twin.cost import predict
from twin.errors import InfeasibleError, ScenarioError
from twin.partition import Partition
from twin.problem import Conditions, Demand, Objective
from twin.search import best, candidates, evaluate, pareto, plans, references, score_of
from twin.search.enumeration import Weighed, best_plans
from twin.search.labels import least_partition
from twin.search.relaxed import least_latency, relax, row_bounds
from twin.search.solve import _goal
from twin.search.space import situation_of
from twin.topology import UP, Continuum, Device
from twin.units import BITS_PER_BYTE

AIMS = [None, "latency", "energy", "throughput"]

thorough = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
quick = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.fixture(params=["at once", "in blocks"])
def size(request, monkeypatch):
    """Small problems as such, and the same problems treated as if they were large."""
    if request.param == "in blocks":
        monkeypatch.setattr(plans, "MAX_CELLS", 0)
        monkeypatch.setattr(plans, "_FIRST_BLOCK", 1)
        monkeypatch.setattr(plans, "_BLOCK_CELLS", 5)
    return request.param


def draw_situation(data, problem):
    """Conditions, and which devices are up (perhaps all)."""
    given_now = data.draw(conditions(problem.continuum))
    up = data.draw(
        st.one_of(st.none(), st.lists(st.booleans(), min_size=problem.n_devices, max_size=problem.n_devices))
    )
    return given_now, None if up is None else np.array([True, *up[1:]])


def possible(problem):
    return any(problem.allows(partition) for partition in partitions(problem))


@thorough
@given(problem=problems(), aim=st.sampled_from(AIMS), data=st.data())
def test_the_best_plan_is_that_of_brute_force(size, problem, aim, data):
    given_now, up = draw_situation(data, problem)
    assume(possible(problem))
    found = points(problem, given_now, aim, up)
    if not found:
        with pytest.raises(InfeasibleError):
            best(problem, given_now, objective=aim, available=up)
        return
    plan = best(problem, given_now, objective=aim, available=up)
    same = next(x for x in found if x.partition == plan.partition)
    assert plan.feasible
    assert near(same.score, found[0].score)
    assert near(plan.latency_s, same.latency_s)
    assert near(plan.bottleneck_s, same.bottleneck_s)
    assert near(plan.energy_j, same.energy_j)
    assert plan == evaluate(problem, plan.partition, given_now, objective=aim, available=up) or near(
        plan.score, evaluate(problem, plan.partition, given_now, objective=aim, available=up).score
    )


@quick
@given(problem=problems(max_devices=3), aim=st.sampled_from([None, "latency", "energy"]), data=st.data())
def test_of_equal_plans_it_takes_the_lowest_placement(problem, aim, data):
    given_now = data.draw(conditions(problem.continuum))
    found = points(problem, given_now, aim) if possible(problem) else []
    assume(found)
    assert best(problem, given_now, objective=aim).partition == brute_best(found).partition


@quick
@given(problem=problems(), aim=st.sampled_from(AIMS), n=st.integers(1, 6), data=st.data())
def test_candidates_hold_the_best_few_and_the_widest(size, problem, aim, n, data):
    given_now, up = draw_situation(data, problem)
    assume(possible(problem))
    found = points(problem, given_now, aim, up)
    some = candidates(problem, given_now, n, objective=aim, available=up)
    assert len({plan.partition for plan in some}) == len(some)
    assert all(problem.allows(plan.partition) for plan in some)
    if not found:
        assert not any(plan.feasible for plan in some)
        assert all(a.latency_s <= b.latency_s or near(a.latency_s, b.latency_s) for a, b in pairwise(some))
        return
    assert all(a.score <= b.score or near(a.score, b.score) for a, b in pairwise(some))
    scores = {x.partition: x for x in found}
    assert all(plan.partition in scores for plan in some)
    assert near(scores[some[0].partition].score, found[0].score)
    assert any(near(plan.bottleneck_s, min(x.bottleneck_s for x in found)) for plan in some)
    if size == "at once" and problem.n_devices <= plans.MAX_DEVICES:
        assert len(some) >= min(n, len(found))
        assert all(near(scores[some[i].partition].score, found[i].score) for i in range(min(n, len(found)) - 1))


@quick
@given(problem=problems(), data=st.data())
def test_the_front_is_that_of_brute_force(size, problem, data):
    given_now, up = draw_situation(data, problem)
    found = points(problem, given_now, None, up) if possible(problem) else []
    assume(found)
    mine = [(plan.latency_s, plan.energy_j) for plan in pareto(problem, given_now, available=up)]
    for latency_s, energy_j in front(found):
        assert any(x <= latency_s * (1 + 1e-9) + 1e-12 and y <= energy_j + 1e-9 * (1 + abs(energy_j)) for x, y in mine)
    for x, y in mine:
        assert any(near(x, point.latency_s) and near(y, point.energy_j) for point in found)
    assert mine == sorted(mine)
    assert all(later[1] < earlier[1] for earlier, later in pairwise(mine))


@thorough
@given(problem=problems(max_devices=3, deadline=False, memory=False, pinned=False), data=st.data())
def test_dynamic_programming_enumeration_and_labels_agree(problem, data):
    objective = replace(problem.objective, boundary=data.draw(st.sampled_from(["marginal", "compute_only"])))
    problem = replace(problem, objective=objective)
    situation = situation_of(problem, data.draw(conditions(problem.continuum)), None, None)
    goal = _goal(problem, None)
    at_once = best_plans(Weighed(problem, situation, goal), 1)
    relaxed = relax(problem, situation, goal)
    by_row = best_plans(
        Weighed(problem, situation, goal),
        1,
        *row_bounds(Weighed(problem, situation, goal), least_latency(problem, situation), relaxed),
    )
    labelled = least_partition(problem, situation, goal)
    if not at_once:
        assert not relaxed.partitions(1)
        assert not by_row
        assert labelled is None
        return
    for partition in (relaxed.partitions(1)[0], by_row[0].partition, labelled):
        assert near(evaluate(problem, partition, situation.conditions).score, at_once[0].score)
    assert near(relaxed.least, at_once[0].score)


@thorough
@given(problem=problems(min_devices=4, max_layers=5), aim=st.sampled_from(AIMS), data=st.data())
def test_labels_find_the_best_of_four_devices_under_every_constraint(problem, aim, data):
    given_now = data.draw(conditions(problem.continuum))
    assume(possible(problem))
    found = points(problem, given_now, aim)
    partition = least_partition(problem, situation_of(problem, given_now, None, None), _goal(problem, aim))
    if not found:
        assert partition is None
        return
    assert near(next(x.score for x in found if x.partition == partition), found[0].score)


@thorough
@given(problem=problems(max_devices=2, memory=False, deadline=False, pinned=False, dead=False), seed=st.integers(0, 9))
def test_two_tiers_are_a_minimum_cut(problem, seed):
    continuum = problem.continuum
    plain = Continuum(
        continuum.devices, tuple(replace(x, message_overhead_s=0, slow_start_s=0) for x in continuum.links)
    )
    problem = replace(
        problem,
        continuum=plain,
        stage_overhead_s=np.zeros(2),
        codec_s_per_byte=problem.codec_s_per_byte * np.array([0.0, 1.0]),
        objective=Objective(latency=1.0, energy=0.0, latency_ref_s=1.0),
    )
    rng = np.random.default_rng(seed)
    given_now = Conditions(rng.choice([1e5, 3e6, 2e7, 1e9], (1, 2)), np.zeros(1), rng.choice([1.0, 3.0], 2))
    cut_s, _ = nx.minimum_cut(as_flow(problem, given_now), "edge", "fog")
    assert best(problem, given_now).latency_s == pytest.approx(cut_s, rel=1e-6, abs=1e-9)


def as_flow(problem, given_now):
    """The latency over two devices as a flow network: a layer on the edge's side of the cut runs there.

    A tensor costs its transfer once if its producer is on the edge's side and any consumer beyond; the answer stands
    for a consumer of the outputs that lies beyond as soon as any layer does. Only the fog decodes: the edge encodes the
    input if it runs a layer and not if it runs none, which no cut can tell.
    """
    graph, network = problem.graph, nx.DiGraph()
    up_bps, down_bps = given_now.rate_bps[0]
    decode = problem.codec_s_per_byte[1] * given_now.slowdown[1]
    times_s = problem.layer_time_s * given_now.slowdown[:, None]
    consumers = {
        name: [layer.name for layer in graph.layers if name in layer.inputs] for name in ["input", *graph.index]
    }
    for name in graph.outputs:
        consumers[name].append("answer")
    network.add_edge("edge", "answer", capacity=graph.output_bytes * BITS_PER_BYTE / down_bps)
    for position, layer in enumerate(graph.layers):
        network.add_edge("edge", layer.name, capacity=times_s[1, position])
        network.add_edge(layer.name, "fog", capacity=times_s[0, position])
        network.add_edge("answer", layer.name)
        for source in layer.inputs:
            if source != "input":
                network.add_edge(layer.name, source)
    sizes = {"input": graph.input_bytes, **{layer.name: layer.output_bytes for layer in graph.layers}}
    for name, size_bytes in sizes.items():
        cost_s = size_bytes * (BITS_PER_BYTE / up_bps + decode)
        network.add_edge("edge" if name == "input" else name, f"{name} sent", capacity=cost_s)
        for consumer in consumers[name]:
            network.add_edge(f"{name} sent", consumer)
    return network


def test_a_hand_made_case():
    problem = make_problem()
    plan = best(problem, problem.initial)
    assert plan.partition == Partition((2, 2, 2, 2), 3)
    assert plan.latency_s == pytest.approx(0.04 + 0.002 + 0.008 + 0.001 + 0.005 + 0.00032 + 0.001 + 0.0032 + 0.002)
    assert plan.score == pytest.approx(plan.latency_s / 0.1)
    assert plan.energy_j == pytest.approx(predict(problem, plan.partition, problem.initial).energy_j("node"))


def test_references_are_those_of_the_edge_alone_under_the_first_conditions():
    problem = make_problem(objective=Objective(0.5, 0.5))
    edge = predict(problem, problem.on_device(0), problem.initial)
    latency_s, energy_j, _ = references(problem)
    assert (latency_s, energy_j) == (edge.latency_s, edge.energy_j("node"))
    slow = Conditions(problem.initial.rate_bps / 10, problem.initial.rtt_s, problem.initial.slowdown * 2)
    assert evaluate(problem, problem.on_device(0), slow).score == pytest.approx(2.0, rel=0.02)
    assert references(problem)[0] == latency_s


def test_references_fall_back_to_what_is_feasible_and_can_be_set():
    small = (replace(DEVICES[0], memory_bytes=1_000.0), *DEVICES[1:])
    problem = make_problem(continuum=Continuum(small, LINKS))
    assert references(problem).latency_s == pytest.approx(best(problem, problem.initial).latency_s)
    told = make_problem(objective=Objective(0.5, 0.5, latency_ref_s=2.0, energy_ref_j=8.0))
    assert references(told)[:2] == (2.0, 8.0)
    assert score_of(told, 1.0, 4.0) == pytest.approx(0.5)


def test_an_unknown_power_matters_only_where_energy_does():
    dark = Continuum((Device("pi", "edge"), *DEVICES[1:]), LINKS)
    problem = make_problem(continuum=dark)
    plan = best(problem, problem.initial)
    assert plan.energy_j is None
    assert plan.partition == best(make_problem(), problem.initial).partition
    assert score_of(problem, 0.05, math.nan) == pytest.approx(0.5)
    assert {plan.energy_j for plan in candidates(problem, problem.initial, 3)} == {None}
    for search in (best, pareto):
        with pytest.raises(ScenarioError, match=r"power of `pi`.*devices\.\*\.power"):
            search(problem, problem.initial, objective=Objective(0.5, 0.5))


def test_a_deadline_that_nothing_meets_names_the_least_latency():
    problem = make_problem(objective=Objective(deadline_s=0.01))
    with pytest.raises(InfeasibleError, match=r"0\.06252.*raise objective\.deadline_s"):
        best(problem, problem.initial)
    nearest = best(problem, problem.initial, or_nearest=True)
    assert not nearest.feasible
    assert nearest.latency_s == pytest.approx(0.06252)
    few = candidates(problem, problem.initial, 3)
    assert few[0].partition == nearest.partition
    assert not any(plan.feasible for plan in few)


def test_memory_that_excludes_everything_is_an_error_even_for_the_nearest():
    small = tuple(replace(device, memory_bytes=10.0) for device in DEVICES)
    problem = make_problem(continuum=Continuum(small, LINKS))
    for search in (
        lambda: best(problem, problem.initial, or_nearest=True),
        lambda: candidates(problem, problem.initial, 3),
    ):
        with pytest.raises(InfeasibleError, match=r"devices\.\*\.memory"):
            search()


def test_a_lost_device_takes_its_links_along():
    problem = make_problem()
    without_laptop = np.array([True, False, True])
    plan = best(problem, problem.initial, available=without_laptop)
    assert plan.partition == problem.on_device(0)
    some = candidates(problem, problem.initial, 5, available=without_laptop)
    assert [plan.partition for plan in some] == [problem.on_device(0)]


def test_pinned_layers_stay():
    problem = make_problem(pinned={0: 0, 3: 1})
    for plan in candidates(problem, problem.initial, 20):
        assert plan.partition.placement[0] == 0
        assert plan.partition.placement[3] == 1


def test_rates_of_zero_leave_the_edge():
    problem = make_problem()
    dead = Conditions(np.zeros((2, 2)), problem.initial.rtt_s, problem.initial.slowdown)
    assert best(problem, dead).partition == problem.on_device(0)
    pinned = make_problem(pinned={3: 2})
    with pytest.raises(InfeasibleError, match="link without rate"):
        best(pinned, dead)
    assert best(pinned, dead, or_nearest=True).latency_s == math.inf


def test_throughput_spreads_the_load():
    problem = make_problem(links=make_links())
    plan = best(problem, problem.initial, objective="throughput")
    assert plan.bottleneck_s < best(problem, problem.initial).bottleneck_s
    assert plan.bottleneck_s == min(x.bottleneck_s for x in points(problem, problem.initial))


def test_an_unknown_aim_is_refused():
    with pytest.raises(ScenarioError, match="choose latency, energy or throughput"):
        best(make_problem(), make_problem().initial, objective="speed")


def test_one_device_runs_everything():
    problem = make_problem(continuum=Continuum(DEVICES[:1], ()), layer_time_s=np.full((1, 4), 0.01), links=())
    assert best(problem, problem.initial).partition == Partition((0,) * 4, 1)
    assert len(candidates(problem, problem.initial, 5)) == 1
    assert len(pareto(problem, problem.initial)) == 1


def test_idle_power_counts_at_the_node_through_the_throughput():
    idle_heavy = Objective(0.0, 1.0, "node")
    problem = make_problem(objective=idle_heavy, demand=Demand(clients=8))
    plan = best(problem, problem.initial)
    assert near(plan.energy_j, min(x.energy_j for x in points(problem, problem.initial)))
    assert plan.bottleneck_s < best(problem, problem.initial, objective=Objective(0.0, 1.0, "marginal")).latency_s


def test_the_way_up_matters_and_the_way_down_hardly():
    graph = make_graph()
    problem = make_problem(graph=graph)
    slow_up = problem.initial.rate_bps.copy()
    slow_up[0, UP] = 1e5
    given_now = Conditions(slow_up, problem.initial.rtt_s, problem.initial.slowdown)
    assert best(problem, given_now).partition == problem.on_device(0)
