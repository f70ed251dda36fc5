"""The machines of a run: three agents on this machine, or those of a testbed file."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from hardware.coordinator.remote import COORDINATOR, Remote
from hardware.emulation.local import LocalTestbed
from hardware.emulation.netns import NetnsTestbed
from hardware.host import cores
from hardware.node.links import Dial
from hardware.node.metering import EMULATED, MeterOrder
from hardware.node.setup import Orders
from hardware.transport.credentials import CURVE_OFF, Credentials, load, make_key_files

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hardware.emulation.machine import OneMachine
    from hardware.inventory import Inventory
    from hardware.node.setup import Emulate
    from twin.profiles import Source
    from twin.topology import Continuum
    from twin.world import World

LinkKind = Literal["proxy", "netns"]
"""What makes the links of a testbed on one machine."""


@dataclass(frozen=True, slots=True, eq=False)
class Rig:
    """Machines that can be reached.

    Attributes:
        remotes: The machines in the order of the scenario's devices.
        orders: What is asked of each.
        source: What figures of them are.
        local: The processes, if all of them run on this machine.
    """

    remotes: tuple[Remote, ...]
    orders: tuple[Orders, ...]
    source: Source
    local: OneMachine | None = None


def start_here(
    world: World, folder: Path, keys: Path, emulate: Emulate, links: LinkKind = "proxy", *, curve: bool = True
) -> Rig:
    """Start an agent per device on this machine, with the links of the scenario between them.

    The caller closes `local`.

    Args:
        world: The scenario.
        folder: For the logs of the processes.
        keys: An empty folder for keys and configurations, which nobody else should read.
        emulate: How the agents stand in for the scenario's devices.
        links: What makes the links: a process that hands bytes on, or the kernel, which needs root.
        curve: Whether connections are encrypted; without, any user of this machine can talk to the agents.

    Raises:
        EmulationError: A process cannot be started, or the system allows too little.
    """
    kind: type[LocalTestbed | NetnsTestbed] = NetnsTestbed if links == "netns" else LocalTestbed
    host, port = kind.listen
    names = world.problem.continuum.names
    for name in names:
        # YAML reads JSON too, and this way no name needs quoting.
        config = {"schema": 1, "name": name, "bind": _endpoint((host, port)), "curve": "off"}
        if curve:
            make_key_files(name, keys)
            config |= {"curve": "on", "secret_key": f"{name}.key_secret", "allowed_keys": "."}
        (keys / f"{name}.yaml").write_text(json.dumps(config), encoding="utf-8")
    credentials = _fresh_credentials(keys) if curve else CURVE_OFF
    commands = [
        [sys.executable, "-m", "hardware.agent", "--config", str(keys / f"{name}.yaml"), "--until-eof"]
        for name in names
    ]
    local = kind(world, commands, folder)
    local.open()
    return Rig(
        tuple(
            Remote(name, _endpoint(address), credentials) for name, address in zip(names, local.addresses, strict=True)
        ),
        tuple(
            Orders(
                me,
                _local_dials(world.problem.continuum, me, local),
                emulate,
                busy_threads=min(len(names), cores()),
                meters=_emulated_meter(world, me),
            )
            for me in range(len(names))
        ),
        "emulated",
        local,
    )


def _fresh_credentials(keys: Path) -> Credentials:
    """The coordinator's keys, made beside those of the agents."""
    make_key_files(COORDINATOR, keys)
    return load(keys / f"{COORDINATOR}.key_secret", keys)


def reach(world: World, testbed: Inventory) -> Rig:
    """Reach the machines of a testbed file.

    Raises:
        MachineError: A device of the scenario has no machine there.
        TransportError: A key is missing.
    """
    names = world.problem.continuum.names
    machines = testbed.in_order(names)
    model = world.problem.graph.model
    orders = tuple(
        Orders(
            me,
            _dials(world.problem.continuum, me, testbed),
            machine.emulate or "none",
            machine.factor,
            threads=machine.torch_threads,
            accelerator=machine.accelerator,
            weights=machine.weights.get(model),
            meters=tuple(
                MeterOrder(other.meter, device, other.name)
                for device, other in enumerate(machines)
                if other.meter is not None and other.meter_at == machine.name
            ),
        )
        for me, machine in enumerate(machines)
    )
    source: Source = "emulated" if any(machine.emulate for machine in machines) else "measured"
    return Rig(remotes(testbed, names), orders, source)


def remotes(testbed: Inventory, names: tuple[str, ...]) -> tuple[Remote, ...]:
    """Machines of a testbed file by their names.

    Raises:
        MachineError: There is none of a name, or its key cannot be read.
        TransportError: The coordinator's key is missing.
    """
    credentials = _credentials(testbed, names)
    return tuple(Remote(name, testbed.machine(name).address, credentials) for name in names)


def _credentials(testbed: Inventory, names: tuple[str, ...]) -> Credentials:
    if testbed.secret_key is None:
        return CURVE_OFF
    own = load(testbed.secret_key, testbed.secret_key.parent)
    return Credentials(own.keys, {name: testbed.public_key(name) for name in names})


def _dials(continuum: Continuum, me: int, testbed: Inventory) -> tuple[Dial, ...]:
    names = continuum.names
    dials = []
    for position, link in enumerate(continuum.links):
        if me in (link.a, link.b):
            address = testbed.address(names[me], names[link.b if me == link.a else link.a])
            dials.append(Dial(position, address, address if me == link.a else None))
    return tuple(dials)


def _emulated_meter(world: World, me: int) -> tuple[MeterOrder, ...]:
    """A meter for a device whose power states the scenario gives; without them nobody knows what it would show."""
    device = world.problem.continuum.devices[me]
    return () if device.power is None else (MeterOrder(EMULATED, me, device.name),)


def _local_dials(continuum: Continuum, me: int, local: OneMachine) -> tuple[Dial, ...]:
    routes: Mapping[tuple[int, int, str], tuple[str, int]] = dict(local.routes.items())
    dials = []
    for position, link in enumerate(continuum.links):
        if me == link.a:
            dials.append(
                Dial(position, _endpoint(routes[position, 0, "data"]), _endpoint(routes[position, 0, "control"]))
            )
        elif me == link.b:
            dials.append(Dial(position, _endpoint(routes[position, 1, "data"]), None))
    return tuple(dials)


def _endpoint(address: tuple[str, int]) -> str:
    return f"tcp://{address[0]}:{address[1]}"
