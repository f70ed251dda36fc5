"""The scalar side of `twin.steps.Steps`: how much is delivered between two times, and when a need is met."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twin.steps.tables import StepTables

RELATIVE_TOLERANCE = 1e-12
"""Share of a job that counts as rounding when the job ends where an outage starts."""

TOLERANCE_ULPS = 4
"""Roundings of the starting time that count as rounding likewise."""

_SURELY = 0.999
"""Share of what a piece delivers up to which a need is met in it, whatever the rounding."""


def within(tables: StepTables, from_s: float, to_s: float) -> float:
    """Amount delivered between two times within the pieces."""
    first = bisect_right(tables.knots_s, from_s) - 1
    last = bisect_right(tables.knots_s, to_s) - 1
    if first == last:
        return tables.rates[first] * (to_s - from_s) if tables.rates[first] else 0.0
    head = tables.rates[first] * (tables.ends_s[first] - from_s)
    tail = tables.rates[last] * (to_s - tables.knots_s[last]) if tables.rates[last] else 0.0
    return head + tables.between(first + 1, last) + tail


def walk(tables: StepTables, offset_s: float, first: int, need: float, tolerance: float) -> float:
    """Time at which `need` > 0 has been delivered, counted from the start of the piece `first`.

    Args:
        tables: The pieces, n of them.
        offset_s: What must be added to a time within the pieces.
        first: Index of a piece, or n for the end of the pieces.
        need: Amount to deliver.
        tolerance: An amount that small is rounding if an outage lies before it.
    """
    if first < len(tables.rates) and tolerance < need < _SURELY * tables.between(first, first + 1):
        return offset_s + min(tables.knots_s[first] + need / tables.rates[first], tables.ends_s[first])
    wrapped = False
    if tables.period_s:
        more = need - tables.between(first, len(tables.rates))
        if more > 0.0:
            turns = max(math.ceil(more / tables.loop_amount) - 1, 0)
            need = more - turns * tables.loop_amount
            offset_s += (turns + 1) * tables.period_s
            first, wrapped = tables.loop_first, True
    piece = _piece_that_reaches(tables, min(first, len(tables.rates) - 1), need)
    left = need - tables.between(first, piece)
    if left <= tolerance:
        return _before_outage(tables, offset_s, piece, left, wrapped=wrapped)
    if not tables.rates[piece]:
        return math.inf
    return offset_s + min(tables.knots_s[piece] + left / tables.rates[piece], tables.ends_s[piece])


def _piece_that_reaches(tables: StepTables, first: int, need: float) -> int:
    """Index of the piece in which `need`, counted from the start of `first`, is reached; else the last one."""
    last = len(tables.rates) - 1
    piece = bisect_left(tables.high, tables.high[first] + need, first + 1, last + 1) - 1
    while piece > first and tables.between(first, piece) >= need:
        piece -= 1
    while piece < last and tables.between(first, piece + 1) < need:
        piece += 1
    return piece


def _before_outage(tables: StepTables, offset_s: float, piece: int, left: float, *, wrapped: bool) -> float:
    """Finish of a job of which only rounding is `left` at the start of `piece`: before an outage if one ends there."""
    rate = tables.rates[piece]
    time_s = offset_s + tables.knots_s[piece] + (max(left, 0.0) / rate if rate else 0.0)
    while True:
        if wrapped and piece == tables.loop_first:
            piece, offset_s, wrapped = len(tables.rates), offset_s - tables.period_s, False
        piece -= 1
        if piece < 0 or tables.rates[piece]:
            return time_s
        time_s = offset_s + tables.knots_s[piece]
