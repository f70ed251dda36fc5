"""The file formats of traces: what lies in a file, checked line by line, as plain columns."""

from __future__ import annotations

import csv
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from twin.errors import TraceError
from twin.units import bits_from_bytes, bps_from_mbps, ms_from_s, s_from_ms

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

SLOT_BYTES = 1500
"""Bytes that a line of a Mahimahi packet-delivery file stands for, headers included."""

MetaSource = Literal["measured", "derived", "emulated"]


@dataclass(frozen=True, slots=True)
class Meta:
    """What stands beside a trace.

    Attributes:
        source: Where the numbers come from; `given` if nothing stands there.
        duration_s: When the last step ends, or None.
        provenance: Everything that the file says.
    """

    source: Literal["measured", "derived", "emulated", "given"]
    duration_s: float | None
    provenance: Mapping[str, Any]


def read_table(path: Path, columns: Sequence[str], infinite: str | None = None) -> list[list[float]]:
    """Read a CSV file whose header names `columns`, the first of them the time, and whose cells are numbers >= 0.

    Args:
        path: The file.
        columns: The columns that its header must name, in this order.
        infinite: A column whose cells may be infinite.

    Returns:
        One list per column; shape [n_columns][n_rows].

    Raises:
        TraceError: The file is missing, empty or malformed, a time does not increase, or the first is not 0.
    """
    reader = csv.reader(_text(path).splitlines())
    header = next(reader, [])
    if [cell.strip() for cell in header] != list(columns):
        raise TraceError(f"{path}, line 1: the header is `{','.join(header)}`; it must be `{','.join(columns)}`")
    table: list[list[float]] = [[] for _ in columns]
    for cells in reader:
        if not cells:
            continue
        place = f"{path}, line {reader.line_num}"
        if len(cells) != len(columns):
            raise TraceError(f"{place}: has {len(cells)} cells; give one for each of {','.join(columns)}")
        for column, name, cell in zip(table, columns, cells, strict=True):
            column.append(_number(cell, f"{place}: {name}", infinite=name == infinite))
        _check_order(table[0], place)
    if not table[0]:
        raise TraceError(f"{path}: the trace is empty; give at least one line below the header")
    if table[0][0] != 0.0:
        raise TraceError(f"{path}, line 2: the first time_s is {table[0][0]:g}; a trace must start at 0")
    return table


def read_pairs(path: Path) -> tuple[list[float], list[float]]:
    """Read lines of a time in seconds and a rate in Mbit/s, apart by white space or a comma; `#` starts a comment.

    Returns:
        Times in seconds counted from the first, and rates in bits per second.

    Raises:
        TraceError: The file is missing, empty or malformed, or a time does not increase.
    """
    times_s: list[float] = []
    rates_bps: list[float] = []
    for line, content in _lines(path):
        place = f"{path}, line {line}"
        cells = re.split(r"\s*,\s*|\s+", content)
        if len(cells) != 2:
            raise TraceError(f"{place}: `{content}` must be a time in seconds and a rate in Mbit/s")
        times_s.append(_number(cells[0], f"{place}: time"))
        rates_bps.append(bps_from_mbps(_number(cells[1], f"{place}: rate")))
        _check_order(times_s, place)
    if not times_s:
        raise TraceError(f"{path}: the trace is empty; give lines of a time in seconds and a rate in Mbit/s")
    return [time_s - times_s[0] for time_s in times_s], rates_bps


