"""Visits in columns -> the spans of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from twin.records import PROBE, Kind, Spans

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twin.engine.batches import Batch, Flags, Floats, Ints
    from twin.engine.history import History
    from twin.engine.routes import Routes

_PART = 1 << 19
"""Rows that are made at a time."""


class End(NamedTuple):
    """How a run ended.

    Attributes:
        time_s: When it ended; what was under way is cut off here.
        by_clock: Whether no request ended it, so that what a probe does at this very time comes after it.
    """

    time_s: float
    by_clock: bool


class Hold(NamedTuple):
    """Requests that are held back; arrays of shape [n].

    Attributes:
        epoch: Plan epoch in force.
        request: Their numbers.
        start_s: From when on.
        end_s: Until when.
    """

    epoch: int
    request: Ints
    start_s: Floats
    end_s: float


@dataclass(frozen=True, slots=True)
class VisitSpans:
    """Makes the spans of a run: what each request, probe and hold spent its time on, cut off at the end of the run.

    A visit is a wait, unless there was none; its service; and, for a message, its delay.

    Attributes:
        history: The visits.
        holds: Requests that were held back.
        routes: The legs.
        n_devices: Number of devices.
        replication: Number of the replication.
        end: How the run ended.
    """

    history: History
    holds: tuple[Hold, ...]
    routes: Routes
    n_devices: int
    replication: int
    end: End

    @property
    def most_rows(self) -> int:
        """Spans at most."""
        return 3 * self.history.n_visits + sum(len(hold.request) for hold in self.holds)

    @property
    def last_s(self) -> float:
        """When the last span ends."""
        last_s = max((hold.end_s for hold in self.holds), default=0.0)
        return min(max(last_s, self.history.last_s), self.end.time_s)

    def parts(self) -> Iterator[Spans]:
        """Make the spans, some at a time."""
        rows = _Rows()
        for hold in self.holds:
            until_s = np.minimum(hold.end_s, self.end.time_s)
            rows.add(hold.request, hold.epoch, Kind.HOLD, 0, hold.start_s, until_s, 0.0)
        for batch in self.history.batches():
            if rows.n_rows >= _PART:
                yield rows.table(self.replication)
                rows = _Rows()
            _visits(rows, batch, self.routes, self.n_devices, self.end)
        yield rows.table(self.replication)


class _Rows:
    """Spans by column; what is the same for many rows is kept as one number until the end."""

    def __init__(self) -> None:
        self.n_rows = 0
        self._n: list[int] = []
        self._columns: tuple[list[np.ndarray | float], ...] = tuple([] for _ in range(7))

    def add(self, request: Ints, *others: np.ndarray | float) -> None:
        """Add rows: request, epoch, kind, place, start, end, bytes."""
        if len(request):
            self.n_rows += len(request)
            self._n.append(len(request))
            for column, values in zip(self._columns, (request, *others), strict=True):
                column.append(values)

    def table(self, replication: int) -> Spans:
        """The rows as a table."""
        total = sum(self._n)
        dtypes = (np.int64, np.int32, np.int8, np.int32, np.float64, np.float64, np.float64)
        filled = [self._filled(column, total, dtype) for column, dtype in zip(self._columns, dtypes, strict=True)]
        return Spans(np.full(total, replication, dtype=np.int32), *filled)

    def _filled(self, column: list[np.ndarray | float], total: int, dtype: type) -> np.ndarray:
        values: np.ndarray = np.empty(total, dtype=dtype)
        first = 0
        for n, part in zip(self._n, column, strict=True):
            values[first : first + n] = part
            first += n
        column.clear()
        return values


def _visits(rows: _Rows, batch: Batch, routes: Routes, n_devices: int, end: End) -> None:
    """Add the spans of one batch."""
    is_message = batch.station >= n_devices
    start_s, finish_s, legs = batch.start_s, batch.finish_s, _Legs(batch, routes)
    until_s = finish_s if finish_s[-1] <= end.time_s else np.minimum(finish_s, end.time_s)
    wait_until_s = start_s if until_s is finish_s else np.minimum(start_s, until_s)
    _add(rows, legs, start_s > batch.arrived_s, Kind.QUEUE, batch.arrived_s, wait_until_s)
    kind = Kind.TRANSMIT if is_message else Kind.COMPUTE
    _add(rows, legs, until_s > start_s, kind, start_s, until_s, moves=True)
    if is_message:
        leave_s = batch.leave_s if batch.leave_s.max() <= end.time_s else np.minimum(batch.leave_s, end.time_s)
        _add(rows, legs, _delayed(batch, end), Kind.PROPAGATE, finish_s, leave_s)


class _Legs:
    """Request, epoch, place and bytes of each visit, the last three one number where they are the same for all."""

    def __init__(self, batch: Batch, routes: Routes) -> None:
        self.request = batch.request
        self.epoch, self.place, self.size_bytes = (
            column[batch.leg] for column in (routes.epoch, routes.place, routes.size_bytes)
        )

    def of(self, column: np.ndarray, mask: Flags) -> np.ndarray:
        """A column where the mask is true."""
        return column if np.ndim(column) == 0 else column[mask]


def _add(
    rows: _Rows, legs: _Legs, mask: Flags, kind: Kind, from_s: Floats, to_s: Floats, *, moves: bool = False
) -> None:
    """Add the spans of the visits for which the mask is true."""
    if mask.all():
        rows.add(legs.request, legs.epoch, kind, legs.place, from_s, to_s, legs.size_bytes if moves else 0.0)
    elif mask.any():
        size_bytes = legs.of(legs.size_bytes, mask) if moves else 0.0
        epoch, place = legs.of(legs.epoch, mask), legs.of(legs.place, mask)
        rows.add(legs.request[mask], epoch, kind, place, from_s[mask], to_s[mask], size_bytes)


def _delayed(batch: Batch, end: End) -> Flags:
    """Messages of which a delay is to be recorded, be it of no length."""
    gone = batch.leave_s <= end.time_s
    if end.by_clock:
        gone &= (batch.leave_s < end.time_s) | (batch.request != PROBE)
    return gone | (batch.finish_s < end.time_s)
