"""Exact search for up to three devices: every plan at once, or in blocks, the most promising first."""

from __future__ import annotations

import threading
from copy import copy
from typing import TYPE_CHECKING

import numpy as np

from twin.partition import Partition
from twin.search.goals import ROUNDING, Plan
from twin.search.ledger import ENERGY, LATENCY, STATIONS
from twin.search.plans import MAX_CELLS, MAX_DEVICES, Block, table_of

if TYPE_CHECKING:
    from twin.problem import Problem
    from twin.search.goals import Goal
    from twin.search.space import Situation


_MOST_PARTITIONS = 4096
"""Partitions of a problem that are kept."""


class _Room(threading.local):
    """Memory that the searches of a thread use again: fresh pages would cost more than the sums that fill them."""

    def __init__(self) -> None:
        self._buffers: dict[str, np.ndarray] = {}

    def take(self, purpose: str, shape: tuple[int, int]) -> np.ndarray:
        """An array with any content, good until the next call for the same purpose."""
        size = shape[0] * shape[1]
        if size > MAX_CELLS:
            return np.empty(shape)
        buffer = self._buffers.get(purpose)
        if buffer is None or len(buffer) < size:
            buffer = self._buffers[purpose] = np.empty(size)
        return buffer[:size].reshape(shape)


_ROOM = _Room()


