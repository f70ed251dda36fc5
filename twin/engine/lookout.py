"""What a policy is shown at a tick, found in the columns of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from twin.problem import Samples
from twin.records import PROBE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twin.engine.batches import Batch, Chunk, Flags, Floats, Ints
    from twin.engine.floor import Floor
    from twin.problem import Problem

NOBODY = PROBE - 1
"""Less than any request: nothing of this very time has happened yet."""


_NUMBERS, _INDICES = np.empty(0), np.empty(0, dtype=np.int64)
_NO_MESSAGES = (_NUMBERS, _INDICES, _INDICES, _NUMBERS, _NUMBERS)
_NO_STAGES = (_NUMBERS, _INDICES, _NUMBERS, _NUMBERS)
_NO_ANSWERS = (_NUMBERS, _NUMBERS, _INDICES)
_NOTHING_OPEN = (_INDICES, _INDICES, _NUMBERS, _NUMBERS, _INDICES, _NUMBERS, _NUMBERS)


class View(NamedTuple):
    """What is seen at a tick.

    Attributes:
        samples: What ended since the last tick, and what is under way.
        queue_length: Requests waiting or in service by device, shape [n_devices].
        link_queue: Messages waiting or on their way per link and direction, shape [n_links, 2].
    """

    samples: Samples
    queue_length: Ints
    link_queue: Ints


class _Open(NamedTuple):
    """What is being served: link or -1, direction or device, bytes or nominal seconds, and when it began."""

    link: int
    way: int
    amount: float
    start_s: float


class Lookout:
    """Shows each sample once, at the first tick at which it is known.

    A stage or an answer is known from its end on, a message once its receipt is back.

    Args:
        problem: The problem.
        floor: The stations.
    """

    def __init__(self, problem: Problem, floor: Floor) -> None:
        self._n_devices, self._n_links = problem.n_devices, len(problem.continuum.links)
        self._floor = floor
        self._pending: list[list[Batch]] = [[] for _ in range(self._n_devices + 2 * self._n_links)]
        self._answers: list[Chunk] = []
        self._n_answers = 0

    def nothing(self) -> View:
        """What a policy sees that does not look."""
        queue = np.zeros(self._n_devices, dtype=np.int64)
        return View(Samples.none(), queue, np.zeros((self._n_links, 2), dtype=np.int64))

    def look(self, now_s: float, arrival_s: Floats, last: int = NOBODY) -> View:
        """What is seen at a tick.

        Args:
            now_s: Time of the tick; what comes later may not have been served.
            arrival_s: When each request arose.
            last: Of what happens at this very time, only that of requests up to this one has happened.
        """
        for batch in self._floor.fresh:
            self._pending[batch.station].append(batch)
        self._floor.fresh.clear()
        queue = np.zeros(self._n_devices, dtype=np.int64)
        link_queue = np.zeros((self._n_links, 2), dtype=np.int64)
        shown: list[Batch] = []
        under_way: list[_Open] = []
        for station, batches in enumerate(self._pending):
            kept = []
            for batch in batches:
                inside = _pending(batch.leave_s, batch.request, now_s, last)
                self._count(batch, inside, queue, link_queue)
                under_way += self._serving(batch, now_s)
                hidden = inside if station < self._n_devices else inside | (batch.leave_s + batch.back_s > now_s)
                n_hidden = np.count_nonzero(hidden)
                if n_hidden == len(batch):
                    kept.append(batch)
                elif n_hidden:
                    shown.append(batch.where(~hidden))
                    kept.append(batch.where(hidden))
                else:
                    shown.append(batch)
            self._pending[station] = kept
        answers = self._answered(now_s, last)
        samples = Samples(
            *self._messages(shown), *self._stages(shown), *self._done(answers, arrival_s), *_opened(under_way, now_s)
        )
        return View(samples, queue, link_queue)

    def _count(self, batch: Batch, inside: Flags, queue: Ints, link_queue: Ints) -> None:
        if batch.station < self._n_devices:
            queue[batch.station] += np.count_nonzero(inside)
            return
        link = (batch.station - self._n_devices) // 2
        if isinstance(batch.leg, int):
            link_queue[link, self._floor.routes.direction[batch.leg]] += np.count_nonzero(inside)
        else:
            link_queue[link] += np.bincount(self._floor.routes.direction[batch.leg[inside]], minlength=2)

    def _serving(self, batch: Batch, now_s: float) -> list[_Open]:
        """The job of a batch that is being served; at most one, as jobs are served in turn."""
        row = int(np.searchsorted(batch.start_s, now_s)) - 1
        if row < 0:
            return []
        # Jobs without work start when the one before them ends: the one being served is the last that has started.
        if not batch.finish_s[row] > now_s:
            return []
        leg = batch.leg if isinstance(batch.leg, int) else int(batch.leg[row])
        visit, start_s = self._floor.routes.legs[leg].visit, float(batch.start_s[row])
        if visit.device >= 0:
            return [_Open(-1, visit.device, visit.amount, start_s)]
        return [_Open(visit.link, visit.direction, visit.size_bytes, start_s)]

    def _answered(self, now_s: float, last: int) -> list[Chunk]:
        """The answers that are there by now."""
        answers, kept = [], []
        for chunk in [*self._answers, *self._floor.answers[self._n_answers :]]:
            hidden = _pending(chunk.time_s, chunk.request, now_s, last)
            if not hidden.any():
                answers.append(chunk)
                continue
            kept.append(chunk._replace(request=chunk.request[hidden], time_s=chunk.time_s[hidden]))
            if not hidden.all():
                answers.append(chunk._replace(request=chunk.request[~hidden], time_s=chunk.time_s[~hidden]))
        self._answers, self._n_answers = kept, len(self._floor.answers)
        return answers

    def _messages(self, shown: Sequence[Batch]) -> tuple[np.ndarray, ...]:
        """Time, link, direction, bytes and duration of messages, in this order."""
        own = [batch for batch in shown if batch.station >= self._n_devices]
        if not own:
            return _NO_MESSAGES
        routes = self._floor.routes
        leg = _joined([batch.legs for batch in own])
        time_s = _joined([batch.leave_s + batch.back_s for batch in own])
        took_s = _joined([batch.leave_s - batch.start_s + batch.back_s for batch in own])
        link = np.repeat([(x.station - self._n_devices) // 2 for x in own], [len(x) for x in own]).astype(np.int64)
        way, size_bytes = routes.direction[leg], routes.size_bytes[leg]
        order = _ordered(time_s, took_s, size_bytes, way, link)
        return time_s[order], link[order], way[order], size_bytes[order], took_s[order]

    def _stages(self, shown: Sequence[Batch]) -> tuple[np.ndarray, ...]:
        """Time, device, nominal time and time of stages, in the order in which they ended."""
        own = [batch for batch in shown if batch.station < self._n_devices]
        if not own:
            return _NO_STAGES
        leg = _joined([batch.legs for batch in own])
        time_s = _joined([batch.finish_s for batch in own])
        service_s = _joined([batch.finish_s - batch.start_s for batch in own])
        request = _joined([batch.request for batch in own])
        device = np.repeat([batch.station for batch in own], [len(batch) for batch in own]).astype(np.int64)
        order = _ordered(time_s, leg, request)
        return time_s[order], device[order], self._floor.routes.amount[leg][order], service_s[order]

    def _done(self, answers: Sequence[Chunk], arrival_s: Floats) -> tuple[np.ndarray, ...]:
        """Time, latency and epoch of answers, in the order in which they came."""
        if not answers:
            return _NO_ANSWERS
        time_s = _joined([chunk.time_s for chunk in answers])
        request = _joined([chunk.request for chunk in answers])
        leg = np.repeat([chunk.leg for chunk in answers], [len(chunk.request) for chunk in answers]).astype(np.int64)
        order = _ordered(time_s, request)
        latency_s = time_s[order] - arrival_s[request[order]]
        return time_s[order], latency_s, self._floor.routes.epoch[leg][order]


def _pending(time_s: Floats, request: Ints, now_s: float, last: int) -> Flags:
    """What has not happened by now."""
    if last == NOBODY:
        return np.asarray(time_s >= now_s)
    return np.asarray((time_s > now_s) | ((time_s == now_s) & (request > last)))


def _joined(columns: Sequence[np.ndarray]) -> np.ndarray:
    return columns[0] if len(columns) == 1 else np.concatenate(columns)


def _ordered(time_s: Floats, *then: np.ndarray) -> Ints:
    """Order by time; what happens at the same time by the keys in `then`, the last first."""
    if len(time_s) == 1:
        return np.zeros(1, dtype=np.int64)
    order = np.argsort(time_s, kind="stable")
    in_order_s = time_s[order]
    return np.lexsort((*then, time_s)) if (in_order_s[1:] == in_order_s[:-1]).any() else order


def _opened(under_way: Sequence[_Open], now_s: float) -> tuple[np.ndarray, ...]:
    """The last columns of `Samples`: what is being sent and what is being computed."""
    if not under_way:
        return _NOTHING_OPEN
    sent = [entry for entry in under_way if entry.link >= 0]
    worked = [entry for entry in under_way if entry.link < 0]
    return (
        np.array([x.link for x in sent], dtype=np.int64),
        np.array([x.way for x in sent], dtype=np.int64),
        np.array([x.amount for x in sent], dtype=np.float64),
        now_s - np.array([x.start_s for x in sent], dtype=np.float64),
        np.array([x.way for x in worked], dtype=np.int64),
        np.array([x.amount for x in worked], dtype=np.float64),
        now_s - np.array([x.start_s for x in worked], dtype=np.float64),
    )
