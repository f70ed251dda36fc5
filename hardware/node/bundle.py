"""A scenario with every file that it names, in one archive: what a coordinator sends to the agents.

Agents read it with the code that reads any scenario, so nothing is translated on the way.
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from twin.errors import MeasurementError
from twin.scenario import load_world
from twin.scenario_file.yamlplaces import dump_yaml

if TYPE_CHECKING:
    from collections.abc import Iterable

    from twin.world import World

MOST_BYTES = 64_000_000
"""Largest archive, and largest content of one."""
_MOST_FILES = 1000
_SCENARIO = PurePosixPath("1/2/3/4/5/6/7/8/scenario.yaml")
"""The scenario lies deep, so that files which it names by `../` lie within the archive too."""
_WHEN = (1980, 1, 1, 0, 0, 0)


def pack(world: World, scenario: Path) -> bytes:
    """Put a scenario and its files into an archive; the same scenario always gives the same bytes.

    Args:
        world: The scenario, resolved.
        scenario: The file that it was read from.

    Raises:
        MeasurementError: A file has changed since the scenario was read, or lies too far away from it.
    """
    files = {str(_SCENARIO): dump_yaml(dict(world.resolved)).encode()}
    for name, checksum in world.resolved.get("files", {}).items():
        content = _content(name, checksum, scenario.resolve().parent)
        place = PurePosixPath(os.path.normpath(_SCENARIO.parent / name))
        if ".." in place.parts or place.is_absolute():
            raise MeasurementError(f"{scenario}: names `{name}`, too far away to be sent; move it beside the scenario")
        files[str(place)] = content
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as writer:
        for member, content in sorted(files.items()):
            writer.writestr(zipfile.ZipInfo(member, _WHEN), content, zipfile.ZIP_DEFLATED)
    return archive.getvalue()


def unpack(archive: bytes, folder: Path) -> World:
    """Read the scenario of an archive.

    Args:
        archive: What `pack` returned.
        folder: An empty folder; the files are laid into it.

    Raises:
        MeasurementError: The archive is malformed, too large, or reaches out of the folder.
        ScenarioError: The scenario is wrong, which its sender should have noticed.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as reader:
            _check(reader.infolist())
            reader.extractall(folder)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, RuntimeError, OSError, ValueError) as error:
        raise MeasurementError(
            f"the scenario that was sent is no archive ({error}); use one version everywhere"
        ) from error
    return load_world(folder / _SCENARIO)


def _check(entries: Iterable[zipfile.ZipInfo]) -> None:
    entries = list(entries)
    if len(entries) > _MOST_FILES or sum(entry.file_size for entry in entries) > MOST_BYTES:
        raise MeasurementError("the scenario that was sent is too large for an agent")
    for entry in entries:
        place = PurePosixPath(entry.filename)
        if not place.name or place.is_absolute() or ".." in place.parts or "\\" in entry.filename or entry.is_dir():
            raise MeasurementError(f"the scenario that was sent holds `{entry.filename}`, which is no proper place")


def _content(name: str, checksum: str, beside: Path) -> bytes:
    """The bytes of a file by the name that a resolved scenario gives it: from its own folder or its project's."""
    for folder in (beside, *beside.parents, Path.cwd()):
        path = folder / name
        if path.is_file():
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest() == checksum:
                return content
    raise MeasurementError(f"`{name}` cannot be found again as it was when the scenario was read; start once more")
