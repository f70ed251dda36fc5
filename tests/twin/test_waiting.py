"""Waiting under load: textbook values, limits, and a queue played out with random arrivals."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from players import Fixed, run
from worlds import DEVICES, LINKS, make_problem, make_workload, make_world

from twin.cost import predict
from twin.partition import Partition
from twin.problem import Conditions, Demand
from twin.topology import Continuum
from twin.waiting import behind_s, erlang_c, growth_s, luck_s, sojourn_s, wait_s


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


SERVICE_S = 0.1
"""Of the edge, which runs all four layers: the only station of that plan."""


def edge_only(rho, slots=1):
    """A world whose edge is asked for a share of what it can do, and the plan that runs all there."""
    wide = Continuum((replace(DEVICES[0], slots=slots), *DEVICES[1:]), LINKS)
    problem = make_problem(continuum=wide, demand=Demand(rate_rps=rho * slots / SERVICE_S))
    return problem, predict(problem, problem.on_device(0), problem.initial)


def simulated_s(rho, horizon_s, runs=4000, seed=11):
    """Mean wait in an M/D/1 queue of the requests of a time that begins with an empty queue."""
    rng = np.random.default_rng(seed)
    rate_rps = rho / SERVICE_S
    most = int(rate_rps * horizon_s + 8 * math.sqrt(rate_rps * horizon_s) + 10)
    arrivals_s = np.cumsum(rng.exponential(1 / rate_rps, (runs, most)), axis=1)
    ahead_s = arrivals_s - SERVICE_S * np.arange(most)
    waits_s = np.maximum.accumulate(ahead_s, axis=1) - ahead_s
    return waits_s[arrivals_s < horizon_s].mean()


class TestLuck:
    @pytest.mark.parametrize("rho", [0.1, 0.5, 0.9, 0.99])
    def test_over_a_long_time_it_is_that_of_the_settled_queue(self, rho):
        problem, prediction = edge_only(rho)
        settled_s = rho * SERVICE_S / (2 * (1 - rho))
        assert luck_s(problem, prediction, 1e6) == pytest.approx(settled_s)
        assert luck_s(problem, prediction, 1e-6) < settled_s

    def test_at_critical_load_it_grows_with_the_root_of_the_time(self):
        problem, prediction = edge_only(1.0)
        # the root of 2 * 10 per second * (0.1 s)^2 * 10 s / pi, two thirds of it
        assert luck_s(problem, prediction, 10.0) == pytest.approx(0.53192, rel=1e-4)
        assert luck_s(problem, prediction, 40.0) == pytest.approx(2 * luck_s(problem, prediction, 10.0))

    @pytest.mark.parametrize("horizon_s", [10.0, 50.0])
    @pytest.mark.parametrize("rho", [0.3, 0.6, 1.0])
    def test_a_queue_played_out_from_empty_waits_as_long_where_one_limit_holds(self, rho, horizon_s):
        problem, prediction = edge_only(rho)
        assert luck_s(problem, prediction, horizon_s) == pytest.approx(simulated_s(rho, horizon_s), rel=0.06)

    @pytest.mark.parametrize("horizon_s", [2.0, 10.0, 50.0])
    @pytest.mark.parametrize("rho", [0.9, 0.95, 1.1, 1.6])
    def test_between_the_limits_it_is_too_high_by_up_to_half_and_never_too_low(self, rho, horizon_s):
        problem, prediction = edge_only(rho)
        expected = luck_s(problem, prediction, horizon_s) + growth_s(problem, prediction, horizon_s)
        assert 1.0 < expected / simulated_s(rho, horizon_s) < 1.55

    @given(rho=st.floats(0.01, 3.0), horizon_s=st.floats(0.01, 1e4), slots=st.integers(1, 4))
    def test_never_more_than_either_limit(self, rho, horizon_s, slots):
        problem, prediction = edge_only(rho, slots)
        rate_rps = problem.demand.rate_rps
        grown_s = 2 / 3 * math.sqrt(2 * rate_rps * SERVICE_S**2 * horizon_s / math.pi) / slots
        value_s = luck_s(problem, prediction, horizon_s)
        assert value_s == pytest.approx(min(grown_s, wait_s(rate_rps, [SERVICE_S], slots)))

    def test_every_station_of_a_plan_adds_its_own(self):
        problem = make_problem(demand=Demand(rate_rps=4.0))
        prediction = predict(problem, problem.on_device(1), problem.initial)
        assert luck_s(problem, prediction, 1e6) == pytest.approx(
            sojourn_s(problem, prediction) - prediction.latency_s,
        )


class TestGrowth:
    @given(rho=st.floats(1.001, 20.0), horizon_s=st.floats(0.1, 1e3), slots=st.integers(1, 3))
    def test_it_is_the_mean_of_a_line(self, rho, horizon_s, slots):
        problem, prediction = edge_only(rho, slots)
        t_s = (np.arange(1000) + 0.5) * horizon_s / 1000
        assert growth_s(problem, prediction, horizon_s) == pytest.approx(np.mean((rho - 1) * t_s))

    @pytest.mark.parametrize("rho", [0.2, 1.0])
    def test_without_overload_there_is_none(self, rho):
        assert growth_s(*edge_only(rho), 10.0) == pytest.approx(0.0)

    def test_of_stations_in_a_row_the_busiest_counts(self):
        # All on the pc, at 150 per second: 6 times what the first link can carry, 1.2 times the second. Fluid, by hand:
        # of the messages of 10 s the first link lets 250 through, at 25 per second, which the second carries with ease.
        problem = make_problem(demand=Demand(rate_rps=150.0))
        prediction = predict(problem, problem.on_device(2), problem.initial)
        assert growth_s(problem, prediction, 10.0) == pytest.approx((150 * 0.04 - 1) * 10 / 2)

    @pytest.mark.parametrize("placement", [(0, 0, 2, 2), (2, 2, 2, 2), (0, 1, 1, 2)])
    def test_a_plan_with_several_overloaded_stations_played_out(self, placement):
        problem = make_problem()
        partition = Partition(placement, 3)
        workload = make_workload(kind="periodic", clients=0, rate_rps=200.0, requests=None, duration_s=10.0)
        world = make_world(problem=problem, workload=workload, drain_s=1e3)
        prediction = predict(world.problem, partition, problem.initial)
        played_s = run(world, Fixed(partition)).requests.latency_s.mean() - prediction.latency_s
        assert growth_s(world.problem, prediction, 10.0) == pytest.approx(played_s, rel=0.01)

    def test_a_station_that_is_visited_twice_is_waited_for_twice(self):
        half = (replace(LINKS[0], duplex="half"), LINKS[1])
        problem = make_problem(continuum=Continuum(DEVICES, half), demand=Demand(rate_rps=30.0))
        prediction = predict(problem, problem.on_device(1), problem.initial)
        # an input of 0.04 s and an answer of 0.0032 s share the medium; the laptop takes 0.025 s, so is not overloaded
        assert growth_s(problem, prediction, 10.0) == pytest.approx(2 * (30 * 0.0432 - 1) * 10 / 2)


@pytest.mark.parametrize("rate_rps", [None, 0.0, 3.0])
@pytest.mark.parametrize("term", [luck_s, growth_s])
def test_clients_that_wait_and_plans_that_never_end_add_nothing(term, rate_rps):
    demand = Demand(clients=2) if rate_rps is None else Demand(rate_rps=rate_rps)
    problem = make_problem(demand=demand)
    dead = Conditions(np.zeros((2, 2)), problem.initial.rtt_s, problem.initial.slowdown)
    assert term(problem, predict(problem, problem.on_device(1), dead), 10.0) == 0


class TestBehind:
    @given(backlog_s=st.floats(0.0, 100.0), rho=st.floats(0.0, 3.0), horizon_s=st.floats(0.1, 100.0))
    def test_it_is_the_mean_of_what_is_left(self, backlog_s, rho, horizon_s):
        t_s = (np.arange(20_000) + 0.5) * horizon_s / 20_000
        left_s = np.maximum(backlog_s - max(1 - rho, 0.0) * t_s, 0.0)
        assert behind_s(backlog_s, rho, horizon_s) == pytest.approx(left_s.mean(), rel=1e-3, abs=1e-3 * horizon_s)

    def test_by_hand(self):
        # 2 s at half the time free: gone after 4 of 10 s, 1 s on average until then
        assert behind_s(2.0, 0.5, 10.0) == pytest.approx(0.4)
        assert behind_s(2.0, 0.5, 2.0) == pytest.approx(1.5)
        assert behind_s(2.0, 1.5, 10.0) == 2.0
        assert behind_s(2.0, 0.5, 0.0) == 2.0
        assert behind_s(0.0, 0.5, 10.0) == 0.0
        assert behind_s(0.0, 1.5, 10.0) == 0.0
