"""The adaptive policy, decision by decision, and against fixed partitions on a link that fades."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from players import Fixed, run
from worlds import make_graph, make_links, make_problem, make_workload, make_world

from twin.cost import predict
from twin.partition import Partition, thirds
from twin.policies.adaptive import Adaptive
from twin.policies.experience import Experience, Fall
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
        "link_queue": np.zeros((2, 2), dtype=int),
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


@pytest.mark.parametrize(("rate_rps", "most"), [(40.0, 0.9), (60.0, 1.0), (100.0, 1.25)])
def test_under_overload_it_serves_as_soon_as_the_least_bottleneck(rate_rps, most):
    # No plan can serve more than 33 per second. By what waits, it moves work to stations that have less of it, and so
    # serves more than any one plan. At three times the capacity it is worse than the one plan by some 15 %.
    workload = make_workload(kind="poisson", clients=0, rate_rps=rate_rps, requests=None, duration_s=20.0)
    world = make_world(workload=workload, drain_s=300.0)
    least = best(world.problem, world.problem.initial, objective="throughput")
    assert least.bottleneck_s == pytest.approx(0.03)
    for replication in range(2):
        fixed = run(world, Fixed(least.partition), replication).requests
        adaptive = run(world, Adaptive(), replication).requests
        assert adaptive.latency_s.mean() < most * fixed.latency_s.mean()
        assert adaptive.done_s.max() < max(most, 1.0) * fixed.done_s.max()


UP = 3
"""Place of the first link's up direction: three devices come first."""


def fallen(subject, *, times=1, t_s=1.0, seen_s=20.0, up_bps=20e6):
    """A state that has seen the first link fall to a hundredth, and at last at a goodput."""
    nothing = Experience.none(subject)
    speed = nothing.speed.copy()
    speed[UP] = up_bps
    falls = (Fall(t_s, 20e6, 0.2e6),) * times
    experience = replace(
        nothing,
        t_s=9.0,
        interval_s=1.0,
        speed=speed,
        seen_s=(*nothing.seen_s[:UP], {24: seen_s}, *nothing.seen_s[UP + 1 :]),
        falls=(*nothing.falls[:UP], falls, *nothing.falls[UP + 1 :]),
    )
    return replace(Adaptive().init(subject), experience=experience)


def sending(size_bytes=1e5, since_s=1.0):
    """A message is being sent over the first link."""
    one = np.array([0])
    return replace(
        Samples.none(),
        open_link=one,
        open_direction=one,
        open_bytes=one + size_bytes,
        open_transfer_s=one + since_s,
    )


