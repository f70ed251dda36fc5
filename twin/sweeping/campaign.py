"""A sweep from its file to its rows: what is known already is taken from the cache, the rest is played and kept."""

from __future__ import annotations

import os
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

from twin.errors import SweepError, TwinError
from twin.sweeping.crew import crew
from twin.sweeping.execute import execute
from twin.sweeping.identity import code_digest, key_of, resolved_at
from twin.sweeping.play import Task
from twin.sweeping.row import Row

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from twin.scenario_file.yamlplaces import Document
    from twin.sweeping.cache import Cache
    from twin.sweeping.grid import Point, Sweep

_WHOLE_POINTS = 8
"""Points per worker from which on a task is a whole point; with fewer, each policy is a task of its own."""

RowId = tuple[int, str]
"""Number of the point and label of the policy."""


@dataclass(frozen=True, slots=True)
class Timing:
    """What it took to play what was not known.

    Attributes:
        workers: Number of workers.
        kind: Where they are.
        start_s: Time until they were ready.
        wall_s: Time from then to the last result.
        busy_s: Time that they spent on points, all together.
        played: Results that were played.
    """

    workers: int = 0
    kind: str = ""
    start_s: float = 0.0
    wall_s: float = 0.0
    busy_s: float = 0.0
    played: int = 0

    @property
    def scheduling_share(self) -> float | None:
        """Share of the workers' time that went into handing out points and waiting; None where nothing was played."""
        offered_s = self.workers * self.wall_s
        return max(0.0, 1.0 - self.busy_s / offered_s) if self.played and offered_s else None


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """A sweep with its rows.

    Attributes:
        sweep: The sweep.
        points: Its points.
        rows: The row of every point and policy.
        keys: What each result rests on; none for a point that makes no scenario.
        timing: What it took.
        reused: Results that were there already.
    """

    sweep: Sweep
    points: tuple[Point, ...]
    rows: Mapping[RowId, Row]
    keys: Mapping[RowId, str]
    timing: Timing
    reused: int

    @property
    def failed(self) -> list[RowId]:
        """The rows that hold an error."""
        return [row_id for row_id, row in self.rows.items() if row.status != "ok"]


@dataclass(slots=True)
class Campaign:
    """A sweep under way.

    Attributes:
        sweep: The sweep.
        scenario: Its scenario as it was read.
        cache: Keeps the results.
        engine: The engine as it was asked for.
    """

    sweep: Sweep
    scenario: Document
    cache: Cache
    engine: str = "auto"

    def run(self, *, jobs: int, scheduler: str | None, fresh: bool, progress: Callable[[int, int], None]) -> Outcome:
        """Get every row.

        Args:
            jobs: Number of workers on this machine.
            scheduler: Address of a Dask scheduler to take workers from instead.
            fresh: Play again what is known already.
            progress: Told how many rows there are after each result, and how many of them were reused.

        Raises:
            SweepError: There are no workers, or no point makes a scenario.
        """
        points = tuple(self.sweep.points())
        keys, rows = self._keys(points)
        reused = {} if fresh else self._known(keys)
        rows |= reused
        missing = [row_id for row_id in keys if row_id not in rows]
        progress(len(rows), len(reused))
        timing = Timing()
        if missing:
            start = perf_counter()
            with crew(jobs, scheduler) as ready:
                start_s, start = perf_counter() - start, perf_counter()
                busy_s = 0.0
                for task, done in execute(self._tasks(points, keys, missing, ready.n), ready):
                    for row in done:
                        rows[task.point, row.label] = row
                        busy_s += row.run_s
                        if row.status == "ok":
                            self.cache.put(keys[task.point, row.label], row)
                    progress(len(rows), len(reused))
                timing = Timing(ready.n, ready.kind, start_s, perf_counter() - start, busy_s, len(missing))
        ordered = {(point.index, label): rows[point.index, label] for point in points for label in self.sweep.labels}
        return Outcome(self.sweep, points, ordered, keys, timing, len(reused))

    def _keys(self, points: tuple[Point, ...]) -> tuple[dict[RowId, str], dict[RowId, Row]]:
        """What each result rests on, and the rows of the points that make no scenario."""
        keys: dict[RowId, str] = {}
        rows: dict[RowId, Row] = {}
        labels, code = self.sweep.labels, code_digest()
        for point in points:
            try:
                resolved = resolved_at(self.scenario, point, labels)
            except TwinError as error:
                rows |= {(point.index, label): Row(label, error=str(error)) for label in labels}
            else:
                keys |= {(point.index, label): key_of(resolved, label, self.engine, code) for label in labels}
        if not keys:
            raise SweepError(
                f"{self.sweep.path}: no point makes a valid scenario; the first:\n{rows[0, labels[0]].error}"
            )
        return keys, rows

    def _known(self, keys: Mapping[RowId, str]) -> dict[RowId, Row]:
        found = {row_id: self.cache.get(key) for row_id, key in keys.items()}
        return {row_id: row for row_id, row in found.items() if row is not None}

    def _tasks(
        self, points: tuple[Point, ...], keys: Mapping[RowId, str], missing: list[RowId], workers: int
    ) -> list[Task]:
        """What there is to do: point by point, or policy by policy where there are few points."""
        groups: dict[RowId, list[str]] = {}
        whole = len({point for point, _ in missing}) >= _WHOLE_POINTS * workers
        for point, label in missing:
            groups.setdefault((point, "" if whole else label), []).append(label)
        return [
            Task(
                index=index,
                point=point,
                scenario=os.path.abspath(self.sweep.scenario),  # noqa: PTH100 - `resolve` would follow links
                shown=str(self.sweep.scenario),
                overrides=points[point].overrides,
                keys=tuple((label, keys[point, label]) for label in labels),
                engine=self.engine,
                code=code_digest(),
            )
            for index, ((point, _), labels) in enumerate(groups.items())
        ]
