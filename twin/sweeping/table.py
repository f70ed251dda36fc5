"""The table of a sweep: Parquet with units and every replication, and CSV to look at."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

from twin.sweeping.row import QUANTITIES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from twin.sweeping.campaign import Outcome
    from twin.sweeping.grid import Axis
    from twin.sweeping.row import Row

SOURCE = "simulated"
_WITH_INTERVAL = ("latency_mean_s", "score")
"""Quantities whose interval has columns of its own."""

Record = dict[str, Any]


def records_of(outcome: Outcome) -> list[Record]:
    """The rows as plain data, the replications as lists in columns that end in `_by_replication`."""
    points = {point.index: point for point in outcome.points}
    found = []
    for (index, label), row in outcome.rows.items():
        point = points[index]
        record: Record = {"point": index}
        for axis, position in zip(outcome.sweep.axes, point.positions, strict=True):
            record |= dict(zip(axis.paths, axis.rows[position], strict=True))
        record |= {"seed": point.seed, "policy": label, **_figures(row)}
        record |= {"key": outcome.keys.get((index, label)), "error": row.error or None}
        found.append(record | {f"{name}_by_replication": list(row.values.get(name, ())) for name in QUANTITIES})
    return found


def _figures(row: Row) -> Record:
    figures: Record = {
        "kind": row.kind or None,
        "status": row.status,
        "engine": row.engine or None,
        "n_replications": row.n_replications,
        "n_requests": row.counts.get("arrived", 0),
        "n_answered": row.counts.get("ok", 0) + row.counts.get("late", 0),
        "late_share": row.share("late"),
        "lost_share": row.share("dropped", "failed"),
    }
    for name in QUANTITIES:
        found = row.over_replications(name)
        figures[name] = found.mean
        if name in _WITH_INTERVAL:
            figures |= {f"{name}_low": found.low, f"{name}_high": found.high}
    return figures | {"run_s": row.run_s}


def to_csv(records: Sequence[Record]) -> str:
    """The rows as CSV, without the replications."""
    names = [name for name in records[0] if not name.endswith("_by_replication")]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_cell(record[name]) for name in names] for record in records)
    return buffer.getvalue()


def parquet_writer(records: Sequence[Record], axes: Sequence[Axis]) -> Callable[[Path], None]:
    """What writes the rows to a Parquet file; places whose values are of several types become JSON text."""
    import pyarrow as pa  # noqa: PLC0415 - slow to import
    import pyarrow.parquet as pq  # noqa: PLC0415 - likewise

    paths = {path for axis in axes for path in axis.paths}
    columns, fields = [], []
    for name in records[0]:
        values = [record[name] for record in records]
        column = pa.array(_uniform(values) if name in paths else values, type=_type(name, paths))
        columns.append(column)
        fields.append(pa.field(name, column.type, metadata={"source": SOURCE, "unit": unit_of(name)}))
    table = pa.Table.from_arrays(columns, schema=pa.schema(fields, metadata={"schema": "1", "source": SOURCE}))
    return lambda path: pq.write_table(table, path, compression="zstd")


def unit_of(name: str) -> str:
    """Unit of a column by the ending of its name; empty for none."""
    stem = name.removesuffix("_by_replication").removesuffix("_low").removesuffix("_high")
    units = {"s": "s", "j": "J", "rps": "1/s", "bps": "bit/s", "bytes": "bytes", "w": "W"}
    return units.get(stem.rpartition("_")[2], "") if "_" in stem else ""


def _type(name: str, paths: set[str]) -> Any:  # noqa: ANN401 - pyarrow has no types
    """Type of a column; None where the values tell."""
    import pyarrow as pa  # noqa: PLC0415 - slow to import

    if name.endswith("_by_replication"):
        return pa.list_(pa.float64())
    if name in paths:
        return None
    if name in ("policy", "kind", "status", "engine", "key", "error"):
        return pa.string()
    return pa.int64() if name.startswith("n_") or name in ("point", "seed") else pa.float64()


def _uniform(values: Sequence[Any]) -> Sequence[Any]:
    """Values of one type: numbers, or texts."""
    known = [value for value in values if value is not None]
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in known):
        whole = all(isinstance(value, int) and abs(value) < 1 << 63 for value in known)
        return values if whole else [None if value is None else float(value) for value in values]
    if all(isinstance(value, str) for value in known):
        return values
    return [None if value is None else json.dumps(value) for value in values]


def _cell(value: Any) -> Any:  # noqa: ANN401 - plain data
    return json.dumps(value) if isinstance(value, list | dict | bool) else value
