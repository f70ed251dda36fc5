"""The stations of a run as columns, with the requests that are on their way to each."""

from __future__ import annotations

import math
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

import numpy as np

from twin.engine.batches import REQUEST, Batch, Chunk, from_rows, merged
from twin.engine.history import History
from twin.engine.lindley import serve
from twin.engine.routes import LAST, Group, Routes
from twin.records import PROBE
from twin.workload import ServiceNoise
from twin.world import faulted_rates

if TYPE_CHECKING:
    from collections.abc import Iterable

    from twin.engine.batches import Floats, Row
    from twin.engine.plan import Visit
    from twin.world import World

_FEW = 48
"""Requests under way below which it is quicker to serve them one by one."""


class Floor:
    """Serves what reaches the stations before a time, group by group.

    Attributes:
        routes: The legs.
        history: All visits so far.
        fresh: Visits that were not looked at yet; empty for a policy that does not look.
        answers: Answered requests by last leg.

    Args:
        world: The scenario.
        replication: Number of the replication.
        watched: Whether a policy looks at what happens.
    """

    def __init__(self, world: World, replication: int, *, watched: bool) -> None:
        continuum = world.problem.continuum
        n = len(continuum) + 2 * len(continuum.links)
        self.routes = Routes(n)
        self.history = History(n)
        self.fresh: list[Batch] = []
        self.answers: list[Chunk] = []
        self._n_devices, self._links = len(continuum), continuum.links
        self._rtts = [trace.rtt for trace in world.links]
        self._rates = faulted_rates(world)
        self._noise = ServiceNoise(world.dispersion, world.seed, replication)
        self._watched = watched
        self._free_s = [0.0] * n
        self._newest = [PROBE] * n
        self._sent_s = [-math.inf] * n
        self._pools: list[list[Chunk]] = [[] for _ in range(n)]

    def enter(self, chunk: Chunk) -> None:
        """Let requests come to the station of a leg."""
        if len(chunk.request):
            self._pools[self.routes.legs[chunk.leg].visit.station].append(chunk)

    def serve(self, until_s: float) -> None:
        """Serve whatever reaches a station before a time."""
        if sum(len(chunk.request) for pool in self._pools for chunk in pool) < _FEW:
            everywhere = tuple(station for group in self.routes.order for station in group.stations)
            self._serve_cycle(Group(everywhere, is_cycle=True), until_s)
            return
        for group in self.routes.order:
            if group.is_cycle:
                self._serve_cycle(group, until_s)
            else:
                self._serve_station(group.stations[0], until_s)

    def busy(self, now_s: float, last: int) -> set[int]:
        """Devices at which there is a job, all that came before having been served.

        Args:
            now_s: The time.
            last: Of what happens at this very time, only that of requests up to this one has happened.
        """
        newest = enumerate(zip(self._free_s[: self._n_devices], self._newest, strict=False))
        return {
            device
            for device, (free_s, request) in newest
            if free_s > now_s or (free_s == now_s > 0.0 and request > last)
        }

    def admit(self, leg: int, request: int, now_s: float, luck_of: int) -> Row:
        """Serve one job that comes now, after all that came before.

        Args:
            leg: Its leg.
            request: Its number, or `records.PROBE`.
            now_s: When it comes.
            luck_of: The request whose noise it meets.
        """
        visit = self.routes.legs[leg].visit
        start_s = max(self._free_s[visit.station], now_s)
        amount = visit.amount
        if visit.device >= 0:
            amount *= self._noise.factor(visit.device, luck_of)
        finish_s = self._rates[visit.place].finish(start_s, amount) if start_s < math.inf else math.inf
        self._free_s[visit.station], self._newest[visit.station] = finish_s, request
        if visit.device >= 0 or finish_s == math.inf:
            return leg, request, now_s, start_s, finish_s, finish_s, 0.0
        link, back_s = self._links[visit.link], self._rtts[visit.link].at(finish_s) / 2
        delay_s = link.message_overhead_s + back_s
        if link.slow_start_s and start_s - self._sent_s[visit.place] > link.slow_start_idle_s:
            delay_s += link.slow_start_s
        self._sent_s[visit.place] = finish_s
        return leg, request, now_s, start_s, finish_s, finish_s + delay_s, back_s

    def note(self, rows: Iterable[Row]) -> None:
        """Keep visits that were served one by one."""
        by_station: dict[int, list[Row]] = {}
        for row in rows:
            by_station.setdefault(self.routes.legs[row[0]].visit.station, []).append(row)
        for station, own in by_station.items():
            self._keep(from_rows(station, own))

    def _keep(self, batch: Batch) -> None:
        self.history.add(batch)
        if self._watched:
            self.fresh.append(batch)

    def _take(self, station: int, until_s: float) -> list[Chunk]:
        """Take what reaches a station before a time out of its pool."""
        pool, taken = self._pools[station], []
        self._pools[station] = kept = []
        for chunk in pool:
            inside = chunk.time_s < until_s
            if inside.all():
                taken.append(chunk)
            elif inside.any():
                taken.append(Chunk(chunk.leg, chunk.request[inside], chunk.time_s[inside]))
                kept.append(Chunk(chunk.leg, chunk.request[~inside], chunk.time_s[~inside]))
            else:
                kept.append(chunk)
        return taken

    def _serve_station(self, station: int, until_s: float) -> None:
        """Serve a station whose requests never come back, all at once."""
        chunks = self._take(station, until_s)
        if not chunks:
            return
        leg, request, arrived_s = merged(chunks)
        visit = self.routes.legs[chunks[0].leg].visit
        amounts = self.routes.amount[leg]
        if visit.device >= 0:
            amounts = amounts * self._noise.factors(visit.device, request)
        start_s, finish_s = serve(arrived_s, amounts, self._free_s[station], self._rates[visit.place])
        self._free_s[station], self._newest[station] = float(finish_s[-1]), int(request[-1])
        leave_s, back_s = self._delayed(visit, start_s, finish_s)
        batch = Batch(station, leg, request, arrived_s, start_s, finish_s, leave_s, back_s)
        self._keep(batch)
        n = len(finish_s) if finish_s[-1] < math.inf else int(np.searchsorted(finish_s, math.inf))
        for chunk in batch.by_leg(slice(n)):
            self._move_on(chunk)

    def _move_on(self, chunk: Chunk) -> None:
        """Let requests that have left a leg come to the next one."""
        after = self.routes.legs[chunk.leg].after
        if after >= 0:
            self.enter(chunk._replace(leg=after))
        elif after == LAST and len(chunk.request):
            self.answers.append(chunk)

    def _delayed(self, visit: Visit, start_s: Floats, finish_s: Floats) -> tuple[Floats, Floats]:
        """When each job is at its next station, and how long after that its receipt is back."""
        if visit.device >= 0:
            return finish_s, np.zeros(len(finish_s))
        n = len(finish_s) if finish_s[-1] < math.inf else int(np.searchsorted(finish_s, math.inf))
        back_s, link = np.zeros_like(finish_s), self._links[visit.link]
        back_s[:n] = self._rtts[visit.link].at_many(finish_s[:n]) / 2
        delay_s = link.message_overhead_s + back_s
        if n and link.slow_start_s:
            before_s = np.concatenate([[self._sent_s[visit.place]], finish_s[: n - 1]])
            delay_s[:n] += np.where(start_s[:n] - before_s > link.slow_start_idle_s, link.slow_start_s, 0.0)
        if n:
            self._sent_s[visit.place] = float(finish_s[n - 1])
        return finish_s + delay_s, back_s

    def _serve_cycle(self, group: Group, until_s: float) -> None:
        """Serve stations to which requests may come back, one job after the other."""
        heap = [entry for station in group.stations for entry in _entries(self._take(station, until_s))]
        heapify(heap)
        rows, leaving = [], []
        while heap and heap[0][0] < until_s:
            time_s, request, leg = heappop(heap)
            row = self.admit(leg, request, time_s, request)
            rows.append(row)
            after = self.routes.legs[leg].after
            if row[5] == math.inf:
                continue
            if after >= 0 and self.routes.legs[after].visit.station in group.stations:
                heappush(heap, (row[5], request, after))
            else:
                leaving.append((row[5], request, leg))
        self.note(rows)
        for chunk in _chunks(heap):
            self.enter(chunk)
        for chunk in _chunks(leaving):
            self._move_on(chunk)


Entry = tuple[float, int, int]
"""Time, request and leg: heaps of these pop by time, then by request."""


def _entries(chunks: list[Chunk]) -> list[Entry]:
    return [
        (time_s, request, chunk.leg)
        for chunk in chunks
        for time_s, request in zip(chunk.time_s.tolist(), chunk.request.tolist(), strict=True)
    ]


def _chunks(entries: list[Entry]) -> list[Chunk]:
    by_leg: dict[int, list[Entry]] = {}
    for entry in sorted(entries):
        by_leg.setdefault(entry[2], []).append(entry)
    return [
        Chunk(leg, np.array([entry[1] for entry in own], dtype=REQUEST), np.array([entry[0] for entry in own]))
        for leg, own in by_leg.items()
    ]
