"""What the edge keeps for whoever follows a run: measurements, ends of requests and plans, until they are fetched."""

from __future__ import annotations

import math
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from twin.records import SampleKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hardware.edge.conductor import Conductor

_MOST_KEPT = 200_000
"""Rows that are kept for a follower that does not come; the oldest go first."""
_MOST_TOLD = 8_192
"""Rows of one answer."""
COLUMNS = ("kind", "t_s", "place", "amount", "duration_s", "request")
"""Columns of a row, as in `records.RawSamples`, and the request of an end. An end without an answer lasts NaN."""


class Feed:
    """Rows in the order in which the edge learnt of them.

    Attributes:
        plans: Plan epoch, when it was decided on, and the device of every layer.
    """

    def __init__(self) -> None:
        self.plans: list[tuple[int, float, tuple[int, ...]]] = []
        self._rows: deque[tuple[float, ...]] = deque()
        self._first = 0

    @property
    def next(self) -> int:
        """Number that the next row will have."""
        return self._first + len(self._rows)

    def message(self, t_s: float, link: int, direction: int, size_bytes: float, transfer_s: float) -> None:
        """A message whose receipt came at `t_s`."""
        self._add(SampleKind.LINK, t_s, 2 * link + direction, size_bytes, transfer_s, -1)

    def stage(self, t_s: float, device: int, nominal_s: float, service_s: float) -> None:
        """A stage visit that ended at `t_s`."""
        self._add(SampleKind.STAGE, t_s, device, nominal_s, service_s, -1)

    def ended(self, t_s: float, request: int, epoch: int, latency_s: float) -> None:
        """A request has ended; the latency is NaN where there is no answer."""
        self._add(SampleKind.DONE, t_s, epoch, 0.0, latency_s, request)

    def plan(self, epoch: int, decided_s: float, placement: tuple[int, ...]) -> None:
        """A decision was made; only changes are kept."""
        if not self.plans or self.plans[-1][0] != epoch:
            self.plans.append((epoch, decided_s, placement))

    def take(self, since: int) -> tuple[int, np.ndarray]:
        """Rows from a number on; those before it are forgotten.

        Returns:
            The number of the first row, and the rows, shape [n, 6].
        """
        while self._rows and self._first < since:
            self._rows.popleft()
            self._first += 1
        return self._first, np.array(list(islice(self._rows, _MOST_TOLD)), dtype=float).reshape(-1, len(COLUMNS))

    def _add(self, *row: float) -> None:
        self._rows.append(row)
        if len(self._rows) > _MOST_KEPT:
            self._rows.popleft()
            self._first += 1


def told(lead: Conductor, feed: Feed, since: int, arrivals: int, epoch: int) -> tuple[dict[str, Any], np.ndarray]:
    """What a follower is told.

    Args:
        lead: Leads the run.
        feed: What was kept for the follower.
        since: Number of the first row that it wants.
        arrivals: Arrivals that it knows.
        epoch: Plan epoch from which on it wants plans.

    Returns:
        The answer, and the rows.
    """
    # What this machine itself has measured waits for the next decision otherwise.
    lead.refresh()
    first, rows = feed.take(since)
    changes = {entry["epoch"]: entry["active_s"] for entry in lead.switch.log}
    answer = {
        "t_s": lead.clock.now_s,
        "over": lead.over,
        "first": first,
        "more": feed.next > first + len(rows),
        "arrivals_s": list(lead.requests.arrival_s[arrivals : arrivals + _MOST_TOLD]),
        "plans": [_plan(row, changes.get(row[0])) for row in feed.plans if row[0] >= epoch],
        "lost": sorted(map(list, lead.presence.lost)),
    }
    return answer, rows


def _plan(row: Sequence[Any], active_s: float | None) -> dict[str, Any]:
    known = active_s is not None and math.isfinite(active_s)
    return {"epoch": row[0], "decided_s": row[1], "active_s": active_s if known else None, "placement": list(row[2])}
