"""The form of a calibration file; the docstring of each field is its reference."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

NonNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Strict(BaseModel):
    """Unknown keys, texts in place of numbers, NaN and infinities are errors."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class ParameterModel(_Strict):
    """A parameter with its interval."""

    value: float
    """What the twin uses."""
    low: float | None = None
    """Lower end of the 95 % interval; not there where the data do not determine it."""
    high: float | None = None
    """Upper end; likewise."""
    n: Annotated[int, Field(ge=0)] = 0
    """Rows that it rests on."""
    determined: bool
    """Whether the data determine it; if not, the scenario's own value is used."""
    was: float
    """What the scenario of the measured runs says."""
    note: str = ""
    """Why it is not determined, or what else is to be known."""


class PowerModel(_Strict):
    """Power states; those that the data do not determine are not there."""

    idle_w: ParameterModel | None = None
    """Power at rest."""
    compute_w: ParameterModel | None = None
    """Power while it computes."""
    transmit_w: ParameterModel | None = None
    """Power while it sends."""
    receive_w: ParameterModel | None = None
    """Power while it receives."""


class DeviceModel(_Strict):
    """A device."""

    profile: str
    """The profile that its layer times come from."""
    stage_overhead_s: ParameterModel
    """Fixed time of each stage visit."""
    slowdown: ParameterModel
    """Factor on the load that the scenario says."""
    codec_s_per_byte: ParameterModel
    """Time to serialise or deserialise one byte."""
    dispersion: ParameterModel
    """Standard deviation of the logarithm of a stage's time."""
    additivity: dict[str, ParameterModel]
    """Time of a stage / sum of its layers' times, by model."""
    wild: NonNegative = 0.0
    """Share of stage visits that the fit does not count."""
    power: PowerModel | None = None
    """Power states, where there were meters."""


class LinkModel(_Strict):
    """A link."""

    goodput_up: ParameterModel
    """Factor on the goodput of the scenario, towards the cloud."""
    goodput_down: ParameterModel
    """Factor on the goodput of the scenario, towards the edge."""
    rtt_extra_s: ParameterModel
    """What is added to the round-trip time of the scenario."""
    message_overhead_s: ParameterModel
    """Fixed time per message."""
    slow_start_s: ParameterModel
    """Extra time of a message that follows a pause."""
    wild: NonNegative = 0.0
    """Share of messages that the fit does not count."""


class SwitchModel(_Strict):
    """A change of the partition."""

    downtime_s: ParameterModel
    """Time for which new requests are held back."""


class FolderModel(_Strict):
    """A folder of measured runs."""

    folder: str
    """Its name."""
    scenario: str
    """Name of the scenario."""
    model: str
    """The model."""
    source: Literal["measured", "emulated", "derived", "simulated"]
    """Where its figures come from."""
    policies: dict[str, Sha256]
    """SHA-256 of the records of each policy."""
    fitted: str
    """What of it was fitted."""
    held_out: str
    """What of it was kept to hold the fit against."""


class ErrorModel(_Strict):
    """Errors on what was not fitted."""

    folder: str
    """The folder."""
    policy: str
    """The policy."""
    quantity: str
    """What was measured."""
    n: Annotated[int, Field(ge=1)]
    """Requests, stage visits or messages that were measured."""
    measured: float
    """Its value in seconds."""
    before: float | None
    """Simulated / measured - 1 with the parameters of the scenario."""
    after: float | None
    """The same with this calibration."""


class CalibrationModel(_Strict):
    """Parameters of devices and links as measured runs have them."""

    version: Literal[1] = Field(alias="schema")
    """Version of this form, 1."""
    made: str
    """When it was made, UTC."""
    source: Literal["measured", "emulated", "derived", "simulated"]
    """Where the figures come from: `measured` only if all of them are."""
    folders: Annotated[list[FolderModel], Field(min_length=1)]
    """The runs."""
    devices: dict[str, DeviceModel]
    """Devices by name, in the order of the scenario."""
    links: dict[str, LinkModel]
    """Links by name, such as `pi-laptop`."""
    switch: SwitchModel
    """Changes of the partition."""
    validation: list[ErrorModel] = []
    """Errors on what was not fitted."""
