"""What plans are worth, by hand: falls, usual changes, backlog; and the order of the exact search."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from brute import near, points
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from strategies import partitions, problems
from worlds import DEVICES, LINKS, make_problem

from twin.errors import InfeasibleError
from twin.partition import Partition
from twin.policies.appraisal import Appraisal
from twin.policies.experience import Experience, Fall, speeds
from twin.problem import Conditions, Demand, Objective, Observation, Samples
from twin.topology import Continuum
from twin.waiting import wait_s

EDGE = Partition((0, 0, 0, 0), 3)
CLOUD = Partition((2, 2, 2, 2), 3)
UP = 3
"""Place of the first link's up direction: three devices come first."""

SENDING_S = 0.04
"""100 kB at 20 Mbit/s."""
REST_S = 0.002 + 0.008 + 0.001 + 0.005 + 0.00032 + 0.001 + 0.0032 + 0.002
"""Of the latency of all on the pc: half an rtt, the second link, the pc, and the answer of 4 kB."""


def problem(demand=Demand(clients=1), **changes):  # noqa: B008 - frozen
    # the reference of the latency is 1 s, so that scores are seconds
    return make_problem(demand=demand, objective=Objective(latency_ref_s=1.0), **changes)


def observe(subject, partition=CLOUD, **changes):
    links = len(subject.continuum.links)
    values = {
        "t_s": 21.0,
        "samples": Samples.none(),
        "conditions": subject.initial,
        "age_s": np.zeros((links, 2)),
        "device_age_s": np.zeros(subject.n_devices),
        "queue_length": np.zeros(subject.n_devices, dtype=int),
        "arrived": 0,
        "partition": partition,
        "available": np.ones(subject.n_devices, dtype=bool),
        "link_up": np.ones(links, dtype=bool),
        "link_queue": np.zeros((links, 2), dtype=int),
    }
    return Observation(**{**values, **changes})


def experienced(subject, *, falls=(), seen_s=None, change=0.0, interval_s=1.0):
    """Experience of the first link's up direction alone."""
    nothing = Experience.none(subject)
    usual = nothing.change.copy()
    usual[UP] = change
    return replace(
        nothing,
        t_s=21.0,
        interval_s=interval_s,
        change=usual,
        seen_s=(*nothing.seen_s[:UP], seen_s or {}, *nothing.seen_s[UP + 1 :]),
        falls=(*nothing.falls[:UP], tuple(falls), *nothing.falls[UP + 1 :]),
    )


def appraise(subject, experience=None, **changes):
    now = observe(subject, **changes)
    return Appraisal(subject, now.conditions, now, experience or experienced(subject))


def score(appraisal, partition):
    """Score of a plan; the running one is weighed in any case."""
    return {x.partition: x.score for x in appraisal.weigh()}[partition]


ONE_FALL = {"falls": [Fall(5.0, 20e6, 2e6)], "seen_s": {24: 20.0}}
"""Once in 20 s at 20 Mbit/s (level 24) the link fell to a tenth."""


class TestFalls:
    def test_the_score_is_the_mean_over_a_fall(self):
        subject = problem()
        appraisal = appraise(subject, experienced(subject, **ONE_FALL))
        probability = 1 - math.exp(-(1 + SENDING_S) / 30)
        expected = REST_S + (1 - probability) * SENDING_S + probability * 10 * SENDING_S
        assert score(appraisal, CLOUD) == pytest.approx(expected)

    def test_what_does_not_use_the_link_is_as_before(self):
        subject = problem()
        appraisal = appraise(subject, experienced(subject, **ONE_FALL), partition=EDGE)
        assert score(appraisal, EDGE) == pytest.approx(0.1)
        busy = problem(Demand(9.0))
        calm = score(appraise(busy, partition=EDGE), EDGE)
        assert score(appraise(busy, experienced(busy, **ONE_FALL), partition=EDGE), EDGE) == calm
        assert appraisal.is_exposed(CLOUD)
        assert not appraisal.is_exposed(EDGE)
        assert not appraise(subject).is_exposed(CLOUD)

    def test_a_fall_costs_what_comes_until_the_next_decision(self):
        # in open loop, 10 per second: at 2 Mbit/s a message of 0.4 s is four times what the link can carry
        subject = problem(Demand(10.0))
        appraisal = appraise(subject, experienced(subject, **ONE_FALL, interval_s=0.5))
        calm = score(appraise(subject), CLOUD)
        stations_s = [0.008, 0.005, 0.00032, 0.0032]
        waits_s = sum(wait_s(10.0, [x]) for x in stations_s)
        lucky_s = 2 / 3 * math.sqrt(2 * 10 * 0.4**2 * 0.5 / math.pi)
        caught = REST_S + 0.4 + waits_s + lucky_s + (4 - 1) * 0.5 / 2
        probability = 1 - math.exp(-(0.5 + SENDING_S) / 30)
        assert score(appraisal, CLOUD) == pytest.approx(calm + probability * (caught - calm))

    def test_where_requests_are_rare_a_fall_goes_unnoticed_until_the_next(self):
        subject = problem(Demand(0.2))
        calm = score(appraise(subject), CLOUD)
        appraisal = appraise(subject, experienced(subject, **ONE_FALL, interval_s=0.5))
        probability = 1 - math.exp(-(1 / 0.2 + SENDING_S) / 30)
        wait = sum(wait_s(0.2, [x]) for x in [0.008, 0.005, 0.00032, 0.0032])
        caught = REST_S + 10 * SENDING_S + wait + wait_s(0.2, [10 * SENDING_S])
        assert score(appraisal, CLOUD) == pytest.approx(calm + probability * (caught - calm), rel=1e-6)

    def test_often_enough_it_leads_to_another_plan(self):
        subject = problem()
        often = experienced(subject, falls=ONE_FALL["falls"] * 8, seen_s={24: 20.0})
        assert appraise(subject).weigh()[0].partition == CLOUD
        # the best of those that send little: 10 kB after three layers on the edge
        assert appraise(subject, often).weigh()[0].partition == Partition((0, 0, 0, 2), 3)


