"""All plans for up to three devices as a table: which there are, and which the constraints exclude."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np

from twin.search.ledger import Ledger, ledger_of
from twin.search.space import space_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twin.partition import Partition
    from twin.problem import Problem
    from twin.search.space import Space

MAX_DEVICES = 3
MAX_CELLS = 400_000
"""Number of pairs of down-sets up to which all plans are weighed at once."""
_FIRST_BLOCK, _BLOCK_CELLS = 16, 1_000_000
"""Rows of the first block of a large table, and cells of the largest."""


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
        partitions: Those that were asked for, by row and column.
    """

    ledger: Ledger
    space: Space
    whole: Block | None
    partitions: dict[tuple[int, int], Partition] = field(default_factory=dict)

    def blocks(self, order: np.ndarray | None = None) -> Iterator[Block]:
        """The whole table, or blocks of rows in the given order, small ones first.

        Args:
            order: Positions in `Ledger.rows`; None for all.
        """
        if order is None and self.whole is not None:
            yield self.whole
            return
        rows = np.arange(len(self.ledger.rows)) if order is None else order
        largest = max(_BLOCK_CELLS // len(self.ledger.columns), 1)
        start, length = 0, min(_FIRST_BLOCK, largest)
        while start < len(rows):
            yield _block(self.space, self.ledger, rows[start : start + length])
            start += length
            length = min(2 * length, largest)


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
