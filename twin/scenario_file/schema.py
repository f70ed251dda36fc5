"""The form of a scenario file; the docstring of each field is its reference."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
NAME_PATTERN = r"^[A-Za-z][A-Za-z0-9_-]*$"
LABEL_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._+-]*$"
Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Label = Annotated[str, Field(pattern=LABEL_PATTERN)]
Text = Annotated[str, Field(min_length=1)]
AfterEnd = Literal["hold", "loop", "error"]


def _check_load(value: object) -> object:
    named = isinstance(value, str) and value
    factor = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0
    if not named and not factor:
        raise PydanticCustomError("load", "it must be a factor > 0 or the name of a load trace")
    return value


Load = Annotated[Positive | str, BeforeValidator(_check_load)]


class _Strict(BaseModel):
    """Unknown keys, texts in place of numbers, NaN and infinities are errors."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class PowerModel(_Strict):
    """Power of a device by what it does."""

    idle_w: NonNegative
    """Power at rest, in watts."""
    compute_w: Positive
    """Power while it computes, in watts."""
    transmit_w: NonNegative | None = None
    """Power while it sends, in watts; like `idle_w` if not given."""
    receive_w: NonNegative | None = None
    """Power while it receives, in watts; like `idle_w` if not given."""


class DeviceModel(_Strict):
    """A machine that can run layers."""

    name: Name
    """Name by which the rest of the file calls it."""
    tier: Text
    """Label for people, such as `edge`, `fog` or `cloud`."""
    profile: Text
    """Measured or derived layer times: a folder name in `data/profiles`, or the path of a folder or JSON file."""
    power: PowerModel | None = None
    """Power states; without them no energy is known of this device."""
    load: Load = 1.0
    """Factor by which work takes longer than in the profile, or the name or path of a load trace."""
    start_s: NonNegative = 0.0
    """Time in a load trace at which the run starts, in seconds."""
    after_end: AfterEnd = "hold"
    """What a load trace does past its end."""
    memory_bytes: Positive | None = None
    """Memory for the weights of its layers and the tensors at both ends, in bytes; no limit if not given."""
    slots: Count = 1
    """Number of requests that it computes at once."""
    queue_limit: Annotated[int, Field(ge=0)] | None = None
    """Largest number of requests that may wait; one more is dropped. No limit if not given."""
    stage_overhead_s: NonNegative = 0.0
    """Fixed time of each visit of a request, in seconds."""
    codec_bps: Positive | None = None
    """Payload rate at which tensors are serialised and deserialised, in bits per second; free if not given."""


class LinkModel(_Strict):
    """A link between two devices: a trace, or constant rates."""

    between: tuple[Name, Name]
    """The two devices, the one nearer to the edge first; `up` leads from the first to the second."""
    trace: Text | None = None
    """Name of a trace in `data/traces`, or the path of a file."""
    format: Literal["csv", "mahimahi", "two-column"] | None = None
    """Format of the trace file: the CSV of this project, Mahimahi, or seconds and Mbit/s; by default by its ending."""
    rate_bps: Positive | None = None
    """Constant goodput of both directions, in bits per second."""
    up_bps: Positive | None = None
    """Constant goodput towards the cloud, in bits per second."""
    down_bps: Positive | None = None
    """Constant goodput towards the edge, in bits per second."""
    rtt_s: NonNegative | None = None
    """Round-trip time in seconds; for constant rates and for formats that hold none."""
    start_s: NonNegative = 0.0
    """Time in the trace at which the run starts, in seconds."""
    after_end: AfterEnd = "hold"
    """What the trace does past its end: hold its last values, start again, or fail."""
    duplex: Literal["full", "half"] = "full"
    """`half` if both directions share one medium, as on WiFi."""
    message_overhead_s: NonNegative = 0.0
    """Fixed time per message, in seconds, beside transmission and propagation."""
    slow_start_s: NonNegative = 0.0
    """Extra time of a message that follows a pause, in seconds."""
    slow_start_idle_s: NonNegative = 0.2
    """Length of such a pause, in seconds."""


class WorkloadModel(_Strict):
    """How requests arrive and when they end."""

    kind: Literal["closed", "periodic", "poisson", "replay"]
    """`closed`: clients that wait for their answer; `periodic`; `poisson`; `replay`: the times in a file."""
    rate_rps: Positive | None = None
    """Mean arrival rate of `periodic` and `poisson`, in requests per second."""
    clients: Count | None = None
    """Number of clients of `closed`."""
    think_time_s: NonNegative = 0.0
    """Pause of a client of `closed` between an answer and its next request, in seconds."""
    file: Text | None = None
    """Path of the arrival times of `replay`, in seconds from the start: one per line, or a CSV file."""
    column: Text | None = None
    """Column of that CSV file."""
    requests: Count | None = None
    """Number of requests after which arrivals end."""
    duration_s: Positive | None = None
    """Time after which arrivals end, in seconds."""
    warm_up_s: NonNegative = 0.0
    """Requests that arrive before this time are played but not counted."""
    warm_up_requests: Annotated[int, Field(ge=0)] = 0
    """So many first requests are played but not counted."""


