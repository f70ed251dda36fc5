"""Exact search for any number of devices where the goal is no sum: labels with dominance over the down-sets.

A label is what one way to a point of the lattice costs: latency, energy, the largest load of a station so far, and
the load of every station that a later message may use again. Of the labels at one point only those are kept that no
other undercuts in every key, as in multi-criteria shortest paths (Martins 1984, European Journal of Operational
Research 16).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from twin.partition import Partition
from twin.search.additive import Costs, active_terms, costs_of, dead_of, energy_terms, latency_terms, score_terms, solve
from twin.search.dominance import Front, front_of
from twin.search.goals import ENDLESS_S, ROUNDING
from twin.search.loads import Loads, loads_of

if TYPE_CHECKING:
    from twin.problem import Problem
    from twin.search.goals import Goal
    from twin.search.space import Situation

LATENCY, ENERGY, LOADS = 0, 1, 2
"""Columns of the values of labels: latency, energy without the idle share, largest load, loads of shared stations."""

_SLACK = 1e-9
"""Relative distance from a known score within which labels are kept."""


class Labels(NamedTuple):
    """Ways to points of the lattice, all with their last stage on one device.

    Attributes:
        down_set: What has run, shape [m].
        values: What the way costs (see the columns), shape [m, 3 + number of shared stations].
        device: Device of the stage before, -1 for none, shape [m].
        parent: Label there, shape [m].
    """

    down_set: np.ndarray
    values: np.ndarray
    device: np.ndarray
    parent: np.ndarray

    def take(self, chosen: np.ndarray) -> Labels:
        """Some of the labels."""
        return Labels(*(column[chosen] for column in self))


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """One search by labels.

    Attributes:
        goal: What is minimised.
        known: Points of latency and energy that are known, if all trade-offs are wanted; None for the least score.
        latency: Costs in seconds.
        energy: Costs in joules, without the idle share.
        loads: Loads of the stations.
        ahead_s: Least latency of what follows each device and down-set, shape [K, P].
        ahead: The same of the score (of the energy for a front), or a lower bound of it, shape [K, P].
        constant: Part of the score (of the energy) that all plans share.
        limit: Score above which labels are dropped.
    """

    goal: Goal
    known: Front | None
    latency: Costs
    energy: Costs
    loads: Loads
    ahead_s: np.ndarray
    ahead: np.ndarray
    constant: float
    limit: float

    def keys(self, values: np.ndarray) -> np.ndarray:
        """What decides between labels at one point, every column to be small, shape [m, number of keys]."""
        goal, loads_s = self.goal, values[:, LOADS:]
        latency_s, energy_j = values[:, :ENERGY], values[:, ENERGY:LOADS]
        if self.known is not None:
            return np.hstack((latency_s, energy_j, loads_s) if goal.idle_w > 0 else (latency_s, energy_j))
        if goal.bottleneck_per_s > 0:
            return np.hstack((loads_s, latency_s))
        score = goal.latency_per_s * latency_s + goal.energy_per_j * energy_j
        if goal.needs_bottleneck:
            return np.hstack((score, latency_s, loads_s))
        return np.hstack((score, latency_s)) if goal.limit_s < ENDLESS_S else score

    def hopeless(self, values: np.ndarray, device: int, down_set: int) -> np.ndarray:
        """Whether no way onwards from labels at a point can lead to a plan that is wanted, shape [m]."""
        goal = self.goal
        latency_s, ahead = values[:, LATENCY], self.ahead[device, down_set] + self.constant
        least_s = latency_s + self.ahead_s[device, down_set]
        late = least_s > goal.limit_s
        if late.all():
            return np.asarray(late)
        if goal.bottleneck_per_s > 0:
            return np.asarray(late | (goal.bottleneck_per_s * values[:, LOADS] > self.limit))
        energy_j = values[:, ENERGY] + (goal.idle_w * goal.idle_per_latency * latency_s if goal.idle_w > 0 else 0.0)
        if self.known is not None:
            return np.asarray(late | self.known.beats(least_s, energy_j + ahead))
        score = goal.latency_per_s * latency_s + goal.energy_per_j * energy_j + ahead
        return np.asarray(late | (score > self.limit))


def least_partition(problem: Problem, situation: Situation, goal: Goal, *, known: float = np.inf) -> Partition | None:
    """The partition with the least score that meets every constraint; None if there is none.

    Args:
        problem: The problem.
        situation: State of links and devices.
        goal: What is minimised.
        known: Score that some feasible plan is known to have.
    """
    search = _prepare(problem, situation, goal, known, None)
    tables = _run(problem, search)
    ends = _ends(search, tables)
    if not len(ends.down_set):
        return None
    latency_s, bottleneck_s = ends.values[:, LATENCY], ends.values[:, LOADS]
    energy_j = goal.energy_j(latency_s, ends.values[:, ENERGY], bottleneck_s)
    scores = goal.score(latency_s, energy_j, bottleneck_s)
    equal = np.flatnonzero(scores <= scores.min() + abs(scores.min()) * ROUNDING)
    if goal.bottleneck_per_s > 0:
        equal = equal[latency_s[equal] <= latency_s[equal].min() * (1 + ROUNDING)]
    return min((_trace(problem, search, tables, ends, int(end)) for end in equal), key=lambda x: x.placement)


def front_partitions(problem: Problem, situation: Situation, goal: Goal, known: Front) -> list[Partition]:
    """The partitions that neither another nor a known point beats in both latency and energy, by rising latency.

    Args:
        problem: The problem.
        situation: State of links and devices.
        goal: Says the boundary and the deadline.
        known: Points that feasible plans are known to reach; may be empty.
    """
    search = _prepare(problem, situation, goal, np.inf, known)
    tables = _run(problem, search)
    ends = _ends(search, tables)
    latency_s = ends.values[:, LATENCY]
    energy_j = goal.energy_j(latency_s, ends.values[:, ENERGY], ends.values[:, LOADS])
    return [_trace(problem, search, tables, ends, int(end)) for end in front_of(latency_s, energy_j)]


def nondominated(keys: np.ndarray) -> np.ndarray:
    """Positions of the rows that no other row undercuts or equals in every column (one of equal rows stays).

    Args:
        keys: What is to be small, shape [m, q].
    """
    order = np.lexsort(keys.T[::-1])
    if keys.shape[1] == 1 or len(keys) < 2:
        return order[:1]
    if keys.shape[1] == 2:
        second = keys[order, 1]
        before = np.concatenate(([np.inf], np.minimum.accumulate(second)[:-1]))
        return np.asarray(order[second < before])
    kept: list[int] = []
    while len(order):
        kept.append(int(order[0]))
        order = order[(keys[order] < keys[order[0]]).any(axis=1)]
    return np.array(kept, dtype=np.int64)


def _prepare(problem: Problem, situation: Situation, goal: Goal, limit: float, known: Front | None) -> Search:
    dead = dead_of(problem, situation)
    latency = costs_of(problem, latency_terms(problem, situation), dead)
    ahead, constant = np.zeros_like(latency.run), 0.0
    if not goal.bottleneck_per_s:
        terms = (score_terms if known is None else energy_terms)(problem, situation, goal)
        costs = costs_of(problem, terms, dead)
        ahead, constant = solve(costs).ahead, costs.constant
    return Search(
        goal=goal,
        known=known,
        latency=latency,
        energy=costs_of(problem, active_terms(problem, situation, goal), dead),
        loads=loads_of(problem, situation),
        ahead_s=solve(latency).ahead,
        ahead=ahead,
        constant=constant,
        limit=limit + abs(limit) * _SLACK,
    )


def _run(problem: Problem, search: Search) -> list[Labels]:
    """The labels with their last stage on each device."""
    tables: list[Labels] = []
    for device in range(problem.n_devices):
        tables.append(_stage(problem, search, _arrivals(problem, search, tables, device), device))
    return tables


def _arrivals(problem: Problem, search: Search, tables: list[Labels], device: int) -> Labels:
    """All ways to the start of a stage on a device, less the cost there of the layers that have run elsewhere."""
    space, loads = search.loads.space, search.loads
    parts: list[Labels] = []
    for before in range(device):
        if space.skippable[before + 1 : device].all():
            unfinished = np.flatnonzero(tables[before].down_set < len(space.lattice) - 1)
            part = tables[before].take(unfinished)
            held = part.down_set
            for column, costs in ((LATENCY, search.latency), (ENERGY, search.energy)):
                part.values[:, column] += (
                    costs.hop[before, device, held] + costs.visit[device] - costs.run[device, held]
                )
            loads.carry(part.values[:, LOADS:], loads.moves[before, device], space.lattice.cut_bytes[held])
            parts.append(part._replace(device=np.full(len(held), before), parent=unfinished))
    if space.skippable[:device].all():
        values = np.zeros((1, LOADS + 1 + len(loads.shared)))
        for column, costs in ((LATENCY, search.latency), (ENERGY, search.energy)):
            values[0, column] = costs.enter[device] + costs.visit[device]
        if device > 0:
            loads.carry(values[:, LOADS:], loads.moves[0, device], problem.graph.input_bytes)
        nothing = np.zeros(1, dtype=np.int64)
        parts.append(Labels(nothing, values, nothing - 1, nothing))
    joined = Labels(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    return joined.take(np.isfinite(joined.values[:, LATENCY]))


def _stage(problem: Problem, search: Search, arrivals: Labels, device: int) -> Labels:
    """Run the stage of a device up to every down-set, and keep the labels that no other makes useless."""
    space, loads = search.loads.space, search.loads
    last = len(space.lattice) - 1
    received_bytes = space.lattice.cut_bytes[arrivals.down_set] if device > 0 else np.zeros(len(arrivals.down_set))
    begun_s = loads.arrive_s(device, arrivals.down_set, received_bytes)
    ends = np.flatnonzero(space.allowed[device])
    parts: list[Labels] = []
    for down_set in ends[ends > 0] if device < problem.n_devices - 1 else ends[ends == last]:
        below = space.lattice.within(arrivals.down_set, np.array([down_set]))[:, 0]
        below &= (arrivals.down_set != down_set) & space.fits(device, arrivals.down_set, down_set)
        part = arrivals.take(below)
        values = part.values
        values[:, LATENCY] += search.latency.run[device, down_set]
        values[:, ENERGY] += search.energy.run[device, down_set]
        np.maximum(values[:, LOADS], begun_s[below] + loads.leave_s(device, down_set), out=values[:, LOADS])
        hopeful = np.flatnonzero(~search.hopeless(values, device, int(down_set)))
        if down_set == last:
            values[:, LATENCY] += search.latency.answer[device]
            values[:, ENERGY] += search.energy.answer[device]
            loads.carry(values[:, LOADS:], loads.answers[device], problem.graph.output_bytes)
        if len(hopeful):
            kept = hopeful[nondominated(search.keys(values[hopeful]))]
            parts.append(part.take(kept)._replace(down_set=np.full(len(kept), down_set)))
    if not parts:
        return arrivals.take(np.zeros(0, dtype=np.int64))
    return Labels(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _ends(search: Search, tables: list[Labels]) -> Labels:
    """The labels of whole plans; their `device` and `parent` name the label itself."""
    last = len(search.loads.space.lattice) - 1
    parts = []
    for device, table in enumerate(tables):
        whole = np.flatnonzero(table.down_set == last)
        parts.append(table.take(whole)._replace(device=np.full(len(whole), device), parent=whole))
    return Labels(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _trace(problem: Problem, search: Search, tables: list[Labels], ends: Labels, end: int) -> Partition:
    """Read a plan off its labels, from the last stage to the first."""
    member = search.loads.space.lattice.member
    placement = np.zeros(problem.n_layers, dtype=np.int64)
    device, label = int(ends.device[end]), int(ends.parent[end])
    while device >= 0:
        table = tables[device]
        placement[member[table.down_set[label]]] = device
        device, label = int(table.device[label]), int(table.parent[label])
    return Partition(tuple(placement.tolist()), problem.n_devices)
