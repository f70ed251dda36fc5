"""Parameters of a fit: which of them the data tell, what they are, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from twin.calibration.regression import Data, regress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from twin.calibration.regression import Fitted, Floats

LEAST_ROWS = 8
"""Rows below which nothing is said of a parameter."""
_APART = 0.02
"""Share of a column that others must leave unexplained; below it they cannot be told apart."""
_ALIKE = "cannot be told from "
_WIDE = 0.2
"""Half-width from which on a parameter counts as not known: of a factor relative to itself, of a time relative to what
it is a part of."""
_NOTHING = 1e-9
"""Share of what is measured below which a part is rounding."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A parameter.

    Attributes:
        value: What the twin is to use; what the scenario says where the data do not determine it.
        low: Lower end of its 95 % interval; None where it is not determined.
        high: Upper end; None likewise.
        n: Rows that it rests on.
        determined: Whether the data determine it.
        was: What the scenario says.
        note: Why it is not determined, or what else is to be known.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    determined: bool
    was: float
    note: str = ""

    @classmethod
    def kept(cls, was: float, note: str, n: int = 0) -> Estimate:
        """A parameter that the data do not determine."""
        return cls(was, None, None, n, determined=False, was=was, note=note)

    def mapped(self, scale: float) -> Estimate:
        """The same in another unit."""
        ends = [None if end is None else end * scale for end in (self.low, self.high)]
        return replace(self, value=self.value * scale, low=ends[0], high=ends[1], was=self.was * scale)

    def inverted(self) -> Estimate:
        """The parameter's reciprocal."""
        low, high = (None, None) if self.low is None or self.high is None else (1 / self.high, 1 / max(self.low, 1e-12))
        return replace(self, value=1 / self.value, low=low, high=high, was=1 / self.was)


