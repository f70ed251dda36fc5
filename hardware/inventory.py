"""The machines of a testbed, from a file: where each is reached, by which key, and how it computes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hardware.forms import public_key, read_form
from hardware.inventory_form import TestbedModel, broken_rules
from twin.errors import MachineError
from twin.scenario_file.complaints import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from hardware.inventory_form import Accelerator, Emulation, MachineModel


@dataclass(frozen=True, slots=True)
class RemoteWeights:
    """A file of weights on a machine.

    Attributes:
        file: Path from the agent's folder of weights.
        sha256: SHA-256 of the file.
        pretrained: Torchvision's name of the weights, or None.
    """

    file: str
    sha256: str
    pretrained: str | None = None


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine that runs an agent.

    Attributes:
        name: Name of the scenario's device that it is.
        address: Where the coordinator reaches its agent.
        public_key: The key or the path of its file, as in the file; None to look beside the coordinator's own key.
        torch_threads: Threads that compute; None for those of `agent.yaml`.
        accelerator: `cpu` or `cuda`; None for that of `agent.yaml`.
        meter: URL of the power meter that measures it, or None.
        meter_at: Machine that reads the meter.
        weights: File of weights by model.
        emulate: How it stands in for another device; None if it does not.
        factor: For `factor`, how many times as long a stage takes; else 1.
    """

    name: str
    address: str
    public_key: str | None = None
    torch_threads: int | None = None
    accelerator: Accelerator | None = None
    meter: str | None = None
    meter_at: str = ""
    weights: Mapping[str, RemoteWeights] = field(default_factory=dict)
    emulate: Emulation | None = None
    factor: float = 1.0


@dataclass(frozen=True, slots=True)
class Inventory:
    """The machines of a testbed.

    Attributes:
        path: The file that says so.
        machines: The machines, in the order of the file.
        secret_key: The coordinator's secret key file; None where CURVE is off.
        detect_s: Silence after which a machine or link counts as lost; None for the scenario's.
        dials: Address of the second machine as the first reaches it, where it has one of its own.
    """

    path: Path
    machines: tuple[Machine, ...]
    secret_key: Path | None = None
    detect_s: float | None = None
    dials: Mapping[tuple[str, str], str] = field(default_factory=dict)

    @property
    def curve(self) -> bool:
        """Whether connections are encrypted and keys checked."""
        return self.secret_key is not None

    def machine(self, name: str) -> Machine:
        """The machine of a name.

        Raises:
            MachineError: There is none.
        """
        for machine in self.machines:
            if machine.name == name:
                return machine
        known = [machine.name for machine in self.machines]
        raise MachineError(f"{self.path}: has no machine `{name}`; {nearest(name, known)}")

    def in_order(self, devices: Sequence[str]) -> tuple[Machine, ...]:
        """The machines of a scenario's devices, in their order; machines of other names are left out.

        Raises:
            MachineError: A device has no machine.
        """
        return tuple(self.machine(name) for name in devices)

    def address(self, source: str, target: str) -> str:
        """Where machine `source` reaches machine `target`."""
        return self.dials.get((source, target)) or self.machine(target).address

    def public_key(self, name: str) -> bytes:
        """A machine's CURVE public key, 40 characters of Z85.

        Raises:
            MachineError: CURVE is off, or the key cannot be read.
        """
        if self.secret_key is None:
            raise MachineError(f"{self.path}: `curve` is off, so that no machine has a key")
        machine = self.machine(name)
        if machine.public_key is None:
            return public_key(f"{name}.key", self.secret_key.parent)
        return public_key(machine.public_key, self.path.parent)


def read_inventory(path: Path) -> Inventory:
    """Read the file of a testbed; keys are not looked for yet.

    Raises:
        ScenarioError: Something is wrong; the message holds a line for each fault with the file, the line, the place
            and the remedy.
    """
    model, _ = read_form(path, TestbedModel, broken_rules)
    secret_key = path.parent / model.coordinator.secret_key if model.coordinator and model.curve == "on" else None
    dials = {
        (next(end for end in link.between if end != target), target): address
        for link in model.links
        for target, address in link.dial.items()
    }
    return Inventory(path, tuple(_machine(entry) for entry in model.machines), secret_key, model.detect_s, dials)


def _machine(model: MachineModel) -> Machine:
    return Machine(
        name=model.name,
        address=model.address,
        public_key=model.public_key,
        torch_threads=model.torch_threads,
        accelerator=model.accelerator,
        meter=model.meter,
        meter_at=model.meter_at or model.name,
        weights={name: RemoteWeights(x.file, x.sha256, x.pretrained) for name, x in model.weights.items()},
        emulate=model.emulate,
        factor=model.factor or 1.0,
    )
