"""The lookahead of the clairvoyant, against the cost model, hand-computed queues and the events engine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from observations import observe
from players import Fixed, run
from strategies import partitions
from worlds import make_links, make_problem, make_workload, make_world

from twin.cost import predict
from twin.problem import Objective, Samples, SwitchCost
from twin.references.lookahead import Lookahead
from twin.steps import Steps
from twin.traces import LinkTrace

SPARSE = make_workload(kind="poisson", clients=0, rate_rps=1.0, requests=None, duration_s=60.0)


@pytest.mark.parametrize("boundary", ["node", "marginal", "compute_only"])
def test_from_empty_queues_sparse_requests_cost_what_the_cost_model_says(boundary):
    world = make_world(workload=SPARSE, objective=Objective(0.5, 0.5, boundary))
    for partition in partitions(world.problem):
        prediction = predict(world.problem, partition, world.problem.initial)
        outlook = Lookahead(world).outlook(partition, observe(world.problem), 1.0)
        assert outlook.latency_s == pytest.approx(prediction.latency_s, rel=1e-9)
        assert outlook.energy_j == pytest.approx(prediction.energy_j(boundary), rel=1e-9)


def test_what_waits_on_a_device_is_served_first():
    world = make_world(workload=SPARSE)
    problem = world.problem
    on_pi = problem.on_device(0)
    queued = observe(problem, queue_length=np.array([3, 0, 0]), partition=on_pi)
    # 3 * 0.1 s of work are there; requests at 1/8, 3/8, 5/8 and 7/8 s meet 0.175 s of it, and then nothing.
    expected_s = 0.1 + 0.175 / 4
    assert Lookahead(world).outlook(on_pi, queued, 1.0).latency_s == pytest.approx(expected_s, rel=1e-9)
    elsewhere = Lookahead(world).outlook(problem.on_device(2), queued, 1.0)
    assert elsewhere.latency_s == pytest.approx(predict(problem, problem.on_device(2), problem.initial).latency_s)


def test_what_is_in_service_has_only_the_rest_of_its_work_left():
    world = make_world(workload=SPARSE)
    on_pi = world.problem.on_device(0)
    samples = replace(
        Samples.none(), open_device=np.array([0]), open_nominal_s=np.array([0.5]), open_service_s=np.array([0.2])
    )
    busy = observe(world.problem, t_s=10.0, queue_length=np.array([1, 0, 0]), partition=on_pi, samples=samples)
    # 0.3 s are left; a request after 1/8 s waits for 0.175 s, the others for nothing.
    assert Lookahead(world).outlook(on_pi, busy, 1.0).latency_s == pytest.approx(0.1 + 0.175 / 4, rel=1e-9)


def test_a_message_that_waits_holds_up_those_behind_it():
    world = make_world(workload=SPARSE)
    to_pc = world.problem.on_device(2)
    plain = Lookahead(world).outlook(to_pc, observe(world.problem), 1.0).latency_s
    queued = observe(world.problem, link_queue=np.array([[5, 0], [0, 0]]), partition=to_pc)
    # Five inputs of 100 000 bytes take 0.2 s at 20 Mbit/s; the request after 1/8 s waits for 0.075 s.
    assert Lookahead(world).outlook(to_pc, queued, 1.0).latency_s == pytest.approx(plain + 0.075 / 4, rel=1e-9)


def test_a_switch_holds_requests_back():
    world = make_world(problem=make_problem(switch=SwitchCost(downtime_s=0.5)), workload=SPARSE)
    problem = world.problem
    on_pi, running = problem.on_device(0), observe(problem, partition=problem.on_device(2))
    # One request comes in the interval: after 1/8 or 3/8 s it is held for 3/8 or 1/8 s, later not at all.
    assert Lookahead(world).outlook(on_pi, running, 1.0).latency_s == pytest.approx(0.1 + (0.375 + 0.125) / 4)


def test_a_link_that_is_about_to_fail_is_seen_to_fail():
    up = Steps((0.0, 10.5), (20e6, 0.0))
    fading = LinkTrace("fading", up, Steps.constant(10e6), Steps.constant(0.004))
    world = make_world(links=(fading, make_links()[1]), workload=SPARSE)
    to_pc, now = world.problem.on_device(2), observe(world.problem, t_s=10.0)
    assert Lookahead(world).outlook(to_pc, now, 1.0).latency_s == np.inf
    assert Lookahead(world).outlook(to_pc, observe(world.problem, t_s=9.0), 1.0).latency_s < 0.1


def test_a_dense_interval_is_what_the_events_engine_plays():
    times_s = [0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95]
    workload = make_workload(kind="replay", clients=0, requests=None, times_s=np.array(times_s))
    up = Steps((0.0, 0.4, 0.8), (20e6, 4e6, 20e6))
    fading = LinkTrace("fading", up, Steps.constant(10e6), Steps.constant(0.004))
    world = make_world(links=(fading, make_links()[1]), workload=workload)
    world = replace(world, problem=replace(world.problem, demand=replace(world.problem.demand, rate_rps=10.0)))
    for partition in partitions(world.problem):
        played = run(world, Fixed(partition)).requests.latency_s.mean()
        assert Lookahead(world).outlook(partition, observe(world.problem), 1.0).latency_s == pytest.approx(played)
