"""The raw samples that a policy was shown, tick by tick: 28 bytes each until somebody asks for the table."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from twin.records import RawSamples, SampleKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from twin.problem import Samples

_PART = 1 << 18
"""Rows that are made at a time."""


class Shown:
    """Samples of one replication; makes the rows of `RawSamples`.

    Attributes:
        replication: Number of the replication.
        most_rows: How many samples there are.

    Args:
        replication: Number of the replication.
    """

    def __init__(self, replication: int) -> None:
        self.replication = replication
        self.most_rows = 0
        self._ticks: list[_Tick] = []

    def add(self, samples: Samples, t_s: float) -> None:
        """Keep the samples of one tick."""
        now = samples
        counts = (len(now.link), len(now.device), len(now.done_t_s), len(now.open_link), len(now.open_device))
        if not any(counts):
            return
        open_t_s = np.full(counts[3] + counts[4], t_s)
        links = 2 * now.link + now.direction, 2 * now.open_link + now.open_direction
        places = [links[0], now.device, now.done_epoch, links[1], now.open_device]
        amounts = [now.size_bytes, now.nominal_s, np.zeros(counts[2]), now.open_bytes, now.open_nominal_s]
        times_s = [now.transfer_s, now.service_s, now.latency_s, now.open_transfer_s, now.open_service_s]
        ends_s = np.concatenate([now.link_t_s, now.stage_t_s, now.done_t_s, open_t_s])
        place = np.concatenate(places).astype(np.int32)
        self._ticks.append(_Tick(counts, ends_s, place, np.concatenate(amounts), np.concatenate(times_s)))
        self.most_rows += len(place)

    def parts(self) -> Iterator[RawSamples]:
        """Make the rows, some at a time."""
        first, n_rows = 0, 0
        for position, tick in enumerate(self._ticks):
            n_rows += len(tick.t_s)
            if n_rows >= _PART:
                yield self._table(self._ticks[first : position + 1])
                first, n_rows = position + 1, 0
        yield self._table(self._ticks[first:])

    def _table(self, ticks: Sequence[_Tick]) -> RawSamples:
        _, t_s, place, amount, duration_s = zip(*ticks, strict=True) if ticks else [[np.empty(0)]] * 5
        kinds = np.tile(np.array(list(SampleKind), dtype=np.int8), len(ticks))
        kind = np.repeat(kinds, np.array([tick.counts for tick in ticks], dtype=np.int64).ravel())
        return RawSamples(
            np.full(len(kind), self.replication, dtype=np.int32),
            kind,
            np.concatenate(t_s),
            np.concatenate(place).astype(np.int64),
            np.concatenate(amount),
            np.concatenate(duration_s),
        )


class _Tick(NamedTuple):
    """Samples of one tick: how many of each kind, and the columns of `RawSamples`, shape [n] each."""

    counts: tuple[int, ...]
    t_s: NDArray[np.float64]
    place: NDArray[np.int32]
    amount: NDArray[np.float64]
    duration_s: NDArray[np.float64]
