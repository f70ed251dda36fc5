"""The horizon policy: the best partition of now where nothing changes, and its patience and foresight where it does."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from observations import quiet_tick
from players import run
from strategies import problems
from test_neurosurgeon import CLOUD, EDGE, observe
from test_robust import messages
from worlds import make_links, make_problem, make_workload, make_world

from twin.control import Controller
from twin.cost import predict
from twin.errors import InfeasibleError
from twin.partition import Partition
from twin.policies.adaptive import Adaptive
from twin.policies.horizon import Horizon
from twin.policies.outlook import look_ahead
from twin.problem import Conditions, Demand, Objective, SwitchCost
from twin.search import best, score_of
from twin.steps import Steps
from twin.traces import LinkTrace
from twin.waiting import sojourn_s

HALF = Partition((0, 0, 2, 2), 3)


def at(subject, up_bps):
    initial = subject.initial
    rate_bps = np.array([[up_bps, initial.rate_bps[0, 1]], *initial.rate_bps[1:].tolist()])
    return Conditions(rate_bps, initial.rtt_s, initial.slowdown)


def decide(subject, policy=None, **changes):
    policy = policy or Horizon()
    return policy.decide(observe(subject, **changes), policy.init(subject))[0]


def score(subject, partition, conditions):
    prediction = predict(subject, partition, conditions)
    return score_of(subject, sojourn_s(subject, prediction), prediction.energy_j(subject.objective.boundary))


@pytest.mark.parametrize("up_bps", [1e6, 5e6, 9e6, 11e6, 20e6, 80e6, 400e6])
@pytest.mark.parametrize("running", [None, EDGE, CLOUD, Partition((0, 0, 1, 2), 3)])
def test_without_costs_and_changes_it_takes_the_best_of_now(up_bps, running):
    for demand in (Demand(0.01), Demand(2.0), Demand(clients=1)):
        subject = make_problem(demand=demand)
        conditions = at(subject, up_bps)
        chosen = decide(subject, Horizon(margin=0.0), conditions=conditions, partition=running).partition
        wanted = decide(subject, Horizon(steps=1, margin=0.0), conditions=conditions, partition=running).partition
        assert chosen == wanted
        if demand.rate_rps != 2.0:
            assert chosen == best(subject, conditions).partition


@settings(max_examples=60, deadline=None)
@given(problem=problems(deadline=False))
def test_its_choice_is_allowed_and_the_best_of_what_it_weighed(problem):
    try:
        best(problem, problem.initial, or_nearest=True)
    except InfeasibleError:
        return
    decision = decide(problem, Horizon(margin=0.0))
    assert problem.allows(decision.partition)
    assert decision.candidates[0].score == min(x.score for x in decision.candidates)
    assert decision.partition in {x.partition for x in decision.candidates}


def test_it_stays_within_the_margin():
    subject = make_problem(demand=Demand(0.01))
    conditions = at(subject, 9.5e6)
    gain = 1 - score(subject, HALF, conditions) / score(subject, CLOUD, conditions)
    assert gain > 0
    for margin, wanted in ((gain * 1.01, CLOUD), (gain * 0.99, HALF)):
        policy = Horizon(margin=margin)
        assert decide(subject, policy, conditions=conditions, partition=CLOUD).partition == wanted


def test_a_switch_must_repay_its_cost_within_the_horizon():
    # held for d, 2 requests per second wait d^2 / (1 - rho) in all, and n steps have 2 n requests; the bottleneck of
    # the cut after the second layer is its 50 kB, 0.4 Mbit, over 9.5 Mbit/s
    conditions = at(make_problem(), 9.5e6)
    subject = make_problem(demand=Demand(2.0), objective=Objective(latency_ref_s=1.0))
    gain = score(subject, CLOUD, conditions) - score(subject, HALF, conditions)
    for steps in (2, 5, 20):
        downtime_s = (2 * steps * gain * (1 - 2 * 0.4 / 9.5)) ** 0.5
        for factor, wanted in ((1.02, CLOUD), (0.98, HALF)):
            dear = replace(subject, switch=SwitchCost(downtime_s=downtime_s * factor))
            policy = Horizon(steps=steps, margin=0.0)
            assert decide(dear, policy, conditions=conditions, partition=CLOUD).partition == wanted


def test_a_lost_device_and_a_lost_link_are_left_whatever_it_costs():
    subject = make_problem(switch=SwitchCost(downtime_s=100.0))
    assert 2 not in decide(subject, partition=CLOUD, available=np.array([True, True, False])).partition.placement
    gone = decide(subject, partition=CLOUD, link_up=np.array([False, True]))
    assert gone.partition == EDGE
    assert "fails" in gone.reason


def test_the_deadline_comes_before_the_score():
    objective = Objective(0.0, 1.0, "marginal", deadline_s=0.09)
    subject = make_problem(objective=objective)
    assert predict(subject, decide(subject).partition, subject.initial).latency_s <= 0.09


def test_under_overload_the_queues_grow_least():
    subject = make_problem(demand=Demand(400.0))
    chosen = predict(subject, decide(subject).partition, subject.initial).bottleneck_s
    assert chosen == pytest.approx(best(subject, subject.initial, objective="throughput").bottleneck_s)


def test_each_step_is_priced_under_its_own_conditions():
    subject = make_problem(demand=Demand(2.0))
    ahead = [at(subject, 20e6), at(subject, 4e6)]
    outlook = look_ahead(subject, ahead, observe(subject), step_s=0.5, margin=0.0)
    for conditions, prices in zip(ahead, outlook.prices, strict=True):
        for candidate, price in zip(outlook.candidates, prices, strict=True):
            # one request in half a second
            assert price.score == pytest.approx(score(subject, candidate.partition, conditions))
    assert {best(subject, x).partition for x in ahead} <= {x.partition for x in outlook.candidates}


def ticks(policy, rates_bps, **problem):
    """Partition after each tick, the first link being sampled at these goodputs, once a second."""
    subject = make_problem(**{"demand": Demand(2.0), **problem})
    controller = Controller(policy, subject)
    chosen = []
    for tick, rate_bps in enumerate(rates_bps):
        quiet_tick(controller, float(tick), messages([rate_bps] * 6, float(tick)))
        chosen.append(controller.partition)
    return chosen


def switches(chosen):
    return sum(a != b for a, b in pairwise(chosen))


@pytest.mark.parametrize("fade", [0.93, 0.95, 0.97])
def test_a_link_that_fades_steadily_is_left_earlier(monkeypatch, fade):
    rates_bps = [60e6 * fade**n for n in range(60)]
    foreseeing = ticks(Horizon(), rates_bps)
    monkeypatch.setattr("twin.policies.forecast.Series.way", "stay")
    trusting = ticks(Horizon(), rates_bps)
    early, late = ([n for n, (a, b) in enumerate(pairwise(x)) if a != b] for x in (foreseeing, trusting))
    assert len(early) >= len(late) >= 1
    assert all(sooner < later for sooner, later in zip(early, late, strict=False))


def test_a_swing_is_sat_out_where_switching_is_dear(monkeypatch):
    swing = [20e6, 20e6, 5e6, 5e6] * 20
    dear = {"switch": SwitchCost(downtime_s=0.25)}
    chosen = ticks(Horizon(), swing, **dear)
    eager = ticks(Adaptive(dwell_s=0.0, margin=0.0), swing)
    monkeypatch.setattr("twin.policies.forecast.Series.way", "stay")
    trusting = ticks(Horizon(), swing, **dear)
    assert switches(eager[20:]) > 25
    assert switches(trusting[20:]) > 25
    assert switches(chosen[20:]) <= 2


def test_weights_are_not_sent_to_and_fro_over_a_link_that_alternates():
    up = Steps((0.0, 4.0), (20e6, 4e6), "loop", 8.0)
    trace = LinkTrace("alternating", up, Steps.constant(10e6), Steps.constant(0.004))
    workload = make_workload(kind="poisson", clients=0, rate_rps=4.0, requests=None, duration_s=120.0)
    base = make_problem(switch=SwitchCost(weights_from=2))
    heavy = tuple(replace(layer, parameter_bytes=1_000_000) for layer in base.graph.layers)
    base = replace(base, graph=replace(base.graph, layers=heavy))
    world = make_world(problem=base, links=(trace, make_links()[1]), workload=workload)
    patient, eager = (run(world, policy) for policy in (Horizon(), Adaptive(dwell_s=0.0)))
    assert sum(x["switched"] for x in patient.decisions) < sum(x["switched"] for x in eager.decisions) / 3
    assert patient.requests.latency_s.mean() < eager.requests.latency_s.mean()
