"""What a change costs, by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from worlds import make_problem

from twin.partition import Partition
from twin.policies.changeover import changeover
from twin.problem import Conditions, Demand, Objective, SwitchCost

EDGE = Partition((0, 0, 0, 0), 3)
HALF = Partition((0, 0, 2, 2), 3)
CLOUD = Partition((2, 2, 2, 2), 3)


def problem(**switch):
    # the reference of the latency is 1 s: scores are seconds that requests wait
    objective = Objective(latency_ref_s=1.0)
    return make_problem(demand=Demand(2.0), objective=objective, switch=SwitchCost(**switch))


def cost(subject, running=EDGE, wanted=CLOUD, conditions=None):
    return changeover(subject, running, wanted, conditions or subject.initial)


def test_what_is_free_costs_nothing():
    assert cost(problem()) == (0.0, 0.0)
    assert cost(problem(downtime_s=1.0), CLOUD, CLOUD) == (0.0, 0.0)


def test_a_downtime_in_open_loop():
    # 2 per second, held for half a second: 2 * 0.25 / 2 = 0.25 s; edge only takes 0.1 s, a utilisation of 0.2
    assert cost(problem(downtime_s=0.5), CLOUD, EDGE) == (pytest.approx(0.25 / 0.8), 0.0)


def test_a_downtime_that_the_new_partition_cannot_work_off():
    subject = replace(problem(downtime_s=0.5), demand=Demand(20.0))
    assert cost(subject, CLOUD, EDGE).score == pytest.approx(20 * 0.25 / 2)


def test_a_downtime_in_closed_loop():
    subject = replace(problem(downtime_s=0.5), demand=Demand(clients=3))
    assert cost(subject).score == pytest.approx(1.5)


def test_joules_of_each_device_that_gains_layers():
    objective = Objective(0.0, 1.0, "marginal", energy_ref_j=2.0)
    subject = replace(problem(energy_j=3.0), objective=objective)
    assert cost(subject).score == pytest.approx(1.5)
    both = Partition((0, 1, 2, 2), 3)
    assert cost(subject, EDGE, both).score == pytest.approx(3.0)


def test_weights_over_links_that_are_not_in_use_delay_the_change_only():
    # four layers of 1000 bytes: 32 kbit over 20 and over 100 Mbit/s
    found = cost(problem(weights_from=0))
    assert found == (0.0, pytest.approx(32e3 / 20e6 + 32e3 / 100e6))


def test_weights_over_links_in_use_hold_requests_up():
    # from the half to the whole: 16 kbit up, while the inputs go the same way
    found = cost(problem(weights_from=0), HALF, CLOUD)
    assert found.loading_s == pytest.approx(16e3 / 20e6 + 16e3 / 100e6)
    # the input takes 0.04 s of the first link: a utilisation of 0.08
    assert found.score == pytest.approx(2 * (16e3 / 20e6) ** 2 / 2 / 0.92)


def test_weights_for_two_devices_wait_for_each_other():
    found = cost(problem(weights_from=0), EDGE, Partition((0, 1, 2, 2), 3))
    # to the laptop 8 kbit; to the pc 16 kbit behind them on the first link
    assert found.loading_s == pytest.approx(24e3 / 20e6 + 16e3 / 100e6)


def test_weights_that_never_arrive():
    subject = problem(weights_from=0)
    dead = Conditions(np.array([[0.0, 10e6], [1e8, 1e8]]), subject.initial.rtt_s, np.ones(3))
    assert math.isinf(cost(subject, conditions=dead).loading_s)


def test_weights_that_are_there_already_cost_nothing():
    assert cost(problem(weights_from=2)) == (0.0, 0.0)
