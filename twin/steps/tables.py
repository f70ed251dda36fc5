"""Tables behind `twin.steps.Steps`: merged pieces and their cumulated amounts, in twice the precision of a float.

A difference of two plain cumulated sums loses the digits that a short transfer late in a long trace needs. The
sums are therefore kept as an unevaluated pair (high, low), after Knuth's exact addition (The Art of Computer
Programming, volume 2, section 4.2.2, theorem B), so that a difference is exact to the rounding of the difference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from twin.errors import TraceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class StepArrays:
    """The numbers of `StepTables` as arrays, for the vectorised methods; shapes as there."""

    knots_s: NDArray[np.float64]
    rates: NDArray[np.float64]
    readings: NDArray[np.float64]
    ends_s: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class StepTables:
    """Pieces of a rate function, neighbours of equal rate merged; n pieces.

    Attributes:
        knots_s: Start of each piece; shape [n].
        rates: Rate that a piece delivers; shape [n].
        readings: Value that a piece shows; differs from `rates` only after the end of a trace that must not be
            read there; shape [n].
        ends_s: End of each piece; the last is infinite unless the function loops; shape [n].
        high: Leading part of the amount delivered before each knot, and before the end; shape [n + 1].
        low: Trailing part of the same; shape [n + 1].
        limit_s: Times from here on must be folded into the loop or refused; infinite where neither applies.
        loop_from_s: Where a loop returns to.
        period_s: Length of the loop; 0 where the function does not loop.
        loop_first: Index of the first piece of the loop.
        loop_amount: Amount that one turn of the loop delivers.
        integrable: False if a rate is infinite.
    """

    knots_s: tuple[float, ...]
    rates: tuple[float, ...]
    readings: tuple[float, ...]
    ends_s: tuple[float, ...]
    high: tuple[float, ...]
    low: tuple[float, ...]
    limit_s: float
    loop_from_s: float
    period_s: float
    loop_first: int
    loop_amount: float
    integrable: bool
    arrays: StepArrays = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        columns = (self.knots_s, self.rates, self.readings, self.ends_s, self.high, self.low)
        object.__setattr__(self, "arrays", StepArrays(*(np.array(column) for column in columns)))

    def between(self, first: int, last: int) -> float:
        """Amount delivered by the pieces `first` up to, not including, `last`."""
        return (self.high[last] - self.high[first]) + (self.low[last] - self.low[first])


def held(times_s: Sequence[float], values: Sequence[float]) -> StepTables:
    """Tables of a function whose last value holds for ever."""
    knots, rates = _merged(times_s, values, -1.0)
    return _tables(knots, rates, rates, last_end_s=math.inf, limit_s=math.inf)


def limited(times_s: Sequence[float], values: Sequence[float], end_s: float) -> StepTables:
    """Tables of a function that must not be used after `end_s`: nothing is delivered there."""
    knots, rates = _merged([*times_s, end_s], [*values, 0.0], -1.0)
    return _tables(knots, rates, [*rates[:-1], values[-1]], last_end_s=math.inf, limit_s=end_s)


def looped(times_s: Sequence[float], values: Sequence[float], end_s: float, loop_from_s: float) -> StepTables:
    """Tables of a function that returns to `loop_from_s` at `end_s`, again and again."""
    knots, rates = _merged(times_s, values, loop_from_s)
    first = knots.index(loop_from_s)
    if first == len(knots) - 1:
        return held(knots, rates)
    return _tables(knots, rates, rates, last_end_s=end_s, limit_s=end_s, loop_from_s=loop_from_s, loop_first=first)


def _merged(times_s: Sequence[float], values: Sequence[float], keep_s: float) -> tuple[list[float], list[float]]:
    """Join neighbours of equal value, except at `keep_s`."""
    knots, rates = [times_s[0]], [values[0]]
    for time_s, value in zip(times_s[1:], values[1:], strict=True):
        if value != rates[-1] or time_s == keep_s:
            knots.append(time_s)
            rates.append(value)
    return knots, rates


def _tables(
    knots: Sequence[float],
    rates: Sequence[float],
    readings: Sequence[float],
    *,
    last_end_s: float,
    limit_s: float,
    loop_from_s: float = 0.0,
    loop_first: int | None = None,
) -> StepTables:
    ends = [*knots[1:], last_end_s]
    integrable = all(map(math.isfinite, rates))
    high, low = _cumulated(knots, rates, ends) if integrable else ([0.0], [0.0])
    looping = loop_first is not None
    first = loop_first if loop_first is not None else len(knots)
    return StepTables(
        knots_s=tuple(knots),
        rates=tuple(rates),
        readings=tuple(readings),
        ends_s=tuple(ends),
        high=tuple(high),
        low=tuple(low),
        limit_s=limit_s,
        loop_from_s=loop_from_s,
        period_s=last_end_s - loop_from_s if looping else 0.0,
        loop_first=first,
        loop_amount=(high[-1] - high[first]) + (low[-1] - low[first]) if looping and integrable else 0.0,
        integrable=integrable,
    )


def _cumulated(
    knots: Sequence[float], rates: Sequence[float], ends: Sequence[float]
) -> tuple[list[float], list[float]]:
    """Cumulated amounts at the knots and at the end, as pairs (high, low)."""
    high, low = [0.0], [0.0]
    for start_s, end_s, rate in zip(knots, ends, rates, strict=True):
        amount = rate * (end_s - start_s) if rate else 0.0
        total = high[-1] + amount
        if math.isinf(total):
            high.append(total)
            low.append(0.0)
            continue
        shift = total - high[-1]
        rounding = (high[-1] - (total - shift)) + (amount - shift)
        high.append(total)
        low.append(low[-1] + rounding)
    return high, low


def default_end_s(times_s: Sequence[float]) -> float:
    """Where the last piece ends if nothing says so: it lasts as long as the median of the others, or 1 s."""
    widths = sorted(b - a for a, b in pairwise(times_s))
    if not widths:
        return times_s[-1] + 1.0
    middle = len(widths) // 2
    median = widths[middle] if len(widths) % 2 else (widths[middle - 1] + widths[middle]) / 2
    return times_s[-1] + median


def check_pieces(name: str, times_s: Sequence[float], values: Sequence[float]) -> None:
    """Check the knots and the values of a function.

    Raises:
        TraceError: Their numbers differ, a time does not increase, the first is not 0, or a value is not >= 0.
    """
    if not times_s or len(times_s) != len(values):
        raise TraceError(
            f"{name}: {len(times_s)} times and {len(values)} values; give one value per time, at least one"
        )
    if times_s[0] != 0.0:
        raise TraceError(f"{name}: the first time is {times_s[0]:g} s; a trace must start at 0")
    for position, (a, b) in enumerate(pairwise(times_s), 1):
        if not a < b < math.inf:
            raise TraceError(f"{name}: time {b:g} s at position {position} follows {a:g} s; times must increase")
    for time_s, value in zip(times_s, values, strict=True):
        if not value >= 0.0:
            raise TraceError(f"{name}: value {value} at {time_s:g} s; values must be numbers >= 0")
