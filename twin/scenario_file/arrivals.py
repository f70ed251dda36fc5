"""Arrival times from a file."""

from __future__ import annotations

import csv
import math
from typing import TYPE_CHECKING

import numpy as np

from twin.errors import ScenarioError
from twin.scenario_file.complaints import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def read_arrivals(path: Path, column: str | None = None) -> np.ndarray:
    """Read arrival times: one per line (`#` starts a comment), or a column of a CSV file.

    Args:
        path: The file.
        column: Name of the column, as the first line of the CSV file gives it.

    Returns:
        Times in seconds from the start of the run, ascending, shape [n_requests].

    Raises:
        ScenarioError: The file cannot be read, holds no times, or a time is negative, no number or out of order.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise ScenarioError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise ScenarioError(f"{path}: is not a text file ({error.reason})") from error
    times_s: list[float] = []
    for line, cell in _column(path, lines, column) if column else _plain(lines):
        time_s = _time_s(cell, f"{path}, line {line}")
        if times_s and time_s < times_s[-1]:
            raise ScenarioError(f"{path}, line {line}: {time_s:g} s follows {times_s[-1]:g} s; sort the arrival times")
        times_s.append(time_s)
    if not times_s:
        raise ScenarioError(f"{path}: holds no arrival times; give at least one")
    return np.array(times_s)


def _plain(lines: list[str]) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(lines, 1):
        content = line.split("#", 1)[0].strip()
        if content:
            yield number, content


def _column(path: Path, lines: list[str], column: str) -> Iterator[tuple[int, str]]:
    reader = csv.reader(lines)
    header = [cell.strip() for cell in next(reader, [])]
    if column not in header:
        raise ScenarioError(f"{path}, line 1: there is no column `{column}`; {nearest(column, header)}")
    position = header.index(column)
    for cells in reader:
        if cells:
            yield reader.line_num, cells[position] if position < len(cells) else ""


def _time_s(cell: str, place: str) -> float:
    try:
        time_s = float(cell)
    except ValueError as error:
        hint = "; name the column of a CSV file with `column`" if "," in cell else ""
        raise ScenarioError(f"{place}: `{cell.strip()}` is no arrival time in seconds{hint}") from error
    if not math.isfinite(time_s) or time_s < 0:
        raise ScenarioError(f"{place}: the arrival time is {time_s:g}; it must be a finite number >= 0")
    return time_s
