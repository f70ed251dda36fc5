"""A meter that is part of the machine: its frame is read from a file, a library or a command of the system."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from hardware.meters.errors import AccessError, DecodeError
from hardware.meters.protocol import PowerSample

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from hardware.meters.protocol import MeterKind
    from twin.metering.facts import MeterSource


class OnBoardMeter:
    """A source of power readings inside the machine.

    Args:
        url: How it was asked for.
        kind: What kind of meter it is.
        fetch: Reads one frame; raises a `MeterError`.
        clock: Monotonic clock.
        close: Lets go of what `fetch` needs.
    """

    source: MeterSource = "measured"

    def __init__(
        self,
        url: str,
        kind: MeterKind,
        fetch: Callable[[], bytes],
        clock: Callable[[], float] = time.monotonic,
        close: Callable[[], object] = lambda: None,
    ) -> None:
        self.url = url
        self.kind = kind
        self._fetch = fetch
        self._clock = clock
        self._close = close
        self._decode = kind.decoder()

    def read(self) -> PowerSample:
        """Read the source once.

        Raises:
            MeterError: It cannot be read, or says nothing that can be used.
        """
        start_s = self._clock()
        frame = self._fetch()
        end_s = self._clock()
        return PowerSample((start_s + end_s) / 2, end_s - start_s, self._decode(frame), frame)

    def close(self) -> None:
        """Let go of the source."""
        self._close()
        self._close = lambda: None


def pack(values: Mapping[str, Any]) -> bytes:
    """Make a frame of named values."""
    return json.dumps(values, separators=(",", ":")).encode()


def unpack(frame: bytes, what: str) -> dict[str, Any]:
    """Return the named values of a frame.

    Raises:
        DecodeError: The frame holds no named values.
    """
    try:
        values = json.loads(frame)
    except (ValueError, RecursionError) as error:
        raise DecodeError(f"the frame is not one of {what}", frame) from error
    if not isinstance(values, dict):
        raise DecodeError(f"the frame is not one of {what}", frame)
    return values


def number(values: Mapping[str, Any], name: str, frame: bytes) -> float | None:
    """Return one number of a frame; None if it holds none by this name.

    Raises:
        DecodeError: What stands there is no number.
    """
    value = values.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e30:
        raise DecodeError(f"{name} is {value!r}, which is no number", frame)
    return float(value)


def text(path: Path, remedy: str) -> str:
    """Return what a file of the system says.

    Raises:
        AccessError: It is missing, or closed to this user.
    """
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise AccessError(f"{path}: cannot be read ({reason}); {remedy}") from error


def whole(path: Path, remedy: str) -> int:
    """Return the whole number that a file of the system holds.

    Raises:
        AccessError: It is missing, closed to this user, or holds something else.
    """
    said = text(path, remedy)
    try:
        return int(said)
    except ValueError as error:
        raise AccessError(f"{path}: holds {said[:40]!r}, which is no whole number") from error
