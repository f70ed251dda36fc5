"""How long a device computed, transmitted and received up to any time: the regressors of a fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from twin.energy import activities, served

if TYPE_CHECKING:
    from twin.records import Spans
    from twin.topology import Continuum

N_ACTIVITIES = 3
"""Computing, transmitting and receiving."""


@dataclass(frozen=True, slots=True, eq=False)
class Activity:
    """Busy seconds of one device over time; what several services do at once counts each.

    Attributes:
        knots_s: For each activity, times between which as many services are under way, shape [n_knots].
        until_s: For each activity, busy seconds up to each of these times.
    """

    knots_s: tuple[np.ndarray, ...]
    until_s: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, continuum: Continuum, spans: Spans, device: int) -> Self:
        """The activity of one device in one replication."""
        spans = spans.where(served(spans))
        series, rows = activities(continuum, spans.place)
        pairs = []
        for activity in range(N_ACTIVITIES):
            own = rows[series == N_ACTIVITIES * device + activity]
            pairs.append(_busy(spans.start_s[own], spans.end_s[own]))
        return cls(tuple(knots_s for knots_s, _ in pairs), tuple(until_s for _, until_s in pairs))

    def shares(self, start_s: np.ndarray, end_s: np.ndarray) -> np.ndarray:
        """Share of stretches that each activity fills, shape [n, 3]; above 1 where several go on at once."""
        columns = [
            np.interp(end_s, knots_s, until_s) - np.interp(start_s, knots_s, until_s)
            for knots_s, until_s in zip(self.knots_s, self.until_s, strict=True)
        ]
        return np.asarray(np.stack(columns, axis=1) / (end_s - start_s)[:, None])


def _busy(start_s: np.ndarray, end_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Times at which the number of services under way changes, and the busy seconds up to them."""
    if len(start_s) == 0:
        return np.zeros(1), np.zeros(1)
    knots_s = np.concatenate([start_s, end_s])
    steps = np.repeat([1, -1], len(start_s))
    order = np.argsort(knots_s, kind="stable")
    knots_s, under_way = knots_s[order], np.cumsum(steps[order])
    return knots_s, np.append(0.0, np.cumsum(under_way[:-1] * np.diff(knots_s)))
