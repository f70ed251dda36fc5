"""The agents of a testbed on one machine, one process per device."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hardware.emulation.child import Child, end_all
from hardware.emulation.timetable import windows
from twin.errors import EmulationError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hardware.emulation.timetable import Entry
    from twin.world import World


class Agents:
    """Starts an agent per device, breaks and mends them, and ends them.

    The first line that an agent writes to its output is a JSON object with the `port` that it listens on; nobody has to
    guess a free one.

    Attributes:
        ports: Port of each agent.

    Args:
        names: Names of the devices.
        commands: Program and arguments of each agent.
        folder: Folder of the run, for their logs.
        startup_s: Time that an agent has to say its port.
    """

    def __init__(
        self, names: Sequence[str], commands: Sequence[Sequence[str]], folder: Path, *, startup_s: float = 60.0
    ) -> None:
        if len(names) != len(commands):
            raise EmulationError(f"{len(names)} devices and {len(commands)} commands; give one command per device")
        self._names = list(names)
        self._commands = [list(command) for command in commands]
        self._folder = folder
        self._startup_s = startup_s
        self._children: list[Child] = []
        self._killed: set[int] = set()
        self.ports: list[int] = []

    def open(self) -> None:
        """Start them all and wait for their ports.

        Raises:
            EmulationError: One cannot be started, or died.
        """
        for device in range(len(self._names)):
            self._children.append(self._start(device))
        for child in self._children:
            self.ports.append(self._port(child))

    def freeze(self, device: int) -> None:
        """Stop an agent in the middle of whatever it does: it is there, but answers nothing."""
        self._children[device].freeze()

    def thaw(self, device: int) -> None:
        """Let a frozen agent go on."""
        self._children[device].thaw()

    def kill(self, device: int) -> None:
        """End an agent at once."""
        self._killed.add(device)
        self._children[device].kill()

    def restart(self, device: int) -> int:
        """Start an agent anew, after ending it if it still runs, and return its port.

        Raises:
            EmulationError: It cannot be started, or died.
        """
        self.kill(device)
        self._children[device].join()
        self._children[device] = self._start(device)
        self.ports[device] = self._port(self._children[device])
        self._killed.discard(device)
        return self.ports[device]

    def alive(self, device: int) -> bool:
        """Whether the process of an agent runs, frozen or not."""
        return self._children[device].alive

    def check(self) -> None:
        """Raise if the agent of the edge has ended: a run goes on without the others.

        Raises:
            EmulationError: It has; the message ends with what it said last.
        """
        if self._children and 0 not in self._killed and not self._children[0].alive:
            raise self._children[0].died()

    def ended(self) -> dict[int, EmulationError]:
        """The agents that have ended without being killed by this object, and how."""
        return {
            device: child.died()
            for device, child in enumerate(self._children)
            if device not in self._killed and not child.alive
        }

    def faults(self, world: World) -> list[Entry]:
        """When the scenario's `device_down` faults freeze and thaw which agent, in order of time."""
        entries: list[Entry] = []
        for device in range(len(self._names)):
            spans_s = [
                (fault.start_s, fault.end_s)
                for fault in world.faults
                if fault.kind == "device_down" and fault.target == device
            ]
            entries += windows(spans_s, lambda it=device: self.freeze(it), lambda it=device: self.thaw(it))  # type: ignore[misc]
        return sorted(entries, key=lambda entry: entry[0])

    def close(self) -> None:
        """End them all within seconds; may be called at any time, and again."""
        end_all(self._children)

    def _start(self, device: int) -> Child:
        name = self._names[device]
        return Child(f"agent of `{name}`", self._commands[device], self._folder / f"agent-{name}.log")

    def _port(self, child: Child) -> int:
        port = child.hear(self._startup_s).get("port")
        if not isinstance(port, int):
            raise EmulationError(f"{child.name}: its first line holds no `port`; it must say where it listens")
        return port
