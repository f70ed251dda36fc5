"""Which policy is the best in each cell of a sweep, by how much, and whether that can be told apart from luck."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from twin.metrics.intervals import paired

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twin.sweeping.campaign import Outcome
    from twin.sweeping.row import Row

LOST_MORE = 0.01
"""A policy that loses a share of the requests larger by this than another one's is out of the comparison."""

Place = tuple[int, ...]
"""Position on each axis."""
Values = tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Cell:
    """One combination of the values on the axes, all seeds together.

    Attributes:
        values: For each policy that was played to the end, the minimised quantity by seed and replication.
        serving: The policies that lose no more requests than others, and whose quantity is known.
        best: The one with the least mean; None where there is none.
        second: The one after it; None where there is none.
        gain: (second - best) / second, of the means; None where there is no second.
        apart: Whether the interval of the paired difference of best and second excludes zero; None where there are
            fewer than two pairs to tell by.
    """

    values: Mapping[str, Values]
    serving: tuple[str, ...]
    best: str | None
    second: str | None
    gain: float | None
    apart: bool | None

    def mean(self, label: str) -> float | None:
        """Mean of the minimised quantity of a policy."""
        known = [value for value in self.values.get(label, ()) if value is not None]
        return fmean(known) if known else None


def cells_of(outcome: Outcome) -> dict[Place, Cell]:
    """The verdict for every combination of the values on the axes."""
    rows: dict[Place, dict[str, list[Row]]] = {}
    for point in outcome.points:
        here = rows.setdefault(point.positions, {})
        for label in outcome.sweep.labels:
            here.setdefault(label, []).append(outcome.rows[point.index, label])
    return {place: _cell(by_label, outcome.sweep.minimise) for place, by_label in rows.items()}


def _cell(by_label: Mapping[str, list[Row]], quantity: str) -> Cell:
    played = {label: rows for label, rows in by_label.items() if all(row.status == "ok" for row in rows)}
    values = {label: tuple(x for row in rows for x in row.values[quantity]) for label, rows in played.items()}
    lost = {label: _lost(rows) for label, rows in played.items()}
    least = min(lost.values(), default=0.0)
    means = {
        label: fmean([x for x in values[label] if x is not None])
        for label in played
        if lost[label] <= least + LOST_MORE and any(x is not None for x in values[label])
    }
    order = sorted(means, key=lambda label: means[label])
    best, second = (*order, None, None)[:2]
    gain = apart = None
    if best is not None and second is not None:
        gain = (means[second] - means[best]) / means[second] if means[second] else 0.0
        apart = _apart(values[best], values[second])
    return Cell(values, tuple(order), best, second, gain, apart)


def _apart(best: Values, second: Values) -> bool | None:
    difference = paired(best, second)
    return None if difference.n < 2 else difference.absolute.excludes_zero


def _lost(rows: list[Row]) -> float:
    arrived = sum(row.counts["arrived"] for row in rows)
    return sum(row.counts["dropped"] + row.counts["failed"] for row in rows) / arrived if arrived else 0.0
