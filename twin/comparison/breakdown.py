"""Where the time of each request went: parts that add up to its latency."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from twin.records import Kind

if TYPE_CHECKING:
    from twin.records import RunResult, Spans


class Part(NamedTuple):
    """A part of the latency.

    Attributes:
        what: `hold`, `waiting`, `compute`, `transmission`, `propagation` or `other`.
        place: Device k is k, direction d of link l is n_devices + 2 l + d; -1 for `hold` and `other`.
    """

    what: str
    place: int


@dataclass(frozen=True, slots=True, eq=False)
class Breakdown:
    """The counted requests of one replication that were answered, in order of arrival.

    Attributes:
        request: Number of each, shape [n].
        arrival_s: When it arose, shape [n].
        latency_s: Its latency, shape [n].
        parts_s: What its latency was spent on, shape [n, n_parts]; a row adds up to the latency.
        length_s: Arrival of the last request, whether counted or not.
    """

    request: np.ndarray
    arrival_s: np.ndarray
    latency_s: np.ndarray
    parts_s: np.ndarray
    length_s: float

    def __len__(self) -> int:
        return len(self.request)


def parts_of(n_devices: int, n_links: int) -> tuple[Part, ...]:
    """All parts, in the order of the columns of `Breakdown.parts_s`."""
    devices = [Part(what, place) for place in range(n_devices) for what in ("waiting", "compute")]
    links = [
        Part(what, n_devices + way) for way in range(2 * n_links) for what in ("waiting", "transmission", "propagation")
    ]
    return (Part("hold", -1), *devices, *links, Part("other", -1))


def breakdown(result: RunResult, replication: int, parts: tuple[Part, ...]) -> Breakdown:
    """Add up the spans of each request.

    What no span covers is `other`: time between machines' clocks and between the steps of a program, or the wait for a
    loss to be noticed; negative where spans overlap.

    Args:
        result: The run.
        replication: Number of the replication.
        parts: What `parts_of` gives.
    """
    requests = result.requests.only(replication)
    chosen = requests.counted & requests.completed
    row_of = np.full(int(requests.request.max(initial=-1)) + 1, -1, dtype=np.int64)
    row_of[requests.request[chosen]] = np.arange(int(chosen.sum()))
    n, width = int(chosen.sum()), len(parts)
    parts_s = np.zeros((n, width))
    column_of = _columns(parts)
    for spans in result.spans.only(replication).parts():
        parts_s += _summed(spans, row_of, column_of, n, width)
    latency_s = requests.latency_s[chosen]
    parts_s[:, -1] = latency_s - parts_s[:, :-1].sum(axis=1)
    # Under a picosecond per request is rounding.
    parts_s[np.abs(parts_s[:, -1]) < 1e-12, -1] = 0.0
    length_s = float(requests.arrival_s.max(initial=0.0))
    return Breakdown(requests.request[chosen], requests.arrival_s[chosen], latency_s, parts_s, length_s)


_KINDS = {
    "waiting": Kind.QUEUE,
    "compute": Kind.COMPUTE,
    "transmission": Kind.TRANSMIT,
    "propagation": Kind.PROPAGATE,
}


def _columns(parts: tuple[Part, ...]) -> np.ndarray:
    """Column of each kind of span at each place, shape [kinds, places]; the last column where there is none."""
    places = max((part.place for part in parts), default=0) + 1
    columns = np.full((len(Kind), max(places, 1)), len(parts) - 1, dtype=np.int64)
    for position, part in enumerate(parts):
        if part.what in _KINDS:
            columns[_KINDS[part.what], part.place] = position
    columns[Kind.HOLD, :] = 0
    return columns


def _summed(spans: Spans, row_of: np.ndarray, column_of: np.ndarray, n: int, width: int) -> np.ndarray:
    """Seconds by request and part, shape [n, width]."""
    known = (spans.request >= 0) & (spans.request < len(row_of))
    rows = np.full(len(spans.request), -1, dtype=np.int64)
    rows[known] = row_of[spans.request[known]]
    ours = rows >= 0
    columns = column_of[spans.kind[ours], spans.place[ours]]
    seconds = spans.end_s[ours] - spans.start_s[ours]
    return np.bincount(rows[ours] * width + columns, seconds, n * width).reshape(n, width)
