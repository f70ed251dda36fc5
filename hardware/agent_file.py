"""The configuration of an agent, `agent.yaml`: what its owner allows those who reach the machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from hardware.forms import Endpoint, Form, read_form
from hardware.inventory_form import Accelerator  # noqa: TC001 - pydantic looks it up
from hardware.models import MODELS
from hardware.transport.parcel import DEFAULT_LIMITS, Limits
from twin.errors import MachineError
from twin.scenario_file.complaints import Complaint, nearest
from twin.scenario_file.schema import Count, Name, Text  # noqa: TC001 - pydantic looks them up

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hardware.inventory import RemoteWeights
    from hardware.node.weights import WeightsFile

BIND = "tcp://*:5600"
"""Where an agent listens unless its configuration says otherwise."""


class LimitsModel(Form):
    """The most that an agent accepts or keeps."""

    tensor_bytes: Count = DEFAULT_LIMITS.tensor_bytes
    """Bytes of one tensor."""
    message_bytes: Count = DEFAULT_LIMITS.message_bytes
    """Bytes of all tensors of one message."""
    tensors: Count = DEFAULT_LIMITS.tensors
    """Tensors in one message."""
    dimensions: Count = DEFAULT_LIMITS.dims
    """Dimensions of a tensor."""
    stage_cache_bytes: Count = 512_000_000
    """Bytes of stages that are kept beside the model: graphs, and weights copied to a GPU."""


class AgentModel(Form):
    """An agent."""

    version: Literal[1] = Field(alias="schema")
    """Version of this form, 1."""
    name: Name
    """Name of this machine, as in the testbed file and in the scenario."""
    bind: Endpoint = BIND
    """Where it listens: one port for everything."""
    curve: Literal["on", "off"] = "on"
    """`off`: no encryption and no keys, for networks that nobody else can reach."""
    secret_key: Text | None = None
    """Path of this machine's secret key file, as `python -m hardware.keys` makes it."""
    allowed_keys: Text | None = None
    """Folder of the public keys (`NAME.key`) of those who may connect: the coordinator and the other machines."""
    models: Annotated[tuple[Text, ...], Field(min_length=1)] = tuple(MODELS)
    """Models that it builds; all that the project knows if not given."""
    weights: Text = "weights"
    """Folder of the files of weights that it reads."""
    torch_threads: Count = 1
    """Threads that compute, unless the testbed file says otherwise."""
    accelerator: Accelerator = "cpu"
    """Where it computes, unless the testbed file says otherwise."""
    meters: tuple[Text, ...] = ()
    """URLs of the power meters that it opens if asked to; no others."""
    limits: LimitsModel = LimitsModel()
    """The most that it accepts or keeps."""


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """What an agent is and allows.

    Attributes:
        path: The file that says so.
        name: Name of this machine.
        bind: Where it listens.
        secret_key: Its secret key file; None where CURVE is off.
        allowed_keys: Folder of the public keys of those who may connect; None where CURVE is off.
        models: Models that it builds.
        weights: Folder of the files of weights that it reads.
        torch_threads: Threads that compute, unless the coordinator asks for others.
        accelerator: Where it computes, unless the coordinator asks for another place.
        meters: URLs of the power meters that it opens.
        limits: What it accepts.
        stage_cache_bytes: Limit of its `StageCache`.
    """

    path: Path
    name: str
    bind: str
    secret_key: Path | None
    allowed_keys: Path | None
    models: tuple[str, ...]
    weights: Path
    torch_threads: int
    accelerator: Accelerator
    meters: tuple[str, ...]
    limits: Limits
    stage_cache_bytes: int

    def check_model(self, name: str) -> None:
        """Refuse a model that this machine does not build.

        Raises:
            MachineError: It is not in `models`.
        """
        if name not in self.models:
            raise MachineError(f"{self.name} does not build `{name}`; add it to `models` in its agent.yaml")

    def check_meter(self, url: str) -> None:
        """Refuse a meter that this machine does not open.

        Raises:
            MachineError: It is not in `meters`.
        """
        if url not in self.meters:
            raise MachineError(f"{self.name} does not open the meter {url}; add it to `meters` in its agent.yaml")

    def weights_file(self, wanted: RemoteWeights) -> WeightsFile:
        """Where a file of weights lies that the coordinator asks for.

        Raises:
            MachineError: It lies outside the folder of weights.
        """
        from hardware.node.weights import WeightsFile  # noqa: PLC0415 - not needed for --help

        path = (self.weights / wanted.file).resolve()
        if not path.is_relative_to(self.weights.resolve()):
            raise MachineError(
                f"{self.name} reads weights in {self.weights} only, not `{wanted.file}`; copy the file there and give "
                "its path from there"
            )
        return WeightsFile(path, wanted.sha256)


def read_agent(path: Path) -> AgentConfig:
    """Read the configuration of an agent; keys and weights are not looked for yet.

    Raises:
        ScenarioError: Something is wrong; the message holds a line for each fault with the file, the line, the place
            and the remedy.
    """
    model, _ = read_form(path, AgentModel, _rules)
    keys = model.curve == "on"
    limits = model.limits
    return AgentConfig(
        path=path,
        name=model.name,
        bind=model.bind,
        secret_key=path.parent / model.secret_key if keys and model.secret_key else None,
        allowed_keys=path.parent / model.allowed_keys if keys and model.allowed_keys else None,
        models=model.models,
        weights=path.parent / model.weights,
        torch_threads=model.torch_threads,
        accelerator=model.accelerator,
        meters=model.meters,
        limits=Limits(limits.tensors, limits.dimensions, limits.tensor_bytes, limits.message_bytes),
        stage_cache_bytes=limits.stage_cache_bytes,
    )


def _rules(model: AgentModel) -> Iterator[Complaint]:
    if model.curve == "on":
        needed = {
            "secret_key": (model.secret_key, "make one with `python -m hardware.keys`"),
            "allowed_keys": (model.allowed_keys, "name the folder with the public keys of the other machines"),
        }
        for key, (given, remedy) in needed.items():
            if given is None:
                yield Complaint((), f"{key}: is missing; `curve: on` needs it: {remedy}")
    for position, name in enumerate(model.models):
        if name not in MODELS:
            yield Complaint(("models", position), f"no model is called `{name}`; {nearest(name, MODELS)}")
    if model.limits.message_bytes < model.limits.tensor_bytes:
        text = f"is less than `tensor_bytes`, {model.limits.tensor_bytes}; a message must hold at least one tensor"
        yield Complaint(("limits", "message_bytes"), text)