class TestFalls:
    def test_it_looks_again_soon_while_the_plan_uses_what_has_fallen(self):
        subject = problem()
        rarely = fallen(subject, seen_s=1e6)
        decision, _ = decide(subject, state=rarely, partition=CLOUD)
        assert decision.partition == CLOUD
        assert decision.next_s == 0.25
        assert decide(subject, Adaptive(watch_s=0.1), rarely, partition=CLOUD)[0].next_s == 0.1
        assert decide(subject, Adaptive(watch_s=None), rarely, partition=CLOUD)[0].next_s is None

    def test_not_while_it_uses_something_else(self):
        subject = problem()
        assert decide(subject, partition=CLOUD)[0].next_s is None
        decision, _ = decide(subject, state=fallen(subject, times=20), partition=EDGE)
        assert decision.partition == EDGE
        assert decision.next_s is None

    def test_nor_once_it_has_fallen_except_while_it_is_not_known_how_deep(self):
        subject = problem()
        down = {"partition": EDGE, "up_bps": 0.2e6}
        just, before = (fallen(subject, t_s=t_s, up_bps=0.2e6) for t_s in (9.0, 5.0))
        assert decide(subject, state=just, **down)[0].next_s is None
        assert decide(subject, state=just, samples=sending(), **down)[0].next_s == 0.25
        assert decide(subject, state=before, samples=sending(), **down)[0].next_s is None

    def test_what_falls_again_is_left_before_it_is_known_how_deep(self):
        # the message that is stuck says 8 Mbit/s at most, at which the pc would still do
        subject = problem()
        stuck = {"partition": CLOUD, "up_bps": 8e6, "samples": sending(since_s=0.1)}
        new = decide(subject, Adaptive(margin=0.5), **stuck)[0]
        again = decide(subject, Adaptive(margin=0.5), fallen(subject), **stuck)[0]
        assert new.partition == CLOUD
        assert again.partition == EDGE

    def test_what_falls_often_is_used_less(self):
        subject = problem()
        assert decide(subject, state=fallen(subject, seen_s=1e6), up_bps=20e6)[0].partition == CLOUD
        assert decide(subject, state=fallen(subject, times=20), up_bps=20e6)[0].partition == EDGE

    def test_of_a_link_that_falls_again_and_again_it_learns(self):
        # 8 s at 40 Mbit/s, 2 s at 0.2 Mbit/s; on the edge alone a request takes 0.118 s on average
        up = Steps((0.0, 8.0), (40e6, 0.2e6), "loop", 10.0)
        trace = LinkTrace("falling", up, Steps.constant(10e6), Steps.constant(0.004))
        workload = make_workload(kind="poisson", clients=0, rate_rps=3.0, requests=None, duration_s=120.0)
        world = make_world(links=(trace, make_links()[1]), workload=workload)
        learned, forgetful = run(world, Adaptive()).requests, run(world, Forgetful()).requests
        late = learned.arrival_s > 60
        assert learned.latency_s[late].mean() < 0.13
        assert forgetful.latency_s[late].mean() > 0.2


@dataclass(frozen=True)
class Forgetful:
    """The adaptive policy without experience."""

    policy: Adaptive = Adaptive()  # noqa: RUF009 - frozen

    def init(self, subject):
        return self.policy.init(subject)

    def decide(self, observation, state):
        return self.policy.decide(observation, replace(state, experience=Experience.none(state.problem)))


class TestWeights:
    """The pc holds the weights; 5 MB to the pi take 4 s over 10 Mbit/s and 0.4 s over 100 Mbit/s."""

    @pytest.fixture
    def subject(self):
        graph = make_graph()
        layers = tuple(replace(layer, parameter_bytes=1_250_000) for layer in graph.layers)
        objective = Objective(latency_ref_s=1.0)
        return problem(
            graph=replace(graph, layers=layers),
            demand=Demand(2.0),
            objective=objective,
            switch=SwitchCost(weights_from=2),
        )

    def state(self, subject, switches):
        return replace(Adaptive().init(subject), switches=switches)

    def test_a_switch_is_made_where_partitions_last_long_enough(self, subject):
        faded = {"partition": CLOUD, "up_bps": 2e6, "t_s": 40.0}
        assert decide(subject, state=self.state(subject, 1), **faded)[0].partition != CLOUD

    @pytest.mark.parametrize("switches", [3, 9])
    def test_and_not_where_they_lasted_too_short_for_the_weights(self, subject, switches):
        # What requests wait for behind the weights (2 per second for 4 s: 20 s in all) is repaid in 9 s; the weights
        # travel for 4.4 s first. A partition is expected to stay for 10 s after three switches in 40 s.
        faded = {"partition": CLOUD, "up_bps": 2e6, "t_s": 40.0}
        decision, _ = decide(subject, state=self.state(subject, switches), **faded)
        assert decision.partition == CLOUD
        assert "does not repay" in decision.reason

    def test_with_free_switches_it_goes_at_once(self, subject):
        free = replace(subject, switch=SwitchCost())
        faded = {"partition": CLOUD, "up_bps": 2e6, "t_s": 40.0}
        assert decide(free, state=self.state(free, 9), **faded)[0].partition != CLOUD


