"""Raw frames of a meter in a file, so that its readings can be decoded again by a later version.

One line of JSON per poll. The first says what was sampled (`schema`, `url`, `kind`, `source`, `device`, `period_s`,
`start_s`); then `{"t_s", "poll_s", "frame"}` with the bytes in hexadecimal, or `{"t_s", "error", "text"}` for a poll
that brought nothing; the last is `{"end_s"}`. Times are in run time.
"""

from __future__ import annotations

import json
from typing import IO, TYPE_CHECKING, Any

from hardware.meters import errors
from hardware.meters.collect import Collector, Recording
from hardware.meters.errors import AccessError, DecodeError, MeterError
from hardware.meters.kinds import KINDS
from hardware.meters.protocol import PowerSample

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from hardware.meters.protocol import Decoder

SCHEMA = 1
_KEYS = ("url", "kind", "source", "device", "period_s", "start_s")


class FrameFile:
    """Writes frames as they come; what was written is whole but for the last line, whenever it is cut short.

    Args:
        path: The file; what was there is replaced.
        head: What was sampled.

    Raises:
        AccessError: The file cannot be written.
    """

    def __init__(self, path: Path, head: Mapping[str, Any]) -> None:
        self.path = path
        self._file: IO[str] | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Line by line, so that a killed run keeps what it had.
            self._file = path.open("w", encoding="utf-8", buffering=1)
        except OSError as error:
            raise AccessError(f"{path}: cannot be written ({error.strerror}); choose another folder") from error
        self._write({"schema": SCHEMA, **head})

    def frame(self, t_s: float, poll_s: float, frame: bytes) -> None:
        """Keep the bytes of one poll.

        Raises:
            AccessError: The file cannot be written.
        """
        self._write({"t_s": t_s, "poll_s": poll_s, "frame": frame.hex()})

    def error(self, t_s: float, error: Exception) -> None:
        """Note a poll that brought no bytes.

        Raises:
            AccessError: The file cannot be written.
        """
        self._write({"t_s": t_s, "error": type(error).__name__, "text": str(error)})

    def close(self, end_s: float) -> None:
        """Note the end, and close the file.

        Raises:
            AccessError: The file cannot be written.
        """
        self._write({"end_s": end_s})
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, entry: Mapping[str, Any]) -> None:
        if self._file is None:
            return
        try:
            self._file.write(json.dumps(entry, separators=(",", ":")) + "\n")
        except OSError as error:
            self._file = None
            raise AccessError(f"{self.path}: cannot be written ({error.strerror}); make room") from error


def replay(path: Path, replication: int = 0, device: int = 0) -> Recording:
    """Decode the frames of a file again; gives the same as sampling did, unless the decoder has changed since.

    Args:
        path: The file.
        replication: Number of the replication, for the table.
        device: Position of the device, for the table.

    Raises:
        DecodeError: It is no file of frames, or one of a later version.
    """
    entries = _entries(path)
    head = next(entries, {})
    if head.get("schema") != SCHEMA or any(key not in head for key in _KEYS) or head["kind"] not in KINDS:
        raise DecodeError(f"{path}: is no file of raw frames of schema {SCHEMA}; name one that a run has written")
    kind = KINDS[head["kind"]]
    collector = Collector(kind, head["url"], head["source"], head["device"], head["period_s"], head["start_s"])
    decode = kind.decoder()
    end_s = float(head["start_s"])
    for number, entry in enumerate(entries, 2):
        try:
            end_s = float(entry["end_s"] if "end_s" in entry else entry["t_s"])
            _take(collector, decode, entry)
        except (KeyError, TypeError, ValueError) as error:
            raise DecodeError(f"{path}: line {number} is no poll ({error!r}); is the file damaged?") from error
    return collector.finish(end_s, replication, device)


def _take(collector: Collector, decode: Decoder, entry: Mapping[str, Any]) -> None:
    """Give one line to the collector, as it was given when it was sampled."""
    if "end_s" in entry:
        return
    if "error" in entry:
        kind = getattr(errors, entry["error"], None)
        known = isinstance(kind, type) and issubclass(kind, MeterError)
        collector.failure(entry["t_s"], kind(entry["text"]) if known and kind else MeterError(entry["text"]))
        return
    frame = bytes.fromhex(entry["frame"])
    try:
        reading = decode(frame)
    except MeterError as error:
        collector.failure(entry["t_s"], error)
    else:
        collector.sample(PowerSample(entry["t_s"], entry["poll_s"], reading, frame))


def _entries(path: Path) -> Iterator[dict[str, Any]]:
    """The lines; a last one that was cut short is left out."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DecodeError(f"{path}: cannot be read ({error}); name a file of raw frames") from error
    lines = text.split("\n")
    for number, line in enumerate(lines[:-1], 1):
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise DecodeError(f"{path}: line {number} is no JSON ({error}); is the file damaged?") from error
        if not isinstance(entry, dict):
            raise DecodeError(f"{path}: line {number} is no poll; is the file damaged?")
        yield entry
