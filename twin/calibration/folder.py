"""Folders of measured runs: the scenario, and the records of each policy."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twin.errors import CalibrationError, ScenarioError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from twin.profiles import Source
    from twin.records import RunResult
    from twin.world import World

_RECORDS = ("run.json", "requests.parquet", "spans.parquet", "decisions.jsonl", "observations.parquet")


@dataclass(frozen=True, slots=True)
class MeasuredFolder:
    """A folder of measured runs.

    Attributes:
        path: The folder.
        world: The scenario that was played.
        results: One result per policy, its replications joined.
        sha256: Of the records of each policy.
    """

    path: Path
    world: World
    results: tuple[RunResult, ...]
    sha256: Mapping[str, str]

    @property
    def source(self) -> Source:
        """`measured` only if all its runs are; `simulated` if any is."""
        return joined_source([result.source for result in self.results])


def read_folder(
    path: Path, scenario: Path | None = None, overrides: Sequence[str] = (), labels: Sequence[str] | None = None
) -> MeasuredFolder:
    """Read a result folder, or the folder of one policy in it.

    References that see the truth are left out: the scenario does not name them.

    Args:
        path: The folder.
        scenario: The scenario to use in place of the one that the runs recorded.
        overrides: Places to set in it, such as `devices.pi.load=2`.
        labels: Only these policies; None for all.

    Raises:
        CalibrationError: There is no run, the runs are of different scenarios, or a label is not among them.
        RunFolderError: A run cannot be read.
        ScenarioError: The scenario cannot be resolved.
    """
    from twin.runs.folder import read_info, read_run  # noqa: PLC0415 - `--help` needs no numpy

    folders = _run_folders(path)
    infos = {folder: read_info(folder) for folder in folders}
    infos = {folder: info for folder, info in infos.items() if info["policy"] is not None}
    known = [info["label"] for info in infos.values()]
    for label in labels or ():
        if label not in known:
            raise CalibrationError(f"{path}: has no run of the policy {label}; it has {', '.join(known) or 'none'}")
    infos = {folder: info for folder, info in infos.items() if labels is None or info["label"] in labels}
    if not infos:
        raise CalibrationError(f"{path}: holds no run of a policy; name a folder that `python -m hardware.run` wrote")
    first = next(iter(infos.values()))
    _check_same(path, infos)
    world = _world(next(iter(infos)), first, scenario, overrides)
    order = {spec.label: at for at, spec in enumerate(world.policies)}
    chosen = sorted(infos, key=lambda folder: order.get(infos[folder]["label"], len(order)))
    results = tuple(read_run(folder) for folder in chosen)
    return MeasuredFolder(path, world, results, {infos[folder]["label"]: _sha256(folder) for folder in chosen})


def joined_source(sources: Sequence[Source]) -> Source:
    """`measured` only if all are; `simulated` if any is."""
    least_sure: tuple[Source, ...] = ("simulated", "derived", "emulated")
    return next((word for word in least_sure if word in sources), "measured")


def _run_folders(path: Path) -> list[Path]:
    if (path / "run.json").is_file():
        return [path]
    found = sorted(entry.parent for entry in path.glob("*/run.json")) if path.is_dir() else []
    if not found:
        raise CalibrationError(f"{path}: holds no run.json, nor does a folder in it; name a folder of measured runs")
    return found


def _check_same(path: Path, infos: Mapping[Path, Mapping[str, Any]]) -> None:
    """All policies of a folder must be of one scenario."""
    kept = [{key: x for key, x in info["scenario"].items() if key != "policies"} for info in infos.values()]
    for folder, data in zip(infos, kept, strict=True):
        different = sorted(key for key in data.keys() | kept[0].keys() if data.get(key) != kept[0].get(key))
        if different:
            raise CalibrationError(
                f"{path}: the runs are of different scenarios ({folder.name} differs in {', '.join(different)}); "
                "name them one by one"
            )


def _world(path: Path, info: Mapping[str, Any], scenario: Path | None, overrides: Sequence[str]) -> World:
    from twin.scenario import load_world  # noqa: PLC0415 - brings numpy and the search along

    if scenario is not None:
        world = load_world(scenario, overrides)
        _check_fits(scenario, world, info, path)
        return world
    try:
        return _recorded_world(path / "run.json", info["scenario"], overrides)
    except ScenarioError as error:
        raise ScenarioError(
            f"{path}: the recorded scenario cannot be resolved here; call this from the project's folder, or name "
            f"the scenario's file\n{error}"
        ) from error


def _recorded_world(path: Path, scenario: Mapping[str, Any], overrides: Sequence[str]) -> World:
    import copy  # noqa: PLC0415 - used here alone

    import yaml  # noqa: PLC0415 - `--help` needs none

    from twin.scenario import check  # noqa: PLC0415 - brings pydantic along
    from twin.scenario_file.resolve import build_world  # noqa: PLC0415 - brings numpy and the search along
    from twin.scenario_file.yamlplaces import Document, dump_yaml  # noqa: PLC0415 - likewise

    text = dump_yaml(dict(scenario))
    root: yaml.Node = yaml.compose(text, Loader=yaml.SafeLoader)  # type: ignore[assignment]
    return build_world(check(Document(path, text, copy.deepcopy(dict(scenario)), root), overrides))


def _check_fits(scenario: Path, world: World, info: Mapping[str, Any], path: Path) -> None:
    """Refuse a scenario of other machines, links or another model than were measured."""
    continuum = world.problem.continuum
    links = [continuum.link_name(at) for at in range(len(world.links))]
    pairs = (
        ("devices", list(continuum.names), info["devices"]),
        ("links", links, info["links"]),
        ("model", world.problem.graph.model, _model_of(info)),
    )
    for what, ours, theirs in pairs:
        if ours != theirs:
            raise CalibrationError(
                f"{scenario}: {what}: {ours}, but {path} was measured with {theirs}; give its scenario"
            )


def _model_of(info: Mapping[str, Any]) -> str:
    return str(info["scenario"]["model"]).rpartition("/")[2].removesuffix(".json")


def _sha256(folder: Path) -> str:
    """Of all records of a policy, one after the other."""
    digest = hashlib.sha256()
    for name in _RECORDS:
        if (folder / name).is_file():
            digest.update((folder / name).read_bytes())
    return digest.hexdigest()