class TestNothingNew:
    def again(self, t_s, **changes):
        """A decision after one at 10 s that kept all on the edge of a link that has recovered since."""
        subject = problem()
        _, state = decide(subject, partition=EDGE, up_bps=1e6)
        return decide(subject, state=state, t_s=t_s, partition=EDGE, up_bps=20e6, **changes)[0]

    def test_plans_are_not_weighed_again_a_moment_later(self):
        decision = self.again(10.9)
        assert (decision.partition, decision.candidates, decision.probes) == (EDGE, (), ())
        assert decision.reason == "nothing new"

    def test_later_they_are(self):
        assert self.again(11.0).partition != EDGE

    @pytest.mark.parametrize(
        "news",
        [
            {"samples": sending()},
            {"link_up": np.array([True, False])},
            {"available": np.array([True, True, False])},
        ],
    )
    def test_and_if_something_is_under_way_or_lost(self, news):
        assert self.again(10.5, **news).candidates != ()


def test_scores_of_zero_are_equal():
    subject = problem(layer_time_s=np.zeros((3, 4)), objective=Objective(0.0, 1.0, "compute_only"))
    decision, _ = decide(subject, partition=CLOUD)
    assert decision.partition == CLOUD


STALE = {"age_s": np.full((2, 2), 10.0), "device_age_s": np.full(3, 10.0)}


class TestProbes:
    def test_what_could_change_the_decision_is_probed(self):
        subject = problem()
        decision, state = decide(subject, partition=EDGE, up_bps=1e6, **STALE)
        links = [probe for probe in decision.probes if isinstance(probe, LinkProbe)]
        assert {(probe.link, probe.direction) for probe in links} >= {(0, 0)}
        assert all(1_000 <= probe.size_bytes <= 400_000 for probe in links)
        again, state = decide(subject, state=state, partition=EDGE, up_bps=1e6, t_s=12.5, **STALE)
        assert again.probes == ()
        later, _ = decide(subject, state=state, partition=EDGE, up_bps=1e6, t_s=13.5, **STALE)
        assert later.probes == decision.probes

    def test_what_could_not_is_left_alone(self):
        subject = problem()
        wanted = decide(subject)[0].partition
        assert decide(subject, partition=wanted, **STALE)[0].probes == ()

    def test_an_age_of_zero_is_always_stale(self):
        policy = Adaptive(stale_s=0.0)
        assert decide(problem(), policy, partition=EDGE, up_bps=1e6)[0].probes != ()
        assert decide(problem(), policy, partition=EDGE, up_bps=1e6, **STALE)[0].probes != ()

    def test_a_link_that_delivers_nothing_at_first_is_taken_up_once_it_does(self):
        up = Steps((0.0, 20.0), (0.0, 40e6))
        trace = LinkTrace("late", up, Steps.constant(10e6), Steps.constant(0.004))
        workload = make_workload(kind="poisson", clients=0, rate_rps=1.0, requests=None, duration_s=40.0)
        result = run(make_world(links=(trace, make_links()[1]), workload=workload), Adaptive())
        switched_s = [entry["t_s"] for entry in result.decisions if entry["partition"]["placement"] != [0, 0, 0, 0]]
        assert 20 < switched_s[0] < 25
        # one pair of messages waits for the link all the time, no more
        up_probes = [x for e in result.decisions if e["t_s"] < 20 for x in e["probes"] if x.get("link") == 0]
        assert len([x for x in up_probes if x["direction"] == 0]) == 2

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
    for replication in range(5):
        adaptive_s = run(world, Adaptive(), replication).requests.latency_s.mean()
        for name, partition in fixed.items():
            assert run(world, Fixed(partition), replication).requests.latency_s.mean() > adaptive_s, name


def test_memory_limits_hold_in_every_decision():
    base = problem()
    devices = list(base.continuum.devices)
    devices[2] = replace(devices[2], memory_bytes=100_000.0)
    subject = problem(continuum=Continuum(tuple(devices), base.continuum.links))
    chosen, _ = decide(subject)
    assert subject.allows(chosen.partition)
    assert chosen.partition != CLOUD