class TestUsualChange:
    def test_the_score_is_the_mean_of_up_and_down(self):
        subject = problem()
        experience = experienced(subject, change=0.2)
        assert score(appraise(subject, experience), CLOUD) == pytest.approx(REST_S + SENDING_S * math.cosh(0.2))
        assert score(appraise(subject, experience, partition=EDGE), EDGE) == pytest.approx(0.1)

    def test_of_hardly_any_nothing_is_made(self):
        subject = problem()
        appraisal = appraise(subject, experienced(subject, change=0.01))
        assert score(appraisal, CLOUD) == pytest.approx(REST_S + SENDING_S, rel=1e-12)

    def test_a_fall_adds_to_it(self):
        subject = problem()
        appraisal = appraise(subject, experienced(subject, **ONE_FALL, change=0.2))
        usual, probability = REST_S + SENDING_S * math.cosh(0.2), 1 - math.exp(-(1 + SENDING_S) / 30)
        assert score(appraisal, CLOUD) == pytest.approx(
            usual + probability * (REST_S + 10 * SENDING_S - usual),
        )


class TestBacklog:
    demand = Demand(2.0)

    def gain(self, subject, **changes):
        """What queues add to the score of all on the pc, while that runs."""
        return score(appraise(subject, **changes), CLOUD) - score(appraise(subject), CLOUD)

    def test_messages_that_wait_hold_up_those_that_come(self):
        # three messages of 0.04 s; at 2 per second the link drains by 0.92 s in the second to the next decision
        queue = np.array([[3, 0], [0, 0]])
        assert self.gain(problem(self.demand), link_queue=queue) == pytest.approx(0.12**2 / (2 * 0.92))
        subject = problem(self.demand)
        on_edge = score(appraise(subject, partition=EDGE, link_queue=queue), EDGE)
        assert on_edge == pytest.approx(score(appraise(subject, partition=EDGE), EDGE))

    def test_what_does_not_drain_holds_up_all(self):
        queue = np.array([[100, 0], [0, 0]])
        assert self.gain(problem(self.demand), link_queue=queue) == pytest.approx(4.0 - 0.92 / 2)

    def test_the_message_under_way_tells_the_size(self):
        one = np.array([0])
        sending = replace(
            Samples.none(), open_link=one, open_direction=one, open_bytes=one + 2e5, open_transfer_s=one + 0.01
        )
        queue = np.array([[3, 0], [0, 0]])
        assert self.gain(problem(self.demand), link_queue=queue, samples=sending) == pytest.approx(0.24**2 / 1.84)

    @pytest.mark.parametrize(("slots", "backlog_s"), [(1, 0.4), (2, 0.2)])
    def test_slots_share_the_requests_of_a_device(self, slots, backlog_s):
        devices = (replace(DEVICES[0], slots=slots), *DEVICES[1:])
        subject = problem(self.demand, continuum=Continuum(devices, LINKS))
        busy = {"partition": EDGE, "queue_length": np.array([4, 0, 0])}
        idle = appraise(subject, partition=EDGE)
        gain = score(appraise(subject, **busy), EDGE) - score(idle, EDGE)
        assert gain == pytest.approx(backlog_s**2 / (2 * (1 - 2 * 0.1 / slots)))

    def test_both_directions_of_a_half_duplex_link_wait_together(self):
        half = (replace(LINKS[0], duplex="half"), LINKS[1])
        subject = problem(self.demand, continuum=Continuum(DEVICES, half))
        # two inputs of 0.04 s and five answers of 0.0032 s; each request holds the medium for 0.0432 s
        backlog_s = 2 * 0.04 + 5 * 0.0032
        gain = self.gain(subject, link_queue=np.array([[2, 5], [0, 0]]))
        assert gain == pytest.approx(backlog_s**2 / (2 * (1 - 2 * 0.0432)))

    def test_a_queue_on_a_link_without_rate_is_no_mistake(self):
        subject = problem(self.demand)
        rate_bps = subject.initial.rate_bps.copy()
        rate_bps[0, 0] = 0.0
        dead = Conditions(rate_bps, subject.initial.rtt_s, subject.initial.slowdown)
        one = np.array([0])
        stuck = replace(
            Samples.none(), open_link=one, open_direction=one, open_bytes=one + 2e5, open_transfer_s=one + 9.0
        )
        appraisal = appraise(subject, conditions=dead, samples=stuck, link_queue=np.array([[3, 0], [0, 0]]))
        assert appraisal.weigh()[0].partition == EDGE
        assert score(appraisal, CLOUD) == math.inf


