"""The folder of a sweep.

sweep.json      what was swept, with what and when; `status` says whether the folder is complete
table.parquet   one row per point and policy
table.csv       the same without the single replications
best.svg        the best policy over two axes; or `lines.svg`, the policies along one
results.jsonl   what is kept for a resume, a line per result
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from twin.runs import provenance
from twin.runs.folder import plain, replace_file, write_text
from twin.sweeping.figures import pictures
from twin.sweeping.table import SOURCE, parquet_writer, records_of, to_csv

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from twin.sweeping.campaign import Outcome

SCHEMA = 1
_OLD = ("table.parquet", "table.csv", "best.svg", "lines.svg")


def write(out: Path, outcome: Outcome, engine: str, started: str) -> dict[str, Path]:
    """Write the table and the figures between two versions of `sweep.json`: an incomplete and a complete one.

    Args:
        out: The folder; what an earlier sweep made of its results is replaced.
        outcome: The sweep with its rows.
        engine: The engine as it was asked for.
        started: When the sweep was started.

    Returns:
        Where what is, by what it is called.

    Raises:
        RunFolderError: The folder cannot be written.
    """
    info = {"schema": SCHEMA, "status": "incomplete", "started": started, "finished": None, **_info(outcome, engine)}
    _write_info(out, info)
    for name in _OLD:
        (out / name).unlink(missing_ok=True)
    files = {"table": out / "table.parquet", "to look at": out / "table.csv"}
    records = records_of(outcome)
    replace_file(files["table"], parquet_writer(records, outcome.sweep.axes))
    write_text(files["to look at"], to_csv(records))
    for picture in pictures(outcome):
        files["figure"] = out / f"{picture.name}.svg"
        write_text(files["figure"], picture.alone())
    _write_info(out, {**info, "status": "complete", "finished": provenance.now()})
    return files


def _write_info(out: Path, info: Mapping[str, Any]) -> None:
    write_text(out / "sweep.json", json.dumps(plain(dict(info)), indent=2, allow_nan=False) + "\n")


def _info(outcome: Outcome, engine: str) -> dict[str, Any]:
    sweep, timing = outcome.sweep, outcome.timing
    return {
        "name": sweep.name,
        "question": sweep.question,
        "source": SOURCE,
        "scenario": str(sweep.scenario),
        "set": list(sweep.fixed),
        "axes": [{"paths": list(axis.paths), "values": [list(row) for row in axis.rows]} for axis in sweep.axes],
        "seeds": list(sweep.seeds),
        "policies": list(sweep.labels),
        "minimise": sweep.minimise,
        "engine": engine,
        "rows": {"all": len(outcome.rows), "reused": outcome.reused, "failed": len(outcome.failed)},
        "timing": {
            "workers": timing.workers,
            "start_s": timing.start_s,
            "wall_s": timing.wall_s,
            "busy_s": timing.busy_s,
            "scheduling_share": timing.scheduling_share,
        },
        "versions": provenance.versions(),
        "code": provenance.code(),
        "host": provenance.host(),
    }
