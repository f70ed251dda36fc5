"""A paced FIFO: bytes of any number of connections, sent one chunk after the other at the rate of the trace."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from twin.units import bits_from_bytes

if TYPE_CHECKING:
    from hardware.emulation.moments import RunTime
    from twin.steps import Steps

_CHUNK_S = 2e-3
"""A chunk takes about so long: what is forwarded in one go is all that a receiver sees of the pace."""

LEAST_CHUNK_BYTES = 1460
LARGEST_CHUNK_BYTES = 16_384


class Outlet(Protocol):
    """Where a station hands on what it has sent."""

    @property
    def rate(self) -> Steps:
        """Goodput in bits per second over run time."""

    @property
    def closed(self) -> bool:
        """Whether nobody waits for the bytes any more."""

    def sent(self, data: memoryview, finish_s: float) -> None:
        """Take a chunk whose transmission ended at a moment."""


@dataclass(slots=True)
class _Piece:
    outlet: Outlet
    data: memoryview
    arrived_s: float


class Station:
    """Sends bytes in the order in which they arrived, each chunk from the end of the one before.

    The times follow from one another and not from when this process got to run, so that lateness never adds up.

    Attributes:
        next_s: Moment at which the chunk under way ends; infinite if there is none.

    Args:
        run_time: The time of the run, shared with the other parts.
    """

    def __init__(self, run_time: RunTime) -> None:
        self._run_time = run_time
        self._waiting: deque[_Piece] = deque()
        self._chunk: memoryview | None = None
        self._start_s = 0.0
        self._bits = 0.0
        self._free_s = 0.0
        self._paused = False
        self.next_s = math.inf

    def put(self, outlet: Outlet, data: bytes, now_s: float) -> None:
        """Queue bytes; none at all stand for the end of a stream and take no time."""
        self._waiting.append(_Piece(outlet, memoryview(data), now_s))
        if self._chunk is None and not self._paused:
            self._begin()

    def advance(self, now_s: float) -> None:
        """Hand on every chunk whose transmission has ended by now."""
        while self._chunk is not None and self.next_s <= now_s:
            piece, chunk, finish_s = self._waiting[0], self._chunk, self.next_s
            self._free_s = finish_s
            piece.data = piece.data[len(chunk) :]
            if not len(piece.data):
                self._waiting.popleft()
            self._begin()
            piece.outlet.sent(chunk, finish_s)

    def pause(self, now_s: float) -> None:
        """Stop in the middle of whatever is under way."""
        if self._chunk is not None and now_s > self._start_s:
            rate = self._waiting[0].outlet.rate
            self._bits = max(0.0, self._bits - self._run_time.delivered(rate, self._start_s, now_s))
        self._paused, self.next_s = True, math.inf

    def resume(self, now_s: float) -> None:
        """Go on where `pause` stopped."""
        self._paused, self._free_s = False, max(self._free_s, now_s)
        if self._chunk is None:
            self._begin()
        else:
            self._start_s = max(self._start_s, now_s)
            self.replan()

    def replan(self) -> None:
        """Work out anew when the chunk under way ends: the run's time was set."""
        if self._chunk is not None and not self._paused:
            self.next_s = self._run_time.finish(self._waiting[0].outlet.rate, self._start_s, self._bits)

    def _begin(self) -> None:
        """Start on the next chunk, if there is one."""
        while self._waiting and self._waiting[0].outlet.closed:
            self._waiting.popleft()
        if not self._waiting:
            self._chunk, self.next_s = None, math.inf
            return
        piece = self._waiting[0]
        self._start_s = max(piece.arrived_s, self._free_s)
        rate_bps = self._run_time.value(piece.outlet.rate, self._start_s)
        self._chunk = piece.data[: chunk_bytes(rate_bps)]
        self._bits = bits_from_bytes(len(self._chunk))
        self.replan()


def chunk_bytes(rate_bps: float) -> int:
    """Size of a chunk at a rate: about 2 ms of it, between one segment of TCP and 16 KB."""
    return int(min(max(rate_bps * _CHUNK_S / bits_from_bytes(1), LEAST_CHUNK_BYTES), LARGEST_CHUNK_BYTES))
