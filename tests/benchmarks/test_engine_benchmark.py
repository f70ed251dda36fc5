"""How many requests the engines play per second of processor time, as multiples of a plain SimPy program.

Three devices and two links with the way back of the answer, over the WiFi and LAN traces of `data`, all in one run.
What is aimed at: the arrays engine 50 times as fast as the plain program with a static policy, ten times with
`adaptive` deciding every 1 000 requests, at least 15 % of the rate of the bare recursion; the events engine three times
as fast as the plain program. What is asserted is what holds with some room; the figures themselves are printed by
`pytest tests/benchmarks -s`.
"""

import tracemalloc
from dataclasses import replace
from pathlib import Path
from time import process_time

import numpy as np
import pytest
import simpy
from players import Fixed, Watched
from worlds import make_links, make_problem, make_workload, make_world

from twin.engine.arrays import ArraysEngine
from twin.engine.events import EventsEngine
from twin.engine.plan import make_plan
from twin.partition import Partition
from twin.policies.adaptive import Adaptive
from twin.traces import load_link_trace
from twin.world import Control

TRACES = Path(__file__).parents[2] / "data" / "traces"
SPLIT = Partition((0, 1, 1, 2), 3)
RATE_RPS = 30.0
SAMPLE_BYTES = 28
"""Of a raw sample that a policy was shown."""


def world_of(requests, traces, every):
    links = tuple(load_link_trace(TRACES / f"{name}.csv", "loop") for name in ("wifi-walk", "lan-steady"))
    workload = make_workload(kind="poisson", clients=0, rate_rps=RATE_RPS, requests=requests)
    world = make_world(
        problem=make_problem(),
        links=links if traces else make_links(),
        workload=workload,
        control=Control(None, every),
        dispersion=np.full(3, 0.1),
    )
    return replace(world, drain_s=1e6)


class Plain:
    """A process per request, a resource per station, and nothing noted but the end of each request."""

    def __init__(self, world):
        self.env, self.plan = simpy.Environment(), make_plan(world.problem, SPLIT, 0)
        self.stations = {visit.place: simpy.Resource(self.env) for visit in self.plan.visits}
        self.rates = [load.work for load in world.loads]
        self.rates += [rate for trace in world.links for rate in (trace.up, trace.down)]
        self.rtts = [trace.rtt for trace in world.links]
        self.random = np.random.default_rng(world.seed)
        self.arrival_s = world.workload.arrivals_s(world.seed, 0)
        self.done_s = []

    def play(self):
        self.env.process(self.source())
        self.env.run()
        return self.done_s

    def source(self):
        for arrival_s in self.arrival_s.tolist():
            yield self.env.timeout(arrival_s - self.env.now)
            self.env.process(self.request())

    def request(self):
        for visit in self.plan.visits:
            with self.stations[visit.place].request() as turn:
                yield turn
                amount = visit.amount * (self.random.lognormal(0.0, 0.1) if visit.device >= 0 else 1.0)
                yield self.env.timeout(self.rates[visit.place].finish(self.env.now, amount) - self.env.now)
            if visit.device < 0:
                yield self.env.timeout(self.rtts[visit.link].at(self.env.now) / 2)
        self.done_s.append(self.env.now)


def bare(world):
    """The recursion alone, at constant rates: numpy sums and running maxima, nothing noted."""
    time_s = world.workload.arrivals_s(world.seed, 0)
    rates = [load.work.values[0] for load in world.loads]
    rates += [rate.values[0] for trace in world.links for rate in (trace.up, trace.down)]
    for visit in make_plan(world.problem, SPLIT, 0).visits:
        lasts_s = np.full(len(time_s), visit.amount / rates[visit.place])
        done_s = np.cumsum(lasts_s)
        time_s = done_s + np.maximum.accumulate(time_s - (done_s - lasts_s))
        if visit.device < 0:
            time_s += world.links[visit.link].rtt.values[0] / 2
    return time_s


def rate_rps(requests, play, rounds=3):
    """Requests per second of processor time, the best of a few rounds."""
    times_s = []
    for _ in range(rounds):
        start_s = process_time()
        play()
        times_s.append(process_time() - start_s)
    return requests / min(times_s)


