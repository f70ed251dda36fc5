"""One thread that owns the sockets of a process: calls from other threads, timers, and what sockets receive."""

from __future__ import annotations

import os
import secrets
from collections import deque
from heapq import heappop, heappush
from itertools import count
from threading import get_ident
from time import monotonic
from typing import TYPE_CHECKING, Any

import zmq
from zmq.backend import zmq_poll

from hardware.transport.alarm import Alarm

if TYPE_CHECKING:
    from collections.abc import Callable

_READABLE = int(zmq.POLLIN)


class Timer:
    """A call that is due at an instant; see `Loop.call_at`."""

    __slots__ = ("_args", "_call")

    def __init__(self, call: Callable[..., object], args: tuple[object, ...]) -> None:
        self._call: Callable[..., object] | None = call
        self._args = args

    def cancel(self) -> None:
        """Never make the call; harmless once it was made."""
        self._call, self._args = None, ()

    def make(self) -> None:
        """Make the call, unless it was cancelled or made before."""
        call, args = self._call, self._args
        if call is not None:
            self.cancel()
            call(*args)


class Loop:
    """Runs calls one at a time, in the thread that calls `run`.

    Only `post` and `stop` may be called from other threads. Time is `time.monotonic()` in seconds.

    Attributes:
        context: The ZeroMQ context of this process.
        incarnation: A random number that tells this process from the one before it on the same machine.
        lanes_busy: How many lanes have parcels under way (written by the lanes, read by clock measurements).
    """

    def __init__(self) -> None:
        self.context: zmq.Context[Any] = zmq.Context()
        self.incarnation = secrets.randbits(63)
        self.lanes_busy = 0
        self._calls: dict[Any, Callable[[], object]] = {}
        self._watched: list[tuple[Any, int]] = []
        self._posts: deque[tuple[Callable[..., object], tuple[object, ...]]] = deque()
        self._timers: list[tuple[float, int, Timer]] = []
        self._numbers = count()
        self._thread = 0
        self._stopping = self._signalled = self._closed = False
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._alarm = Alarm()
        self.watch(self._wake, self._woken)
        self.watch(self._alarm.descriptor, self._alarm.clear)

    def post(self, call: Callable[..., object], *args: object) -> None:
        """Make a call in the loop's thread, soon; calls from one thread are made in their order. Thread-safe."""
        self._posts.append((call, args))
        if get_ident() != self._thread:
            self._signal()

    def is_here(self) -> bool:
        """Return whether the calling thread is the one that runs the loop. Thread-safe."""
        return get_ident() == self._thread

    def call_at(self, t_s: float, call: Callable[..., object], *args: object) -> Timer:
        """Make a call at `t_s`; typically less than 0.2 ms late, never early. Equal times keep their order."""
        timer = Timer(call, args)
        heappush(self._timers, (t_s, next(self._numbers), timer))
        return timer

    def watch(self, socket: zmq.Socket[Any] | int, call: Callable[[], object]) -> None:
        """Make a call, without arguments, whenever `socket` (or a file descriptor) has something to read."""
        self._calls[socket] = call
        self._watched = [(each, _READABLE) for each in self._calls]

    def unwatch(self, socket: zmq.Socket[Any] | int) -> None:
        """Look at `socket` no more; harmless where it is not looked at."""
        if self._calls.pop(socket, None) is not None:
            self._watched = [(each, _READABLE) for each in self._calls]

    def run(self) -> None:
        """Make calls until `stop`. An exception in a call ends it: it is raised here. May be called again."""
        self._thread = get_ident()
        try:
            while not self._stopping:
                self._turn()
        finally:
            self._stopping, self._thread = False, 0

    def stop(self) -> None:
        """End `run` before its next turn, or the next `run` before its first. Thread-safe."""
        self._stopping = True
        self._signal()

    def close(self) -> None:
        """Close all sockets, dropping what they have not sent, and free what the loop holds. Harmless twice."""
        if self._closed:
            return
        self._closed = True
        self._calls.clear()
        self._timers.clear()
        self._posts.clear()
        self.context.destroy(linger=0)
        self._alarm.close()
        os.close(self._wake)

    def _turn(self) -> None:
        # Those posted meanwhile wait for the next turn, so that sockets and timers have theirs.
        for _ in range(len(self._posts)):
            call, args = self._posts.popleft()
            call(*args)
        if self._timers:
            self._make_due_calls()
        for socket, _ in zmq_poll(self._watched, 0 if self._posts or self._stopping else -1):
            # A call may have closed the socket of a later one.
            watcher = self._calls.get(socket)
            if watcher is not None:
                watcher()

    def _make_due_calls(self) -> None:
        timers, now_s = self._timers, monotonic()
        while timers and timers[0][0] <= now_s:
            heappop(timers)[2].make()
        if timers:
            self._alarm.set(timers[0][0])

    def _woken(self) -> None:
        os.eventfd_read(self._wake)
        # Only now: a post that finds the flag up relies on a turn that still lies ahead.
        self._signalled = False

    def _signal(self) -> None:
        if not self._signalled and not self._closed:
            self._signalled = True
            os.eventfd_write(self._wake, 1)
