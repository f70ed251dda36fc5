"""Columns of requests and of samples that grow while a run lasts, so that no object per request is kept."""

from __future__ import annotations

import math
from array import array
from typing import TYPE_CHECKING

import numpy as np

from twin.problem import Samples
from twin.records import Outcome, Reason, Requests

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twin.workload import Workload

_ROOM = 1024
"""Requests for which room is made at a time."""


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