def playing(engine, requests, policy, *, traces=True, every=8000):
    world = world_of(requests, traces, every)
    return rate_rps(requests, lambda: engine.run(world, policy, "benchmark", 0))


@pytest.fixture(scope="module")
def plain_rps():
    return rate_rps(10_000, lambda: Plain(world_of(10_000, traces=True, every=None)).play())


def report(name, value_rps, against_rps):
    print(f"\n{name}: {value_rps:,.0f} requests/s, {value_rps / against_rps:.2f} times {against_rps:,.0f}")


def test_the_plain_program_plays_the_same_pipeline():
    world = replace(world_of(500, traces=True, every=None), dispersion=np.zeros(3))
    plain = Plain(world)
    plain.random = type("Calm", (), {"lognormal": lambda *_: 1.0})()
    done_s = ArraysEngine().run(world, Fixed(SPLIT), "benchmark", 0).requests.done_s
    assert np.sort(plain.play()) == pytest.approx(np.sort(done_s), rel=1e-9)


def test_a_static_policy(plain_rps):
    arrays_rps = playing(ArraysEngine(), 200_000, Fixed(SPLIT))
    report("arrays, static, decisions every 8 000 requests, against plain SimPy", arrays_rps, plain_rps)
    assert arrays_rps >= 40 * plain_rps


class Timed:
    """A policy that decides every 1 000 requests, and adds up the processor time of its own decisions."""

    def __init__(self, policy):
        self.policy, self.spent_s = policy, 0.0

    def init(self, problem):
        return self.policy.init(problem)

    def decide(self, observation, state):
        start_s = process_time()
        decision, state = self.policy.decide(observation, state)
        self.spent_s += process_time() - start_s
        return replace(decision, next_s=None, next_requests=1000), state


def test_adaptive_deciding_every_thousand_requests(plain_rps):
    policy, n = Timed(Adaptive()), 50_000
    whole_s = n / rate_rps(n, lambda: ArraysEngine().run(world_of(n, True, 1000), policy, "benchmark", 0), rounds=1)
    report("arrays, adaptive, decisions every 1 000 requests, against plain SimPy", n / whole_s, plain_rps)
    apart_rps = n / (whole_s - policy.spent_s)
    report("the same, the decisions of the policy apart, against plain SimPy", apart_rps, plain_rps)
    assert n / whole_s >= 5 * plain_rps
    assert apart_rps >= 10 * plain_rps


def test_the_events_engine(plain_rps):
    events_rps = playing(EventsEngine(), 10_000, Fixed(SPLIT))
    report("events, static, against plain SimPy", events_rps, plain_rps)
    assert events_rps >= 1.7 * plain_rps


def test_the_recursion_as_a_ceiling():
    world = world_of(500_000, traces=False, every=None)
    bare_rps = rate_rps(500_000, lambda: bare(world))
    arrays_rps = playing(ArraysEngine(), 200_000, Fixed(SPLIT), traces=False)
    report("arrays, static, constant rates, against the bare recursion", arrays_rps, bare_rps)
    assert arrays_rps >= 0.12 * bare_rps


@pytest.mark.parametrize("policy", [Fixed(SPLIT), Watched(SPLIT)])
def test_the_memory_of_a_request(policy):
    # What is aimed at: ten million requests in less than 4 GB. Samples that a policy was shown come on top.
    n = 200_000
    world = world_of(n, True, 8000)
    ArraysEngine().run(world_of(1000, True, 8000), policy, "benchmark", 0)
    tracemalloc.start()
    result = ArraysEngine().run(world, policy, "benchmark", 0)
    kept_bytes, most_bytes = (x / n for x in tracemalloc.get_traced_memory())
    tracemalloc.stop()
    name = type(policy).__name__
    print(f"\narrays, {name}: {kept_bytes:.0f} bytes per request kept, {most_bytes:.0f} at most")
    assert most_bytes - len(result.raw) / n * SAMPLE_BYTES < 350
