"""All plans that no other beats in both latency and energy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from twin.cost import predict
from twin.search.dominance import Front, front_of
from twin.search.enumeration import Weighed
from twin.search.goals import Plan, plan_of
from twin.search.labels import front_partitions
from twin.search.plans import MAX_DEVICES
from twin.search.relaxed import least_energy, least_latency, trade_offs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twin.problem import Problem
    from twin.search.goals import Goal
    from twin.search.space import Situation

_CHUNK = 64
"""Choices of D0 that are weighed at once in a large search."""


def _weigh_all(problem: Problem, situation: Situation, goal: Goal) -> list[Plan]:
    """The front where all plans can be weighed at once."""
    weighed = Weighed(problem, situation, goal)
    plans: list[Plan] = []
    for block in weighed.table.blocks():
        latency_s, energy_j = weighed.points(block)
        plans += weighed.plans(block, front_of(latency_s.reshape(-1), energy_j.reshape(-1)))
    return plans


def _weigh_rows(problem: Problem, situation: Situation, goal: Goal) -> list[Plan]:
    """The front of a large problem with three devices: choices of D0 that a known plan beats are left out."""
    weighed = Weighed(problem, situation, goal)
    plans = _first(problem, situation, goal)
    known = _front(plans)
    sets = weighed.table.ledger.rows
    latency_s = least_latency(problem, situation).by_first_set()[sets]
    energy_j = least_energy(problem, situation, goal).by_first_set()[sets]
    order = np.argsort(latency_s, kind="stable")
    order = order[(latency_s[order] <= goal.limit_s) & np.isfinite(energy_j[order])]
    for start in range(0, len(order), _CHUNK):
        rows = order[start : start + _CHUNK]
        rows = rows[~known.beats(latency_s[rows], energy_j[rows])]
        for block in weighed.table.blocks(rows):
            block_latency_s, block_energy_j = (x.reshape(-1) for x in weighed.points(block))
            open_cells = np.flatnonzero(np.isfinite(block_latency_s) & ~known.beats(block_latency_s, block_energy_j))
            found = open_cells[front_of(block_latency_s[open_cells], block_energy_j[open_cells])]
            plans = _best_of(plans + weighed.plans(block, found))
            known = _front(plans)
    return plans


def _by_labels(problem: Problem, situation: Situation, goal: Goal) -> list[Plan]:
    """The front for any number of devices."""
    known = _first(problem, situation, goal)
    partitions = front_partitions(problem, situation, goal, _front(known))
    found = [plan_of(problem, goal, x, predict(problem, x, situation.conditions)) for x in partitions]
    return _best_of(known + found)


def front_plans(problem: Problem, situation: Situation, goal: Goal, *, small: bool) -> list[Plan]:
    """The front, by the way that suits the size of the problem.

    Args:
        problem: The problem; the power of every device is known.
        situation: State of links and devices.
        goal: Says the boundary, the deadline and how plans are scored.
        small: Whether all plans can be weighed at once.
    """
    if small:
        return _weigh_all(problem, situation, goal)
    return (_weigh_rows if problem.n_devices <= MAX_DEVICES else _by_labels)(problem, situation, goal)


def _first(problem: Problem, situation: Situation, goal: Goal) -> list[Plan]:
    """A few points of the front, or near it."""
    found = set(trade_offs(problem, situation, goal))
    plans = [plan_of(problem, goal, x, predict(problem, x, situation.conditions)) for x in found]
    return _best_of([plan for plan in plans if plan.feasible])


def _best_of(plans: Sequence[Plan]) -> list[Plan]:
    """The plans that no other beats, by rising latency; of equal ones that with the lowest placement."""
    ordered = sorted(plans, key=lambda plan: plan.partition.placement)
    latency_s, energy_j = _points(ordered)
    return [ordered[position] for position in front_of(latency_s, energy_j)]


def _points(plans: Sequence[Plan]) -> tuple[np.ndarray, np.ndarray]:
    energy_j = [np.nan if plan.energy_j is None else plan.energy_j for plan in plans]
    return np.array([plan.latency_s for plan in plans]), np.array(energy_j)


def _front(plans: Sequence[Plan]) -> Front:
    return Front(*_points(plans))
