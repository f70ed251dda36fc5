"""Exact search for up to three devices: every plan at once, or in blocks, the most promising first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np

from twin.goals import ROUNDING, Plan
from twin.ledger import ENERGY, LATENCY, STATIONS, Ledger, ledger_of
from twin.partition import Partition
from twin.space import space_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twin.goals import Goal
    from twin.problem import Problem
    from twin.space import Situation, Space

MAX_DEVICES = 3
MAX_CELLS = 400_000
"""Number of pairs of down-sets up to which all plans are weighed at once."""
_FIRST_BLOCK, _BLOCK_CELLS = 16, 1_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Some choices of D0 with all choices of D1: r rows by C columns of plans.

    Attributes:
        rows: Positions in `Ledger.rows`, shape [r], or a slice for all of them.
        shape: r and C.
        empty_at: Where the middle stage is empty, as positions in the flattened block, shape [x].
        empty: Where the quantities of those plans stand in `Ledger.uses`, shape [x].
        penalty: 0 where a plan meets the constraints that always stand, infinity elsewhere, shape [r, C].
    """

    rows: np.ndarray | slice
    shape: tuple[int, int]
    empty_at: np.ndarray
    empty: np.ndarray
    penalty: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Every plan of a problem with at most three devices, before any conditions are known.

    Attributes:
        ledger: What the plans use.
        space: The down-sets that they are made of.
        whole: All plans as one block, or None where they are too many.
    """

    ledger: Ledger
    space: Space
    whole: Block | None


_TABLES: WeakKeyDictionary[Problem, Table] = WeakKeyDictionary()


def table_of(problem: Problem) -> Table:
    """Return the table of `problem` (at most `MAX_DEVICES` devices), made once."""
    table = _TABLES.get(problem)
    if table is None:
        space = space_of(problem)
        ledger = ledger_of(problem, space)
        small = len(ledger.rows) * len(ledger.columns) <= MAX_CELLS
        whole = _block(space, ledger, np.arange(len(ledger.rows))) if small else None
        table = _TABLES[problem] = Table(ledger, space, whole)
    return table


def is_small(problem: Problem) -> bool:
    """Whether all plans of a problem can be weighed at once."""
    return problem.n_devices <= MAX_DEVICES and table_of(problem).whole is not None


class Weighed:
    """The plans of a table under given conditions, ready to be looked at block by block."""

    def __init__(self, problem: Problem, situation: Situation, goal: Goal) -> None:
        self.table = table_of(problem)
        self.goal = goal
        self.n_devices = problem.n_devices
        self.knows_energy = not np.isnan(problem.power_w).any()
        self.values = self.table.ledger.price(situation, goal.boundary)

    def blocks(self, order: np.ndarray | None = None) -> Iterator[Block]:
        """The whole table, or blocks of rows in the given order, small ones first.

        Args:
            order: Positions in `Ledger.rows`; None for all.
        """
        if order is None and self.table.whole is not None:
            yield self.table.whole
            return
        ledger = self.table.ledger
        rows = np.arange(len(ledger.rows)) if order is None else order
        largest = max(_BLOCK_CELLS // len(ledger.columns), 1)
        start, length = 0, min(_FIRST_BLOCK, largest)
        while start < len(rows):
            yield _block(self.table.space, ledger, rows[start : start + length])
            start += length
            length = min(2 * length, largest)

    def quantity(self, block: Block, row: int) -> np.ndarray:
        """One quantity of every plan of a block, shape [r, C]."""
        rows, columns, empty = self._parts(self.values[row], block)
        total = np.add.outer(rows, columns)
        total.reshape(-1)[block.empty_at] = empty
        return total

    def bottleneck_s(self, block: Block) -> np.ndarray:
        """The largest time that any station is held by each plan of a block, shape [r, C]."""
        ledger = self.table.ledger
        by_row, _, _ = self._parts(self.values[ledger.row_stations].max(axis=0, initial=0.0), block)
        _, by_column, _ = self._parts(self.values[ledger.column_stations].max(axis=0, initial=0.0), block)
        largest = np.maximum.outer(by_row, by_column)
        for values in self.values[ledger.mixed_stations]:
            rows, columns, _ = self._parts(values, block)
            np.maximum(largest, np.add.outer(rows, columns), out=largest)
        _, _, empty = self._parts(self.values[ledger.row_stations.start :].max(axis=0, initial=0.0), block)
        largest.reshape(-1)[block.empty_at] = empty
        return largest

    def scores(self, block: Block) -> np.ndarray:
        """Score of every plan of a block, infinite where it is excluded, shape [r, C]."""
        goal = self.goal
        latency_s = self.quantity(block, LATENCY)
        bottleneck_s = self.bottleneck_s(block) if goal.needs_bottleneck else latency_s
        energy_j = latency_s
        if goal.energy_per_j:
            energy_j = goal.energy_j(latency_s, self.quantity(block, ENERGY), bottleneck_s)
        scores = goal.score(latency_s, energy_j, bottleneck_s) + block.penalty
        scores[latency_s > goal.limit_s] = np.inf
        return scores

    def points(self, block: Block) -> tuple[np.ndarray, np.ndarray]:
        """Latency and energy of every plan of a block, infinite where it is excluded, shapes [r, C]."""
        latency_s = self.quantity(block, LATENCY)
        energy_j = self.quantity(block, ENERGY)
        if self.goal.idle_w:
            energy_j = self.goal.energy_j(latency_s, energy_j, self.bottleneck_s(block))
        excluded = (latency_s > self.goal.limit_s) | (block.penalty > 0)
        latency_s[excluded] = np.inf
        energy_j[excluded] = np.inf
        return latency_s, energy_j

    def first(self, block: Block, cells: np.ndarray) -> int:
        """The cell (a position in the flattened block) whose placement is lexicographically lowest."""
        if len(cells) == 1:
            return int(cells[0])
        placements = self._placements(block, cells)
        return int(cells[np.lexsort(placements.T[::-1])[0]])

    def plan(self, block: Block, cell: int) -> Plan:
        """The plan at a cell that is not excluded."""
        goal = self.goal
        row, column = divmod(cell, block.shape[1])
        at_empty = np.flatnonzero(block.empty_at == cell)
        values = (
            self.values[:, block.empty[at_empty[0]]]
            if len(at_empty)
            else self._rows(self.values, block)[:, row] + self.values[:, len(self.table.ledger.rows) + column]
        )
        latency_s, active_j, bottleneck_s = (
            float(values[LATENCY]),
            float(values[ENERGY]),
            float(values[STATIONS:].max(initial=0.0)),
        )
        energy_j = float(goal.energy_j(latency_s, active_j, bottleneck_s))
        placement = self._placements(block, np.array([cell]))[0]
        return Plan(
            Partition(tuple(placement.tolist()), self.n_devices),
            float(goal.score(latency_s, energy_j, bottleneck_s)),
            latency_s,
            energy_j if self.knows_energy else None,
            bottleneck_s,
        )

    def _placements(self, block: Block, cells: np.ndarray) -> np.ndarray:
        """Device of each layer in each of some plans, shape [len(cells), N]."""
        ledger, member = self.table.ledger, self.table.space.lattice.member
        rows, columns = np.divmod(cells, block.shape[1])
        before, after = ledger.rows[block.rows][rows], ledger.columns[columns]
        return MAX_DEVICES - 1 - member[before].astype(np.int64) - member[after]

    def _parts(self, values: np.ndarray, block: Block) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        n_rows, n_columns = len(self.table.ledger.rows), len(self.table.ledger.columns)
        return self._rows(values, block), values[n_rows : n_rows + n_columns], values[block.empty]

    def _rows(self, values: np.ndarray, block: Block) -> np.ndarray:
        return values[..., : len(self.table.ledger.rows)][..., block.rows]


def best_plans(
    weighed: Weighed, n: int, order: np.ndarray | None = None, bounds: np.ndarray | None = None
) -> list[Plan]:
    """The n plans with the lowest scores, the best first; fewer if fewer are possible.

    Args:
        weighed: The plans.
        n: How many plans.
        order: Rows to look at, in this order; None for all.
        bounds: For each entry of `order`, in increasing order, a score that no plan of its row undercuts: where the
            n-th best so far is lower, the search ends.
    """
    found: list[Plan] = []
    seen = 0
    for block in weighed.blocks(order):
        if bounds is not None and len(found) == n and bounds[seen] > found[-1].score * (1 + ROUNDING):
            break
        seen += block.shape[0]
        found = sorted(found + _best_of(weighed, block, n), key=_rank)[:n]
    return found


def _rank(plan: Plan) -> tuple[float, tuple[int, ...]]:
    """Order of plans: scores that only rounding tells apart are equal."""
    return float(f"{plan.score:.11e}"), plan.partition.placement


def _best_of(weighed: Weighed, block: Block, n: int) -> list[Plan]:
    scores = weighed.scores(block).reshape(-1)
    if n == 1:
        lowest = scores[scores.argmin()]
        if not np.isfinite(lowest):
            return []
        cells = np.flatnonzero(scores <= lowest + abs(lowest) * ROUNDING)
        return [weighed.plan(block, weighed.first(block, _fastest(weighed, block, cells)))]
    cells = np.arange(len(scores)) if len(scores) <= n else np.argpartition(scores, n - 1)[:n]
    return [weighed.plan(block, int(cell)) for cell in cells if np.isfinite(scores[cell])]


def _fastest(weighed: Weighed, block: Block, cells: np.ndarray) -> np.ndarray:
    """Where the throughput is the goal, those of equal plans that have the least latency."""
    if not weighed.goal.bottleneck_per_s or len(cells) == 1:
        return cells
    latency_s = weighed.quantity(block, LATENCY).reshape(-1)[cells]
    return cells[latency_s <= latency_s.min() * (1 + ROUNDING)]


def _block(space: Space, ledger: Ledger, rows: np.ndarray) -> Block:
    before, after = ledger.rows[rows], ledger.columns
    n_devices = len(space.memory_bytes)
    inside = space.lattice.within(before, after)
    allowed = inside & (before[:, None] != after[None, :])
    if n_devices > 1:
        allowed &= space.fits(1, before[:, None], after[None, :])
    row_at, column_at = ledger.diagonal
    here = np.flatnonzero(np.isin(row_at, rows))
    place = np.full(len(ledger.rows), -1)
    place[rows] = np.arange(len(rows))
    empty_at = place[row_at[here]] * len(after) + column_at[here]
    allowed.reshape(-1)[empty_at] = True
    nothing, everything = 0, len(space.lattice) - 1
    allowed &= (space.allowed[0, before] & ((before == nothing) | space.fits(0, nothing, before)))[:, None]
    if n_devices > 1:
        allowed &= space.allowed[1, after]
    if n_devices > 2:
        allowed &= (after == everything) | space.fits(2, after, everything)
    return Block(
        rows=slice(None) if len(rows) == len(ledger.rows) and np.array_equal(rows, np.arange(len(rows))) else rows,
        shape=(len(rows), len(after)),
        empty_at=empty_at,
        empty=len(ledger.rows) + len(after) + here,
        penalty=np.where(allowed, 0.0, np.inf),
    )
