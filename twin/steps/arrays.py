"""The vectorised side of `twin.steps.Steps`: the same answers for whole arrays of times and amounts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from twin.steps.walk import RELATIVE_TOLERANCE, TOLERANCE_ULPS

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from twin.steps.tables import StepArrays, StepTables

    Floats = NDArray[np.float64]
    Ints = NDArray[np.intp]


def checked_times(t_s: ArrayLike, name: str) -> Floats:
    """Return times as an array.

    Raises:
        ValueError: A time lies before 0.
    """
    times_s = np.asarray(t_s, dtype=np.float64)
    if times_s.size and not times_s.min() >= 0.0:
        raise ValueError(f"{name}: time {times_s.min()} s lies before 0")
    return times_s


def at_many(tables: StepTables, times_s: Floats) -> Floats:
    """Value at each time."""
    local_s, _ = _folded(tables, times_s)
    return tables.arrays.readings[_piece_at(tables, local_s)]


def delivered_many(tables: StepTables, times_s: Floats) -> Floats:
    """Amount delivered from 0 to each time."""
    arrays = tables.arrays
    local_s, turns = _folded(tables, times_s)
    piece = _piece_at(tables, local_s)
    inside = arrays.rates[piece] * (local_s - arrays.knots_s[piece])
    return arrays.high[piece] + (arrays.low[piece] + inside) + turns * tables.loop_amount


def finish_many(tables: StepTables, starts_s: Floats, amounts: ArrayLike) -> Floats:
    """First time at which each amount has been delivered since its start; infinite if that never happens.

    Raises:
        ValueError: An amount is negative or not a number.
    """
    starts_s, needs = np.broadcast_arrays(starts_s, _checked_amounts(amounts))
    arrays = tables.arrays
    local_s, _ = _folded(tables, starts_s)
    piece = _piece_at(tables, local_s)
    with np.errstate(divide="ignore", invalid="ignore"):
        duration_s = needs / arrays.rates[piece]
    fits = (local_s + duration_s <= arrays.ends_s[piece]) | (needs == 0.0)
    times_s = np.where(needs == 0.0, starts_s, starts_s + duration_s)
    late = ~fits
    if late.any():
        times_s[late] = _finish_later(tables, starts_s[late], local_s[late], piece[late], needs[late])
    return times_s


def inverse_many(tables: StepTables, amounts: ArrayLike) -> Floats:
    """Smallest time at which each amount has been delivered since 0; infinite if that never happens.

    The same answers as `finish_many` from 0, but from sums counted from 0: several times as fast, and no more exact
    than the amounts themselves.

    Raises:
        ValueError: An amount is negative or not a number.
    """
    needs = _checked_amounts(amounts)
    arrays, last = tables.arrays, len(tables.rates) - 1
    offset_s: Floats | float = 0.0
    inside = needs
    wrapped = np.zeros(needs.shape, dtype=bool)
    if tables.period_s:
        more = needs - arrays.high[-1]
        wrapped = more > 0.0
        turns = np.where(wrapped, np.ceil(more / tables.loop_amount), 0.0)
        offset_s = turns * tables.period_s
        inside = np.where(wrapped, more - (turns - 1.0) * tables.loop_amount + arrays.high[tables.loop_first], needs)
    piece = np.clip(np.searchsorted(arrays.high, inside, side="left") - 1, 0, last)
    left = (inside - arrays.high[piece]) - arrays.low[piece]
    rates = arrays.rates[piece]
    with np.errstate(divide="ignore", invalid="ignore"):
        times_s = np.asarray(offset_s + np.minimum(arrays.knots_s[piece] + left / rates, arrays.ends_s[piece]))
    odd = (left <= RELATIVE_TOLERANCE * needs) | (rates == 0.0)
    if odd.any():
        whole_s = np.broadcast_to(offset_s, needs.shape)[odd]
        never = (rates[odd] == 0.0) & (left[odd] > RELATIVE_TOLERANCE * needs[odd])
        early_s = _before_outage(tables, whole_s, piece[odd], left[odd], wrapped[odd])
        times_s[odd] = np.where(never, np.inf, np.where(needs[odd] == 0.0, 0.0, early_s))
    return times_s


def _checked_amounts(amounts: ArrayLike) -> Floats:
    needs = np.asarray(amounts, dtype=np.float64)
    if needs.size and not needs.min() >= 0.0:
        raise ValueError(f"an amount of work must be a number >= 0, not {needs.min()}")
    return needs


def _finish_later(tables: StepTables, starts_s: Floats, local_s: Floats, piece: Ints, amounts: Floats) -> Floats:
    """Finish of the jobs that outlast the piece in which they start; shapes [m]."""
    arrays = tables.arrays
    rates, ends_s = arrays.rates[piece], arrays.ends_s[piece]
    offset_s = starts_s - local_s
    # An infinite piece has no end to wait for, and zero times infinity is no number.
    need = amounts - rates * np.where(rates > 0.0, ends_s - local_s, 0.0)
    tolerance = RELATIVE_TOLERANCE * amounts + TOLERANCE_ULPS * rates * np.spacing(starts_s)
    times_s = offset_s + ends_s
    later = need > 0.0
    times_s[later] = _walk(tables, offset_s[later], piece[later] + 1, need[later], tolerance[later])
    return np.maximum(starts_s, times_s)


def _walk(tables: StepTables, offset_s: Floats, first: Ints, need: Floats, tolerance: Floats) -> Floats:
    """Array form of `twin.steps.walk.walk`; shapes [m]."""
    arrays, n = tables.arrays, len(tables.rates)
    wrapped = np.zeros(need.shape, dtype=bool)
    if tables.period_s:
        more = need - _between(arrays, first, np.full_like(first, n))
        wrapped = more > 0.0
        turns = np.maximum(np.ceil(more / tables.loop_amount) - 1.0, 0.0)
        need = np.where(wrapped, more - turns * tables.loop_amount, need)
        offset_s = np.where(wrapped, offset_s + (turns + 1.0) * tables.period_s, offset_s)
        first = np.where(wrapped, tables.loop_first, first)
    piece = _piece_that_reaches(arrays, np.minimum(first, n - 1), need)
    left = need - _between(arrays, first, piece)
    rates = arrays.rates[piece]
    with np.errstate(divide="ignore", invalid="ignore"):
        inside_s = np.minimum(arrays.knots_s[piece] + left / rates, arrays.ends_s[piece])
    times_s = offset_s + np.where(rates > 0.0, inside_s, np.inf)
    tiny = left <= tolerance
    if tiny.any():
        times_s[tiny] = _before_outage(tables, offset_s[tiny], piece[tiny], left[tiny], wrapped[tiny])
    return times_s


def _piece_that_reaches(arrays: StepArrays, first: Ints, need: Floats) -> Ints:
    """Index of the piece in which each need, counted from the start of `first`, is reached; else the last one."""
    last = len(arrays.rates) - 1
    guess = np.searchsorted(arrays.high, arrays.high[first] + need, side="left") - 1
    piece = np.clip(guess, first, last)
    while (back := (piece > first) & (_between(arrays, first, piece) >= need)).any():
        piece = piece - back
    while (onward := (piece < last) & (_between(arrays, first, np.minimum(piece, last - 1) + 1) < need)).any():
        piece = piece + onward
    return piece


def _before_outage(
    tables: StepTables, offset_s: Floats, piece: Ints, left: Floats, wrapped: NDArray[np.bool_]
) -> Floats:
    """Array form of the function of the same name in `twin.steps.walk`; shapes [m]."""
    arrays, n = tables.arrays, len(tables.rates)
    rates = arrays.rates[piece]
    inside_s = np.divide(np.maximum(left, 0.0), rates, out=np.zeros_like(left), where=rates > 0.0)
    times_s = offset_s + arrays.knots_s[piece] + inside_s
    searching = np.ones(left.shape, dtype=bool)
    while searching.any():
        seam = wrapped & (piece == tables.loop_first)
        piece = np.where(seam, n, piece) - 1
        offset_s = np.where(seam, offset_s - tables.period_s, offset_s)
        wrapped = wrapped & ~seam
        searching &= (piece >= 0) & (arrays.rates[piece] == 0.0)
        times_s = np.where(searching, offset_s + arrays.knots_s[piece], times_s)
    return times_s


def _between(arrays: StepArrays, first: Ints, last: Ints) -> Floats:
    return (arrays.high[last] - arrays.high[first]) + (arrays.low[last] - arrays.low[first])


def _piece_at(tables: StepTables, local_s: Floats) -> Ints:
    return np.searchsorted(tables.arrays.knots_s, local_s, side="right") - 1


def _folded(tables: StepTables, times_s: Floats) -> tuple[Floats, Floats]:
    """Times within the pieces, and how many turns of the loop have ended by then."""
    if not tables.period_s:
        return times_s, np.zeros_like(times_s)
    beyond = times_s >= tables.limit_s
    turns, rest_s = np.divmod(np.where(beyond, times_s - tables.loop_from_s, 0.0), tables.period_s)
    folded_s = np.minimum(tables.loop_from_s + rest_s, tables.limit_s)
    return np.where(beyond, folded_s, times_s), np.where(beyond, turns, 0.0)
