"""Waiting under load: textbook values, limits, and a queue played out with random arrivals."""

import math
from dataclasses import replace

import numpy as np
import pytest
from worlds import DEVICES, LINKS, make_problem

from twin.cost import predict
from twin.problem import Conditions, Demand
from twin.topology import Continuum
from twin.waiting import erlang_c, sojourn_s, wait_s


def sojourn(problem, partition=None):
    partition = partition or problem.on_device(0)
    return sojourn_s(problem, predict(problem, partition, problem.initial))


def test_a_constant_service_waits_half_as_long_as_an_exponential_one():
    assert wait_s(5.0, [0.1]) == pytest.approx(0.5 * 0.5 * 0.1 / (1 - 0.5))


def test_a_mix_of_services_waits_by_its_second_moment():
    mixed = wait_s(2.0, [0.1, 0.3])
    assert mixed == pytest.approx(2.0 * (0.1**2 + 0.3**2) / (2 * (1 - 0.8)))
    assert mixed > wait_s(4.0, [0.2])


@pytest.mark.parametrize("rate_rps", [10.0, 10.5, 1e6])
def test_more_than_can_be_served_waits_for_ever(rate_rps):
    assert wait_s(rate_rps, [0.1]) == math.inf


def test_no_load_means_no_wait():
    assert wait_s(0.0, [0.1]) == 0
    assert wait_s(5.0, [0.0]) == 0
    assert wait_s(1e-9, [0.1]) == pytest.approx(0.0, abs=1e-9)


def test_erlang_c():
    assert erlang_c(1, 0.7) == pytest.approx(0.7)
    assert erlang_c(2, 0.5) == pytest.approx(1 / 3)
    assert erlang_c(3, 2 / 3) == pytest.approx(4 / 9)


def test_more_slots_wait_less_at_the_same_utilisation():
    waits = [wait_s(slots * 8.0, [0.1], slots) for slots in (1, 2, 4)]
    assert waits == sorted(waits, reverse=True)
    assert wait_s(8.0, [0.1], 1) == pytest.approx(erlang_c(1, 0.8) * 0.1 / 0.2 / 2)


@pytest.mark.parametrize(("slots", "tolerance"), [(1, 0.03), (2, 0.1), (4, 0.2)])
def test_a_queue_played_out_waits_as_long(slots, tolerance):
    rng = np.random.default_rng(7)
    service_s, rho, n = 0.1, 0.8, 400_000
    arrivals_s = np.cumsum(rng.exponential(service_s / slots / rho, n))
    # Of equal services the one that starts a turn of `slots` before is the one that ends next.
    waits_s = []
    for turn in range(slots):
        mine_s = arrivals_s[turn::slots] - service_s * np.arange(len(arrivals_s[turn::slots]))
        waits_s.append(np.maximum.accumulate(mine_s) - mine_s)
    assert np.concatenate(waits_s).mean() == pytest.approx(
        wait_s(slots * rho / service_s, [service_s], slots), rel=tolerance
    )


def test_open_loop_adds_the_wait_of_every_station():
    problem = make_problem(demand=Demand(rate_rps=4.0))
    prediction = predict(problem, problem.on_device(1), problem.initial)
    services_s = [stage.service_s for stage in prediction.stages] + [x.transmit_s for x in prediction.transfers]
    expected = prediction.latency_s + sum(wait_s(4.0, [service_s]) for service_s in services_s)
    assert sojourn_s(problem, prediction) == pytest.approx(expected)
    assert sojourn_s(problem, prediction) > prediction.latency_s


def test_both_directions_of_a_half_duplex_link_wait_for_each_other():
    half = tuple(replace(link, duplex="half") for link in LINKS)
    demand = Demand(rate_rps=15.0)
    shared = make_problem(continuum=Continuum(DEVICES, half), demand=demand)
    apart = make_problem(demand=demand)
    assert sojourn(shared, shared.on_device(1)) > sojourn(apart, apart.on_device(1))


def test_an_overloaded_station_never_settles():
    assert sojourn(make_problem(demand=Demand(rate_rps=10.0))) == math.inf


def test_slots_let_more_requests_in():
    wide = Continuum((replace(DEVICES[0], slots=2), *DEVICES[1:]), LINKS)
    assert math.isfinite(sojourn(make_problem(continuum=wide, demand=Demand(rate_rps=10.0))))


@pytest.mark.parametrize(
    ("clients", "think_time_s", "expected"), [(1, 0.0, 0.1), (5, 0.0, 0.5), (5, 0.2, 0.3), (2, 10.0, 0.1)]
)
def test_closed_loop_is_the_larger_of_both_bounds(clients, think_time_s, expected):
    problem = make_problem(demand=Demand(clients=clients, think_time_s=think_time_s))
    assert sojourn(problem) == pytest.approx(expected)


@pytest.mark.parametrize("demand", [Demand(rate_rps=1.0), Demand(rate_rps=0.0), Demand(clients=2)])
def test_a_link_without_rate_takes_for_ever(demand):
    problem = make_problem(demand=demand)
    dead = Conditions(np.zeros((2, 2)), problem.initial.rtt_s, problem.initial.slowdown)
    assert sojourn_s(problem, predict(problem, problem.on_device(1), dead)) == math.inf
