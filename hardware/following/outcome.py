"""How well the live twin has predicted: the summary of a run, part by part."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hardware.following.ledger import Interval

CLOSE = 0.1
"""Relative error up to which a prediction counts as close."""
LATENCY, KNOWN, P95, THROUGHPUT = "latency mean", "latency mean, arrivals known", "latency p95", "throughput"


@dataclass(frozen=True, slots=True)
class Score:
    """How well one quantity was predicted.

    Attributes:
        name: The quantity.
        n: Intervals after the warm-up with a prediction and an outcome.
        mape: Mean of |predicted / measured - 1|.
        bias: Mean of predicted / measured - 1.
        close: Share of the intervals in which that is at most `CLOSE`.
        flags: How often the twin was found to be wrong there.
    """

    name: str
    n: int
    mape: float
    bias: float
    close: float
    flags: int

    def to_json(self) -> dict[str, Any]:
        """The score as plain data."""
        return asdict(self)


def scores(intervals: Sequence[Interval], names: Sequence[str]) -> tuple[Score, ...]:
    """The scores of all quantities of a run that were measured.

    Latency and throughput are of all intervals, also those in which the plan changed. Parts are as the twin expected
    the very visits and messages that there were.

    Args:
        intervals: The intervals.
        names: Names of the parts; see `monitor.part_names`.
    """
    counted = [x for x in intervals if x.counted]
    flagged = [flag.name for x in intervals for flag in x.flags]
    told = [x for x in counted if x.is_told]
    pairs: dict[str, list[tuple[float, float]]] = {
        LATENCY: [(x.forecast.mean_s, x.whole.measured_s) for x in told if x.whole is not None],
        KNOWN: [(x.explained.expected_s, x.explained.measured_s) for x in counted if x.explained is not None],
        P95: [(x.forecast.p95_s, x.p95_s) for x in told],
        THROUGHPUT: [(x.forecast.throughput_rps, x.throughput_rps) for x in told],
    }
    for place, name in enumerate(names[:-1]):
        pairs[name] = [(r.expected_s, r.measured_s) for x in counted for r in x.parts if r.place == place]
    counts = {**{name: flagged.count(name) for name in names}, KNOWN: flagged.count(names[-1])}
    found = (_score(name, rows, counts.get(name, 0)) for name, rows in pairs.items())
    return tuple(score for score in found if score is not None)


def summary(intervals: Sequence[Interval], names: Sequence[str], cpu_s: float, length_s: float) -> dict[str, Any]:
    """What `live.json` and the facts of a run say.

    Args:
        intervals: The intervals of all replications.
        names: Names of the parts.
        cpu_s: Processor time that following took.
        length_s: Length of the runs that were followed.
    """
    return {
        "intervals": len(intervals),
        "late": sum(x.forecast.is_late for x in intervals),
        "changed": sum(x.changed for x in intervals),
        "scores": [score.to_json() for score in scores(intervals, names)],
        "flags": [{"replication": x.replication, **flag.to_json()} for x in intervals for flag in x.flags],
        "cpu_s": cpu_s,
        "cpu_share": cpu_s / length_s if length_s > 0 else None,
    }


def _score(name: str, rows: Iterable[tuple[float, float]], flags: int) -> Score | None:
    table = np.array([row for row in rows if row[1] > 0], dtype=float).reshape(-1, 2)
    table = table[np.isfinite(table).all(axis=1)]
    if not len(table):
        return None
    error = table[:, 0] / table[:, 1] - 1
    close = float((np.abs(error) <= CLOSE).mean())
    return Score(name, len(table), float(np.abs(error).mean()), float(error.mean()), close, flags)
