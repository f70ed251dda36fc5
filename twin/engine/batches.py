"""Visits as columns: all jobs that a station took in during a stretch of time, in the order of service."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.signedinteger[Any]]
    Flags = NDArray[np.bool_]


REQUEST = np.int32
"""Type of the numbers of requests in columns, of which there are many."""


class Chunk(NamedTuple):
    """Requests that reach the same leg.

    Attributes:
        leg: The leg.
        request: Their numbers, shape [n].
        time_s: When they reach it, shape [n].
    """

    leg: int
    request: Ints
    time_s: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Visits of one station; arrays of shape [n].

    Attributes:
        station: The station.
        leg: The leg of each job, or one for all.
        request: Number of the request, or `records.PROBE`.
        arrived_s: When it came.
        start_s: When its service starts.
        finish_s: When its service ends; infinite if it never does.
        leave_s: When it is at the next station: after a message's delay.
        back_s: How long after that the receipt of a message is back at the sender; 0 for work.
    """

    station: int
    leg: int | Ints
    request: Ints
    arrived_s: Floats
    start_s: Floats
    finish_s: Floats
    leave_s: Floats
    back_s: Floats

    def __len__(self) -> int:
        return len(self.request)

    @property
    def legs(self) -> Ints:
        """The leg of each job."""
        return np.full(len(self), self.leg) if isinstance(self.leg, int) else self.leg

    def where(self, mask: Flags) -> Batch:
        """The rows for which `mask` is true."""
        return replace(
            self,
            leg=self.leg if isinstance(self.leg, int) else self.leg[mask],
            request=self.request[mask],
            arrived_s=self.arrived_s[mask],
            start_s=self.start_s[mask],
            finish_s=self.finish_s[mask],
            leave_s=self.leave_s[mask],
            back_s=self.back_s[mask],
        )

    def by_leg(self, mask: Flags | slice) -> list[Chunk]:
        """The rows for which `mask` is true as they reach their next leg, by present leg."""
        request, leave_s = self.request[mask], self.leave_s[mask]
        if isinstance(self.leg, int):
            return [Chunk(self.leg, request, leave_s)]
        legs = self.leg[mask]
        rows = [(leg, legs == leg) for leg in np.unique(legs).tolist()]
        return [Chunk(leg, request[own], leave_s[own]) for leg, own in rows]


Row = tuple[int, int, float, float, float, float, float]
"""Leg, request, arrival, start, finish, leaving and the time of the receipt after that."""


def from_rows(station: int, rows: list[Row]) -> Batch:
    """Make a batch of visits that were noted one by one."""
    leg, request, *times_s = zip(*rows, strict=True)
    columns = (np.array(column) for column in times_s)
    return Batch(station, _one_or_all(np.array(leg, dtype=np.int64)), np.array(request, dtype=REQUEST), *columns)


def merged(chunks: list[Chunk]) -> Chunk | tuple[Ints, Ints, Floats]:
    """Join chunks, ordered by time and then by request."""
    legs = {chunk.leg for chunk in chunks}
    request = chunks[0].request if len(chunks) == 1 else np.concatenate([chunk.request for chunk in chunks])
    time_s = chunks[0].time_s if len(chunks) == 1 else np.concatenate([chunk.time_s for chunk in chunks])
    in_order = len(time_s) < 2 or bool((time_s[1:] > time_s[:-1]).all())
    if len(legs) == 1:
        if in_order:
            return Chunk(chunks[0].leg, request, time_s)
        order = np.lexsort((request, time_s))
        return Chunk(chunks[0].leg, request[order], time_s[order])
    leg = np.repeat([chunk.leg for chunk in chunks], [len(chunk.request) for chunk in chunks])
    order = np.lexsort((request, time_s))
    return leg[order], request[order], time_s[order]


def _one_or_all(leg: Ints) -> int | Ints:
    return int(leg[0]) if (leg == leg[0]).all() else leg
