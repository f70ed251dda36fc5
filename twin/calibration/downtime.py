"""For how long a change of the partition holds back new requests."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from twin.calibration.terms import Estimate
from twin.metrics.intervals import interval
from twin.records import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from twin.calibration.parts import Part
    from twin.records import RunResult

_LEAST = 3
_SLACK_S = 1e-6
"""Half-width that an interval has at least."""


def fit_downtime(parts: Sequence[Part]) -> Estimate:
    """From the decision until the last request that it held back was sent on.

    A change at which no request arrived in time says nothing. If requests came after changes and none was held back,
    there is no downtime that shows.
    """
    was = parts[0].world.problem.switch.downtime_s
    held_s = [hold for part in parts for hold, _ in _changes(part)]
    free_s = [gap for part in parts for _, gap in _changes(part) if gap is not None]
    known_s = [hold for hold in held_s if hold is not None]
    if len(held_s) < _LEAST:
        return Estimate.kept(was, f"{len(held_s)} changes of the partition; {_LEAST} are needed")
    if not known_s:
        if not free_s:
            return Estimate.kept(was, "no request came soon after a change")
        note = f"no request was held back at {len(held_s)} changes"
        return Estimate(0.0, 0.0, min(free_s), len(held_s), determined=True, was=was, note=note)
    if len(known_s) < _LEAST:
        return Estimate.kept(was, f"{len(known_s)} changes held requests back; {_LEAST} are needed")
    found = interval(known_s, floor=0.0)
    assert found.low is not None and found.high is not None  # noqa: S101, PT018 - there are three values
    middle_s = float(np.median(known_s))
    low_s, high_s = min(found.low, middle_s - _SLACK_S), max(found.high, middle_s + _SLACK_S)
    return Estimate(middle_s, max(low_s, 0.0), high_s, len(known_s), determined=True, was=was)


def _changes(part: Part) -> Iterator[tuple[float | None, float | None]]:
    """Of each change: how long it held requests back, and, where it held none back, when the next one came."""
    result, counted = part.result, part.window
    for replication in np.unique(result.requests.replication).tolist():
        for decided_s, until_s in _moments(result, replication):
            if not counted.start_s <= decided_s < counted.end_s:
                continue
            own = result.spans.only(replication)
            holds = own.where((own.kind == Kind.HOLD) & (own.start_s >= decided_s) & (own.start_s < until_s))
            requests = result.requests.only(replication)
            after_s = requests.arrival_s[(requests.arrival_s >= decided_s) & (requests.arrival_s < until_s)]
            if len(holds):
                yield float(holds.end_s.max()) - decided_s, None
            elif len(after_s):
                yield None, float(after_s.min()) - decided_s
            else:
                yield None, None


def _moments(result: RunResult, replication: int) -> list[tuple[float, float]]:
    """When each change was decided, and when the next one was."""
    at_s = [x["t_s"] for x in result.decisions if x["replication"] == replication and x["switched"]]
    return list(itertools.pairwise([*at_s, np.inf]))
