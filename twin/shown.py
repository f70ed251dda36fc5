"""The raw samples that a policy was shown, tick by tick: 28 bytes each until somebody asks for the table.

Those of a long run wait in a temporary file, so that what a policy looks at takes no memory that grows with the run.
"""

from __future__ import annotations

import tempfile
import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from twin.errors import RunFolderError
from twin.records import RawSamples, SampleKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from twin.problem import Samples

_PART = 1 << 18
"""Rows that are made, and written to the file, at a time."""
_MOST = 1 << 22
"""Rows up to which all stay in memory."""


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
        self._blocks: list[_Block | _Away] = []
        self._new: list[_Block] = []
        self._n_new = 0
        self._store: _Store | None = None

    def add(self, samples: Samples, t_s: float) -> None:
        """Keep the samples of one tick.

        Raises:
            RunFolderError: There is no room for the temporary file.
        """
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
        self._new.append(_Block(np.array(counts), ends_s, place, np.concatenate(amounts), np.concatenate(times_s)))
        self.most_rows += len(place)
        self._n_new += len(place)
        if self._n_new >= _PART:
            self._blocks.append(_joined(self._new))
            self._new, self._n_new = [], 0
            if self.most_rows > _MOST:
                self._put_away()

    def parts(self) -> Iterator[RawSamples]:
        """Make the rows, some at a time."""
        for block in self._blocks:
            yield self._table(block if isinstance(block, _Block) else block.block())
        yield self._table(_joined(self._new))

    def __getstate__(self) -> dict[str, Any]:
        """What another process is given: all rows, for the file stays here."""
        blocks = [block if isinstance(block, _Block) else block.block() for block in self._blocks]
        return {**self.__dict__, "_blocks": blocks, "_store": None}

    def _put_away(self) -> None:
        """Move all blocks from memory into the file."""
        if self._store is None:
            self._store = _Store()
        store = self._store
        self._blocks = [store.keep(block) if isinstance(block, _Block) else block for block in self._blocks]

    def _table(self, block: _Block) -> RawSamples:
        kinds = np.tile(np.array(list(SampleKind), dtype=np.int8), len(block.counts) // len(SampleKind))
        kind = np.repeat(kinds, block.counts)
        return RawSamples(
            np.full(len(kind), self.replication, dtype=np.int32),
            kind,
            block.t_s,
            block.place.astype(np.int64),
            block.amount,
            block.duration_s,
        )


class _Block(NamedTuple):
    """Samples of some ticks: how many of each kind in each, and the columns of `RawSamples`, shape [n] each."""

    counts: NDArray[np.int64]
    t_s: NDArray[np.float64]
    place: NDArray[np.int32]
    amount: NDArray[np.float64]
    duration_s: NDArray[np.float64]


class _Away(NamedTuple):
    """A block in the file: where its columns begin, their types and their lengths."""

    store: _Store
    first: int
    columns: tuple[tuple[np.dtype[Any], int], ...]

    def block(self) -> _Block:
        """Read it."""
        data, at = self.store.read(self.first, sum(dtype.itemsize * n for dtype, n in self.columns)), 0
        arrays = []
        for dtype, n in self.columns:
            arrays.append(np.frombuffer(data, dtype, n, at))
            at += dtype.itemsize * n
        return _Block(*arrays)


class _Store:
    """A temporary file without a name, gone with its last user."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed with its last user
        weakref.finalize(self, self._file.close)

    def keep(self, block: _Block) -> _Away:
        """Write a block.

        Raises:
            RunFolderError: There is no room.
        """
        try:
            first = self._file.seek(0, 2)
            for column in block:
                self._file.write(np.ascontiguousarray(column).data)
            self._file.flush()
        except OSError as error:
            raise RunFolderError(
                f"{tempfile.gettempdir()}: cannot keep the samples that the policy was shown ({error.strerror}); make "
                "room there, or set TMPDIR to a folder that has some"
            ) from error
        return _Away(self, first, tuple((column.dtype, len(column)) for column in block))

    def read(self, first: int, n_bytes: int) -> bytes:
        """Read what stands at a place."""
        self._file.seek(first)
        return self._file.read(n_bytes)


def _joined(blocks: list[_Block]) -> _Block:
    if len(blocks) == 1:
        return blocks[0]
    if not blocks:
        nothing, whole = np.empty(0), np.empty(0, dtype=np.int64)
        return _Block(whole, nothing, nothing.astype(np.int32), nothing, nothing)
    counts, t_s, place, amount, duration_s = map(np.concatenate, zip(*blocks, strict=True))
    return _Block(counts, t_s, place, amount, duration_s)
