"""The engine against a second, naive one: plain SimPy, a process per request, work done piece by piece.

All numbers are multiples of powers of two, so that both compute exact times and ties are ties in both.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, count, pairwise

import networkx as nx
import numpy as np
import pytest
import simpy
from hypothesis import given, settings
from hypothesis import strategies as st
from players import Fixed, run
from worlds import make_graph, make_problem, make_workload, make_world

from twin.partition import Partition
from twin.problem import Objective
from twin.records import Outcome
from twin.steps import Steps
from twin.topology import Continuum, Device, Link
from twin.traces import LinkTrace, LoadTrace
from twin.world import Control

TIMES_S = st.integers(1, 16).map(lambda n: n / 64)
SOME_S = st.sampled_from([0.0, 0.0, 1 / 128, 1 / 16])
SIZES = st.sampled_from([1024, 2048, 3072, 8192])
RATES_BPS = st.sampled_from([2.0**16, 2.0**18, 2.0**20])


class Plain:
    """Plays a world under one partition; no faults, no decisions, no noise."""

    def __init__(self, world, placement):
        self.env = simpy.Environment()
        self.world, self.problem, self.placement = world, world.problem, placement
        self.devices = [simpy.Resource(self.env, d.slots) for d in self.problem.continuum.devices]
        self.media = {}
        for n, link in enumerate(self.problem.continuum.links):
            up = simpy.Resource(self.env)
            self.media[n] = (up, up if link.duplex == "half" else simpy.Resource(self.env))
        self.sent_s, self.numbers, self.ended = {}, count(), {}

    def play(self):
        workload = self.world.workload
        if workload.kind == "closed":
            for _ in range(workload.clients):
                self.env.process(self.client(workload))
        else:
            for arrival_s in workload.arrivals_s(self.world.seed, 0):
                self.env.process(self.visitor(float(arrival_s)))
        self.env.run()
        return [self.ended[number] for number in range(len(self.ended))]

    def visitor(self, arrival_s):
        yield self.env.timeout(arrival_s)
        yield from self.request(next(self.numbers))

    def client(self, workload):
        while self.env.now < (workload.duration_s or np.inf):
            number = next(self.numbers)
            if number >= (workload.requests or np.inf):
                return
            yield from self.request(number)
            yield self.env.timeout(workload.think_time_s)

    def turn(self, number):
        """Comes once nothing else happens at this time, by request number."""
        event = self.env.event()
        event._ok, event._value = True, None
        self.env.schedule(event, priority=2 + number)
        return event

    def deliver(self, steps, amount, rate_of):
        while True:
            now_s, turn_s = self.env.now, 0.0
            if steps.after_end == "loop":
                turn_s = now_s // steps.duration_s * steps.duration_s
            ends_s = [*steps.times_s[1:], steps.duration_s if steps.after_end == "loop" else np.inf]
            piece = next(i for i, end_s in enumerate(ends_s) if now_s < turn_s + end_s)
            rate, left_s = rate_of(steps.values[piece]), turn_s + ends_s[piece] - now_s
            if rate > 0 and amount <= rate * left_s:
                yield self.env.timeout(amount / rate)
                return
            amount -= rate * left_s
            yield self.env.timeout(left_s)

    def compute(self, number, device, work_s):
        yield self.turn(number)
        station, limit = self.devices[device], self.problem.continuum.devices[device].queue_limit
        if limit is not None and station.count == station.capacity and len(station.queue) >= limit:
            return False
        with station.request() as slot:
            yield slot
            yield from self.deliver(self.world.loads[device].slowdown, work_s, lambda slowdown: 1 / slowdown)
        return True

    def send(self, number, source, target, size_bytes):
        links, graph = self.problem.continuum.links, nx.Graph()
        graph.add_edges_from((link.a, link.b) for link in links)
        low, high = sorted((source, target))
        path = min(nx.all_shortest_paths(graph, low, high)) if low != high else [low]
        path = path if source == low else path[::-1]
        for a, b in pairwise(path):
            n = next(n for n, link in enumerate(links) if {link.a, link.b} == {a, b})
            link, trace, way = links[n], self.world.links[n], int(a > b)
            yield self.turn(number)
            with self.media[n][way].request() as medium:
                yield medium
                pause_s = self.env.now - self.sent_s.get((n, way), -np.inf)
                yield from self.deliver((trace.up, trace.down)[way], size_bytes * 8, float)
                self.sent_s[n, way] = self.env.now
            rtt_s = [v for t, v in zip(trace.rtt.times_s, trace.rtt.values, strict=True) if t <= self.env.now][-1]
            slow_s = link.slow_start_s if pause_s > link.slow_start_idle_s else 0.0
            yield self.env.timeout(link.message_overhead_s + slow_s + rtt_s / 2)

    def request(self, number):
        problem, arrival_s, here = self.problem, self.env.now, 0
        tensors = [problem.graph.input_bytes, *(layer.output_bytes for layer in problem.graph.layers)]
        for device in sorted(set(self.placement)):
            first, after = self.placement.index(device), len(self.placement) - self.placement[::-1].index(device)
            yield from self.send(number, here, device, tensors[first])
            coded_bytes = tensors[first] * (device != here) + tensors[after] * (after < len(self.placement))
            here = device
            work_s = problem.layer_time_s[device, first:after].sum() + problem.stage_overhead_s[device]
            served = yield from self.compute(number, device, work_s + coded_bytes * problem.codec_s_per_byte[device])
            if not served:
                self.ended[number] = (np.nan, Outcome.DROPPED)
                return
        yield from self.send(number, here, 0, tensors[-1])
        yield self.turn(number)
        late = self.env.now - arrival_s > (problem.objective.deadline_s or np.inf)
        self.ended[number] = (self.env.now, Outcome.LATE if late else Outcome.OK)


@st.composite
def steps(draw, values, gap):
    """One to five pieces, some of them a gap, the last one not; it holds or the whole loops."""
    n = draw(st.integers(0, 4))
    times_s = np.cumsum([0, *(draw(st.integers(1, 32)) for _ in range(n))]) / 16
    rates = [draw(st.one_of(values, values, st.just(gap))) for _ in range(n)] + [draw(values)]
    ends = draw(st.sampled_from([("hold", None), ("loop", float(times_s[-1]) + 0.5)]))
    return Steps(tuple(times_s), tuple(rates), *ends)


@st.composite
def workloads(draw):
    kind = draw(st.sampled_from(["closed", "periodic", "poisson"]))
    if kind == "closed":
        limits = draw(st.sampled_from([{"requests": 25}, {"requests": None, "duration_s": 6.0}]))
        return make_workload(clients=draw(st.integers(1, 4)), think_time_s=draw(SOME_S), **limits)
    open_loop = make_workload(kind=kind, clients=0, rate_rps=draw(st.sampled_from([1.0, 4.0, 16.0])), requests=25)
    if kind == "periodic":
        return open_loop
    times_s = np.round(open_loop.arrivals_s(draw(st.integers(0, 99)), 0) * 2**20) / 2**20
    return make_workload(kind="replay", clients=0, times_s=times_s, requests=None)


@st.composite
def games(draw):
    n, workload = draw(st.integers(2, 4)), draw(workloads())
    limits = st.just(None) if workload.kind == "closed" else st.sampled_from([None, None, 0, 2])
    devices = [Device(f"d{k}", "", slots=draw(st.integers(1, 2)), queue_limit=draw(limits)) for k in range(n)]
    pairs = {(draw(st.sampled_from([0, k - 1])), k) for k in range(1, n)}
    pairs |= set(draw(st.lists(st.sampled_from(list(combinations(range(n), 2))), max_size=5 - len(pairs))))
    links = [Link(a, b, draw(st.sampled_from(["full", "half"])), draw(SOME_S), draw(SOME_S)) for a, b in sorted(pairs)]
    layers = draw(st.lists(SIZES, min_size=1, max_size=5))
    problem = make_problem(
        continuum=Continuum(tuple(devices), tuple(links)),
        graph=make_graph(layers, draw(SIZES)),
        layer_time_s=np.array([[draw(TIMES_S) for _ in layers] for _ in devices]),
        stage_overhead_s=np.array([draw(SOME_S) for _ in devices]),
        codec_s_per_byte=np.array([draw(st.sampled_from([0.0, 2.0**-16])) for _ in devices]),
    )
    rtts = st.sampled_from([Steps.constant(0.0), Steps.constant(1 / 32), Steps((0.0, 1.5), (1 / 8, 1 / 64))])
    lines = st.builds(LinkTrace, st.just("link"), steps(RATES_BPS, 0.0), steps(RATES_BPS, 0.0), rtts)
    loads = st.builds(LoadTrace, st.just("load"), steps(st.sampled_from([0.5, 1.0, 4.0]), np.inf))
    objective = Objective(deadline_s=draw(st.sampled_from([None, 0.5, 2.0])))
    world = make_world(
        problem=problem,
        links=[draw(lines) for _ in links],
        loads=[draw(loads) for _ in devices],
        workload=workload,
        objective=objective,
    )
    world = replace(world, control=Control(None, None), drain_s=1e9)
    return world, sorted(draw(st.integers(0, n - 1)) for _ in layers)


@settings(max_examples=100, deadline=None)
@given(games())
def test_every_request_ends_when_the_naive_engine_says(game):
    world, placement = game
    requests = run(world, Fixed(Partition(tuple(placement), world.problem.n_devices))).requests
    done_s, outcome = zip(*Plain(world, placement).play(), strict=True)
    assert requests.done_s == pytest.approx(np.array(done_s), rel=1e-9, nan_ok=True)
    assert list(requests.outcome) == list(outcome)