@dataclass(frozen=True, slots=True, eq=False)
class Term:
    """A parameter to be fitted.

    Attributes:
        name: Its name.
        column: What it is multiplied by, shape [n].
        was: What the scenario says.
        kind: A `factor` must be known relative to itself, a `part` relative to what it is a part of.
        why_not: Why it cannot be told, where that is known beforehand.
    """

    name: str
    column: Floats
    was: float
    kind: Literal["factor", "part"]
    why_not: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What a fit gave.

    Attributes:
        estimates: By name of the term.
        fitted: The fit; None where nothing could be fitted.
        n: Number of rows.
    """

    estimates: dict[str, Estimate]
    fitted: Fitted | None
    n: int


def fit_terms(
    terms: Sequence[Term],
    y: Floats,
    spread: Floats,
    block: NDArray[np.int64],
    *,
    is_log: bool,
    is_robust: bool = True,
) -> Answer:
    """Fit what the data tell, and leave the rest as the scenario has it.

    Terms come in order of weight: of two that cannot be told apart, the first is fitted. One whose interval is wide
    and that is as the scenario says within a standard error is given up, the last first, and the others are fitted
    again. None may be negative.

    Args:
        terms: The parameters.
        y: What was measured, shape [n].
        spread: See `Data`.
        block: See `Data`.
        is_log: See `Data`.
        is_robust: See `Data`.
    """
    size = sum((term.column * term.was for term in terms), np.zeros(len(y))) if is_log else spread
    notes, active = _apart(terms, size)
    zero: dict[str, Estimate] = {}
    first: dict[str, tuple[float, float]] = {}
    while active:
        data = _data(terms, active, y, spread, block, zero)
        fitted = regress(replace(data, is_log=is_log, is_robust=is_robust), _start(active))
        first = first or _ends(active, fitted)
        wide = [term for at, term in enumerate(active) if _is_wide(term, fitted, at)]
        negative = [term for at, term in enumerate(active) if fitted.theta[at] < 0]
        if wide:
            notes[wide[-1].name] = f"its interval is wide: ± {fitted.half[active.index(wide[-1])]:.3g}"
            active.remove(wide[-1])
        elif negative:
            at = active.index(negative[-1])
            high = max(float(fitted.theta[at] + fitted.half[at]), 0.0)
            n_own = int((negative[-1].column > 0).sum())
            note = "" if high > 0 else "the fit is below zero, which it cannot be"
            zero[negative[-1].name] = Estimate(0.0, 0.0, high, n_own, determined=True, was=negative[-1].was, note=note)
            active.remove(negative[-1])
        else:
            return Answer(_estimates(terms, active, fitted, notes, zero, first), fitted, len(y))
    return Answer(_estimates(terms, (), None, notes, zero, first), None, len(y))


def _apart(terms: Sequence[Term], size: Floats) -> tuple[dict[str, str], list[Term]]:
    """Why some terms cannot be told, by name, and those that can be told apart."""
    notes: dict[str, str] = {}
    active: list[Term] = []
    for term in terms:
        used = term.column > 0
        if term.why_not:
            notes[term.name] = term.why_not
        elif used.sum() < LEAST_ROWS:
            notes[term.name] = f"{int(used.sum())} rows say something of it; {LEAST_ROWS} are needed"
        elif _left_over(term, active, size) < _APART:
            notes[term.name] = f"{_ALIKE}{' and '.join(other.name for other in active)}"
        else:
            active.append(term)
    return notes, active


def _left_over(term: Term, others: Sequence[Term], size: Floats) -> float:
    """Share of a column that others do not explain, rows weighed by the size of their errors."""
    column = term.column / size
    if not others:
        return 1.0
    columns = np.stack([other.column / size for other in others], axis=1)
    norms = np.linalg.norm(columns, axis=0)
    coefficients, *_ = np.linalg.lstsq(columns / norms, column, rcond=None)
    rest = column - columns / norms @ coefficients
    return float(np.linalg.norm(rest) / np.linalg.norm(column))


def _data(
    terms: Sequence[Term],
    active: Sequence[Term],
    y: Floats,
    spread: Floats,
    block: NDArray[np.int64],
    zero: dict[str, Estimate],
) -> Data:
    names = {term.name for term in active} | set(zero)
    known = sum((term.column * term.was for term in terms if term.name not in names), np.zeros(len(y)))
    return Data(np.stack([term.column for term in active], axis=1), known, y, spread, block, is_log=False)


def _start(active: Sequence[Term]) -> Floats:
    return np.array([term.was if term.was > 0 or term.kind == "part" else 1.0 for term in active])


def _ends(active: Sequence[Term], fitted: Fitted) -> dict[str, tuple[float, float]]:
    """Ends of the intervals by name."""
    low, high = (fitted.theta - fitted.half).tolist(), (fitted.theta + fitted.half).tolist()
    return {term.name: (low[at], high[at]) for at, term in enumerate(active)}


def _is_wide(term: Term, fitted: Fitted, at: int) -> bool:
    """Whether an interval says little, and the scenario's value lies within a standard error."""
    half = float(fitted.half[at])
    if abs(float(fitted.theta[at]) - term.was) > half / 2:
        return False
    if term.kind == "factor":
        return half > _WIDE * abs(float(fitted.theta[at]))
    used = term.column > 0
    return half * float(np.median(term.column[used])) > _WIDE * float(np.median(np.abs(fitted.expected[used])))


def _estimates(
    terms: Sequence[Term],
    active: Sequence[Term],
    fitted: Fitted | None,
    notes: dict[str, str],
    zero: dict[str, Estimate],
    first: dict[str, tuple[float, float]],
) -> dict[str, Estimate]:
    """What was found; intervals hold those of the fit of all terms, for one that was given up may be wrong itself."""
    found = dict(zero)
    alike = [name for name, note in notes.items() if note.startswith(_ALIKE)]
    premise = f"if {' and '.join(alike)} is as the scenario says" if alike else ""
    for at, term in enumerate(active):
        assert fitted is not None  # noqa: S101 - there is a fit where there are active terms
        value, half = float(fitted.theta[at]), float(fitted.half[at])
        used = term.column > 0
        if value * float(np.median(term.column[used])) < _NOTHING * float(np.median(fitted.expected[used])):
            value = 0.0
        n_own = int(used.sum())
        low, high = min(value - half, first[term.name][0]), max(value + half, first[term.name][1])
        found[term.name] = Estimate(value, max(low, 0.0), high, n_own, determined=True, was=term.was, note=premise)
    return {
        term.name: found[term.name] if term.name in found else Estimate.kept(term.was, notes[term.name])
        for term in terms
    }
