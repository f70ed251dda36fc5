"""Columns that grow while a run is played, so that no object per request is kept."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from twin.energy import busy_s
from twin.problem import Samples
from twin.records import Kind, Outcome, Reason, Requests, Spans

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from twin.engine.plan import Visit
    from twin.problem import Problem
    from twin.workload import Workload

_ROOM = 1024
"""Requests for which room is made at a time."""
_N_NUMBERS = 6
"""Numbers that are noted of a visit."""
_PACK = _N_NUMBERS << 14
"""Numbers from which on they go to an array, where they take a fifth of the room."""


class RequestColumns:
    """The requests of one replication."""

    def __init__(self) -> None:
        self.client = array("i")
        self.arrival_s = array("d")
        self.done_s = array("d")
        self.outcome = array("b")
        self.reason = array("b")
        self.epoch = array("i")
        self.replays = array("b")

    def __len__(self) -> int:
        return len(self.arrival_s)

    def arrive(self, client: int, arrival_s: float) -> int:
        """Add a request and return its number; until it ends otherwise, it has failed as unfinished."""
        request = len(self.arrival_s)
        self.client.append(client)
        self.arrival_s.append(arrival_s)
        if request == len(self.done_s):
            self._make_room()
        return request

    def _make_room(self) -> None:
        self.done_s.extend([math.nan] * _ROOM)
        self.outcome.extend([Outcome.FAILED] * _ROOM)
        self.reason.extend([Reason.UNFINISHED] * _ROOM)
        self.epoch.extend([-1] * _ROOM)
        self.replays.extend([0] * _ROOM)

    def end(self, request: int, done_s: float, outcome: Outcome, reason: Reason = Reason.NONE) -> None:
        """Say how a request ended."""
        self.done_s[request] = done_s
        self.outcome[request] = outcome
        self.reason[request] = reason

    def table(self, replication: int, workload: Workload) -> Requests:
        """The columns as a table."""
        n = len(self)
        arrival_s = np.array(self.arrival_s)
        request = np.arange(n, dtype=np.int64)
        return Requests(
            np.full(n, replication, dtype=np.int32),
            request,
            np.array(self.client, dtype=np.int32),
            arrival_s,
            np.array(self.done_s)[:n],
            np.array(self.outcome, dtype=np.int8)[:n],
            np.array(self.reason, dtype=np.int8)[:n],
            np.array(self.epoch, dtype=np.int32)[:n],
            np.array(self.replays, dtype=np.int8)[:n],
            (arrival_s >= workload.warm_up_s) & (request >= workload.warm_up_requests),
        )


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


def _block(rows: list[float]) -> np.ndarray:
    return np.fromiter(rows, np.float64, len(rows)).reshape(-1, _N_NUMBERS)


class SampleColumns:
    """Raw samples that have not been shown to the policy yet."""

    def __init__(self) -> None:
        self._links: list[tuple[float, int, int, float, float]] = []
        self._stages: list[tuple[float, int, float, float]] = []
        self._done: list[tuple[float, float, int]] = []

    def message(self, t_s: float, link: int, direction: int, size_bytes: float, transfer_s: float) -> None:
        """Add a message whose receipt arrives at `t_s`."""
        self._links.append((t_s, link, direction, size_bytes, transfer_s))

    def stage(self, t_s: float, device: int, nominal_s: float, service_s: float) -> None:
        """Add a stage visit that ended at `t_s`."""
        self._stages.append((t_s, device, nominal_s, service_s))

    def done(self, t_s: float, latency_s: float, epoch: int) -> None:
        """Add a request that was answered at `t_s`."""
        self._done.append((t_s, latency_s, epoch))

    def take(self, now_s: float, under_way: Sequence[tuple[int, int, float, float]]) -> Samples:
        """Remove and return what had ended by `now_s`; receipts still on their way stay.

        Args:
            now_s: The time of the tick.
            under_way: What is being served: link or -1, direction or device, bytes or nominal seconds, and when it
                began.
        """
        links = sorted(entry for entry in self._links if entry[0] <= now_s)
        self._links = [entry for entry in self._links if entry[0] > now_s]
        stages, self._stages = self._stages, []
        done, self._done = self._done, []
        link = np.array(links, dtype=float).reshape(-1, 5).T
        stage = np.array(stages, dtype=float).reshape(-1, 4).T
        answered = np.array(done, dtype=float).reshape(-1, 3).T
        begun = np.array(under_way, dtype=float).reshape(-1, 4).T
        sent, worked = begun[:, begun[0] >= 0], begun[:, begun[0] < 0]
        return Samples(
            link[0],
            link[1].astype(np.int64),
            link[2].astype(np.int64),
            link[3],
            link[4],
            stage[0],
            stage[1].astype(np.int64),
            stage[2],
            stage[3],
            answered[0],
            answered[1],
            answered[2].astype(np.int64),
            sent[0].astype(np.int64),
            sent[1].astype(np.int64),
            sent[2],
            now_s - sent[3],
            worked[1].astype(np.int64),
            worked[2],
            now_s - worked[3],
        )
