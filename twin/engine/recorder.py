"""Spans of a simulated run, as columns that grow while it is played."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from twin.engine.visits import N_NUMBERS, VisitRows

if TYPE_CHECKING:
    from collections.abc import Callable

    from twin.engine.plan import Visit

_PACK = N_NUMBERS << 14
"""Numbers from which on they go to an array, where they take a fifth of the room."""


class SpanColumns:
    """The spans of one replication, kept as one row of numbers per visit.

    Attributes:
        visited: Notes a visit: request, number of the stop, when it came, when its service started and ended, and when
            a message was there (NaN if it never was).
    """

    def __init__(self) -> None:
        self._rows: list[float] = []
        self.visited: Callable[[tuple[float, ...]], None] = self._rows.extend
        self._blocks: list[np.ndarray] = []
        self._holds: list[tuple[int, int, float, float]] = []
        self._stops: list[tuple[float, ...]] = []

    def number(self, visit: Visit, epoch: int) -> int:
        """Number a stop."""
        self._stops.append((epoch, visit.place, visit.size_bytes, visit.device < 0))
        return len(self._stops) - 1

    def held(self, request: int, epoch: int, start_s: float, end_s: float) -> None:
        """Note that a request was held back."""
        self._holds.append((request, epoch, start_s, end_s))

    def pack(self) -> None:
        """Move rows that are many from a list into an array."""
        if len(self._rows) >= _PACK:
            self._blocks.append(_block(self._rows))
            self._rows.clear()

    def visits(self, replication: int, until_s: float) -> VisitRows:
        """All rows; no span will end later than `until_s`."""
        blocks = (*self._blocks, _block(self._rows))
        holds = np.array(self._holds, dtype=np.float64).reshape(-1, 4)
        stops = np.array(self._stops, dtype=np.float64).reshape(-1, 4)
        return VisitRows(blocks, holds, stops, replication, until_s)


def _block(rows: list[float]) -> np.ndarray:
    return np.fromiter(rows, np.float64, len(rows)).reshape(-1, N_NUMBERS)
