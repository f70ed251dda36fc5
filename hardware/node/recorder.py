"""Spans of one machine in one run, on its own clock until they are collected."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

import numpy as np

from twin.records import Spans

if TYPE_CHECKING:
    from twin.records import Kind


class Recorder:
    """Keeps spans as columns."""

    def __init__(self) -> None:
        self._whole = [array("q") for _ in range(4)]
        self._start_s, self._end_s, self._size_bytes = array("d"), array("d"), array("d")

    def __len__(self) -> int:
        return len(self._start_s)

    def add(
        self, request: int, epoch: int, kind: Kind, place: int, start_s: float, end_s: float, size_bytes: float = 0.0
    ) -> None:
        """Note a stretch of time; what took none is left out."""
        if end_s <= start_s:
            return
        for column, value in zip(self._whole, (request, epoch, int(kind), place), strict=True):
            column.append(value)
        self._start_s.append(start_s)
        self._end_s.append(end_s)
        self._size_bytes.append(size_bytes)

    def columns(self) -> dict[str, np.ndarray]:
        """The spans as arrays by name, times on this machine's monotonic clock."""
        names = ("request", "epoch", "kind", "place")
        whole = {name: np.array(column, dtype=np.int64) for name, column in zip(names, self._whole, strict=True)}
        times = {"start_s": self._start_s, "end_s": self._end_s, "size_bytes": self._size_bytes}
        return whole | {name: np.array(column, dtype=np.float64) for name, column in times.items()}


def spans_table(columns: dict[str, np.ndarray], replication: int, shift_s: np.ndarray | float) -> Spans:
    """The spans of one machine as a table in run time.

    Args:
        columns: What `Recorder.columns` gave.
        replication: Number of the replication.
        shift_s: What to add to the machine's clock to get run time, a number or shape [n, 2] for start and end.
    """
    shift = np.broadcast_to(np.asarray(shift_s, dtype=float), (len(columns["start_s"]), 2))
    return Spans(
        np.full(len(columns["request"]), replication, dtype=np.int32),
        columns["request"],
        columns["epoch"].astype(np.int32),
        columns["kind"].astype(np.int8),
        columns["place"].astype(np.int32),
        columns["start_s"] + shift[:, 0],
        columns["end_s"] + shift[:, 1],
        columns["size_bytes"],
    )
