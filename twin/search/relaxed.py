"""Bounds for large searches: the problem without what joins two down-sets, which dynamic programming solves."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from twin.search.additive import Solution, costs_of, dead_of, energy_terms, latency_terms, score_terms, solve
from twin.search.ledger import STATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twin.partition import Partition
    from twin.problem import Problem
    from twin.search.enumeration import Weighed
    from twin.search.goals import Goal
    from twin.search.space import Situation

_TRADE_OFFS = 17
"""Weightings of latency against energy that are tried for a first front."""


def relax(problem: Problem, situation: Situation, goal: Goal) -> Solution:
    """Solve a goal as if no bottleneck capped the throughput, without deadline or memory limits of middle stages.

    The throughput itself is no sum: for that goal the latency is solved instead.
    """
    throughput = goal.bottleneck_per_s > 0
    terms = latency_terms(problem, situation) if throughput else score_terms(problem, situation, goal)
    return solve(costs_of(problem, terms, dead_of(problem, situation)))


def least_latency(problem: Problem, situation: Situation) -> Solution:
    """Solve for the least latency."""
    return solve(costs_of(problem, latency_terms(problem, situation), dead_of(problem, situation)))


def least_energy(problem: Problem, situation: Situation, goal: Goal) -> Solution:
    """Solve for the least energy, a lower bound at the boundary `node` (see `additive.energy_terms`)."""
    return solve(costs_of(problem, energy_terms(problem, situation, goal), dead_of(problem, situation)))


def row_bounds(weighed: Weighed, latency: Solution, relaxed: Solution) -> tuple[np.ndarray, np.ndarray]:
    """Order the choices of D0 by a score that none of their plans undercuts.

    Args:
        weighed: All plans.
        latency: The problem solved for the latency.
        relaxed: The problem solved for the goal.

    Returns:
        Rows that may hold a plan within the deadline, the most promising first, and the bound of each.
    """
    goal = weighed.goal
    rows = weighed.table.ledger.rows
    bounds = relaxed.by_first_set()[rows]
    if goal.bottleneck_per_s > 0:
        bounds = goal.bottleneck_per_s * _row_loads_s(weighed)
    possible = np.flatnonzero((latency.by_first_set()[rows] <= goal.limit_s) & np.isfinite(bounds))
    order = possible[np.argsort(bounds[possible], kind="stable")]
    return order, bounds[order]


def trade_offs(problem: Problem, situation: Situation, goal: Goal) -> Iterator[Partition]:
    """Some partitions between the least latency and the least energy, which may break a constraint."""
    fastest, thriftiest = least_latency(problem, situation), least_energy(problem, situation, goal)
    yield from fastest.partitions(1)
    yield from thriftiest.partitions(1)
    latency_s, energy_j = (abs(x.least) or 1.0 for x in (fastest, thriftiest))
    for share in np.linspace(0, 1, _TRADE_OFFS)[1:-1]:
        mixed = replace(goal, latency_per_s=share / latency_s, energy_per_j=(1 - share) / energy_j)
        yield from relax(problem, situation, mixed).partitions(1)


def _row_loads_s(weighed: Weighed) -> np.ndarray:
    """The least that the most loaded station of a plan can bear, by D0, shape [R]."""
    ledger, values = weighed.table.ledger, weighed.values
    n_rows = len(ledger.rows)
    by_row: np.ndarray = values[ledger.row_stations, :n_rows].max(axis=0, initial=0.0)
    rows, _ = ledger.diagonal
    empty = values[STATIONS:, n_rows + len(ledger.columns) :].max(axis=0, initial=0.0)
    by_row[rows] = np.minimum(by_row[rows], empty)
    return by_row
