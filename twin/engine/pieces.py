"""The pieces of a rate that cover a window of time, loops written out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from twin.steps import Steps

    Floats = NDArray[np.float64]


def spread(firsts: NDArray[np.intp], n: int) -> NDArray[np.intp]:
    """Piece of each of n sorted values, given the first value in each piece but piece 0."""
    counts = np.empty(len(firsts) + 1, dtype=np.intp)
    counts[:-1], counts[-1] = firsts, n
    counts[1:] -= firsts
    return np.repeat(np.arange(len(counts)), counts)


def pieces_of(rate: Steps, from_s: float, until_s: float, most: int) -> tuple[Floats, Floats] | None:
    """Knots and rates that cover a window, loops written out; None if there are more than `most`."""
    tables, arrays = rate.tables, rate.tables.arrays
    knots_s, rates = [], []
    if from_s < tables.limit_s:
        first = int(np.searchsorted(arrays.knots_s, from_s, side="right")) - 1
        knots_s, rates = [arrays.knots_s[first:]], [arrays.rates[first:]]
    if tables.period_s and until_s >= tables.limit_s:
        first_turn = max(int((from_s - tables.loop_from_s) // tables.period_s), 1)
        turns = np.arange(first_turn, int((until_s - tables.loop_from_s) // tables.period_s) + 1)
        looped_s = arrays.knots_s[tables.loop_first :]
        if len(turns) * len(looped_s) > most:
            return None
        knots_s.append((turns[:, None] * tables.period_s + looped_s).ravel())
        rates.append(np.tile(arrays.rates[tables.loop_first :], len(turns)))
    all_s, each = np.concatenate(knots_s), np.concatenate(rates)
    inside = slice(
        max(int(np.searchsorted(all_s, from_s, side="right")) - 1, 0),
        int(np.searchsorted(all_s, until_s, side="right")),
    )
    return (all_s[inside], each[inside]) if inside.stop - inside.start <= most else None
