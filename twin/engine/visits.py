"""Visits as rows of numbers -> the spans of a run of the events engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from twin.energy import busy_s
from twin.records import Kind, Spans

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from twin.problem import Problem

N_NUMBERS = 6
"""Numbers that are noted of a visit."""


@dataclass(frozen=True, slots=True)
class VisitRows:
    """Makes the spans of one replication from the rows of its visits.

    Attributes:
        blocks: Rows, each of shape [n, 6]; see `SpanColumns.visited`.
        holds: Request, epoch, start and end of each stretch of being held back, shape [n, 4].
        stops: Epoch, place, bytes and whether it is a message, for each stop, shape [n_stops, 4].
        replication: Number of the replication.
        until_s: When the run ended.
    """

    blocks: tuple[np.ndarray, ...]
    holds: np.ndarray
    stops: np.ndarray
    replication: int
    until_s: float

    @property
    def most_rows(self) -> int:
        """Spans at most."""
        return 3 * sum(map(len, self.blocks)) + len(self.holds)

    @property
    def last_s(self) -> float:
        """When the last span ends."""
        columns = [self.holds[:, 3], *(block[:, column] for block in self.blocks for column in (4, 5))]
        return min(max((float(np.fmax.reduce(x, initial=0.0)) for x in columns), default=0.0), self.until_s)

    def busy_s(self, problem: Problem, edges_s: np.ndarray) -> np.ndarray:
        """Seconds of computing, transmitting and receiving, as `energy.busy_s` gives them."""
        seconds = np.zeros((problem.n_devices, 3, len(edges_s) - 1))
        for block in self.blocks:
            place = self.stops[block[:, 1].astype(np.int64), 1].astype(np.int64)
            served = block[:, 4] > block[:, 3]
            start_s, end_s = block[served, 3], np.minimum(block[served, 4], self.until_s)
            seconds += busy_s(problem, place[served], start_s, end_s, edges_s)
        return seconds

    def parts(self) -> Iterator[Spans]:
        """Make the spans, block by block."""
        n, (request, epoch, start_s, end_s) = len(self.holds), self.holds.T
        nothing = np.zeros(n)
        yield self._table([(np.full(n, Kind.HOLD), request, epoch, nothing, nothing, start_s, end_s)])
        for block in self.blocks:
            yield self._table(self._spans(block))

    def _spans(self, block: np.ndarray) -> list[tuple[np.ndarray, ...]]:
        """Columns of the waits, the services and the delays of some visits."""
        request, stop, arrived_s, start_s, done_s, there_s = block.T
        stop = stop.astype(np.int64)
        epoch, place, size_bytes, is_message = self.stops.T
        moves = is_message[stop] > 0
        parts: list[tuple[np.ndarray, ...]] = []
        for kind, own, from_s, to_s in (
            (np.full(len(block), Kind.QUEUE), start_s > arrived_s, arrived_s, np.minimum(start_s, done_s)),
            (np.where(moves, Kind.TRANSMIT, Kind.COMPUTE), done_s > start_s, start_s, done_s),
            (np.full(len(block), Kind.PROPAGATE), moves & ~np.isnan(there_s), done_s, there_s),
        ):
            at = stop[own]
            sent = np.where(kind[own] == Kind.TRANSMIT, size_bytes[at], 0.0)
            parts.append((kind[own], request[own], epoch[at], place[at], sent, from_s[own], to_s[own]))
        return parts

    def _table(self, parts: Sequence[tuple[np.ndarray, ...]]) -> Spans:
        kind, request, epoch, place, size_bytes, start_s, end_s = map(np.concatenate, zip(*parts, strict=True))
        return Spans(
            np.full(len(kind), self.replication, dtype=np.int32),
            request.astype(np.int64),
            epoch.astype(np.int32),
            kind.astype(np.int8),
            place.astype(np.int32),
            start_s,
            np.minimum(end_s, self.until_s),
            size_bytes,
        )
