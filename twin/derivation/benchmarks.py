"""Benchmark files: published whole-model times of a device, and figures to check a derivation against."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from twin.errors import ProfileError
from twin.scenario_file.complaints import shown, unknown_key
from twin.scenario_file.schema import Name, Positive, Text  # noqa: TC001 - pydantic reads them at run time
from twin.scenario_file.yamlplaces import dotted, read_yaml
from twin.units import s_from_ms

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic_core import ErrorDetails

    from twin.scenario_file.yamlplaces import Document, Loc


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class StageFigure(_Strict):
    """Published figure of one stage: its time, or an energy and the power at which it was drawn."""

    model: Name
    """Model that was split."""
    first: Text
    """First layer of the stage, or the module that holds it."""
    last: Text
    """Last layer of the stage, or the module that holds it."""
    published_ms: Positive | None = None
    """Time of the stage in milliseconds."""
    energy_j: Positive | None = None
    """Energy of the stage in joules, where no time was published."""
    power_w: Positive | None = None
    """Power in watts by which the energy is divided."""

    @model_validator(mode="after")
    def _one_time(self) -> StageFigure:
        if (self.published_ms is None) == (self.energy_j is None) or (self.energy_j is None) != (self.power_w is None):
            raise PydanticCustomError("time", "give either `published_ms`, or `energy_j` and `power_w`")
        return self

    @property
    def published_s(self) -> float:
        """Published time of the stage in seconds."""
        if self.published_ms is not None:
            return s_from_ms(self.published_ms)
        return (self.energy_j or 0.0) / (self.power_w or 1.0)


class CheckFigures(_Strict):
    """Figures that a derived profile is held against, and that do not enter the fit."""

    name: Text
    """What is checked."""
    note: Text
    """Where the figures are from, and what a difference means."""
    stages: Annotated[tuple[StageFigure, ...], Field(min_length=1, strict=False)]
    """The stages."""


class Benchmarks(_Strict):
    """What is published of a device."""

    device: Name
    """Name of the profile to write."""
    citation: Text
    """Where the times were published."""
    whole_model_ms: Annotated[dict[Name, Positive], Field(min_length=1)]
    """Time of one whole inference in milliseconds, by model."""
    threads: Annotated[int, Field(ge=1)] | None = None
    """Threads that computed, where known."""
    setting: Text | None = None
    """Framework, number format and input of the benchmark."""
    notes: Annotated[tuple[Text, ...], Field(strict=False)] = ()
    """What else a user of the profile should know."""
    checks: Annotated[tuple[CheckFigures, ...], Field(strict=False)] = ()
    """Figures to hold the profile against."""

    @property
    def whole_model_s(self) -> dict[str, float]:
        """Time of one whole inference in seconds, by model."""
        return {model: s_from_ms(time_ms) for model, time_ms in self.whole_model_ms.items()}


def read_benchmarks(path: Path) -> Benchmarks:
    """Read a benchmark file.

    Raises:
        ProfileError: The file does not hold what it must; one line per fault.
        ScenarioError: The file cannot be read, or is not YAML.
    """
    document = read_yaml(path)
    if not isinstance(document.data, dict):
        raise ProfileError(f"{path}: must be a mapping with the keys {', '.join(Benchmarks.model_fields)}")
    try:
        return Benchmarks.model_validate(document.data)
    except ValidationError as error:
        faults = (_fault(document, fault) for fault in error.errors(include_url=False))
        raise ProfileError("\n".join(faults)) from error


def _fault(document: Document, error: ErrorDetails) -> str:
    loc: Loc = tuple(part for part in error["loc"] if part != "[key]")
    text = f"is {shown(error['input'])}; {error['msg']}"
    if error["type"] == "missing":
        text = "is missing; add it"
    elif error["type"] == "extra_forbidden":
        text = unknown_key(str(loc[-1]), _form(loc).model_fields)
    elif error["type"] == "time":
        text = error["msg"]
    return f"{document.path}:{document.line(loc)}: {dotted(loc)}: {text}"


def _form(loc: Loc) -> type[BaseModel]:
    """The form to which the key at a place belongs."""
    forms: dict[Any, type[BaseModel]] = {1: Benchmarks, 3: CheckFigures, 5: StageFigure}
    return forms.get(len(loc), Benchmarks)