def test_under_overload_every_score_is_finite_and_grows_with_the_bottleneck():
    subject = problem(Demand(400.0))
    weighed = appraise(subject).weigh()
    assert all(math.isfinite(x.score) for x in weighed)
    # 400 per second of 0.1 s: after 10 s the edge is 390 s behind, half of that on average, and luck
    luck_s = 2 / 3 * math.sqrt(2 * 400 * 0.01 * 10 / math.pi)
    assert score(appraise(subject, partition=EDGE), EDGE) == pytest.approx(0.1 + 39 * 10 / 2 + luck_s)


def test_a_request_rate_of_zero_leaves_an_order():
    subject = problem(Demand(0.0))
    dead = Conditions(np.zeros((2, 2)), subject.initial.rtt_s, subject.initial.slowdown)
    weighed = appraise(subject, conditions=dead).weigh()
    assert weighed[0].partition == EDGE
    assert not any(math.isnan(x.score) for x in weighed)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(problem=problems(max_devices=3, max_layers=5))
def test_without_load_and_experience_it_is_the_exact_search(problem):
    alone = replace(problem, demand=Demand(clients=1))
    exact = points(alone, alone.initial)
    assume(exact)
    now = observe(alone, partition=None)
    weighed = Appraisal(alone, alone.initial, now, Experience.none(alone)).weigh()
    n = min(6, len(exact))
    assert len(weighed) >= n
    scores = [x.score for x in weighed]
    assert all(near(one, other.score) for one, other in zip(scores[:n], exact, strict=False))
    assert all(a <= b or near(a, b) for a, b in pairwise(scores))


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(problem=problems(), seed=st.integers(0, 2**32 - 1))
def test_what_is_known_of_a_plan_stays_under_conditions_that_differ_elsewhere(problem, seed):
    rng = np.random.default_rng(seed)
    running = rng.choice(partitions(problem))
    places = len(speeds(problem.initial))
    queue = rng.integers(0, 3, places)
    now = observe(
        problem,
        running,
        queue_length=queue[: problem.n_devices],
        link_queue=queue[problem.n_devices :].reshape(-1, 2),
    )
    nothing = Experience.none(problem)
    falls = tuple(
        (Fall(5.0, float(speed), float(speed) / 8),) if speed > 0 and rng.random() < 0.4 else ()
        for speed in nothing.speed
    )
    change = rng.choice([0.0, 0.3]) * rng.random(places)
    experience = replace(nothing, t_s=21.0, interval_s=1.0, change=change, falls=falls)
    first = Appraisal(problem, problem.initial, now, experience)
    try:
        first.weigh()
    except InfeasibleError:
        return
    rates, slowdowns = rng.choice([1.0, 1.0, 0.3, 4.0], places - problem.n_devices), rng.choice([1.0, 0.5], places)
    given = problem.initial
    changed = Conditions(
        given.rate_bps * rates.reshape(-1, 2), given.rtt_s, given.slowdown * slowdowns[: problem.n_devices]
    )
    assert first.under(changed).weigh() == Appraisal(problem, changed, now, experience).weigh()


def test_a_plan_is_not_weighed_again_where_nothing_that_it_uses_has_changed(monkeypatch):
    subject = problem(Demand(9.0))
    first = appraise(subject, partition=EDGE)
    first.weigh()
    worked_out = []
    whole = Appraisal._candidate
    monkeypatch.setattr(Appraisal, "_candidate", lambda x, plan: worked_out.append(plan) or whole(x, plan))
    faster = Conditions(subject.initial.rate_bps * 2, subject.initial.rtt_s, subject.initial.slowdown)
    assert first.under(faster).weigh()
    assert worked_out
    assert EDGE not in worked_out
