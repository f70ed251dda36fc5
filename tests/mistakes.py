"""What a wrong scenario is answered with, and scenarios with one mistake in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from worlds import tiny_project

from twin.errors import ScenarioError
from twin.scenario import load_world

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

POISSON = "kind: poisson, rate_rps: 2.0, duration_s: 20.0, warm_up_s: 2.0"
REMEDY = "does not go with `kind: closed`, only with `periodic` or `poisson`; remove it or change the kind"


def complaint(path: Path, overrides: Sequence[str] = ()) -> str:
    """The message of the error that a scenario is refused with, the scenario's path shortened to its name."""
    with pytest.raises(ScenarioError) as caught:
        load_world(path, overrides)
    return str(caught.value).replace(str(path), path.name).replace(str(path.parents[1]), "PROJECT")


def edited(folder: Path, *edits: tuple[str, str]) -> Path:
    """The default scenario with texts replaced, each of which occurs in it."""
    path = tiny_project(folder)
    text = path.read_text()
    for old, new in edits:
        assert old in text
        text = text.replace(old, new, 1)
    path.write_text(text)
    return path


def cases(table: str) -> list[tuple[str, ...]]:
    """Cases from a text: a line `old => new`, then its message, indented and wrapped."""
    found: list[list[str]] = []
    for line in table.strip().splitlines():
        if line.startswith("    "):
            found[-1][-1] = f"{found[-1][-1]} {line.strip()}".strip()
        else:
            words = line.replace("\\n", "\n").replace("(nothing)", "").replace("(poisson)", POISSON)
            found.append([*words.split(" => "), ""])
    return [tuple(case) for case in found]
