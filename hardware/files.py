"""Write data files that people can read and compare: one entry per line, replaced in one step."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from twin.errors import MeasurementError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def to_text(data: Mapping[str, Any]) -> str:
    """Return `data` as JSON with one line per key, and one per entry of a list of objects.

    The same data gives the same text; NaN and infinity are refused with a `ValueError`.
    """
    lines = ",\n".join(f" {json.dumps(key)}: {_value(value)}" for key, value in data.items())
    return f"{{\n{lines}\n}}\n"


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write `data` to `path`, making its folder; a reader sees the old file or the new one, never a part.

    Raises:
        MeasurementError: The file cannot be written.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(to_text(data), encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise MeasurementError(
            f"{path}: cannot be written ({error.strerror}); choose another folder with --out"
        ) from error


def _value(value: object) -> str:
    if isinstance(value, (list, tuple)) and value and all(isinstance(entry, dict) for entry in value):
        entries = ",\n".join(f"  {json.dumps(entry, allow_nan=False)}" for entry in value)
        return f"[\n{entries}\n ]"
    return json.dumps(value, allow_nan=False)
