"""The arrays engine in a closed loop: one request after the other, noted in columns.

When a client asks again depends on its answer, so nothing can be served at once; a heap of plain tuples in place of
events and generators is what is left to save.
"""

from __future__ import annotations

import math
from array import array
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from twin.driving import ARRIVAL_RANK, END_RANK
from twin.engine.batches import REQUEST, Chunk
from twin.engine.course import Course
from twin.engine.lookout import NOBODY
from twin.engine.routes import LAST
from twin.engine.spans import End

if TYPE_CHECKING:
    from twin.control import Policy
    from twin.engine.batches import Row
    from twin.records import RunResult
    from twin.world import World

FIRST_RANK = 10
"""Rank of request 0 among entries at the same time, as in the events engine."""
_RELEASE = -2
"""Stands for the leg of a request that has not begun."""


class ClosedLoop:
    """Plays clients that wait for their answers.

    Args:
        world: The scenario.
        policy: The policy.
        replication: Number of the replication.
    """

    def __init__(self, world: World, policy: Policy[Any], replication: int) -> None:
        self._course = Course(world, policy, replication)
        self._workload, self._drain_s = world.workload, world.drain_s
        self._heap: list[tuple[float, int, int, int]] = []
        self._number = count()
        self._rows: list[Row] = []
        self._client: list[int] = []
        self._arrival_s = array("d")
        self._epoch: list[int] = []
        self._sent = self._under_way = self._stuck = 0
        self._is_over, self._limit_s = False, math.inf
        self._leg: dict[int, int] = {}
        self._done: dict[int, list[tuple[int, float]]] = {}
        self._last = (0.0, NOBODY)

    def play(self, label: str) -> RunResult:
        """Play to the end and return the records."""
        self._tick(0.0)
        if self._workload.duration_s is not None:
            self._push(self._workload.duration_s, END_RANK, 0)
        for client in range(self._workload.clients):
            self._send(client, 0.0)
        now_s, rank = 0.0, END_RANK
        while not self._is_finished():
            timer_s = self._course.timer_s
            if not self._heap or timer_s <= self._heap[0][0]:
                if timer_s == math.inf:
                    break
                self._tick(timer_s)
                now_s, rank = timer_s, END_RANK
            else:
                now_s, rank, _, what = heappop(self._heap)
                self._happen(now_s, rank, what)
        self._flush()
        cut_off = self._is_over and self._under_way > 0
        end = End(self._limit_s if cut_off else now_s, by_clock=not cut_off and rank <= END_RANK)
        columns = (
            np.array(self._client, dtype=np.int64),
            np.array(self._arrival_s),
            np.array(self._epoch, dtype=np.int64),
        )
        return self._course.result(label, *columns, end)

    def _is_finished(self) -> bool:
        """Whether nothing can happen any more that counts."""
        if not self._is_over:
            return self._stuck >= self._workload.clients
        next_s = min(self._course.timer_s, self._heap[0][0] if self._heap else math.inf)
        return self._under_way == 0 or next_s > self._limit_s

    def _push(self, time_s: float, rank: int, what: int) -> None:
        heappush(self._heap, (time_s, rank, next(self._number), what))

    def _send(self, client: int, time_s: float) -> None:
        """Let a client send its next request, if it still may."""
        workload = self._workload
        enough = workload.requests is not None and self._sent >= workload.requests
        too_late = workload.duration_s is not None and time_s >= workload.duration_s
        if not (enough or too_late):
            self._sent += 1
            self._push(time_s, ARRIVAL_RANK, client)

    def _happen(self, now_s: float, rank: int, what: int) -> None:
        if rank == ARRIVAL_RANK:
            self._arrive(what, now_s)
        elif rank == END_RANK:
            self._end(now_s)
        else:
            request = rank - FIRST_RANK
            self._last = (now_s, request)
            if what >= 0:
                self._admit(what, request, now_s)
            elif what == LAST:
                self._answer(request, now_s)
            else:
                self._release(request, now_s)

    def _arrive(self, client: int, now_s: float) -> None:
        if len(self._arrival_s) >= self._course.next_request:
            self._tick(now_s)
        self._arrival_s.append(now_s)
        self._client.append(client)
        self._epoch.append(-1)
        self._under_way += 1
        if len(self._arrival_s) == self._workload.requests:
            self._end(now_s)
        self._release(len(self._arrival_s) - 1, now_s)

    def _release(self, request: int, now_s: float) -> None:
        """Send a request on its way, or hold it back."""
        changes = self._course.changes
        if now_s < changes.held_until_s:
            self._course.release(np.array([request]), np.array([now_s]))
            self._push(changes.held_until_s, FIRST_RANK + request, _RELEASE)
        else:
            self._epoch[request] = changes.plan.epoch
            self._push(now_s, FIRST_RANK + request, self._course.first_leg)

    def _admit(self, leg: int, request: int, now_s: float) -> None:
        row = self._course.floor.admit(leg, request, now_s, request)
        self._rows.append(row)
        leave_s = row[5]
        if leave_s == math.inf:
            self._stuck += 1
            return
        after = self._course.floor.routes.legs[leg].after
        self._push(leave_s, FIRST_RANK + request, after)
        if after == LAST:
            self._leg[request] = leg

    def _answer(self, request: int, now_s: float) -> None:
        self._done.setdefault(self._leg.pop(request), []).append((request, now_s))
        self._under_way -= 1
        self._send(self._client[request], now_s + self._workload.think_time_s)

    def _end(self, now_s: float) -> None:
        """No request arrives any more; what is under way has the drain time left."""
        self._is_over = True
        self._limit_s = min(self._limit_s, now_s + self._drain_s)

    def _tick(self, now_s: float) -> None:
        self._flush()
        last = self._last[1] if self._last[0] == now_s else NOBODY
        self._course.tick(now_s, np.frombuffer(self._arrival_s), last)

    def _flush(self) -> None:
        """Move what was noted one by one into columns."""
        floor = self._course.floor
        floor.note(self._rows)
        self._rows.clear()
        for leg, own in self._done.items():
            request, time_s = zip(*own, strict=True)
            floor.answers.append(Chunk(leg, np.array(request, dtype=REQUEST), np.array(time_s)))
        self._done.clear()
