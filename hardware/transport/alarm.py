"""A file descriptor that becomes readable at an instant, far more precisely than a poll's time limit in milliseconds.

Linux has it (timerfd_create(2)); Python offers it from 3.13 on, so it is called through the C library here.
"""

from __future__ import annotations

import ctypes
import math
import os

from twin.errors import TransportError

_CLOCK_MONOTONIC = 1
_ABSOLUTE = 1
_NS_PER_S = 1_000_000_000
_NEVER_S = math.inf


class _TimeSpec(ctypes.Structure):
    _fields_ = (("s", ctypes.c_long), ("ns", ctypes.c_long))


class _TimerSpec(ctypes.Structure):
    _fields_ = (("interval", _TimeSpec), ("value", _TimeSpec))


class Alarm:
    """One timer of the kernel on the clock of `time.monotonic()`; it is not subject to timer slack.

    Attributes:
        descriptor: Readable from the instant that was set until `clear`.

    Raises:
        TransportError: The system has no such timers.
    """

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None, use_errno=True)
        try:
            self.descriptor: int = self._library.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        except AttributeError as error:
            raise TransportError("this system has no timerfd; the testbed runs on Linux") from error
        if self.descriptor < 0:
            raise TransportError(
                f"a timer cannot be made ({os.strerror(ctypes.get_errno())}); are too many files open?"
            )
        self._due_s = _NEVER_S

    def set(self, due_s: float) -> None:
        """Ring at `due_s`; an earlier instant that was set before stays, as ringing for nothing is cheap."""
        if due_s >= self._due_s:
            return
        self._due_s = due_s
        # Rounded up: a ring before the instant would only have to be set again. 0 would mean never.
        due_ns = max(1, math.ceil(due_s * _NS_PER_S))
        spec = _TimerSpec(_TimeSpec(0, 0), _TimeSpec(*divmod(due_ns, _NS_PER_S)))
        if self._library.timerfd_settime(self.descriptor, _ABSOLUTE, ctypes.byref(spec), None) < 0:
            raise TransportError(f"a timer cannot be set ({os.strerror(ctypes.get_errno())})")

    def clear(self) -> None:
        """Take note that it has rung."""
        self._due_s = _NEVER_S
        try:
            os.read(self.descriptor, 8)
        except BlockingIOError:
            # It was set anew between the poll and this call; that instant is checked on the next turn anyway.
            return

    def close(self) -> None:
        """Free the descriptor."""
        os.close(self.descriptor)
