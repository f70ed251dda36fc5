"""A calibration: what was found of devices and links, and its file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from twin.calibration.devices import DeviceEstimates
from twin.calibration.links import LinkEstimates
from twin.calibration.terms import Estimate
from twin.errors import CalibrationError, ScenarioError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from twin.calibration.form import CalibrationModel, ParameterModel
    from twin.profiles import Source

SCHEMA = 1
_HEADING = """\
# Calibration of the twin by measured runs: `python -m twin.simulate --calibration FILE SCENARIO` uses it.
# Each parameter has its 95 % interval (low, high), the rows that it rests on (n) and what the scenario says (was). What
# the data do not determine says so, and the twin keeps the value of the scenario. docs/calibration.md explains it.
"""
_DEVICE = ("stage_overhead_s", "slowdown", "codec_s_per_byte", "dispersion")
_LINK = ("goodput_up", "goodput_down", "rtt_extra_s", "message_overhead_s", "slow_start_s")
_DIGITS = 9


@dataclass(frozen=True, slots=True)
class FolderFacts:
    """A folder of measured runs; fields as in `form.FolderModel`."""

    folder: str
    scenario: str
    model: str
    source: Source
    policies: Mapping[str, str]
    fitted: str
    held_out: str


@dataclass(frozen=True, slots=True)
class HeldOutError:
    """An error on what was not fitted; fields as in `form.ErrorModel`."""

    folder: str
    policy: str
    quantity: str
    n: int
    measured: float
    before: float | None
    after: float | None


@dataclass(frozen=True, slots=True)
class Calibration:
    """Parameters of devices and links as measured runs have them.

    Attributes:
        made: When it was made, UTC.
        source: `measured` only if all runs are.
        folders: The runs.
        devices: Devices by name.
        power: Power states that were found, by device and state (`idle_w` and so on).
        links: Links by name.
        downtime_s: Time for which a change of the partition holds back new requests.
        validation: Errors on what was not fitted.
        sha256: Of the file that it was read from; empty for one that was not.
    """

    made: str
    source: Source
    folders: tuple[FolderFacts, ...]
    devices: Mapping[str, DeviceEstimates]
    power: Mapping[str, Mapping[str, Estimate]]
    links: Mapping[str, LinkEstimates]
    downtime_s: Estimate
    validation: tuple[HeldOutError, ...] = ()
    sha256: str = field(default="", compare=False)

    def to_yaml(self) -> str:
        """The text of its file."""
        from twin.scenario_file.yamlplaces import dump_yaml  # noqa: PLC0415 - `--help` needs no YAML

        return _HEADING + dump_yaml(self._plain())

    def _plain(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "made": self.made,
            "source": self.source,
            "folders": [_fields(x) for x in self.folders],
            "devices": {name: self._device(name) for name in self.devices},
            "links": {
                name: {**{key: _parameter(getattr(x, key)) for key in _LINK}, "wild": _short(x.wild)}
                for name, x in self.links.items()
            },
            "switch": {"downtime_s": _parameter(self.downtime_s)},
            "validation": [_fields(x) for x in self.validation],
        }

    def _device(self, name: str) -> dict[str, Any]:
        found, power = self.devices[name], self.power.get(name)
        data: dict[str, Any] = {"profile": found.profile, **{key: _parameter(getattr(found, key)) for key in _DEVICE}}
        data["additivity"] = {model: _parameter(x) for model, x in found.additivity.items()}
        data["wild"] = _short(found.wild)
        if power:
            data["power"] = {state: _parameter(x) for state, x in power.items()}
        return data


def read_calibration(path: Path) -> Calibration:
    """Read a calibration file.

    Raises:
        CalibrationError: It cannot be read, or holds something else.
    """
    from pydantic import ValidationError  # noqa: PLC0415 - `pydantic` loads its parts on demand

    from twin.calibration.form import CalibrationModel  # noqa: PLC0415 - likewise
    from twin.scenario_file.yamlplaces import read_yaml  # noqa: PLC0415 - likewise

    try:
        document = read_yaml(path, "docs/calibration.md shows what a calibration holds")
        model = CalibrationModel.model_validate(document.data)
        checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    except ScenarioError as error:
        raise CalibrationError(str(error)) from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        line = document.line(tuple(first["loc"]))
        raise CalibrationError(
            f"{path}:{line}: {place}: {first['msg']}; make the calibration again with `python -m twin.calibrate`"
        ) from error
    return _from_model(model, checksum)


def _from_model(model: CalibrationModel, checksum: str) -> Calibration:
    devices = {
        name: DeviceEstimates(
            name,
            x.profile,
            _estimate(x.stage_overhead_s),
            _estimate(x.slowdown),
            _estimate(x.codec_s_per_byte),
            _estimate(x.dispersion),
            {graph: _estimate(y) for graph, y in x.additivity.items()},
            x.wild,
        )
        for name, x in model.devices.items()
    }
    links = {
        name: LinkEstimates(
            name,
            _estimate(x.goodput_up),
            _estimate(x.goodput_down),
            _estimate(x.rtt_extra_s),
            _estimate(x.message_overhead_s),
            _estimate(x.slow_start_s),
            x.wild,
        )
        for name, x in model.links.items()
    }
    power = {
        name: {state: _estimate(y) for state, y in dict(x.power).items() if y is not None}
        for name, x in model.devices.items()
        if x.power is not None
    }
    return Calibration(
        model.made,
        model.source,
        tuple(FolderFacts(**x.model_dump()) for x in model.folders),
        devices,
        power,
        links,
        _estimate(model.switch.downtime_s),
        tuple(HeldOutError(**x.model_dump()) for x in model.validation),
        checksum,
    )


def _estimate(model: ParameterModel) -> Estimate:
    return Estimate(**model.model_dump())


def _parameter(estimate: Estimate) -> dict[str, Any]:
    """A parameter as people read it: what is not there or not worth a word is left out."""
    data: dict[str, Any] = {"value": _short(estimate.value)}
    if estimate.low is not None and estimate.high is not None:
        data |= {"low": _short(estimate.low), "high": _short(estimate.high)}
    data |= {"was": _short(estimate.was), "n": estimate.n, "determined": estimate.determined}
    return {**data, "note": estimate.note} if estimate.note else data


def _fields(facts: FolderFacts | HeldOutError) -> dict[str, Any]:
    return {name: _plain_value(getattr(facts, name)) for name in facts.__dataclass_fields__}


def _plain_value(value: object) -> object:
    if isinstance(value, float):
        return _short(value)
    return dict(value) if hasattr(value, "items") else value  # type: ignore[call-overload]


def _short(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
