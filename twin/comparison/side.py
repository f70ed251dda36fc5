"""One side of a comparison: a result folder, read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twin.errors import ComparisonError
from twin.runs.folder import read_info, read_run

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from twin.records import RunResult


@dataclass(frozen=True, slots=True, eq=False)
class Play:
    """One policy's run.

    Attributes:
        folder: Its run folder.
        info: What `run.json` says.
        result: The records.
        figures: Figures of each replication as `summary.json` holds them, by number; empty where there is none.
    """

    folder: Path
    info: Mapping[str, Any]
    result: RunResult
    figures: Mapping[int, Mapping[str, Any]]

    @property
    def scenario(self) -> Mapping[str, Any]:
        """The scenario with every default filled in."""
        scenario: Mapping[str, Any] = self.info["scenario"]
        return scenario

    @property
    def replications(self) -> tuple[int, ...]:
        """Numbers of the replications, ascending."""
        return tuple(sorted(self.info["replications"]))


def read_side(path: Path) -> dict[str, Play]:
    """Read all runs of a result folder, by the label of their policy; a single run folder is one of them.

    Args:
        path: Folder that `python -m twin.simulate` or `python -m hardware.run` wrote, or the folder of one policy.

    Raises:
        ComparisonError: There is no run in it.
        RunFolderError: A run is incomplete or malformed.
    """
    folders = [path] if (path / "run.json").is_file() else sorted(x.parent for x in path.glob("*/run.json"))
    if not folders:
        raise ComparisonError(
            f"{path}: holds no run; name a folder that `python -m twin.simulate` or `python -m hardware.run` wrote, "
            "such as runs/quickstart"
        )
    plays = [_play(folder) for folder in folders]
    return {play.info["label"]: play for play in plays}


def _play(folder: Path) -> Play:
    info = read_info(folder)
    return Play(folder, info, read_run(folder), _figures(folder / "summary.json", info["label"]))


def _figures(path: Path, label: str) -> dict[int, Mapping[str, Any]]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["policies"][label]["replications"]
        return {entry["replication"]: entry for entry in entries}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ComparisonError(f"{path}: is not the summary of a run ({error!r}); play the scenario again") from error
