"""Where the files lie that a scenario names."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from twin.errors import ScenarioError
from twin.scenario_file.complaints import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable

_TRACE_SUFFIXES = (".csv", ".up", ".down", ".mahi", ".txt", ".dat", ".log", ".tsv")
_SUFFIXES = (*_TRACE_SUFFIXES, ".json")
_META = ".meta.yaml"


class Library:
    """Finds models, profiles and traces by name, and remembers which files were used.

    A name stands for a file in the `data` folder of the project: that of the first folder with one on the way up
    from the scenario, then that of the current directory. What holds a `/` or ends like a data file is a path
    relative to the scenario's folder.

    Args:
        folder: Folder of the scenario file.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        above = [parent / "data" for parent in (self._folder, *self._folder.parents) if (parent / "data").is_dir()]
        here = Path.cwd() / "data"
        self._roots = [*above[:1], *([here] if here.is_dir() and here not in above[:1] else [])]
        self._used: dict[str, Path] = {}

    def model(self, name: str) -> Path:
        """File of a layer graph.

        Raises:
            ScenarioError: There is none of this name.
        """
        if _is_path(name):
            return self._use(self._relative(name))
        return self._use(
            self._find("models", name, (".json",), "model", " (or write it with `python -m hardware.stages`)")
        )

    def profile(self, name: str, model: str) -> Path:
        """File of a device's profile of a model.

        Raises:
            ScenarioError: There is no such device, or it has no profile of the model.
        """
        place = self._relative(name) if _is_path(name) else self._find("profiles", name, ("",), "profile", "")
        if not place.is_dir():
            return self._use(place)
        file = place / f"{model}.json"
        if not file.is_file():
            known = ", ".join(sorted(entry.stem for entry in place.glob("*.json"))) or "none"
            raise ScenarioError(
                f"`{name}` has no profile of `{model}`, only of: {known}; measure it with "
                f"`python -m hardware.profile --model {model} --name {place.name}` or derive it with "
                "`python -m twin.derive`"
            )
        return self._use(file)

    def trace(self, name: str) -> Path:
        """File of a trace of a link or of a load.

        Raises:
            ScenarioError: There is none of this name.
        """
        return self._with_neighbours(
            self._relative(name) if _is_path(name) else self._find("traces", name, _TRACE_SUFFIXES, "trace", "")
        )

    def arrivals(self, name: str) -> Path:
        """File of arrival times; always a path.

        Raises:
            ScenarioError: There is no such file.
        """
        return self._use(self._relative(name))

    def checksums(self) -> dict[str, str]:
        """SHA-256 of each file that was used, by its path from the project's folder or the scenario's."""
        return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in sorted(self._used.items())}

    def _with_neighbours(self, path: Path) -> Path:
        """Count in the files that are read along with a trace."""
        beside = [path.with_suffix(_META), *([path.with_suffix(".down")] if path.suffix == ".up" else [])]
        for neighbour in beside:
            if neighbour.is_file():
                self._use(neighbour)
        return self._use(path)

    def _relative(self, name: str) -> Path:
        path = Path(os.path.normpath(self._folder / name))
        if not path.exists():
            siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
            remedy = nearest(path.name, siblings) if siblings else "paths start at the folder of the scenario"
            raise ScenarioError(f"there is no file {path}; {remedy}")
        return path

    def _find(self, kind: str, name: str, suffixes: Iterable[str], noun: str, remedy: str) -> Path:
        for root in self._roots:
            for suffix in suffixes:
                if (root / kind / f"{name}{suffix}").exists():
                    return root / kind / f"{name}{suffix}"
        known = sorted({_stem(entry) for root in self._roots for entry in (root / kind).glob("*")})
        where = " or ".join(str(root / kind) for root in self._roots) or f"data/{kind} (no folder `data` was found)"
        raise ScenarioError(f"there is no {noun} `{name}` in {where}; {nearest(name, known)}{remedy}")

    def _use(self, path: Path) -> Path:
        for root in self._roots:
            if path.is_relative_to(root):
                self._used[path.relative_to(root.parent).as_posix()] = path
                return path
        self._used[Path(os.path.relpath(path, self._folder)).as_posix()] = path
        return path


def _is_path(name: str) -> bool:
    return "/" in name or name.endswith(_SUFFIXES)


def _stem(entry: Path) -> str:
    if entry.name.endswith(_META):
        return entry.name.removesuffix(_META)
    return entry.stem if entry.suffix in _SUFFIXES else entry.name
