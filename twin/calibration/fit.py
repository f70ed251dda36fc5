"""Measured runs -> a calibration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from twin.calibration.calibration import Calibration, FolderFacts
from twin.calibration.devices import fit_device
from twin.calibration.downtime import fit_downtime
from twin.calibration.folder import joined_source
from twin.calibration.links import fit_link
from twin.calibration.parts import split
from twin.calibration.power import fit_power
from twin.errors import CalibrationError
from twin.runs import provenance

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twin.calibration.folder import MeasuredFolder
    from twin.calibration.parts import Part


@dataclass(frozen=True, slots=True)
class SplitFolder:
    """A folder with what of it is fitted and what is kept.

    Attributes:
        folder: The folder.
        fitted: Parts to be fitted.
        held_out: Parts that are kept.
    """

    folder: MeasuredFolder
    fitted: tuple[Part, ...]
    held_out: tuple[Part, ...]

    @classmethod
    def of(cls, folder: MeasuredFolder, share: float) -> SplitFolder:
        """Split a folder; see `parts.split`.

        Raises:
            CalibrationError: The share is not one.
        """
        fitted, held_out = split(folder.world, folder.results, share)
        return cls(folder, tuple(fitted), tuple(held_out))


def fit(folders: Sequence[SplitFolder], *, is_robust: bool = True) -> Calibration:
    """Fit all parameters of all devices and links.

    Args:
        folders: Measured runs.
        is_robust: Whether rows that are wild do not count.

    Raises:
        CalibrationError: The folders are of different machines.
    """
    _check_same(folders)
    parts = [part for folder in folders for part in folder.fitted]
    continuum = parts[0].world.problem.continuum
    links = [continuum.link_name(at) for at in range(len(continuum.links))]
    power = {name: fit_power(parts, name) for name in continuum.names}
    return Calibration(
        made=provenance.now(),
        source=joined_source([folder.folder.source for folder in folders]),
        folders=tuple(_facts(folder) for folder in folders),
        devices={name: fit_device(parts, name, is_robust=is_robust) for name in continuum.names},
        power={name: states for name, states in power.items() if states},
        links={name: fit_link(parts, name, is_robust=is_robust) for name in links},
        downtime_s=fit_downtime(parts),
    )


def _check_same(folders: Sequence[SplitFolder]) -> None:
    """All folders must be of the same machines, with the same parameters before the fit."""
    first = folders[0].folder
    known = _machines(first)
    for folder in folders[1:]:
        for what, value in _machines(folder.folder).items():
            if value != known[what]:
                raise CalibrationError(
                    f"{folder.folder.path}: {what}: {value}, but {first.path} has {known[what]}; calibrate them one "
                    "by one"
                )


def _machines(folder: MeasuredFolder) -> dict[str, object]:
    problem = folder.world.problem
    return {
        "devices": list(problem.continuum.names),
        "profiles": [profile.device for profile in folder.world.profiles],
        "links": [problem.continuum.link_name(at) for at in range(len(problem.continuum.links))],
        "stage_overhead_s": problem.stage_overhead_s.tolist(),
        "codec_s_per_byte": problem.codec_s_per_byte.tolist(),
        "message overheads and slow starts": [
            (x.message_overhead_s, x.slow_start_s, x.slow_start_idle_s) for x in problem.continuum.links
        ],
        "switch.downtime_s": problem.switch.downtime_s,
    }


def _facts(folder: SplitFolder) -> FolderFacts:
    world = folder.folder.world
    return FolderFacts(
        folder.folder.path.resolve().name,
        world.name,
        world.problem.graph.model,
        joined_source([folder.folder.source]),
        folder.folder.sha256,
        _said(folder.fitted),
        _said(folder.held_out),
    )


def _said(parts: Sequence[Part]) -> str:
    """What parts hold, in words."""
    if not parts:
        return "nothing"
    numbers = sorted({number for part in parts for number in part.replications})
    words = f"replications {', '.join(map(str, numbers))}"
    window = parts[0].window
    if window.end_s < float("inf"):
        return f"{words}, the first {window.end_s:.4g} s"
    return words if window.start_s == -float("inf") else f"{words}, from {window.start_s:.4g} s on"
