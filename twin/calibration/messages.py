"""What a run tells of messages, as columns: each message that went its whole way."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from twin.calibration.tables import Columns
from twin.records import Kind, SampleKind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from twin.records import RunResult, Spans
    from twin.world import World

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Key = tuple[int, int, int, float]

_SAME_S = 1e-6
"""Times of a span and of a sample that differ by less are the same."""


@dataclass(frozen=True, slots=True, eq=False)
class Messages(Columns):
    """Messages.

    Attributes:
        replication: Number of the replication.
        request: The request, or what stands for it in spans of probes and loads.
        link: Position of the link.
        direction: 0 up, 1 down.
        size_bytes: Bytes.
        queued_s: When the message was handed over.
        start_s: When the transmission began.
        finish_s: When it ended, as far as is known: on a testbed overhead and slow start are still in it.
        there_s: When the message was there.
        rtt_s: Round-trip time of the link at that time; NaN where it was not measured.
        pause_s: Time since the end of the transmission before it; infinite for the first.
    """

    replication: Ints
    request: Ints
    link: Ints
    direction: Ints
    size_bytes: Floats
    queued_s: Floats
    start_s: Floats
    finish_s: Floats
    there_s: Floats
    rtt_s: Floats
    pause_s: Floats

    @property
    def one_way_s(self) -> Floats:
        """From the start of the transmission until the message was there."""
        return np.asarray(self.there_s - self.start_s)


def messages(world: World, result: RunResult) -> Messages:
    """All messages that went their whole way, in the order of their transmissions over each direction.

    In records of a testbed the span of propagation is half the round trip of an empty message. In simulated ones
    overhead and slow start are part of that span; there, the round-trip time is known where a receipt was timed.

    A sender on a testbed does not see when the other direction has the medium of a half-duplex link. As in the twin, a
    message there begins once what was begun before it is through.
    """
    table = _paired(world, result)
    for link, joined in enumerate(world.problem.continuum.links):
        if joined.duplex == "half":
            table = _in_turn(table, link)
    order = np.lexsort((table.start_s, table.direction, table.link, table.replication))
    table = table.where(order)
    same = np.zeros(len(order), dtype=bool)
    for column in (table.replication, table.link, table.direction):
        same[1:] |= column[1:] != column[:-1]
    pause_s = np.full(len(order), np.inf)
    pause_s[1:] = np.where(same[1:], np.inf, table.start_s[1:] - table.finish_s[:-1])
    table = replace(table, pause_s=pause_s)
    sent_again = {
        (int(a), int(b))
        for a, b in zip(
            result.requests.replication[result.requests.replays > 0],
            result.requests.request[result.requests.replays > 0],
            strict=True,
        )
    }
    kept = [(int(a), int(b)) not in sent_again for a, b in zip(table.replication, table.request, strict=True)]
    return table.where(np.array(kept, dtype=bool))


def _paired(world: World, result: RunResult) -> Messages:
    """Propagations, each with the transmission and the wait before it."""
    spans, n = result.spans, world.problem.n_devices
    waited, sent = _by_end(spans, Kind.QUEUE, n), _by_end(spans, Kind.TRANSMIT, n)
    there = spans.where((spans.kind == Kind.PROPAGATE) & (spans.place >= n))
    rows = []
    for *who, finish_s, size_bytes in zip(
        there.replication.tolist(),
        there.place.tolist(),
        there.request.tolist(),
        there.start_s.tolist(),
        there.size_bytes.tolist(),
        strict=True,
    ):
        # What took no time to be sent, or did not wait, has no span of that.
        began_s, sent_bytes = sent.get((*who, finish_s), (finish_s, size_bytes))
        came_s, _ = waited.get((*who, began_s), (began_s, 0.0))
        rows.append((came_s, began_s, sent_bytes))
    queued_s, start_s, bytes_sent = np.array(rows, dtype=float).reshape(-1, 3).T
    place = there.place.astype(np.int64) - n
    table = Messages(
        there.replication.astype(np.int64),
        there.request,
        place // 2,
        place % 2,
        bytes_sent,
        queued_s,
        start_s,
        there.start_s,
        there.end_s,
        2 * (there.end_s - there.start_s),
        np.empty(len(start_s)),
    )
    table = table.where(table.size_bytes > 0)
    return table if result.source != "simulated" else replace(table, rtt_s=_timed_rtt_s(result, table))


def _by_end(spans: Spans, kind: Kind, n_devices: int) -> dict[Key, tuple[float, float]]:
    """Start and bytes of the spans of a kind on links, by replication, place, request and end."""
    own = spans.where((spans.kind == kind) & (spans.place >= n_devices))
    keys = zip(own.replication.tolist(), own.place.tolist(), own.request.tolist(), own.end_s.tolist(), strict=True)
    return dict(zip(keys, zip(own.start_s.tolist(), own.size_bytes.tolist(), strict=True), strict=True))


def _in_turn(table: Messages, link: int) -> Messages:
    """Let the messages of a half-duplex link begin after those of the other direction that they waited for."""
    start_s = table.start_s.copy()
    for replication in np.unique(table.replication):
        own = (table.replication == replication) & (table.link == link)
        ways = [np.flatnonzero(own & (table.direction == direction)) for direction in (0, 1)]
        for rows, others in (ways, ways[::-1]):
            others = others[np.argsort(table.finish_s[others], kind="stable")]  # noqa: PLW2901 - the same, in order
            through_s, came_s = table.finish_s[others], table.queued_s[others]
            first = np.searchsorted(through_s, table.start_s[rows])
            last = np.searchsorted(through_s, table.finish_s[rows])
            for row, from_row, to_row in zip(rows.tolist(), first.tolist(), last.tolist(), strict=True):
                # Others that were handed over before, and were through while this one was there, have held it up.
                before = came_s[from_row:to_row] <= table.queued_s[row]
                start_s[row] = max(start_s[row], through_s[from_row:to_row][before].max(initial=-np.inf))
    return replace(table, start_s=start_s)


def _timed_rtt_s(result: RunResult, table: Messages) -> Floats:
    """Round-trip times by receipts: twice what passed between the message and its receipt."""
    raw = result.raw.where(result.raw.kind == SampleKind.LINK)
    rtt_s = np.full(len(table.start_s), np.nan)
    own_key = 2 * table.link + table.direction
    for replication in np.unique(raw.replication):
        for place in np.unique(raw.place):
            samples = raw.where((raw.replication == replication) & (raw.place == place))
            began_s = samples.t_s - samples.duration_s
            order = np.argsort(began_s)
            rows = np.flatnonzero((table.replication == replication) & (own_key == place))
            if len(order) == 0 or len(rows) == 0:
                continue
            at = np.searchsorted(began_s[order], table.start_s[rows] - _SAME_S)
            found = order[np.minimum(at, len(order) - 1)]
            same = np.abs(began_s[found] - table.start_s[rows]) <= _SAME_S
            one_way_s = table.there_s[rows] - table.start_s[rows]
            rtt_s[rows[same]] = 2 * (samples.duration_s[found] - one_way_s)[same]
    return rtt_s
