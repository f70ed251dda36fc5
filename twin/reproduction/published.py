"""The file of published figures: whole models on one device, the static split, the adaptive runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from twin.errors import ScenarioError
from twin.scenario_file.schema import Name, Positive, Text  # noqa: TC001 - pydantic reads them at run time
from twin.scenario_file.yamlplaces import dotted, read_yaml
from twin.units import s_from_ms

if TYPE_CHECKING:
    from pathlib import Path

TIERS = ("edge", "fog", "cloud")
"""The three machines in the order of the continuum."""


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class Whole(_Strict):
    """A whole model on one device, by itself."""

    latency_ms: Positive
    """Time of one inference in milliseconds."""
    energy_j: Positive
    """Energy of one inference in joules."""

    @property
    def latency_s(self) -> float:
        """Time of one inference in seconds."""
        return s_from_ms(self.latency_ms)

    @property
    def power_w(self) -> float:
        """Energy divided by time, in watts."""
        return self.energy_j / self.latency_s


class Row(_Strict):
    """A model split over the three devices."""

    latency_ms: Positive
    """End-to-end latency in milliseconds."""
    edge_j: Positive
    """Energy of the edge in joules per inference."""
    fog_j: Positive
    """Energy of the fog."""
    cloud_j: Positive
    """Energy of the cloud."""
    total_j: Positive
    """Energy of all three, as published."""

    @property
    def latency_s(self) -> float:
        """End-to-end latency in seconds."""
        return s_from_ms(self.latency_ms)

    @property
    def by_device_j(self) -> tuple[float, float, float]:
        """Joules per inference of edge, fog and cloud."""
        return self.edge_j, self.fog_j, self.cloud_j

    def stages_s(self, power_w: tuple[float, float, float]) -> tuple[float, float, float]:
        """Times of the stages, as energy / power, in seconds."""
        return self.edge_j / power_w[0], self.fog_j / power_w[1], self.cloud_j / power_w[2]

    def node_j(self, compute_w: tuple[float, float, float], idle_w: tuple[float, float, float]) -> float:
        """Energy of all three with the waiting counted: each idles while it does not compute, in joules."""
        waiting = (self.latency_s - time_s for time_s in self.stages_s(compute_w))
        return sum(self.by_device_j) + sum(w * time_s for w, time_s in zip(idle_w, waiting, strict=True))


class Reductions(_Strict):
    """What the adaptive runs save against the static split, in percent."""

    latency_percent: Positive
    """Saving of latency."""
    energy_percent: Positive
    """Saving of energy."""


class Figures(_Strict):
    """All that is published of one model."""

    edge_only: Whole
    """The whole model on the edge."""
    fog_only: Whole
    """The whole model on the fog."""
    cloud_only: Whole
    """The whole model on the cloud."""
    static: Row
    """The static split."""
    adaptive: Row
    """The adaptive runs."""
    reductions: Reductions
    """What adapting saves."""

    @property
    def whole(self) -> tuple[Whole, Whole, Whole]:
        """The whole model on edge, fog and cloud."""
        return self.edge_only, self.fog_only, self.cloud_only


class Published(_Strict):
    """What the paper publishes."""

    citation: Text
    """Where it was published."""
    setting: Text
    """Framework, number format, input and load."""
    notes: Annotated[tuple[Text, ...], Field(strict=False)] = ()
    """What else to know about the figures."""
    edge_w: Positive
    """Power of the edge while computing, in watts."""
    fog_w: Positive
    """Power of the fog while computing, in watts."""
    models: Annotated[dict[Name, Figures], Field(min_length=1)]
    """The figures by model."""

    def power_w(self, model: str) -> tuple[float, float, float]:
        """Powers of computing: two are published, that of the cloud is derived from its own row of the model."""
        return self.edge_w, self.fog_w, self.models[model].cloud_only.power_w


def read_published(path: Path) -> Published:
    """Read a file of published figures.

    Raises:
        ScenarioError: The file cannot be read, is not YAML or does not hold what it must; one line per fault.
    """
    document = read_yaml(path)
    if not isinstance(document.data, dict):
        raise ScenarioError(f"{path}: must be a mapping with the keys {', '.join(Published.model_fields)}")
    try:
        return Published.model_validate(document.data)
    except ValidationError as error:
        lines = []
        for fault in error.errors(include_url=False):
            loc = tuple(part for part in fault["loc"] if part != "[key]")
            lines.append(f"{path}:{document.line(loc)}: {dotted(loc)}: {fault['msg']}; compare the committed file")
        raise ScenarioError("\n".join(lines)) from error
