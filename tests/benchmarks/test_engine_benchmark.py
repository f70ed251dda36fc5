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

import numpy as np
import pytest
from players import Watched

from twin.benchmarking.decisions import Timed
from twin.benchmarking.pipeline import split_of, steady, varying, world_of
from twin.benchmarking.programs import Leaf, Plain, bare
from twin.benchmarking.rounds import played_s
from twin.engine.arrays import ArraysEngine
from twin.engine.events import EventsEngine
from twin.policies.adaptive import Adaptive
from twin.scenario_file.library import Library

LINKS = varying(Library(Path(__file__).parent))
SPLIT = split_of()
SAMPLE_BYTES = 28
"""Of a raw sample that a policy was shown."""


def rate_rps(requests, prepare, rounds=3):
    """Requests per second of processor time, the best of a few rounds."""
    return requests / min(played_s(prepare()) for _ in range(rounds))


def playing(engine, world, policy, rounds=3):
    requests = world.workload.requests
    return rate_rps(requests, lambda: lambda: engine.run(world, policy, "benchmark", 0), rounds)


@pytest.fixture(scope="module")
def plain_rps():
    return rate_rps(10_000, lambda: Plain(world_of(10_000, LINKS), SPLIT).play)


def report(name, value_rps, against_rps):
    print(f"\n{name}: {value_rps:,.0f} requests/s, {value_rps / against_rps:.2f} times {against_rps:,.0f}")


@pytest.mark.parametrize("program", [Plain, Leaf])
@pytest.mark.parametrize("n_devices", [2, 3, 8])
def test_the_plain_programs_play_the_same_pipeline(program, n_devices):
    if program is Leaf and not Leaf.is_installed():
        pytest.skip("leafsim is not installed")
    world = replace(world_of(500, LINKS, n_devices=n_devices), dispersion=np.zeros(n_devices))
    split = split_of(n_devices)
    done_s = ArraysEngine().run(world, split, "benchmark", 0).requests.done_s
    assert np.sort(program(world, split).play()) == pytest.approx(np.sort(done_s), rel=1e-9)


def test_the_bare_recursion_plays_the_same_pipeline():
    world = replace(world_of(500, steady()), dispersion=np.zeros(3))
    done_s = ArraysEngine().run(world, SPLIT, "benchmark", 0).requests.done_s
    assert bare(world, SPLIT) == pytest.approx(done_s, rel=1e-9)


def test_a_static_policy(plain_rps):
    arrays_rps = playing(ArraysEngine(), world_of(200_000, LINKS, every=8000), SPLIT)
    report("arrays, static, decisions every 8 000 requests, against plain SimPy", arrays_rps, plain_rps)
    assert arrays_rps >= 40 * plain_rps


def test_adaptive_deciding_every_thousand_requests(plain_rps):
    policy, n = Timed(Adaptive(watch_s=None)), 50_000
    whole_s = n / playing(ArraysEngine(), world_of(n, LINKS, every=1000), policy, rounds=1)
    report("arrays, adaptive, decisions every 1 000 requests, against plain SimPy", n / whole_s, plain_rps)
    apart_rps = n / (whole_s - sum(policy.times_s))
    report("the same, the decisions of the policy apart, against plain SimPy", apart_rps, plain_rps)
    assert n / whole_s >= 7 * plain_rps
    assert apart_rps >= 13 * plain_rps


def test_the_events_engine(plain_rps):
    events_rps = playing(EventsEngine(), world_of(10_000, LINKS, every=8000), SPLIT)
    report("events, static, against plain SimPy", events_rps, plain_rps)
    assert events_rps >= 2.2 * plain_rps


def test_the_recursion_as_a_ceiling():
    world = world_of(500_000, steady())
    bare_rps = rate_rps(500_000, lambda: lambda: bare(world, SPLIT))
    arrays_rps = playing(ArraysEngine(), world_of(200_000, steady(), every=8000), SPLIT)
    report("arrays, static, constant rates, against the bare recursion", arrays_rps, bare_rps)
    assert arrays_rps >= 0.15 * bare_rps


@pytest.mark.parametrize("policy", [SPLIT, Watched(SPLIT.init(world_of(1, LINKS).problem)[1])])
def test_the_memory_of_a_request(policy):
    # What is aimed at: ten million requests in less than 4 GB. Samples that a policy was shown come on top.
    n = 200_000
    world = world_of(n, LINKS, every=8000)
    ArraysEngine().run(world_of(1000, LINKS, every=8000), policy, "benchmark", 0)
    tracemalloc.start()
    result = ArraysEngine().run(world, policy, "benchmark", 0)
    kept_bytes, most_bytes = (x / n for x in tracemalloc.get_traced_memory())
    tracemalloc.stop()
    name = type(policy).__name__
    print(f"\narrays, {name}: {kept_bytes:.0f} bytes per request kept, {most_bytes:.0f} at most")
    assert most_bytes - len(result.raw) / n * SAMPLE_BYTES < 350
