"""The adaptive policy, decision by decision, and against fixed partitions on a link that fades."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from players import Fixed, run
from worlds import make_links, make_problem, make_workload, make_world

from twin.cost import predict
from twin.partition import Partition, thirds
from twin.policies.adaptive import Adaptive
from twin.problem import Conditions, Demand, LinkProbe, Objective, Observation, Samples, StageProbe, SwitchCost
from twin.search import best
from twin.steps import Steps
from twin.topology import Continuum
from twin.traces import LinkTrace

EDGE = Partition((0, 0, 0, 0), 3)
CLOUD = Partition((2, 2, 2, 2), 3)


def problem(**changes):
    return make_problem(**{"demand": Demand(0.01), **changes})


def observe(subject, t_s=10.0, partition=None, up_bps=20e6, **changes):
    conditions = Conditions(
        np.array([[up_bps, 10e6], [100e6, 100e6]]), subject.initial.rtt_s.copy(), np.array([1.0, 1.0, 1.0])
    )
    values = {
        "t_s": t_s,
        "samples": Samples.none(),
        "conditions": conditions,
        "age_s": np.zeros((2, 2)),
        "device_age_s": np.zeros(3),
        "queue_length": np.zeros(3, dtype=int),
        "arrived": 0,
        "partition": partition,
        "available": np.ones(3, dtype=bool),
        "link_up": np.ones(2, dtype=bool),
    }
    return Observation(**{**values, **changes})


def decide(subject, policy=None, state=None, **changes):
    policy = policy or Adaptive()
    return policy.decide(observe(subject, **changes), policy.init(subject) if state is None else state)


def test_the_first_choice_is_the_exact_best():
    subject = problem()
    decision, _ = decide(subject)
    assert decision.partition == best(subject, subject.initial).partition
    scores = [candidate.score for candidate in decision.candidates]
    assert scores == sorted(scores)
    assert len(scores) > 3


def test_it_follows_a_link_that_fades():
    subject = problem()
    decision, _ = decide(subject, partition=CLOUD, up_bps=1e6)
    assert decision.partition == EDGE
    assert "lower score" in decision.reason


def test_it_stays_within_the_margin():
    subject = problem()
    wanted = decide(subject)[0].partition
    score = {x.partition: x.score for x in decide(subject)[0].candidates}
    second = decide(subject)[0].candidates[1].partition
    gain = 1 - score[wanted] / score[second]
    assert decide(subject, Adaptive(margin=gain * 1.01), partition=second)[0].partition == second
    assert decide(subject, Adaptive(margin=gain * 0.99), partition=second)[0].partition == wanted


def test_it_waits_for_the_dwell_time_unless_much_is_at_stake():
    subject = problem()
    policy = Adaptive(dwell_s=5.0)
    state = replace(policy.init(subject), switched_s=8.0)
    up_bps = 9.5e6  # the edge is better by some percent
    assert decide(subject, policy, state, partition=CLOUD, up_bps=up_bps)[0].partition == CLOUD
    assert decide(subject, policy, state, partition=CLOUD, up_bps=up_bps, t_s=13.0)[0].partition != CLOUD
    assert decide(subject, policy, state, partition=CLOUD, up_bps=1e6)[0].partition == EDGE


def test_a_switch_must_repay_its_cost():
    dear = problem(switch=SwitchCost(downtime_s=30.0))
    decision, _ = decide(dear, partition=CLOUD, up_bps=9e6)
    assert decision.partition == CLOUD
    assert "does not repay" in decision.reason


def test_it_leaves_a_lost_device_and_a_lost_link():
    subject = problem()
    decision, _ = decide(subject, partition=CLOUD, available=np.array([True, True, False]))
    assert 2 not in decision.partition.placement
    decision, _ = decide(subject, partition=CLOUD, link_up=np.array([False, True]))
    assert decision.partition == EDGE
    assert "no longer serve" in decision.reason


def test_a_deadline_comes_before_the_score():
    objective = Objective(latency=0.0, energy=1.0, boundary="marginal", deadline_s=0.09)
    subject = problem(objective=objective)
    chosen = decide(subject)[0].partition
    assert predict(subject, chosen, subject.initial).latency_s <= 0.09
    free = problem(objective=replace(objective, deadline_s=None))
    assert decide(free)[0].candidates[0].score <= decide(subject)[0].candidates[0].score


def test_under_overload_the_queues_grow_least():
    subject = problem(demand=Demand(400.0))
    decision, _ = decide(subject)
    chosen = predict(subject, decision.partition, subject.initial).bottleneck_s
    least = best(subject, subject.initial, objective="throughput").bottleneck_s
    assert chosen == pytest.approx(least)


STALE = {"age_s": np.full((2, 2), 10.0), "device_age_s": np.full(3, 10.0)}


class TestProbes:
    def test_what_could_change_the_decision_is_probed(self):
        subject = problem()
        decision, state = decide(subject, partition=EDGE, up_bps=1e6, **STALE)
        links = [probe for probe in decision.probes if isinstance(probe, LinkProbe)]
        assert {(probe.link, probe.direction) for probe in links} >= {(0, 0)}
        assert all(1_000 <= probe.size_bytes <= 400_000 for probe in links)
        again, _ = decide(subject, state=state, partition=EDGE, up_bps=1e6, t_s=10.5, **STALE)
        assert again.probes == ()

    def test_what_could_not_is_left_alone(self):
        subject = problem()
        wanted = decide(subject)[0].partition
        assert decide(subject, partition=wanted, **STALE)[0].probes == ()

    def test_nothing_is_probed_on_request(self):
        policy = Adaptive(stale_s=None)
        assert decide(problem(), policy, partition=EDGE, up_bps=1e6, **STALE)[0].probes == ()

    def test_a_link_that_is_down_is_not_probed(self):
        changes = {**STALE, "link_up": np.array([False, True])}
        assert decide(problem(), partition=EDGE, up_bps=1e6, **changes)[0].probes == ()

    def test_a_device_that_was_once_faster_is_tried_again(self):
        subject = problem()
        slow = Conditions(subject.initial.rate_bps, subject.initial.rtt_s, np.array([1.0, 60.0, 60.0]))
        decision, _ = decide(subject, partition=EDGE, conditions=slow, **STALE)
        assert any(isinstance(probe, StageProbe) for probe in decision.probes)


def fading(**changes):
    up = Steps((0.0, 20.0, 40.0), (40e6, 1e6, 40e6), "loop", 60.0)
    trace = LinkTrace("fading", up, Steps.constant(10e6), Steps.constant(0.004))
    workload = make_workload(kind="poisson", clients=0, rate_rps=1.0, requests=None, duration_s=240.0)
    return make_world(links=(trace, make_links()[1]), workload=workload, **changes)


def test_it_beats_the_static_split_and_every_fixed_plan_it_starts_from():
    world = fading(dispersion=np.full(3, 0.05))
    fixed = {
        "thirds": thirds(4, 3),
        "edge": EDGE,
        "cloud": CLOUD,
        "start": best(world.problem, world.problem.initial).partition,
    }
    for name, partition in fixed.items():
        gains = []
        for replication in range(5):
            other = run(world, Fixed(partition), replication).requests.latency_s.mean()
            gains.append(other - run(world, Adaptive(), replication).requests.latency_s.mean())
        assert min(gains) > 0, name


def test_memory_limits_hold_in_every_decision():
    base = problem()
    devices = list(base.continuum.devices)
    devices[2] = replace(devices[2], memory_bytes=100_000.0)
    subject = problem(continuum=Continuum(tuple(devices), base.continuum.links))
    chosen, _ = decide(subject)
    assert subject.allows(chosen.partition)
    assert chosen.partition != CLOUD
