"""Results that are kept: one small file each, named by what the result rests on, never seen half-written."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from twin.runs.folder import plain, write_text
from twin.sweeping.row import Row

if TYPE_CHECKING:
    from pathlib import Path


class Cache:
    """Results on disk.

    Args:
        folder: Where they are kept; made if need be.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.unreadable = 0
        """Files that were found damaged, whose results have to be played again."""

    def get(self, key: str) -> Row | None:
        """The result of this key; None where there is none that can be trusted."""
        path = self._path(key)
        if not path.exists():
            return None
        try:
            entry = json.loads(path.read_text(encoding="utf-8"))
            if entry["key"] != key or entry["sha256"] != _checksum(entry["row"]):
                self.unreadable += 1
                return None
            return Row.from_json(entry["row"])
        except (OSError, ValueError, LookupError, TypeError):
            # Whatever stands there instead of a result, playing the point again mends it.
            self.unreadable += 1
            return None

    def put(self, key: str, row: Row) -> None:
        """Keep a result.

        Raises:
            RunFolderError: It cannot be written.
        """
        data: Any = plain(row.to_json())
        write_text(self._path(key), json.dumps({"key": key, "sha256": _checksum(data), "row": data}) + "\n")

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}.json"


def _checksum(data: Any) -> str:  # noqa: ANN401 - plain data
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
