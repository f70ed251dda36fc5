"""Break-even: where along an axis the best policy changes, estimated between the points that were played."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from twin.report.drawing import WIDE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twin.sweeping.grid import Axis
    from twin.sweeping.verdict import Cell


@dataclass(frozen=True, slots=True)
class Break:
    """A change of the best policy between two neighbouring positions of an axis.

    Attributes:
        before: Position before the change.
        low: The best policy there.
        high: The best policy at the next position.
        value: Value of the axis at which the two are estimated to be level; None on an axis without numbers.
        apart: Whether both sides can be told apart from luck, as far as that is known.
    """

    before: int
    low: str
    high: str
    value: float | None
    apart: bool


def breaks_of(axis: Axis, cells: Sequence[Cell]) -> list[Break]:
    """The changes of the best policy along an axis.

    Args:
        axis: The axis.
        cells: The verdict at each position of it.
    """
    found = []
    for position, (one, other) in enumerate(pairwise(cells)):
        if one.best is None or other.best is None or one.best == other.best:
            continue
        at = _level(one, other)
        value = None if at is None or not axis.is_numeric else between(axis, position + at)
        apart = one.apart is not False and other.apart is not False
        found.append(Break(position, one.best, other.best, value, apart))
    return found


def is_wide(axis: Axis) -> bool:
    """Whether values of an axis are spaced by ratios rather than by differences."""
    values = axis.values
    return axis.is_numeric and min(values) > 0 and max(values) / min(values) > WIDE


def between(axis: Axis, position: float) -> float:
    """Value of a numeric axis between two of its positions: in equal ratios where it is wide."""
    before = min(int(position), len(axis) - 2)
    share = position - before
    a, b = float(axis.values[before]), float(axis.values[before + 1])
    if is_wide(axis):
        return math.exp((1 - share) * math.log(a) + share * math.log(b))
    return (1 - share) * a + share * b


def _level(one: Cell, other: Cell) -> float | None:
    """Share of the way from one cell to the next at which their two best policies are level, on straight lines."""
    means = [(cell.mean(one.best or ""), cell.mean(other.best or "")) for cell in (one, other)]
    differences = [a - b for a, b in means if a is not None and b is not None]
    if len(differences) < 2 or differences[0] * differences[1] > 0 or differences[0] == differences[1]:
        return None  # one of the two could not be played, or loses more requests, on one of the sides
    return differences[0] / (differences[0] - differences[1])
