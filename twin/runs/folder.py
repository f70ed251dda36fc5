"""Run folders: everything that one policy's run left behind, written so that a killed run cannot look complete.

run.json               what was played, with what, where and when; `status` says whether the folder is complete
requests.parquet       one row per request
spans.parquet          one row per stretch of time of a request
power.parquet          mean power by device and second
meters.parquet         what power meters showed; only where there were meters
observations.parquet   the raw samples that the policy was shown
decisions.jsonl        one line per tick of the controller
timeline.json          the first requests, for a trace viewer such as https://ui.perfetto.dev
"""

from __future__ import annotations

import json
import math
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from twin.errors import RunFolderError
from twin.records import MeterReadings, Power, RawSamples, Requests, RunResult, Spans
from twin.runs import provenance
from twin.runs.parquet import empty, read_table, write_table
from twin.runs.timeline import timeline

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from twin.tables import Table
    from twin.world import World

T = TypeVar("T", bound="Table")

SCHEMA = 1
_TABLES = ("requests.parquet", "spans.parquet", "power.parquet", "observations.parquet")
_METERS = "meters.parquet"
_DECISIONS = "decisions.jsonl"
_TIMELINE = "timeline.json"


def write_run(folder: Path, result: RunResult, world: World, *, complete: bool = True) -> None:
    """Write a run folder; it is marked incomplete until its last file is in place.

    Args:
        folder: The folder; made if need be, and what an earlier run left there is replaced.
        result: The run.
        world: The scenario that was played.
        complete: False for what an interrupted run left behind: the folder stays marked incomplete.

    Raises:
        RunFolderError: The folder cannot be written.
    """
    info = _info(result, world)
    tables: dict[str, Table] = dict(
        zip(_TABLES, (result.requests, result.spans, result.power, result.raw), strict=True)
    )
    if len(result.meters):
        tables[_METERS] = result.meters
    _write_json(folder / "run.json", info)
    for name in (*_TABLES, _METERS, _DECISIONS, _TIMELINE):
        (folder / name).unlink(missing_ok=True)
    for name, table in tables.items():
        replace_file(folder / name, partial(write_table, table=table, source=result.source))
    lines = [json.dumps(plain(entry), separators=(",", ":"), allow_nan=False) + "\n" for entry in result.decisions]
    write_text(folder / _DECISIONS, "".join(lines))
    write_text(folder / _TIMELINE, json.dumps(plain(timeline(world, result)), allow_nan=False))
    if complete:
        _write_json(folder / "run.json", {**info, "status": "complete", "finished": provenance.now()})


def read_info(folder: Path) -> dict[str, Any]:
    """Read `run.json`.

    Raises:
        RunFolderError: There is none, or it is not one.
    """
    path = folder / "run.json"
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunFolderError(
            f"{path}: cannot be read ({error.strerror}); name a folder that `python -m twin.simulate` wrote, "
            "such as runs/quickstart/adaptive"
        ) from error
    except ValueError as error:
        raise RunFolderError(f"{path}: is not JSON ({error}); play the scenario again") from error
    if not isinstance(info, dict) or info.get("schema") != SCHEMA:
        raise RunFolderError(f"{path}: is not a run of schema {SCHEMA}; play the scenario again with this version")
    return info


def read_run(folder: Path, *, allow_incomplete: bool = False) -> RunResult:
    """Read what a run left behind.

    Args:
        folder: The folder.
        allow_incomplete: Read the folder of a run that was killed, too; files that are not there count as empty.

    Raises:
        RunFolderError: The run was killed, or a file is missing or malformed.
    """
    info = read_info(folder)
    if info["status"] != "complete" and not allow_incomplete:
        raise RunFolderError(
            f"{folder / 'run.json'}: the run was stopped before everything was written; play the scenario again, "
            "or read what there is with `allow_incomplete`"
        )
    requests, spans, power, observations = (folder / name for name in _TABLES)
    unmetered = allow_incomplete or not info["rows"].get("meters")
    return RunResult(
        label=info["label"],
        source=info["source"],
        requests=_table(requests, Requests, allow_missing=allow_incomplete),
        spans=_table(spans, Spans, allow_missing=allow_incomplete),
        power=_table(power, Power, allow_missing=allow_incomplete),
        raw=_table(observations, RawSamples, allow_missing=allow_incomplete),
        decisions=_decisions(folder / _DECISIONS, allow_missing=allow_incomplete),
        facts=info["facts"],
        meters=_table(folder / _METERS, MeterReadings, allow_missing=unmetered),
    )


def write_text(path: Path, text: str) -> None:
    """Write a text file that is never seen half-written; folders are made as needed.

    Raises:
        RunFolderError: It cannot be written.
    """
    replace_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def plain(value: object) -> object:
    """Turn a value into what JSON can hold: arrays into lists, and numbers that are not finite into null."""
    if isinstance(value, dict):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _info(result: RunResult, world: World) -> dict[str, Any]:
    spec = next((spec for spec in world.policies if spec.label == result.label), None)
    return {
        "schema": SCHEMA,
        "status": "incomplete",
        "source": result.source,
        "label": result.label,
        "policy": {"kind": spec.kind, "options": dict(spec.options)} if spec else None,
        "name": world.name,
        "question": world.question,
        "seed": world.seed,
        "replications": sorted({int(number) for number in np.unique(result.requests.replication)}),
        "devices": list(world.problem.continuum.names),
        "links": [world.problem.continuum.link_name(link) for link in range(len(world.links))],
        "rows": _rows(result),
        "started": result.facts.get("started", provenance.now()),
        "finished": None,
        "facts": dict(result.facts),
        "versions": provenance.versions(),
        "code": provenance.code(),
        "host": provenance.host(),
        "scenario": world.resolved,
    }


def _rows(result: RunResult) -> dict[str, int]:
    rows = {"requests": len(result.requests), "spans": len(result.spans), "decisions": len(result.decisions)}
    return {**rows, "meters": len(result.meters)} if len(result.meters) else rows


def _write_json(path: Path, data: Mapping[str, Any]) -> None:
    write_text(path, json.dumps(plain(dict(data)), indent=2, allow_nan=False) + "\n")


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Write beside the file first, so that readers see the old content or the new, nothing between."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        temporary.replace(path)
    except OSError as error:
        if temporary.exists():
            temporary.unlink()
        raise RunFolderError(
            f"{path}: cannot be written ({error.strerror}); give another folder with --out, or free some space"
        ) from error


def _table(path: Path, table: type[T], *, allow_missing: bool) -> T:
    if not path.exists():
        if allow_missing:
            return empty(table)
        raise RunFolderError(f"{path}: is missing although the run is marked complete; play the scenario again")
    return read_table(path, table)


def _decisions(path: Path, *, allow_missing: bool) -> tuple[Mapping[str, Any], ...]:
    if not path.exists() and allow_missing:
        return ()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise RunFolderError(f"{path}: cannot be read ({error.strerror}); play the scenario again") from error
    return tuple(_decision(line, f"{path}, line {number}") for number, line in enumerate(lines, start=1))


def _decision(line: str, place: str) -> Mapping[str, Any]:
    """One decision; JSON has only text as keys, so the devices that were charged are turned back into numbers."""
    try:
        entry = json.loads(line)
        charged_j = {int(device): joules for device, joules in entry.get("charged_j", {}).items()}
    except (ValueError, AttributeError) as error:
        raise RunFolderError(f"{place}: is not a decision ({error}); play the scenario again") from error
    return {**entry, "charged_j": charged_j}
