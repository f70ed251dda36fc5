"""What a result rests on, as one hash: the resolved scenario, the policy, the data files and the code."""

from __future__ import annotations

import hashlib
import json
from copy import deepcopy
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import twin
from twin.graph import load_graph
from twin.runs.provenance import versions
from twin.scenario import check
from twin.scenario_file.convert import filled, policies_of
from twin.scenario_file.library import Library

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from twin.scenario_file.schema import Scenario
    from twin.scenario_file.yamlplaces import Document
    from twin.sweeping.grid import Point

_FORM = 1
"""Form of the cached results; another one makes them unreadable."""
_NAMES = ("name", "question")
"""Keys of a scenario that settle no figure."""
_NO_FIGURES = ("report", "planning", "derivation", "tracemodels", "reproduction", "sweeping")
_NO_FIGURE_MODULES = ("simulate", "plan", "derive", "tracegen", "paper", "sweep", "wording", "cli")


@lru_cache(maxsize=1)
def code_digest() -> str:
    """Hash of the versions and of all modules that may settle a figure, new ones included."""
    root, digest = Path(twin.__file__).parent, hashlib.sha256()
    digest.update(json.dumps([_FORM, {**versions(), "python": None}]).encode())
    for path in sorted(root.rglob("*.py")):
        first = path.relative_to(root).parts[0]
        if first not in _NO_FIGURES and first.removesuffix(".py") not in _NO_FIGURE_MODULES:
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def key_of(resolved: Mapping[str, Any], label: str, engine: str, code: str) -> str:
    """Hash of what the result of one policy rests on.

    Args:
        resolved: The scenario with every default filled in and the checksums of its files (`World.resolved`).
        label: The policy; what the others are does not matter.
        engine: The engine as it was asked for.
        code: `code_digest` of the code that plays.
    """
    scenario = {name: value for name, value in resolved.items() if name not in _NAMES}
    scenario["policies"] = {label: resolved["policies"][label]}
    text = json.dumps([scenario, engine, code], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def resolved_at(scenario: Document, point: Point, labels: Sequence[str]) -> dict[str, Any]:
    """The resolved scenario of a point, with these policies only and without reading what its files hold.

    Raises:
        TwinError: The point makes no valid scenario, or names a file that is not there.
    """
    document = replace(scenario, data=deepcopy(scenario.data))
    found = check(document, point.overrides).scenario
    found = found.model_copy(update={"policies": {label: found.policies[label] for label in labels}})
    library = Library(scenario.path.parent)
    _look_up(found, library)
    return filled(found, policies_of(found), "", library.checksums())


def _look_up(scenario: Scenario, library: Library) -> None:
    """Find every file that a scenario names, so that the library knows them."""
    model = _model_name(library.model(scenario.model))
    for device in scenario.devices:
        library.profile(device.profile, model)
        if isinstance(device.load, str):
            library.trace(device.load)
    for link in scenario.links:
        if link.trace is not None:
            library.trace(link.trace)
    if scenario.workload.file is not None:
        library.arrivals(scenario.workload.file)


@lru_cache(maxsize=64)
def _model_name(path: Path) -> str:
    return load_graph(path).model
