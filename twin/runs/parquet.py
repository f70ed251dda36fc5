"""Record tables as Parquet files: the same columns give the same bytes, and each column names its unit.

A number that was never read (NaN) is stored as null. Codes such as outcomes are stored by their names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from twin.errors import RunFolderError
from twin.records import Kind, MeterReadings, Outcome, Power, RawSamples, Reason, Requests, SampleKind, Spans

if TYPE_CHECKING:
    from enum import IntEnum
    from pathlib import Path

    import pyarrow as pa

    from twin.profiles import Source
    from twin.tables import Table

T = TypeVar("T", bound="Table")


class Column(NamedTuple):
    """How a column is stored.

    Attributes:
        dtype: Type of its numbers.
        unit: Their unit, or an empty string.
        codes: What the numbers stand for.
    """

    dtype: str
    unit: str = ""
    codes: type[IntEnum] | None = None


_REPLICATION = Column("int32")

COLUMNS: dict[type[Table], dict[str, Column]] = {
    Requests: {
        "replication": _REPLICATION,
        "request": Column("int64"),
        "client": Column("int32"),
        "arrival_s": Column("float64", "s"),
        "done_s": Column("float64", "s"),
        "outcome": Column("int8", codes=Outcome),
        "reason": Column("int8", codes=Reason),
        "epoch": Column("int32"),
        "replays": Column("int8"),
        "counted": Column("bool"),
    },
    Spans: {
        "replication": _REPLICATION,
        "request": Column("int64"),
        "epoch": Column("int32"),
        "kind": Column("int8", codes=Kind),
        "place": Column("int32"),
        "start_s": Column("float64", "s"),
        "end_s": Column("float64", "s"),
        "size_bytes": Column("float64", "bytes"),
    },
    Power: {
        "replication": _REPLICATION,
        "device": Column("int32"),
        "t_s": Column("float64", "s"),
        "interval_s": Column("float64", "s"),
        "power_w": Column("float64", "W"),
    },
    MeterReadings: {
        "replication": _REPLICATION,
        "device": Column("int32"),
        "t_s": Column("float64", "s"),
        "poll_s": Column("float64", "s"),
        "voltage_v": Column("float64", "V"),
        "current_a": Column("float64", "A"),
        "power_w": Column("float64", "W"),
        "counter_j": Column("float64", "J"),
    },
    RawSamples: {
        "replication": _REPLICATION,
        "kind": Column("int8", codes=SampleKind),
        "t_s": Column("float64", "s"),
        "place": Column("int64"),
        "amount": Column("float64", "bytes of a message, seconds of a stage"),
        "duration_s": Column("float64", "s"),
    },
}

_ROWS_PER_GROUP = 1 << 20


def empty(table: type[T]) -> T:
    """A table without rows."""
    return table(**{name: np.empty(0, dtype=column.dtype) for name, column in COLUMNS[table].items()})


def write_table(path: Path, table: Table, source: Source) -> None:
    """Write a table, some rows at a time; the same rows give the same bytes.

    Args:
        path: The file.
        table: The rows.
        source: Stored in the metadata of the file and of every column.
    """
    import pyarrow as pa  # noqa: PLC0415 - slow to import
    import pyarrow.parquet as pq  # noqa: PLC0415 - likewise

    columns = COLUMNS[type(table)]
    entries = [
        pa.field(name, _stored(np.empty(0), column).type, metadata={"source": source, "unit": column.unit})
        for name, column in columns.items()
    ]
    schema = pa.schema(entries, metadata={"schema": "1", "source": source})
    numbers = [name for name, column in columns.items() if column.dtype != "float64"]
    with pq.ParquetWriter(path, schema, compression="zstd", compression_level=3, use_dictionary=numbers) as writer:
        for part in table.parts():
            arrays = [_stored(getattr(part, name), column) for name, column in columns.items()]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema), row_group_size=_ROWS_PER_GROUP)


def read_table(path: Path, table: type[T]) -> T:
    """Read a table.

    Raises:
        RunFolderError: The file cannot be read, or a column is missing or holds something else.
    """
    import pyarrow as pa  # noqa: PLC0415 - slow to import
    import pyarrow.parquet as pq  # noqa: PLC0415 - likewise

    try:
        read = pq.read_table(path, columns=list(COLUMNS[table]))
        return table(**{name: _restored(read[name], column) for name, column in COLUMNS[table].items()})
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        raise RunFolderError(
            f"{path}: cannot be read as a table of {table.__name__.lower()} ({error}); play the scenario again"
        ) from error


def _stored(values: np.ndarray, column: Column) -> pa.Array:
    """The numbers as they go to the file."""
    import pyarrow as pa  # noqa: PLC0415 - slow to import

    if column.codes is None:
        return pa.array(np.asarray(values, dtype=column.dtype), from_pandas=True)
    names = pa.array([code.name.lower() for code in column.codes])
    return pa.DictionaryArray.from_arrays(pa.array(np.asarray(values, dtype=np.int8)), names)


def _restored(chunks: pa.ChunkedArray, column: Column) -> np.ndarray:
    """The numbers as they were before they went to the file."""
    if column.codes is None:
        return np.asarray(chunks.to_numpy(zero_copy_only=False), dtype=column.dtype)
    parts = [np.empty(0, dtype=column.dtype)]
    for chunk in chunks.dictionary_encode().chunks:
        codes = np.array([column.codes[name.upper()] for name in chunk.dictionary.to_pylist()], dtype=column.dtype)
        parts.append(codes[chunk.indices.to_numpy()])
    return np.concatenate(parts)
