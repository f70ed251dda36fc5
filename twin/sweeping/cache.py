"""Results that are kept: a file with a line each, which is added to as results come.

A line carries its checksum, so that the end of a line that was cut off, or any other damage, costs that result only.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from twin.errors import RunFolderError
from twin.runs.folder import plain
from twin.sweeping.row import Row

if TYPE_CHECKING:
    from pathlib import Path


class Cache:
    """Results on disk.

    Args:
        path: The file; made once there is something to keep.

    Raises:
        RunFolderError: The file is there and cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: dict[str, Row] = {}
        self.damaged = 0
        """Results that were found damaged and have to be played again."""
        self._cut_off = False
        try:
            text = path.read_bytes() if path.exists() else b""
        except OSError as error:
            raise RunFolderError(
                f"{path}: cannot be read ({error.strerror}); give another folder with --out"
            ) from error
        for line in text.splitlines():
            self._take(line)
        self._cut_off = bool(text) and not text.endswith(b"\n")

    def get(self, key: str) -> Row | None:
        """The result of this key; None where there is none that can be trusted."""
        return self._rows.get(key)

    def put(self, key: str, row: Row) -> None:
        """Keep a result; one that is there already is replaced.

        Raises:
            RunFolderError: It cannot be written.
        """
        data: Any = plain(row.to_json())
        line = json.dumps({"key": key, "sha256": _checksum(key, data), "row": data}, separators=(",", ":"))
        lead = "\n" if self._cut_off else ""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab", buffering=0) as file:
                # In one piece, so that a kill leaves at most the last line unfinished.
                file.write(f"{lead}{line}\n".encode())
        except OSError as error:
            raise RunFolderError(
                f"{self._path}: cannot be written ({error.strerror}); give another folder with --out, or free "
                "some space"
            ) from error
        self._cut_off = False
        self._rows[key] = row

    def _take(self, line: bytes) -> None:
        """Take in a line, if it is whole."""
        if not line.strip():
            return
        try:
            entry = json.loads(line)
            if entry["sha256"] != _checksum(entry["key"], entry["row"]):
                self.damaged += 1
                return
            self._rows[entry["key"]] = Row.from_json(entry["row"])
        except (ValueError, LookupError, TypeError):
            # Whatever stands there instead of a result, playing the point again mends it.
            self.damaged += 1


def _checksum(key: str, data: Any) -> str:  # noqa: ANN401 - plain data
    return hashlib.sha256(json.dumps([key, data], sort_keys=True).encode()).hexdigest()
