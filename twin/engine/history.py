"""All visits of a run in as few bytes as they can be made from again: 20 a stage, 28 a message."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from twin.engine.batches import Batch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from twin.engine.batches import Floats, Ints

_MANY = 1 << 14
"""Visits that are worth arrays of their own."""


class History:
    """Keeps visits by station, in the order of service.

    Attributes:
        n_visits: How many there are.
        last_s: When the last of them leaves its station; infinite if one never does.
        stuck: Requests, some maybe twice, that can never be served to the end.

    Args:
        n_stations: Number of stations.
    """

    def __init__(self, n_stations: int) -> None:
        self.n_visits = 0
        self.last_s = 0.0
        self.stuck: list[Ints] = []
        self._free_s = [0.0] * n_stations
        self._kept: list[list[_Kept]] = [[] for _ in range(n_stations)]
        self._new: list[list[Batch]] = [[] for _ in range(n_stations)]
        self._n_new = [0] * n_stations

    def add(self, batch: Batch) -> None:
        """Keep the next visits of a station."""
        self.n_visits += len(batch)
        self.last_s = max(self.last_s, float(batch.leave_s.max()))
        if batch.finish_s[-1] == math.inf:
            self.stuck.append(batch.request[batch.finish_s == math.inf])
        station = batch.station
        self._new[station].append(batch)
        self._n_new[station] += len(batch)
        if self._n_new[station] >= _MANY:
            self._pack(station)

    def batches(self) -> Iterator[Batch]:
        """All visits, station by station; without the times of receipts, which nobody will ask for any more."""
        for station, kept in enumerate(self._kept):
            if self._new[station]:
                self._pack(station)
            for own in kept:
                yield own.batch(station)

    def _pack(self, station: int) -> None:
        """Move the newest visits of a station into as few arrays as possible."""
        batches, self._new[station], self._n_new[station] = self._new[station], [], 0
        leg = batches[0].leg
        if len(batches) > 1 or not isinstance(leg, int):
            legs = np.concatenate([batch.legs for batch in batches]).astype(np.int32)
            leg = int(legs[0]) if (legs == legs[0]).all() else legs
        request: Ints = _joined([batch.request for batch in batches])
        arrived_s, finish_s = (_joined([getattr(batch, x) for batch in batches]) for x in ("arrived_s", "finish_s"))
        moves = any(batch.leave_s is not batch.finish_s for batch in batches)
        leave_s = _joined([batch.leave_s for batch in batches]) if moves else finish_s
        self._kept[station].append(_Kept(leg, request, arrived_s, finish_s, leave_s, self._free_s[station]))
        self._free_s[station] = float(finish_s[-1])


class _Kept(NamedTuple):
    """Visits of one station; the columns of `Batch`, and when the server was free of those before."""

    leg: int | Ints
    request: Ints
    arrived_s: Floats
    finish_s: Floats
    leave_s: Floats
    free_s: float

    def batch(self, station: int) -> Batch:
        """The visits again; one server starts a job when it has come and the one before is done."""
        start_s = np.empty_like(self.finish_s)
        start_s[0], start_s[1:] = self.free_s, self.finish_s[:-1]
        np.maximum(start_s, self.arrived_s, out=start_s)
        back_s = np.broadcast_to(0.0, start_s.shape)
        return Batch(station, self.leg, self.request, self.arrived_s, start_s, self.finish_s, self.leave_s, back_s)


def _joined(columns: list[NDArray[Any]]) -> NDArray[Any]:
    return columns[0] if len(columns) == 1 else np.concatenate(columns)
