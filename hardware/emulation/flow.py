"""A flow: the bytes that go one way through a connection, and when each of them is handed on."""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from hardware.emulation.gate import Gate
    from hardware.emulation.moments import RunTime
    from hardware.emulation.station import Station
    from hardware.emulation.wiring import Wire
    from twin.steps import Steps

_HELD_BYTES = 8 * 2**20
"""A flow that holds more than this is not read on: its sender is held up by TCP."""


@dataclass(slots=True)
class Lateness:
    """How much later than due bytes were handed on, because this process did not get to run earlier.

    Attributes:
        chunks: Number of chunks.
        sum_s: Sum of their lateness.
        worst_s: The largest.
    """

    chunks: int = 0
    sum_s: float = 0.0
    worst_s: float = 0.0

    def add(self, late_s: float) -> None:
        """Count one chunk."""
        self.chunks += 1
        self.sum_s += late_s
        self.worst_s = max(self.worst_s, late_s)


class Road:
    """What the flows of one direction share: the link, the time, and the station if they are paced.

    Args:
        wire: The link.
        gate: Its gate.
        run_time: The time of the run.
        station: The station that paces them, or None if they are only delayed.
        rate: Its goodput in bits per second.
    """

    def __init__(
        self, wire: Wire, gate: Gate, run_time: RunTime, station: Station | None = None, rate: Steps | None = None
    ) -> None:
        self.gate = gate
        self.station = station
        self.rate = rate
        self.lateness = Lateness()
        self._rtt = wire.rtt
        self._run_time = run_time

    def delay_s(self, moment_s: float) -> float:
        """Propagation delay of what enters at a moment: half the round-trip time."""
        return self._run_time.value(self._rtt, moment_s) / 2


class Flow:
    """Bytes of one direction, in order: held back by the gate, paced by the station, delayed, handed on.

    Attributes:
        held_bytes: Bytes that were taken in and not yet handed on.
        closed: Whether the connection is gone, so that nothing that it still holds matters.
        ended: Whether the sender has said that nothing more comes.

    Args:
        road: What it shares with the other flows of its direction.
        send: Hands bytes on and returns how many were taken; no bytes stand for the end of the stream.
    """

    def __init__(self, road: Road, send: Callable[[memoryview], int]) -> None:
        self._road = road
        self._send = send
        self._shut_out: deque[bytes] = deque()
        self._under_way: deque[tuple[float, memoryview]] = deque()
        self.held_bytes = 0
        self.closed = False
        self.ended = False
        self._blocked = False
        self._released_s = 0.0

    @property
    def rate(self) -> Steps:
        """Goodput in bits per second over run time."""
        assert self._road.rate is not None  # noqa: S101 - only a paced flow is asked by its station
        return self._road.rate

    @property
    def full(self) -> bool:
        """Whether it takes nothing more for now."""
        return self.held_bytes >= _HELD_BYTES

    @property
    def blocked(self) -> bool:
        """Whether the receiver takes nothing more for now."""
        return self._blocked

    @property
    def empty(self) -> bool:
        """Whether everything that came was handed on."""
        return self.held_bytes == 0 and not self._under_way and not self._shut_out

    @property
    def next_s(self) -> float:
        """Moment at which something is due; infinite if nothing is."""
        if self._blocked or self.closed or not self._under_way:
            return math.inf
        return self._under_way[0][0]

    def take(self, data: bytes, now_s: float) -> None:
        """Take in bytes that the sender wrote; no bytes stand for the end of the stream."""
        self.held_bytes += len(data)
        self.ended = self.ended or not data
        if self._road.station is not None:
            self._road.station.put(self, data, now_s)
        elif self._shut_out or self._road.gate.cut:
            self._shut_out.append(data)
        else:
            self.sent(memoryview(data), self._road.gate.opens_s(now_s))

    def healed(self, now_s: float) -> None:
        """Let in what waited while the gate was shut by hand."""
        while self._shut_out:
            self.sent(memoryview(self._shut_out.popleft()), self._road.gate.opens_s(now_s))

    def sent(self, data: memoryview, finish_s: float) -> None:
        """Send bytes on their way through the link, at whose end they come out half a round-trip time later."""
        if self.closed:
            return
        due_s = finish_s + self._road.delay_s(finish_s)
        if self._under_way:
            due_s = max(due_s, self._under_way[-1][0])
        self._under_way.append((due_s, data))

    def hand_on(self, now_s: float) -> None:
        """Hand on what is due.

        Raises:
            OSError: The receiver is gone.
        """
        if self._blocked:
            self._blocked, self._released_s = False, now_s
        while self._under_way and self._under_way[0][0] <= now_s and not self.closed:
            due_s, data = self._under_way[0]
            taken = self._send(data)
            self.held_bytes -= taken
            if taken < len(data):
                self._under_way[0] = (due_s, data[taken:])
                self._blocked = True
                return
            self._under_way.popleft()
            self._road.lateness.add(time.monotonic() - max(due_s, self._released_s))
