"""Columns that grow while a run is played, so that no object per request is kept."""

from __future__ import annotations

import math
from array import array
from typing import TYPE_CHECKING

import numpy as np

from twin.engine.visits import N_NUMBERS, VisitRows
from twin.problem import Samples
from twin.records import Outcome, Reason, Requests

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twin.engine.plan import Visit
    from twin.workload import Workload

_ROOM = 1024
"""Requests for which room is made at a time."""
_PACK = N_NUMBERS << 14
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


def _block(rows: list[float]) -> np.ndarray:
    return np.fromiter(rows, np.float64, len(rows)).reshape(-1, N_NUMBERS)


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