def read_slots(path: Path, bin_s: float) -> tuple[list[float], list[float], float]:
    """Read a Mahimahi packet-delivery file: one line per slot of 1500 bytes, its time in whole milliseconds.

    Source: the manual page of Mahimahi's `mm-link`. The last time is also the period with which the file repeats.
    A slot counts for the bin that ends with its time; the last bin ends with the period.

    Args:
        path: The file.
        bin_s: Width of the bins, whole milliseconds, in seconds.

    Returns:
        Start of each bin in seconds, its rate in bits per second, and the period in seconds.

    Raises:
        TraceError: The file is missing, empty or malformed, a time decreases, or the bin is shorter than 1 ms.
    """
    bin_ms = round(ms_from_s(bin_s)) if 0.0 < bin_s < math.inf else 0
    if bin_ms < 1:
        raise TraceError(f"{path}: bins of {bin_s} s are too short; give `bin_s` of at least 0.001")
    slots_ms = _slot_times(path)
    period_ms = slots_ms[-1]
    counts = [0] * -(-period_ms // bin_ms)
    for slot_ms in slots_ms:
        counts[max(-(-slot_ms // bin_ms) - 1, 0)] += 1
    starts_ms = [index * bin_ms for index in range(len(counts))]
    widths_ms = [min(bin_ms, period_ms - start_ms) for start_ms in starts_ms]
    rates_bps = [
        count * bits_from_bytes(SLOT_BYTES) / s_from_ms(width_ms)
        for count, width_ms in zip(counts, widths_ms, strict=True)
    ]
    return [s_from_ms(start_ms) for start_ms in starts_ms], rates_bps, s_from_ms(period_ms)


def _slot_times(path: Path) -> list[int]:
    slots_ms: list[int] = []
    for line, content in _lines(path):
        place = f"{path}, line {line}"
        if not (content.isascii() and content.isdigit()):
            raise TraceError(f"{place}: `{content}` must be a time in whole milliseconds, one slot per line")
        slots_ms.append(int(content))
        if len(slots_ms) > 1 and slots_ms[-1] < slots_ms[-2]:
            raise TraceError(f"{place}: {slots_ms[-1]} ms follows {slots_ms[-2]} ms; times must not decrease")
    if not slots_ms or slots_ms[-1] == 0:
        raise TraceError(f"{path}: the trace is empty; the last line must be a time > 0 in milliseconds")
    return slots_ms


def read_meta(path: Path, *, required: bool = True) -> Meta:
    """Read `<name>.meta.yaml` beside a trace.

    Args:
        path: The trace.
        required: Whether the file must exist.

    Raises:
        TraceError: The file is missing or malformed.
    """
    import yaml  # noqa: PLC0415 - a trace that is given in numbers needs no YAML

    place = path.with_suffix(".meta.yaml")
    if not required and not place.exists():
        return Meta("given", None, {})
    remedy = f"write `source: {' | '.join(get_args(MetaSource))}` and what is known of the trace's origin"
    try:
        data = yaml.safe_load(_text(place, remedy))
    except yaml.YAMLError as error:
        raise TraceError(f"{place}: is not YAML ({' '.join(str(error).split())}); {remedy}") from error
    if not isinstance(data, dict) or data.get("source") not in get_args(MetaSource):
        raise TraceError(f"{place}: `source` is missing or unknown; {remedy}")
    duration_s = data.get("duration_s")
    if duration_s is not None and (isinstance(duration_s, bool) or not isinstance(duration_s, int | float)):
        raise TraceError(f"{place}: duration_s is {duration_s!r}; it must be a number of seconds")
    return Meta(data["source"], None if duration_s is None else float(duration_s), data)


def _text(path: Path, remedy: str = "traces lie in data/traces, or give a path") -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise TraceError(f"{path}: cannot be read ({error.strerror}); {remedy}") from error
    except UnicodeDecodeError as error:
        raise TraceError(f"{path}: is not a text file ({error.reason}); {remedy}") from error


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines that hold something, comments removed, with their numbers."""
    for number, line in enumerate(_text(path).splitlines(), 1):
        content = line.split("#", 1)[0].strip()
        if content:
            yield number, content


def _number(cell: str, place: str, *, infinite: bool = False) -> float:
    try:
        value = float(cell)
    except ValueError as error:
        raise TraceError(f"{place} is `{cell.strip()}`; it must be a number") from error
    if not value >= 0.0 or (value == math.inf and not infinite):
        raise TraceError(f"{place} is {cell.strip()}; it must be a finite number >= 0")
    return value


def _check_order(times_s: Sequence[float], place: str) -> None:
    if len(times_s) > 1 and not times_s[-1] > times_s[-2]:
        raise TraceError(f"{place}: time {times_s[-1]:g} s follows {times_s[-2]:g} s; times must increase")
