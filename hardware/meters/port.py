"""A serial port that never waits longer than told: one exchange of a command for a frame."""

from __future__ import annotations

import errno
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from hardware.meters.errors import AccessError, DecodeError, SilentError, UnpluggedError

if TYPE_CHECKING:
    from collections.abc import Callable

    import serial

_SLICE_S = 0.05
"""Longest single wait for bytes. After a silence this long, what is too much or too garbled is not waited for."""
_MOST = 4096
"""Bytes after which a port that only babbles is given up."""
_GONE = (errno.ENOENT, errno.ENXIO, errno.ENODEV)
_BUSY = (errno.EBUSY, errno.EAGAIN, errno.EWOULDBLOCK)
_CLOSED = (errno.EACCES, errno.EPERM)
_FAR = (errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ETIMEDOUT, errno.ECONNREFUSED)


@dataclass(frozen=True, slots=True)
class Wire:
    """How a kind of meter speaks over a serial port.

    Attributes:
        baud: Speed.
        command: What asks it for a frame; empty if it sends by itself.
        length: Bytes of a frame.
        find: Finds a frame in what came, so that garbage before or behind it does no harm; checks no checksum.
        timeout_s: How long an answer may take.
    """

    baud: int
    command: bytes
    length: int
    find: Callable[[bytes], bytes | None]
    timeout_s: float = 0.5

    @property
    def streams(self) -> bool:
        """Whether the meter sends by itself."""
        return not self.command


class Port:
    """An open serial port, for this process alone.

    Args:
        path: The port, such as `/dev/ttyACM0`.
        wire: How the meter speaks.
        clock: Monotonic clock.

    Raises:
        AccessError: The port is missing, in use or closed to this user, or pyserial is missing.
    """

    def __init__(self, path: str, wire: Wire, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self.wire = wire
        self._clock = clock
        self._serial = _open(path, wire)

    def exchange(self) -> bytes:
        """Ask for a frame and return it, or whatever came instead of one.

        Raises:
            UnpluggedError: The port is gone.
            SilentError: Nothing came in time.
            DecodeError: Fewer bytes than a frame came in time.
        """
        try:
            if not self.wire.streams:
                self._serial.reset_input_buffer()
                self._serial.write(self.wire.command)
            return self._frame()
        except _lost() as error:
            raise UnpluggedError(f"{self.path}: the meter is gone ({error}); plug it in again") from error

    def close(self) -> None:
        """Let go of the port; harmless if done twice, or if the port is gone."""
        try:
            self._serial.close()
        except _lost():
            # The kernel has let go of it already.
            return

    def _frame(self) -> bytes:
        """Read until there is a frame, or time is up."""
        deadline = self._clock() + self.wire.timeout_s
        buffer = b""
        while self._clock() < deadline and len(buffer) < _MOST:
            piece = self._serial.read(self._wanted(len(buffer)))
            buffer += piece
            frame = self.wire.find(buffer) if len(buffer) >= self.wire.length else None
            if frame is not None:
                return frame
            if not piece and len(buffer) >= self.wire.length:
                return buffer
        return self._short(buffer)

    def _wanted(self, n_read: int) -> int:
        """How many bytes to wait for. Behind a frame that a meter sent by itself the next one may begin."""
        waiting = 0 if self.wire.streams else int(self._serial.in_waiting)
        return max(1, waiting, self.wire.length - n_read)

    def _short(self, buffer: bytes) -> bytes:
        if not buffer:
            raise SilentError(
                f"{self.path}: no answer within {self.wire.timeout_s:g} s; is it this meter, and is it switched on?"
            )
        if len(buffer) < self.wire.length:
            came = f"{len(buffer)} of {self.wire.length} bytes"
            raise DecodeError(f"{self.path}: only {came} came within {self.wire.timeout_s:g} s", buffer)
        return buffer


def _open(path: str, wire: Wire) -> serial.Serial:
    try:
        import serial  # noqa: PLC0415 - optional, and slow to import
    except ImportError as error:
        raise AccessError(
            "serial meters need the package pyserial; install it with `pip install 'continuum-twin[hardware]'`"
        ) from error
    refused: tuple[type[Exception], ...] = (*_lost(), ValueError)
    try:
        return serial.Serial(path, wire.baud, timeout=_SLICE_S, write_timeout=wire.timeout_s, exclusive=True)
    except refused as error:
        _refuse(path, error)


def _refuse(path: str, error: Exception) -> NoReturn:
    """Say what is wrong with a port, and the remedy."""
    number = getattr(error, "errno", None)
    if number in _GONE:
        text = "there is no such port; `python -m hardware.power list` shows those that there are"
    elif number in _CLOSED:
        text = (
            "this user may not open it; `sudo usermod -aG dialout $USER`, then log in again (on Arch the group is uucp)"
        )
    elif number in _BUSY:
        text = "another program has it open; close that one (ModemManager opens new ports for some seconds)"
    elif number in _FAR:
        text = "no answer by Bluetooth; switch the meter on, and end the program on the telephone that holds it"
    else:
        text = f"it cannot be used as a serial port ({error}); name the port of the meter"
    raise AccessError(f"{path}: {text}") from error


def _lost() -> tuple[type[Exception], ...]:
    """What pyserial and the terminal layer raise as a port goes away."""
    import termios  # noqa: PLC0415 - POSIX only

    import serial  # noqa: PLC0415 - optional, and slow to import

    return (serial.SerialException, OSError, termios.error)