class Weighed:
    """The plans of a table under given conditions.

    What its methods return for a block is good until the next call: the memory is used again.

    Attributes:
        table: The plans.
        goal: What is minimised.
        values: Every quantity of each part of the plans (`Ledger.price`).
    """

    def __init__(self, problem: Problem, situation: Situation, goal: Goal) -> None:
        self.table = table_of(problem)
        self.goal = goal
        self.values = self.table.ledger.price(situation, goal.boundary)
        self._n_devices = problem.n_devices
        self._n_rows = len(self.table.ledger.rows)
        self._n_parts = self._n_rows + len(self.table.ledger.columns)
        self._knows_energy = not np.isnan(problem.power_w).any()
        rates_bps = situation.conditions.rate_bps
        all_work = rates_bps.min(initial=np.inf) > 0 and bool(situation.device_up.all())
        self._excludes = not all_work or np.isfinite(goal.deadline_s)

    def aimed_at(self, goal: Goal) -> Weighed:
        """The same plans for another goal with the same constraints and the same joules."""
        other = copy(self)
        other.goal = goal
        return other

    def scores(self, block: Block) -> np.ndarray:
        """Score of every plan of a block, infinite where it is excluded, shape [r, C].

        The same as `Goal.score` of every plan; what is a sum is summed before rows meet columns.
        """
        goal, values = self.goal, self.values
        if goal.bottleneck_per_s > 0:
            scores = self._bottleneck_s(block)
            scores *= goal.bottleneck_per_s
        else:
            sums = goal.latency_per_s * values[LATENCY] + goal.energy_per_j * values[ENERGY]
            scores = self._spread(sums, block, "sums")
            if goal.needs_bottleneck:
                idle = self._idle_share_s(block)
                idle *= goal.energy_per_j * goal.idle_w
                scores += idle
        scores += block.penalty
        if self._excludes:
            np.putmask(scores, self._spread(values[LATENCY], block) > goal.limit_s, np.inf)
        return scores

    def points(self, block: Block) -> tuple[np.ndarray, np.ndarray]:
        """Latency and energy of every plan of a block, infinite where it is excluded, shape [r, C] each."""
        energy_j = self._spread(self.values[ENERGY], block, "sums")
        if self.goal.idle_w > 0:
            idle = self._idle_share_s(block)
            idle *= self.goal.idle_w
            energy_j += idle
        latency_s = self._spread(self.values[LATENCY], block)
        excluded = (latency_s > self.goal.limit_s) | (block.penalty > 0)
        latency_s[excluded] = np.inf
        energy_j[excluded] = np.inf
        return latency_s, energy_j

    def fastest(self, block: Block, cells: np.ndarray) -> np.ndarray:
        """Those of some cells (positions in the flattened block) that have the least latency."""
        latency_s = self._spread(self.values[LATENCY], block).reshape(-1)[cells]
        least: np.ndarray = cells[latency_s <= latency_s.min() * (1 + ROUNDING)]
        return least

    def first(self, block: Block, cells: np.ndarray) -> int:
        """The one of some cells whose placement is lexicographically lowest."""
        if len(cells) == 1:
            return int(cells[0])
        placements = self._placements(block, cells)
        return int(cells[np.lexsort(placements.T[::-1])[0]])

    def plans(self, block: Block, cells: np.ndarray) -> list[Plan]:
        """The plans at some cells that are not excluded."""
        goal = self.goal
        rows, columns = np.divmod(cells, block.shape[1])
        values = self._rows(self.values, block)[:, rows] + self.values[:, self._n_rows + columns]
        is_empty = block.empty_at[:, None] == cells
        at = np.flatnonzero(is_empty.any(axis=0))
        if len(at):
            values[:, at] = self.values[:, block.empty[is_empty[:, at].argmax(axis=0)]]
        latency_s = values[LATENCY]
        bottleneck_s = values[STATIONS:].max(axis=0, initial=0.0)
        energy_j = goal.energy_j(latency_s, values[ENERGY], bottleneck_s)
        scores = goal.score(latency_s, energy_j, bottleneck_s)
        columns_of = (x.tolist() for x in (scores, latency_s, energy_j, bottleneck_s))
        return [
            Plan(partition, score, latency, joules if self._knows_energy else None, held)
            for partition, score, latency, joules, held in zip(self._partitions(block, cells), *columns_of, strict=True)
        ]

    def _partitions(self, block: Block, cells: np.ndarray) -> list[Partition]:
        """The partitions at some cells; each is made once for a problem."""
        known = self.table.partitions
        rows, columns = np.divmod(cells, block.shape[1])
        if not isinstance(block.rows, slice):
            rows = block.rows[rows]
        keys = list(zip(rows.tolist(), columns.tolist(), strict=True))
        found = [known.get(key) for key in keys]
        new = [at for at, partition in enumerate(found) if partition is None]
        if new and len(known) > _MOST_PARTITIONS:
            known.clear()
        placements = self._placements(block, cells[new]).tolist() if new else []
        for at, placement in zip(new, placements, strict=True):
            found[at] = known[keys[at]] = Partition(tuple(placement), self._n_devices)
        return [partition for partition in found if partition is not None]

    def _idle_share_s(self, block: Block) -> np.ndarray:
        """One request's share of the time (see `Goal`), shape [r, C]."""
        goal, share_s = self.goal, self._bottleneck_s(block)
        if goal.idle_per_latency == 0:
            np.maximum(share_s, goal.idle_s, out=share_s)
        else:
            free_s = self._spread(goal.idle_per_latency * self.values[LATENCY], block)
            free_s += goal.idle_s
            np.maximum(share_s, free_s, out=share_s)
        return share_s

    def _bottleneck_s(self, block: Block) -> np.ndarray:
        """The largest time that any station is held by each plan of a block, shape [r, C]."""
        ledger, values = self.table.ledger, self.values
        by_row = self._rows(values[ledger.row_stations].max(axis=0, initial=0.0), block)
        by_column = values[ledger.column_stations].max(axis=0, initial=0.0)[self._n_rows : self._n_parts]
        largest: np.ndarray = _ROOM.take("loads", block.shape)
        np.maximum.outer(by_row, by_column, out=largest)
        for station in values[ledger.mixed_stations]:
            np.maximum(largest, self._spread(station, block), out=largest)
        largest.reshape(-1)[block.empty_at] = values[STATIONS:, block.empty].max(axis=0, initial=0.0)
        return largest

    def _spread(self, values: np.ndarray, block: Block, purpose: str = "other") -> np.ndarray:
        """One quantity of every plan of a block, from that of its parts, shape [r, C]."""
        total: np.ndarray = _ROOM.take(purpose, block.shape)
        np.add.outer(self._rows(values, block), values[self._n_rows : self._n_parts], out=total)
        total.reshape(-1)[block.empty_at] = values[block.empty]
        return total

    def _placements(self, block: Block, cells: np.ndarray) -> np.ndarray:
        """Device of each layer in each of some plans, shape [len(cells), N]."""
        ledger, member = self.table.ledger, self.table.space.lattice.member.view(np.int8)
        rows, columns = np.divmod(cells, block.shape[1])
        before, after = ledger.rows[block.rows][rows], ledger.columns[columns]
        placements: np.ndarray = MAX_DEVICES - 1 - member[before] - member[after]
        return placements

    def _rows(self, values: np.ndarray, block: Block) -> np.ndarray:
        rows: np.ndarray = values[..., : self._n_rows][..., block.rows]
        return rows


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
    throughput = weighed.goal.bottleneck_per_s > 0
    for block in weighed.table.blocks(order):
        if bounds is not None and len(found) == n and bounds[seen] > found[-1].score * (1 + ROUNDING):
            break
        seen += block.shape[0]
        found = sorted(found + _best_of(weighed, block, n), key=lambda plan: _rank(plan, throughput=throughput))[:n]
    return found


def _rank(plan: Plan, *, throughput: bool) -> tuple[float, float, tuple[int, ...]]:
    """Order of plans, in which scores (and latencies, for the throughput) that only rounding tells apart are equal."""
    latency_s = float(f"{plan.latency_s:.11e}") if throughput else 0.0
    return float(f"{plan.score:.11e}"), latency_s, plan.partition.placement


def _best_of(weighed: Weighed, block: Block, n: int) -> list[Plan]:
    """The n best plans of a block, of equally good ones at the head that which ties are broken for."""
    scores = weighed.scores(block).reshape(-1)
    lowest = scores[scores.argmin()]
    if not np.isfinite(lowest):
        return []
    equal = np.flatnonzero(scores <= lowest + abs(lowest) * ROUNDING)
    if weighed.goal.bottleneck_per_s > 0 and len(equal) > 1:
        equal = weighed.fastest(block, equal)
    first = weighed.first(block, equal)
    cells = np.array([first])
    if n > 1:
        others = np.argpartition(scores, n - 1)[:n] if n < len(scores) else np.arange(len(scores))
        cells = np.concatenate([cells, others[(others != first) & np.isfinite(scores[others])]])
    return weighed.plans(block, cells)
