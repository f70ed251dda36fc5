"""The form of a sweep file; the docstring of each field is its reference."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from twin.scenario_file.schema import Label, Text  # noqa: TC001 - pydantic looks them up

Minimised = Literal[
    "score",
    "latency_mean_s",
    "latency_p50_s",
    "latency_p95_s",
    "energy_node_j",
    "energy_marginal_j",
    "energy_compute_only_j",
]


def _form_of(value: object) -> str | None:
    return "[list]" if isinstance(value, list) else "[range]" if isinstance(value, dict) else None


class _Strict(BaseModel):
    """Unknown keys, texts in place of numbers, NaN and infinities are errors."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class RangeModel(_Strict):
    """Values in equal steps or in equal ratios, both ends included."""

    start: float
    """First value."""
    stop: float
    """Last value."""
    num: Annotated[int, Field(ge=2)]
    """Number of values."""
    scale: Literal["linear", "log"] = "linear"
    """`linear`: equal steps; `log`: equal ratios."""


Listed = Annotated[list[Any], Field(min_length=1)]
Values = Annotated[
    Annotated[Listed, Tag("[list]")] | Annotated[RangeModel, Tag("[range]")],
    Discriminator(
        _form_of,
        custom_error_type="values",
        custom_error_message="it must be a list of values, or a range such as {start: 1e6, stop: 1e8, num: 9}",
    ),
]


class SweepModel(_Strict):
    """A sweep: a scenario, what varies in it, and what is compared at each point."""

    version: Literal[1] = Field(alias="schema")
    """Version of this form, 1."""
    name: Label
    """Name of the sweep."""
    question: str = ""
    """The question that it asks; taken from the comment in the first lines if not given."""
    scenario: Text
    """Path of the scenario file, from the folder of the sweep file."""
    changes: dict[str, Any] = Field(default={}, alias="set")
    """Places of the scenario that are changed for all points, as with `--set`."""
    vary: dict[str, Values] = {}
    """Places of the scenario that vary, each with a list or a range of values; every combination is a point."""
    together: tuple[Annotated[dict[str, Listed], Field(min_length=1)], ...] = Field(default=(), alias="zip")
    """Groups of places that vary together: lists of the same length, which count as one axis."""
    seeds: Values | None = None
    """Seeds with which every point is played; that of the scenario if not given."""
    policies: Annotated[tuple[Label, ...], Field(min_length=1)] | None = None
    """Labels of the policies to play; all of the scenario's if not given."""
    minimise: Minimised = "score"
    """The quantity by which the best policy of a point is found."""
