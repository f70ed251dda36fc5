"""How long a decision takes: in milliseconds, and as multiples of plain numpy work of the same size in the same run.

The multiples hold on any machine; the limits in milliseconds are those that the search is built for.
"""

from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np
import pytest
from worlds import DEVICES, LINKS, make_links, make_problem

from twin.graph import load_graph
from twin.problem import Conditions, Demand, Objective
from twin.search import best, candidates, pareto
from twin.search.lattice import _build, lattice_of
from twin.topology import Continuum

MODELS = Path(__file__).parents[2] / "data" / "models"
SPEEDS = np.array([6e9, 30e9, 600e9])
"""Floating-point operations per second of a small board, a laptop and a PC with a GPU, roughly."""
FULL = Objective(0.5, 0.5, "node", deadline_s=0.2)


def problem_of(model, objective=FULL, memory_bytes=(40e6, 200e6, None)):
    """Three devices with memory limits, a deadline and energy at the node in the objective."""
    graph = load_graph(MODELS / f"{model}.json")
    devices = tuple(replace(d, memory_bytes=limit) for d, limit in zip(DEVICES, memory_bytes, strict=True))
    flops = np.array([layer.flops for layer in graph.layers])
    return make_problem(
        graph=graph,
        continuum=Continuum(devices, LINKS),
        layer_time_s=flops / SPEEDS[:, None] + 1e-5,
        stage_overhead_s=np.full(3, 1e-3),
        codec_s_per_byte=np.full(3, 1e-9),
        objective=objective,
        demand=Demand(rate_rps=4.0),
        links=make_links(),
    )


def varied(problem, n=16):
    """Conditions that differ, so that nothing can be remembered from one decision to the next."""
    rng = np.random.default_rng(5)
    given = problem.initial
    return [Conditions(given.rate_bps * rng.uniform(0.5, 4, (2, 2)), given.rtt_s, given.slowdown) for _ in range(n)]


def in_turn(search, problem):
    """A function that decides for the next conditions each time."""
    turns = varied(problem)
    place = iter(range(10**9))
    return lambda: search(problem, turns[next(place) % len(turns)])


def plain_s(n):
    """Time of plain numpy work: ten sums over all pairs of `n` down-sets and the least of them."""
    rows, columns = np.random.default_rng(1).uniform(size=(2, n))
    total = np.empty((n, n))

    def work():
        np.add.outer(rows, columns, out=total)
        for _ in range(9):
            np.add(total, rows[:, None], out=total)
        return total.argmin()

    return least_s(work)


def least_s(work, rounds=30):
    """Least time of a few rounds."""
    times_s = []
    for _ in range(rounds):
        start_s = perf_counter()
        work()
        times_s.append(perf_counter() - start_s)
    return min(times_s)


@pytest.mark.parametrize(("model", "limit_s"), [("vgg16", 0.2e-3), ("alexnet", 0.2e-3), ("mobilenet_v2", 1e-3)])
def test_a_decision_under_every_constraint(benchmark, model, limit_s):
    problem = problem_of(model)
    decide = in_turn(lambda p, c: best(p, c, or_nearest=True), problem)
    decide()
    benchmark(decide)
    fastest_s = least_s(decide)
    assert fastest_s <= limit_s
    assert fastest_s <= 12 * plain_s(len(lattice_of(problem.graph))) + 0.1e-3


def test_the_best_few_for_a_policy(benchmark):
    problem = problem_of("mobilenet_v2")
    decide = in_turn(lambda p, c: candidates(p, c, 12), problem)
    decide()
    benchmark(decide)
    assert least_s(decide) <= 5 * least_s(in_turn(lambda p, c: best(p, c, or_nearest=True), problem)) + 2e-3


def test_a_large_lattice_by_dynamic_programming(benchmark):
    problem = problem_of("googlenet", Objective(0.5, 0.5, "marginal"), (None, None, None))
    decide = in_turn(best, problem)
    decide()
    benchmark.pedantic(decide, rounds=20)
    assert least_s(decide, 10) <= 20e-3


def test_a_large_lattice_under_every_constraint(benchmark):
    problem = problem_of("googlenet")
    decide = in_turn(lambda p, c: best(p, c, or_nearest=True), problem)
    decide()
    benchmark.pedantic(decide, rounds=10)
    assert least_s(decide, 10) <= 3 * plain_s(len(lattice_of(problem.graph)))


def test_a_front(benchmark):
    problem = problem_of("mobilenet_v2", replace(FULL, deadline_s=None))
    trade_offs = in_turn(pareto, problem)
    trade_offs()
    benchmark(trade_offs)
    assert least_s(trade_offs) <= 30 * plain_s(len(lattice_of(problem.graph))) + 1e-3


def test_building_a_large_lattice(benchmark):
    graph = load_graph(MODELS / "googlenet.json")
    benchmark.pedantic(_build, (graph, 50_000), rounds=5)
    assert least_s(lambda: _build(graph, 50_000), 3) <= 1.0
