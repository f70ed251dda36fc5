"""What every testbed on one machine has in common: its agents, what breaks them, and an orderly end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from hardware.emulation.timetable import Timetable
from hardware.emulation.wiring import Lane

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from hardware.emulation.agents import Agents
    from hardware.emulation.timetable import Entry
    from twin.world import World

Address = tuple[str, int]
"""Host and port."""

Route = tuple[int, int, Lane]
"""Link, direction and lane: data up and down, and control up."""


class OneMachine(ABC):
    """Starts the agents of a scenario and the links between them, and ends all of it.

    Use it in a `with` block. Each agent is a child whose input is a pipe: it must end when its input does. The first
    line of its output must be a JSON object with the `port` that it listens on.

    Attributes:
        addresses: Where each agent listens; dialled by the coordinator, past the links.
        routes: Where a device dials to reach the other end of a link.
        notes: What differs from the scenario, in words.

    Args:
        world: The scenario.
        folder: Folder of the run, for the logs; it must exist.
    """

    listen: Address
    """Where an agent must listen; port 0 stands for any that is free."""

    agents: Agents

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self.folder = folder
        self.addresses: list[Address] = []
        self.routes: dict[Route, Address] = {}
        self.notes: list[str] = []
        self._timetable: Timetable | None = None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def open(self) -> None:
        """Start everything.

        Raises:
            EmulationError: A process cannot be started or died, or the system refuses; what was started is ended.
        """

    @abstractmethod
    def start(self, t0_s: float) -> None:
        """Play the traces and faults of the scenario, with run time 0 at a moment of the monotonic clock.

        Raises:
            EmulationError: A process that is needed has ended.
        """

    @abstractmethod
    def cut(self, link: int, *, reset: bool = False) -> None:
        """Let nothing through a link; its connections stay open, or with `reset` are closed.

        Raises:
            EmulationError: The links do not obey.
        """

    @abstractmethod
    def heal(self, link: int) -> None:
        """Let a link that was cut carry on.

        Raises:
            EmulationError: The links do not obey.
        """

    @abstractmethod
    def report(self) -> dict[str, Any]:
        """How well the links kept to the traces, as far as they know.

        Raises:
            EmulationError: The links do not answer.
        """

    def freeze(self, device: int) -> None:
        """Stop an agent in the middle of whatever it does."""
        self.agents.freeze(device)

    def thaw(self, device: int) -> None:
        """Let a frozen agent go on."""
        self.agents.thaw(device)

    def kill(self, device: int) -> None:
        """End an agent at once."""
        self.agents.kill(device)

    def restart(self, device: int) -> Address:
        """Start an agent anew and return where it listens now; the routes to it stay what they were.

        Raises:
            EmulationError: It cannot be started, or died.
        """
        self.addresses[device] = (self.addresses[device][0], self.agents.restart(device))
        return self.addresses[device]

    def check(self) -> None:
        """Raise if a process has ended that should run, or something could not be played at its time.

        Raises:
            EmulationError: The message ends with what the process said last.
        """
        self.agents.check()
        if self._timetable is not None and self._timetable.error is not None:
            raise self._timetable.error

    def close(self) -> None:
        """End everything within seconds; may be called at any time, from a signal handler too, and again."""
        if self._timetable is not None:
            self._timetable.close()
        self.agents.close()

    def _play(self, entries: Iterable[Entry], t0_s: float) -> None:
        if self._timetable is not None:
            self._timetable.close()
        self._timetable = Timetable(entries, t0_s)
