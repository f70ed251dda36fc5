"""A rate that is constant between knots, integrated exactly: how much it delivers, and when a job is done.

The scalar methods are plain Python, because an engine calls them once per job; the `_many` methods take and
return arrays and agree with them.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from twin.errors import TraceError
from twin.steps import arrays as step_arrays
from twin.steps.tables import StepTables, check_pieces, default_end_s, held, limited, looped
from twin.steps.walk import RELATIVE_TOLERANCE, TOLERANCE_ULPS, walk, within

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

AfterEnd = Literal["hold", "loop", "error"]
"""What happens past the end: the last value holds, the function starts again, or it must not be used."""


@dataclass(frozen=True, slots=True)
class Steps:
    """A piecewise-constant function of time, `values[i]` from `times_s[i]` up to the next knot, n pieces.

    Work that ends exactly as an outage starts ends before it, also where rounding moved it past the knot by
    `RELATIVE_TOLERANCE` of its amount or a few roundings of its starting time.

    Attributes:
        times_s: Start of each piece, strictly increasing, the first 0; shape [n].
        values: Value of each piece, >= 0; shape [n]. Infinite values can be read but not integrated.
        after_end: What happens past the end.
        duration_s: When the last piece ends: for `loop` the end of the period, for `error` the limit. None: the
            last piece lasts as long as the median of the others, or 1 s if it is the only one.
        loop_from_s: Knot to which a loop returns; what lies before it happens once.
        name: What error messages call it.

    Raises:
        TraceError: A time or a value is malformed.
    """

    times_s: tuple[float, ...]
    values: tuple[float, ...]
    after_end: AfterEnd = "hold"
    duration_s: float | None = None
    loop_from_s: float = 0.0
    name: str = "trace"
    tables: StepTables = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "times_s", tuple(map(float, self.times_s)))
        object.__setattr__(self, "values", tuple(map(float, self.values)))
        _check(self)
        object.__setattr__(self, "tables", self._build())

    def _build(self) -> StepTables:
        if self.after_end == "loop":
            return looped(self.times_s, self.values, self.end_s, self.loop_from_s)
        if self.after_end == "error":
            return limited(self.times_s, self.values, self.end_s)
        return held(self.times_s, self.values)

    @classmethod
    def constant(cls, value: float, name: str = "constant") -> Steps:
        """Return a function that has the same value at all times."""
        return cls((0.0,), (value,), name=name)

    @property
    def end_s(self) -> float:
        """When the last piece ends, in seconds."""
        return default_end_s(self.times_s) if self.duration_s is None else self.duration_s

    def at(self, t_s: float) -> float:
        """Value at the time `t_s` >= 0; at a knot the value of the piece that starts there.

        Raises:
            TraceError: The function has ended and says `error`.
        """
        tables = self.tables
        local_s = t_s if 0.0 <= t_s < tables.limit_s else self._fold(t_s)
        return tables.readings[bisect_right(tables.knots_s, local_s) - 1]

    def around(self, t_s: float) -> tuple[int, float, float]:
        """The piece in which a time lies, in the order of `tables`, with its start and end in that turn of the loop.

        Raises:
            TraceError: The function has ended and says `error`.
        """
        tables = self.tables
        local_s = t_s if 0.0 <= t_s < tables.limit_s else self._fold(t_s)
        piece, offset_s = bisect_right(tables.knots_s, local_s) - 1, t_s - local_s
        return piece, offset_s + tables.knots_s[piece], offset_s + tables.ends_s[piece]

    def finish(self, start_s: float, amount: float) -> float:
        """First time >= `start_s` at which `amount` has been delivered since `start_s`.

        Infinite if that never happens because the rate is held at zero. An amount of 0 is done at once.

        Raises:
            TraceError: The function ends before that and says `error`.
        """
        if not amount > 0.0:
            return _nothing(start_s, amount)
        tables = self.tables
        local_s = start_s if 0.0 <= start_s < tables.limit_s else self._fold(start_s)
        piece = bisect_right(tables.knots_s, local_s) - 1
        rate = tables.rates[piece]
        if rate > 0.0:
            duration_s = amount / rate
            if local_s + duration_s <= tables.ends_s[piece]:
                return start_s + duration_s
        return self._finish_later(start_s, local_s, piece, amount)

    def integral(self, start_s: float, stop_s: float) -> float:
        """Amount delivered from `start_s` to `stop_s`, both finite.

        Raises:
            ValueError: `stop_s` lies before `start_s`.
            TraceError: The function has ended by then and says `error`.
        """
        if not stop_s >= start_s:
            raise ValueError(f"cannot integrate from {start_s} back to {stop_s} s")
        tables = self._integrable()
        first_turn, from_s = self._turn(start_s)
        last_turn, to_s = self._turn(stop_s)
        if first_turn == last_turn:
            return within(tables, from_s, to_s)
        rest = within(tables, from_s, tables.ends_s[-1])
        whole = (last_turn - first_turn - 1) * tables.loop_amount
        return rest + whole + within(tables, tables.loop_from_s, to_s)

    def delivered(self, t_s: float) -> float:
        """C(t): amount delivered from 0 to `t_s`."""
        return self.integral(0.0, t_s)

    def at_many(self, t_s: ArrayLike) -> NDArray[np.float64]:
        """Like `at`, for an array of times."""
        return step_arrays.at_many(self.tables, self._all_inside(t_s))

    def delivered_many(self, t_s: ArrayLike) -> NDArray[np.float64]:
        """C(t) for an array of times."""
        return step_arrays.delivered_many(self._integrable(), self._all_inside(t_s))

    def inverse_many(self, amounts: ArrayLike) -> NDArray[np.float64]:
        """Smallest time at which C(t) reaches each amount; infinite if it never does.

        During an outage C(t) stands still, so that the inverse of C(t) may lie before t: a caller that maps
        arrivals through C takes the later of the two. The result carries the rounding of the amount given.
        """
        return self._reached(step_arrays.inverse_many(self._integrable(), amounts), np.zeros(()))

    def finish_many(self, starts_s: ArrayLike, amounts: ArrayLike) -> NDArray[np.float64]:
        """Like `finish`, for arrays that broadcast against each other; each job as if it were alone."""
        given_s = self._all_inside(starts_s)
        return self._reached(step_arrays.finish_many(self._integrable(), given_s, amounts), given_s)

    def masked(self, start_s: float, end_s: float = math.inf) -> Steps:
        """Return the function with the value zero in the window [start_s, end_s); a loop is cut just there."""
        return self.scaled(0.0, start_s, end_s)

    def scaled(self, factor: float, start_s: float = 0.0, end_s: float = math.inf) -> Steps:
        """Return the function multiplied by `factor` in the window [start_s, end_s).

        A loop is unrolled for as long as the window reaches: the turns before and in it happen once.

        Raises:
            TraceError: The factor or the window is malformed.
        """
        if not factor >= 0.0 or not 0.0 <= start_s < end_s:
            raise TraceError(
                f"{self.name}: cannot multiply by {factor} from {start_s} to {end_s} s; "
                "the factor must be >= 0 and the window must start at >= 0 and end later"
            )
        unrolled = self._unrolled(start_s if math.isinf(end_s) else end_s)
        cuts = {x for x in (start_s, end_s) if x < (math.inf if self.after_end == "hold" else unrolled.end_s)}
        times_s = sorted({*unrolled.times_s, *cuts})
        values = [unrolled.values[bisect_right(unrolled.times_s, t) - 1] for t in times_s]
        changed = [v * factor if start_s <= t < end_s else v for t, v in zip(times_s, values, strict=True)]
        end = unrolled.end_s if unrolled.end_s > times_s[-1] else None
        return Steps(tuple(times_s), tuple(changed), self.after_end, end, unrolled.loop_from_s, self.name)

    def _unrolled(self, until_s: float) -> Steps:
        """The same function with whole turns of the loop written out until at least `until_s`."""
        if self.after_end != "loop" or until_s <= self.loop_from_s:
            return self
        period_s = self.end_s - self.loop_from_s
        turns = math.ceil((until_s - self.loop_from_s) / period_s)
        first = self.times_s.index(self.loop_from_s)
        times_s, values = list(self.times_s), list(self.values)
        for turn in range(1, turns + 1):
            times_s += [t + turn * period_s for t in self.times_s[first:]]
            values += self.values[first:]
        loop_from_s = self.loop_from_s + turns * period_s
        return Steps(tuple(times_s), tuple(values), "loop", loop_from_s + period_s, loop_from_s, self.name)

    def _finish_later(self, start_s: float, local_s: float, piece: int, amount: float) -> float:
        """`finish` for a job that outlasts the piece in which it starts."""
        tables = self._integrable()
        rate = tables.rates[piece]
        need = amount - rate * (tables.ends_s[piece] - local_s) if rate else amount
        offset_s = start_s - local_s
        if need <= 0.0:
            return offset_s + tables.ends_s[piece]
        tolerance = RELATIVE_TOLERANCE * amount + TOLERANCE_ULPS * rate * math.ulp(start_s)
        time_s = walk(tables, offset_s, piece + 1, need, tolerance)
        if time_s == math.inf and self.after_end == "error":
            raise self._ended(f"cannot finish work that starts at {start_s:g} s")
        return max(start_s, time_s)

    def _fold(self, t_s: float) -> float:
        """Time within the pieces that stands for a time outside them."""
        tables = self.tables
        if tables.period_s and 0.0 <= t_s < math.inf:
            return min(tables.loop_from_s + (t_s - tables.loop_from_s) % tables.period_s, tables.limit_s)
        if not t_s >= 0.0:
            raise ValueError(f"{self.name}: time {t_s} s lies before 0")
        return self._turn(t_s)[1]

    def _turn(self, t_s: float) -> tuple[float, float]:
        """How many turns of the loop have ended by `t_s`, and the time within the pieces."""
        tables = self.tables
        if t_s < tables.limit_s or not tables.period_s:
            if t_s > tables.limit_s:
                raise self._ended(f"is read at {t_s:g} s")
            return 0.0, t_s
        if t_s == math.inf:
            return math.inf, tables.loop_from_s
        turns, rest_s = divmod(t_s - tables.loop_from_s, tables.period_s)
        return turns, min(tables.loop_from_s + rest_s, tables.limit_s)

    def _reached(self, times_s: NDArray[np.float64], starts_s: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.after_end == "error" and (never := np.isinf(times_s)).any():
            first_s = np.broadcast_to(starts_s, times_s.shape)[never].min()
            raise self._ended(f"cannot finish work that starts at {first_s:g} s")
        return times_s

    def _all_inside(self, t_s: ArrayLike) -> NDArray[np.float64]:
        times_s = step_arrays.checked_times(t_s, self.name)
        if self.after_end == "error" and times_s.size and times_s.max() > self.end_s:
            raise self._ended(f"is read at {times_s.max():g} s")
        return times_s

    def _integrable(self) -> StepTables:
        if not self.tables.integrable:
            raise TraceError(f"{self.name} holds an infinite value: it can be read at a time, but not integrated")
        return self.tables

    def _ended(self, use: str) -> TraceError:
        return TraceError(
            f"{self.name} {use}, but ends at {self.end_s:g} s; set `after_end: hold` or `after_end: loop`"
        )


def _nothing(start_s: float, amount: float) -> float:
    if amount == 0.0:
        return start_s
    raise ValueError(f"an amount of work must be a number >= 0, not {amount}")


def _check(steps: Steps) -> None:
    """Raise a TraceError that names the first thing wrong with a function."""
    name, times_s = steps.name, steps.times_s
    check_pieces(name, times_s, steps.values)
    if steps.after_end not in get_args(AfterEnd):
        raise TraceError(f"{name}: after_end is {steps.after_end!r}; use one of {', '.join(get_args(AfterEnd))}")
    if not times_s[-1] < steps.end_s < math.inf:
        raise TraceError(f"{name}: duration_s is {steps.end_s}; it must be later than the last time, {times_s[-1]:g} s")
    if steps.loop_from_s not in times_s:
        raise TraceError(f"{name}: loop_from_s is {steps.loop_from_s:g}; it must be one of the times")