class ObjectiveModel(_Strict):
    """What is to be kept small: `latency * L / latency_ref_s + energy * E / energy_ref_j`."""

    latency: NonNegative = 1.0
    """Weight of the latency."""
    energy: NonNegative = 0.0
    """Weight of the energy per request; needs the power of every device."""
    boundary: Literal["node", "marginal", "compute_only"] = "node"
    """Which joules count: all of the devices, those above idle, or those of computing alone."""
    deadline_s: Positive | None = None
    """Latency in seconds that a request may not exceed; a later answer counts as `late`."""
    latency_ref_s: Positive | None = None
    """Reference of the latency in seconds; that of the best edge-only plan at the start if not given."""
    energy_ref_j: Positive | None = None
    """Reference of the energy in joules; likewise."""


class ControlModel(_Strict):
    """When the controller decides; every second if nothing is given."""

    every_s: Positive | None = None
    """Control interval in seconds."""
    every_requests: Count | None = None
    """Control interval in arriving requests."""

    @model_validator(mode="before")
    @classmethod
    def _every_second(cls, data: Any) -> Any:  # noqa: ANN401 - whatever the file holds
        if isinstance(data, dict) and data.get("every_s") is None and data.get("every_requests") is None:
            return {**data, "every_s": 1.0}
        return data


class SwitchModel(_Strict):
    """What a change of the partition costs."""

    downtime_s: NonNegative = 0.0
    """Time for which new requests are held back at the edge, in seconds."""
    weights_from: Name | None = None
    """Device that sends the weights of layers that are new to a device; by default all devices hold all weights."""
    energy_j: NonNegative = 0.0
    """Joules that each device spends that gains layers."""


class PolicyModel(BaseModel):
    """A policy to be compared; the keys beside `kind` are its own options."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, use_attribute_docstrings=True)

    kind: str
    """Which policy it is."""


class FaultModel(_Strict):
    """Something that breaks for a while."""

    kind: Literal["link_down", "device_down", "device_slow", "meter_gone"]
    """What breaks."""
    link: tuple[Name, Name] | None = None
    """The two devices that the link joins, for `link_down`."""
    device: Name | None = None
    """The device, for all other kinds."""
    start_s: NonNegative
    """When it breaks, in seconds from the start."""
    end_s: Positive
    """When it is whole again."""
    slowdown: Positive | None = None
    """For `device_slow`: factor by which work takes longer."""


class Scenario(_Strict):
    """A scenario: a model, the machines and links, the load, what is wanted, and the policies to compare."""

    version: Literal[1] = Field(alias="schema")
    """Version of this form, 1."""
    name: Label
    """Name of the scenario."""
    question: str = ""
    """The question that it asks; taken from the comment in the first lines if not given."""
    model: Text
    """Name of a layer graph in `data/models`, such as `mobilenet_v2`, or the path of a JSON file."""
    devices: Annotated[tuple[DeviceModel, ...], Field(min_length=1)]
    """The machines, from the edge, where requests arise and answers return, to the cloud."""
    links: tuple[LinkModel, ...] = ()
    """The links between them."""
    workload: WorkloadModel
    """How requests arrive and when they end."""
    objective: ObjectiveModel = ObjectiveModel()
    """What is to be kept small."""
    control: ControlModel = ControlModel()
    """When the controller decides."""
    switch: SwitchModel = SwitchModel()
    """What a change of the partition costs."""
    pinned: dict[str, Name] = {}
    """Device of each layer that may not move, by layer name."""
    policies: Annotated[dict[Label, PolicyModel], Field(min_length=1)]
    """The policies to compare, by a label of your choice; differences are taken to the first."""
    faults: tuple[FaultModel, ...] = ()
    """What breaks, and when."""
    detect_s: NonNegative = 2.0
    """Time until a lost device or link is noticed, in seconds."""
    drain_s: NonNegative = 60.0
    """Time that requests under way have to finish once arrivals end, in seconds."""
    noise: Literal["measured", "off"] = "measured"
    """`measured`: stage times vary as they did when the profile was measured; `off`: they do not."""
    replications: Count = 1
    """How often each policy is played, each time with its own luck."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of everything random."""
    files: dict[str, str] = {}
    """SHA-256 of data files, as a resolved scenario lists them; a file that has changed since is refused."""
