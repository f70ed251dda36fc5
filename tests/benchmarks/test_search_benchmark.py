"""How long a decision takes: in milliseconds, and as multiples of plain numpy work of the same size in the same run.

The multiples hold on any machine; the limits in milliseconds are those that the search is built for.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from twin.benchmarking.decisions import FULL, SUMS, in_turn, problem_of
from twin.benchmarking.rounds import least_s
from twin.graph import load_graph
from twin.scenario_file.library import Library
from twin.search import best, candidates, pareto
from twin.search.lattice import _build, lattice_of

LIBRARY = Library(Path(__file__).parent)


def named(model, *changes):
    return problem_of(LIBRARY.model(model), *changes)


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


@pytest.mark.parametrize(("model", "limit_s"), [("vgg16", 0.2e-3), ("alexnet", 0.2e-3), ("mobilenet_v2", 1e-3)])
def test_a_decision_under_every_constraint(benchmark, model, limit_s):
    problem = named(model)
    decide = in_turn(lambda p, c: best(p, c, or_nearest=True), problem)
    decide()
    benchmark(decide)
    fastest_s = least_s(decide)
    assert fastest_s <= limit_s
    assert fastest_s <= 12 * plain_s(len(lattice_of(problem.graph))) + 0.1e-3


def test_the_best_few_for_a_policy(benchmark):
    problem = named("mobilenet_v2")
    decide = in_turn(lambda p, c: candidates(p, c, 12), problem)
    decide()
    benchmark(decide)
    assert least_s(decide) <= 5 * least_s(in_turn(lambda p, c: best(p, c, or_nearest=True), problem)) + 2e-3


def test_a_large_lattice_by_dynamic_programming(benchmark):
    problem = named("googlenet", SUMS, (None, None, None))
    decide = in_turn(best, problem)
    decide()
    benchmark.pedantic(decide, rounds=20)
    assert least_s(decide, 10) <= 20e-3


def test_a_large_lattice_under_every_constraint(benchmark):
    problem = named("googlenet")
    decide = in_turn(lambda p, c: best(p, c, or_nearest=True), problem)
    decide()
    benchmark.pedantic(decide, rounds=10)
    assert least_s(decide, 10) <= 3 * plain_s(len(lattice_of(problem.graph)))


def test_a_front(benchmark):
    problem = named("mobilenet_v2", replace(FULL, deadline_s=None))
    trade_offs = in_turn(pareto, problem)
    trade_offs()
    benchmark(trade_offs)
    assert least_s(trade_offs) <= 30 * plain_s(len(lattice_of(problem.graph))) + 1e-3


def test_building_a_large_lattice(benchmark):
    graph = load_graph(LIBRARY.model("googlenet"))
    benchmark.pedantic(_build, (graph, 50_000), rounds=5)
    assert least_s(lambda: _build(graph, 50_000), 3) <= 1.0
