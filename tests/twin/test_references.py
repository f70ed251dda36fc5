"""The references: a policy that sees the traces, and the best fixed partition in hindsight."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from observations import replay
from players import Fixed, run
from strategies import partitions
from worlds import make_graph, make_links, make_problem, make_workload, make_world

from twin.engine.events import EventsEngine
from twin.metrics import summarise
from twin.playing import play_all
from twin.policies.adaptive import Adaptive
from twin.problem import Objective
from twin.records import Kind
from twin.references.clairvoyant import Clairvoyant
from twin.references.oracle import LABEL, best_fixed, n_plays, shortlist
from twin.search import best
from twin.steps import Steps
from twin.traces import LinkTrace
from twin.world import Control, Fault

OPEN = make_workload(kind="poisson", clients=0, rate_rps=5.0, requests=None, duration_s=40.0)


def throttled(**changes):
    """The first link falls to a twentieth from 10.5 s to 20.5 s."""
    up = Steps((0.0, 10.5, 20.5), (20e6, 1e6, 20e6))
    trace = LinkTrace("throttled", up, Steps.constant(10e6), Steps.constant(0.004))
    return make_world(**{"links": (trace, make_links()[1]), "workload": OPEN, **changes})


def longest_message_s(result):
    spans = result.spans
    return (spans.end_s - spans.start_s)[spans.kind == Kind.TRANSMIT].max()


def play(world, seen=lambda _: None):
    return lambda plays: play_all(world, plays, EventsEngine(), seen)


def mean_score(world, policy):
    return summarise(world, [run(world, policy)]).policies[0].score.mean


def test_the_clairvoyant_leaves_a_link_before_it_falls():
    world = throttled()
    result = run(world, Clairvoyant(world))
    switches = [entry["t_s"] for entry in result.decisions if entry["switched"]]
    assert 10.0 in switches
    assert longest_message_s(result) < 0.1 < longest_message_s(run(world, Adaptive()))


def test_the_clairvoyant_does_no_worse_than_what_must_guess():
    world = throttled()
    assert mean_score(world, Clairvoyant(world)) < mean_score(world, Adaptive())


def test_where_nothing_changes_it_stays_with_the_best():
    world = make_world(workload=make_workload(kind="periodic", clients=0, rate_rps=1.0, requests=20))
    result = run(world, Clairvoyant(world))
    assert {tuple(entry["partition"]["placement"]) for entry in result.decisions} == {
        best(world.problem, world.problem.initial).partition.placement
    }


def test_its_decisions_follow_from_what_was_logged():
    world = throttled(objective=Objective(0.5, 0.5, "node"), faults=(Fault("device_down", 1, 24.0, 27.0),))
    result = run(world, Clairvoyant(world))
    for entry, decision in replay(result, Clairvoyant(world), world.problem):
        assert decision.partition.to_json() == entry["partition"]
    assert np.all(result.requests.completed)


@pytest.mark.parametrize("control", [Control(None, 10), Control(0.5, None)])
@pytest.mark.parametrize("clients", [0, 2])
def test_it_plays_any_control_interval_and_workload(control, clients):
    closed = make_workload(clients=2, requests=50)
    world = throttled(control=control, workload=closed if clients else OPEN)
    assert np.all(run(world, Clairvoyant(world)).requests.completed)


def test_it_keeps_limits_and_pins():
    world = throttled(problem=make_problem(pinned={0: 0}))
    for entry in run(world, Clairvoyant(world)).decisions:
        assert entry["partition"]["placement"][0] == 0


def test_the_best_fixed_partition_is_that_of_brute_force():
    world = throttled(objective=Objective(0.5, 0.5, "marginal"))
    scores = {x: mean_score(world, Fixed(x)) for x in partitions(world.problem)}
    found = best_fixed(world, play(world), 40.0)
    assert summarise(world, [found]).policies[0].score.mean == pytest.approx(min(scores.values()))
    assert found.label == LABEL


def test_it_is_the_best_over_all_replications():
    world = throttled(replications=3, dispersion=np.full(3, 0.3))
    plays = []
    found = best_fixed(world, play(world, plays.append), 40.0)
    assert sorted(set(found.requests.replication.tolist())) == [0, 1, 2]
    assert len(plays) <= n_plays(world)
    for partition in partitions(world.problem):
        runs = [EventsEngine().run(world, Fixed(partition), "x", k) for k in range(3)]
        mean = np.mean([summarise(world, [x]).policies[0].score.mean for x in runs])
        assert summarise(world, [found]).policies[0].score.mean <= mean * (1 + 1e-9)


def test_what_was_played_is_always_tried():
    n = 9
    times_s = np.linspace(0.01, 0.03, n) / np.array([[1.0], [4.0], [20.0]])
    problem = make_problem(graph=make_graph(np.linspace(2e5, 1e4, n).astype(int).tolist()), layer_time_s=times_s)
    world = throttled(problem=problem)
    odd = next(x for x in partitions(world.problem) if x not in shortlist(world, 40.0))
    assert shortlist(world, 40.0, [odd])[0] == odd


def test_a_partition_that_loses_requests_comes_last():
    up = Steps((0.0, 20.0), (20e6, 0.0))
    dead = LinkTrace("dead", up, Steps.constant(10e6), Steps.constant(0.004))
    world = make_world(links=(dead, make_links()[1]), workload=OPEN, drain_s=5.0)
    found = best_fixed(world, play(world), 40.0)
    assert found.decisions[0]["partition"]["placement"] == [0, 0, 0, 0]


def test_regret_is_paired_with_the_reference():
    world = replace(throttled(), replications=1)
    runs = [run(world, Adaptive()), replace(run(world, Clairvoyant(world)), label="clairvoyant")]
    summary = summarise(world, runs)
    assert [x.label for x in summary.references] == ["clairvoyant"]
    own, other = (policy.score.mean for policy in summary.policies)
    assert summary.regret(summary.policies[0], summary.policies[1]).relative.mean == pytest.approx(own / other - 1)
    figures = summary.to_json()["policies"]
    assert figures["test"]["regret"]["clairvoyant"]["relative"]["mean"] == pytest.approx(own / other - 1)
    assert figures["clairvoyant"]["regret"] == {}
