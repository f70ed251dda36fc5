"""Which part is fitted, to what, and what is no drift."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from worlds import make_problem, make_world

from hardware.following.history import News
from hardware.following.model import Corrections, Model, with_overheads
from hardware.following.monitor import Monitor, Residual, part_names
from twin.cost import predict
from twin.partition import Partition

WAY_UP = 3
"""Place of the first link's up direction: three devices come before it."""


def make_monitor():
    problem = make_problem()
    return Monitor(problem.continuum, Corrections.none(problem))


def feed(monitor, n, **fields):
    flags = []
    for number in range(n):
        flags += monitor.watch([Residual(**{"n": 5, "expected_s": 0.1, **fields})], float(number))
    return flags


def news(**columns):
    empty, none = np.empty(0), np.empty(0, dtype=np.int64)
    given = {key: np.array(x) for key, x in columns.items()}
    return News(**{"device": none, "nominal_s": empty, "service_s": empty, "way": none, "size_bytes": empty,
                   "transfer_s": empty, **given})  # fmt: skip


class TestFits:
    def test_parts_are_named_like_those_of_a_comparison(self):
        names = part_names(make_problem().continuum)
        assert names[0] == "compute.pi"
        assert names[3:5] == ["transfer.pi-laptop", "transfer.laptop-pi"]
        assert names[-1] == "latency"

    def test_messages_that_are_mostly_transmission_have_another_goodput(self):
        monitor = make_monitor()
        (flag,) = feed(monitor, 3, place=WAY_UP, measured_s=0.14, sending_s=0.08)
        assert (flag.name, flag.quantity) == ("transfer.pi-laptop", "factor of goodput")
        # 80 ms of transmission take 40 ms longer: two thirds of the goodput.
        assert monitor.corrections.rate == pytest.approx((2 / 3, 1, 1, 1))

    def test_messages_that_are_mostly_delay_have_another_overhead(self):
        monitor = make_monitor()
        (flag,) = feed(monitor, 3, place=WAY_UP + 1, measured_s=0.15, sending_s=0.01)
        assert flag.quantity == "message overhead, s"
        assert monitor.corrections.message_s == pytest.approx((0, 0.05, 0, 0))

    def test_a_device_gets_a_factor_on_top_of_the_one_it_had(self):
        monitor = make_monitor()
        feed(monitor, 3, place=1, measured_s=0.15)
        feed(monitor, 3, place=1, measured_s=0.08)
        assert monitor.corrections.device == pytest.approx((1, 1.5 * 0.8, 1))
        assert monitor.corrections.version == 2

    def test_two_odd_intervals_among_good_ones_are_no_drift(self):
        monitor = make_monitor()
        for _ in range(4):
            assert feed(monitor, 1, place=0, measured_s=0.9) == []
            assert feed(monitor, 8, place=0, measured_s=0.1) == []
        assert monitor.corrections.version == 0

    def test_odd_intervals_that_add_up_to_an_alarm_are_no_flag_if_most_are_good(self):
        monitor = make_monitor()
        for _ in range(3):
            assert feed(monitor, 1, place=0, measured_s=0.9) == []
            assert feed(monitor, 2, place=0, measured_s=0.1) == []
        assert feed(monitor, 1, place=0, measured_s=0.9) == []
        assert monitor.corrections.version == 0

    def test_a_fraction_of_a_millisecond_is_never_wrong(self):
        assert feed(make_monitor(), 200, place=WAY_UP, expected_s=0.001, measured_s=0.0014) == []

    def test_whole_requests_start_anew_when_a_part_was_fitted(self):
        monitor = make_monitor()
        late, slow = (Residual(place, 5, 0.1, 0.14) for place in (-1, 0))
        flags = [monitor.watch([slow, late] if number else [late], float(number)) for number in range(2)]
        flags += [monitor.watch([slow], 2.0), monitor.watch([slow], 3.0)]
        assert [flag.name for found in flags for flag in found] == ["compute.pi"]
        assert feed(monitor, 2, place=-1, measured_s=0.14) == []


class TestModel:
    def test_a_plan_takes_what_the_cost_model_says(self):
        world = with_overheads(make_world(), [0.001, 0.002])
        problem, plan = world.problem, Partition((0, 0, 1, 2), 3)
        parts_s = Model(problem, problem.initial, Corrections.none(problem)).parts_s(plan)
        costs = predict(problem, plan, problem.initial)
        for stage in costs.stages:
            assert parts_s[stage.device] == pytest.approx(stage.service_s)
        # To the receipt: another half of the round trip.
        there = costs.transfers[0]
        assert parts_s[WAY_UP] == pytest.approx(there.total_s + 0.002)

    def test_residuals_of_the_very_messages_and_stages_that_there_were(self):
        problem = make_problem()
        model = Model(problem, problem.initial, replace(Corrections.none(problem), device=(2.0, 1.0, 1.0)))
        seen = news(
            device=[0, 0, 1], nominal_s=[0.01, 0.03, 0.02], service_s=[0.02, 0.07, 0.02],
            way=[0], size_bytes=[25_000.0], transfer_s=[0.0154],
        )  # fmt: skip
        found = {x.place: x for x in make_monitor().parts(seen, model)}
        assert found[0].expected_s == pytest.approx(0.04)
        assert found[0].relative == pytest.approx(0.09 / 0.08 - 1)
        assert found[1].relative == pytest.approx(0.0)
        # 200 kbit at 20 Mbit/s and 4 ms of round trip.
        assert found[WAY_UP].expected_s == pytest.approx(0.014)
        assert found[WAY_UP].sending_s == pytest.approx(0.010)
        assert found[WAY_UP].relative == pytest.approx(0.1)
