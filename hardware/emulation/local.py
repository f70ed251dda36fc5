"""A testbed on one machine that needs no rights: agents as child processes, links through the shaper."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

from hardware.emulation.agents import Agents
from hardware.emulation.child import Child, end_all
from hardware.emulation.machine import OneMachine
from hardware.emulation.wiring import Wiring

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hardware.emulation.machine import Address
    from twin.world import World

_HOST = "127.0.0.1"
_ANSWER_S = 10.0


class LocalTestbed(OneMachine):
    """Starts the agents of a scenario and the shaper between them.

    Args:
        world: The scenario.
        commands: Program and arguments of the agent of each device.
        folder: Folder of the run, for the logs; it must exist.
        startup_s: Time that an agent has to say its port.

    Raises:
        EmulationError: There is not one command per device.
    """

    listen = (_HOST, 0)

    def __init__(
        self, world: World, commands: Sequence[Sequence[str]], folder: Path, *, startup_s: float = 60.0
    ) -> None:
        super().__init__(world, folder)
        self.agents = Agents(world.problem.continuum.names, commands, folder, startup_s=startup_s)
        self._startup_s = startup_s
        self._wiring = Wiring.from_world(world)
        self._shaper: Child | None = None
        self._telling = threading.Lock()

    def open(self) -> None:
        """Start the agents and the shaper, as the base class says."""
        try:
            command = [sys.executable, "-m", "hardware.emulation.shaper"]
            self._shaper = Child("shaper", command, self.folder / "shaper.log")
            self.agents.open()
            hello = self._tell({"wiring": self._wiring.to_json()})
            for pipe, port in zip(self._wiring.pipes, hello["ports"], strict=True):
                self.routes[pipe.key] = (_HOST, port)
            self.addresses = [(_HOST, port) for port in self.agents.ports]
            for device in range(len(self.addresses)):
                self._aim(device)
        except BaseException:
            self.close()
            raise
        if not hello["prioritised"]:
            self.notes.append("the shaper has no priority over the agents, which only root can give it")

    def start(self, t0_s: float) -> None:
        """Play the scenario, as the base class says: links by the shaper, `device_down` by freezing agents."""
        self._tell({"do": "start", "t0_s": t0_s})
        self._play(self.agents.faults(self.world), t0_s)

    def restart(self, device: int) -> Address:
        """Start an agent anew and lead the routes to it, as the base class says."""
        address = super().restart(device)
        self._aim(device)
        return address

    def cut(self, link: int, *, reset: bool = False) -> None:
        """Let nothing through a link, as the base class says."""
        self._tell({"do": "cut", "link": link, "reset": reset})

    def heal(self, link: int) -> None:
        """Let a link that was cut carry on, as the base class says."""
        self._tell({"do": "heal", "link": link})

    def report(self) -> dict[str, Any]:
        """How late the shaper handed bytes on: `chunks`, `mean_late_s`, `worst_late_s`."""
        return {key: value for key, value in self._tell({"do": "report"}).items() if key != "done"}

    def check(self) -> None:
        """Raise if something has ended that should run, as the base class says."""
        super().check()
        if self._shaper is not None and not self._shaper.alive:
            raise self._shaper.died()

    def close(self) -> None:
        """End everything, as the base class says."""
        super().close()
        if self._shaper is not None:
            end_all([self._shaper])

    def _aim(self, device: int) -> None:
        host, port = self.addresses[device]
        self._tell({"do": "aim", "device": device, "host": host, "port": port})

    def _tell(self, message: dict[str, Any]) -> dict[str, Any]:
        assert self._shaper is not None  # noqa: S101 - the testbed was opened
        with self._telling:
            self._shaper.say(message)
            return self._shaper.hear(_ANSWER_S)
