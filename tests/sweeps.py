"""Sweeps of the default world for tests, and what workers can be made to do."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from worlds import tiny_project

from twin.metrics.summary import COUNTS
from twin.sweeping.campaign import Outcome, Timing
from twin.sweeping.grid import Axis, Sweep
from twin.sweeping.play import Task
from twin.sweeping.row import QUANTITIES, Row

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FIXED = {"links.0.trace": None, "links.0.after_end": "hold", "links.0.rtt_s": 0.004}
"""A constant link in place of the walk; goes with a rate."""
RATE = "links.pi-laptop.rate_bps"


def sweep_file(folder: Path, question: str = "Which policy where?", **changes: Any) -> Path:
    """Write a project with the default world and a sweep of it; a key given as None is left out."""
    scenario = tiny_project(folder)
    data = {
        "schema": 1,
        "name": "small",
        "scenario": scenario.name,
        "set": {**FIXED, "workload.duration_s": 5.0, "workload.warm_up_s": 0.0},
        "vary": {RATE: [1e6, 2e7], "workload.rate_rps": [1.0, 2.0]},
        "policies": ["static", "pi-only"],
    }
    kept = {key: value for key, value in (data | changes).items() if value is not None}
    path = scenario.with_name("small-sweep.yaml")
    path.write_text(f"# {question}\n{yaml.safe_dump(kept, sort_keys=False)}", encoding="utf-8")
    return path


def row(label: str, values: Sequence[float | None], quantity: str = "score", *, lost: int = 0, n: int = 100) -> Row:
    """A row that was played, one value per replication of every quantity."""
    counts = dict.fromkeys(COUNTS, 0) | {"arrived": n, "ok": n - lost, "failed": lost}
    known: dict[str, tuple[float | None, ...]] = dict.fromkeys(QUANTITIES, (1.0,) * len(values))
    return Row(label, label, "ok", "", "arrays", 0.1, counts, known | {quantity: tuple(values)})


def outcome(axes: Sequence[Axis], rows: Mapping[tuple[int, ...], Sequence[Row]], **changes: Any) -> Outcome:
    """The outcome of a sweep with one seed, from the rows at each place."""
    labels = tuple(row.label for row in next(iter(rows.values())))
    fields = {
        "path": Path("sweep.yaml"),
        "name": "made",
        "question": "Which one?",
        "scenario": Path("scenario.yaml"),
        "fixed": (),
        "axes": tuple(axes),
        "seeds": (1,),
        "labels": labels,
        "minimise": "score",
    }
    sweep = Sweep(**{**fields, **changes})
    points = tuple(sweep.points())
    found = {(point.index, row.label): row for point in points for row in rows[point.positions]}
    keys = dict.fromkeys(found, "0" * 64)
    return Outcome(sweep, points, found, keys, Timing(2, "on this machine", 1.0, 10.0, 19.0, len(found)), 0)


def task(index: int, scenario: Path | str = "", overrides: Sequence[str] = ()) -> Task:
    """A task for workers that do not look at it closely."""
    return Task(index, index, str(scenario), str(scenario), tuple(overrides), (("a", "key"),), "auto", "code")


def echo(work: Task) -> list[Row]:
    """What a worker does that does nothing."""
    return [Row(label, status="ok", engine=str(work.index)) for label in work.labels]


def die_once(work: Task) -> list[Row]:
    """Take the worker down the first time that task 7 comes by; `scenario` is the file that remembers."""
    if work.index == 7 and not Path(work.scenario).exists():
        Path(work.scenario).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return echo(work)


def die_always(work: Task) -> list[Row]:
    """Take the worker down whenever task 3 comes by."""
    if work.index == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return echo(work)
