"""The form of a testbed file, and what else may be wrong in one; the docstring of each field is its reference."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from hardware.forms import Address, Form, Sha256, unknown_models
from twin.scenario_file.complaints import Complaint, nearest
from twin.scenario_file.schema import Count, Name, Positive, Text  # noqa: TC001 - pydantic looks them up

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Accelerator = Literal["cpu", "cuda"]
Emulation = Literal["factor", "profile", "sleep"]


class WeightsModel(Form):
    """A file of weights on the machine."""

    file: Text
    """Path from the agent's folder of weights; `.safetensors`, or a state dict in `.pt`, `.pth` or `.bin`."""
    sha256: Sha256
    """SHA-256 of the file."""
    pretrained: Text | None = None
    """Torchvision's name of these weights, such as `IMAGENET1K_V1`, if the file is not its own."""


class MachineModel(Form):
    """A machine that runs an agent."""

    name: Name
    """Name of the scenario's device that it is."""
    address: Address
    """Where its agent listens, as the coordinator reaches it."""
    public_key: Text | None = None
    """CURVE public key, or the path of its file; `NAME.key` beside the coordinator's secret key if not given."""
    torch_threads: Count | None = None
    """Threads that compute; as `agent.yaml` says if not given."""
    accelerator: Accelerator | None = None
    """Where it computes; as `agent.yaml` says if not given."""
    meter: Text | None = None
    """URL of the power meter that measures this machine."""
    meter_at: Name | None = None
    """Machine that the meter is plugged into; this one if not given."""
    weights: dict[str, WeightsModel] = Field(default_factory=dict)
    """File of weights by model; random weights of the scenario's seed for models without one."""
    emulate: Emulation | None = None
    """How it stands in for another device: `factor`, `profile` or `sleep`; it computes as itself if not given."""
    factor: Annotated[float, Field(ge=1)] | None = None
    """For `emulate: factor`: how many times as long as here a stage takes."""


class LinkModel(Form):
    """A link whose machines reach each other under other addresses than the coordinator does."""

    between: tuple[Name, Name]
    """The two machines."""
    dial: Annotated[dict[Name, Address], Field(min_length=1)]
    """Address of one or both, as the other one reaches it."""


class CoordinatorModel(Form):
    """The side that sets up and collects a run."""

    secret_key: Text
    """Path of the coordinator's secret key file, as `python -m hardware.keys` makes it."""


class TestbedModel(Form):
    """A testbed: the machines that a scenario runs on."""

    version: Literal[1] = Field(alias="schema")
    """Version of this form, 1."""
    curve: Literal["on", "off"] = "on"
    """`off`: no encryption and no keys, for networks that nobody else can reach."""
    coordinator: CoordinatorModel | None = None
    """Keys of the coordinator."""
    detect_s: Positive | None = None
    """Silence after which a machine or link counts as lost, in seconds; the scenario's if not given."""
    machines: Annotated[tuple[MachineModel, ...], Field(min_length=1)]
    """The machines."""
    links: tuple[LinkModel, ...] = ()
    """Links with addresses of their own."""


def broken_rules(model: TestbedModel) -> Iterator[Complaint]:
    """Everything in a well-formed testbed file that makes no sense."""
    names = [machine.name for machine in model.machines]
    if model.curve == "on" and model.coordinator is None:
        yield Complaint(
            (), "coordinator: is missing; `curve: on` needs {secret_key: FILE}, made by `python -m hardware.keys`"
        )
    for position, machine in enumerate(model.machines):
        loc = ("machines", position)
        if machine.name in names[:position]:
            first = names.index(machine.name)
            yield Complaint((*loc, "name"), f"`{machine.name}` is also the name of machines.{first}; give it its own")
        yield from _places(machine, position, names)
        yield from unknown_models((*loc, "weights"), machine.weights)
    first_at: dict[str, int] = {}
    for position, machine in enumerate(model.machines):
        first = first_at.setdefault(machine.address, position)
        if first != position and machine.name != names[first]:
            text = f"machines.{first} has the same address; each agent needs a port of its own"
            yield Complaint(("machines", position, "address"), text)
    yield from chain.from_iterable(_link(position, link, names) for position, link in enumerate(model.links))
    yield from _twice(model.links)


def _places(machine: MachineModel, position: int, names: Sequence[str]) -> Iterator[Complaint]:
    loc = ("machines", position)
    if machine.meter_at is not None and machine.meter is None:
        yield Complaint((*loc, "meter_at"), "there is no `meter` to read; add one or remove this key")
    elif machine.meter_at is not None and machine.meter_at not in names:
        text = f"there is no machine `{machine.meter_at}`; {nearest(machine.meter_at, names)}"
        yield Complaint((*loc, "meter_at"), text)
    if machine.emulate == "factor" and machine.factor is None:
        yield Complaint((*loc, "emulate"), "`factor` is missing; say how many times as long a stage takes")
    if machine.emulate != "factor" and machine.factor is not None:
        yield Complaint((*loc, "factor"), "goes with `emulate: factor` only; remove it or add that")


def _link(position: int, link: LinkModel, names: Sequence[str]) -> Iterator[Complaint]:
    loc = ("links", position)
    for end, name in enumerate(link.between):
        if name not in names:
            yield Complaint((*loc, "between", end), f"there is no machine `{name}`; {nearest(name, names)}")
    if link.between[0] == link.between[1]:
        yield Complaint((*loc, "between"), "names one machine twice; a link joins two")
    for name in link.dial:
        if name not in link.between:
            text = f"is no end of this link; {nearest(name, link.between)}"
            yield Complaint((*loc, "dial", name), text)


def _twice(links: Sequence[LinkModel]) -> Iterator[Complaint]:
    seen: dict[frozenset[str], int] = {}
    for position, link in enumerate(links):
        first = seen.setdefault(frozenset(link.between), position)
        if first != position:
            yield Complaint(("links", position, "between"), f"links.{first} joins the same machines; put both together")
