"""A testbed on one machine whose links are made by the kernel; it needs root.

Each device has a network namespace, each link a pair of virtual Ethernet devices with a token bucket at both ends.
Unlike the shaper this keeps what TCP does to small messages after a pause; data and control share the link.
"""

from __future__ import annotations

import heapq
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from hardware.emulation.agents import Agents
from hardware.emulation.child import Child, end_all
from hardware.emulation.machine import OneMachine
from hardware.emulation.namespaces import Namespaces, missing, remove_leftovers, watch
from hardware.emulation.queues import Queue, has_netem
from hardware.emulation.timetable import changes
from hardware.emulation.tool import run_tool
from hardware.emulation.wiring import Wiring
from twin.errors import EmulationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from hardware.emulation.timetable import Entry
    from hardware.emulation.tool import Run
    from hardware.emulation.wiring import Pipe
    from twin.world import World

PORT = 4870
"""Each agent has a namespace to itself, so that all of them listen on the same port."""

_JUST_AFTER_S = 1e-6
"""A change is read a little after its time, so that no rounding shows what was before it."""


class NetnsTestbed(OneMachine):
    """Starts the agents of a scenario in namespaces that are joined like its devices.

    Args:
        world: The scenario.
        commands: Program and arguments of the agent of each device.
        folder: Folder of the run, for the logs; it must exist.
        startup_s: Time that an agent has to say its port.
        run: Runs `ip` and `tc`.

    Raises:
        EmulationError: There is not one command per device.
    """

    listen = ("0.0.0.0", PORT)  # noqa: S104 - all of a namespace that nothing else is in

    def __init__(
        self,
        world: World,
        commands: Sequence[Sequence[str]],
        folder: Path,
        *,
        startup_s: float = 60.0,
        run: Run = run_tool,
    ) -> None:
        super().__init__(world, folder)
        self._run = run
        self.spaces = Namespaces(world.problem.continuum, run)
        enter = [("ip", "netns", "exec", name) for name in self.spaces.names]
        inside = [(*way, *command) for way, command in zip(enter, commands, strict=False)]
        self.agents = Agents(world.problem.continuum.names, inside, folder, startup_s=startup_s)
        self._wiring = Wiring.from_world(world)
        self._wires = self._wiring.wires
        self._pipes = [pipe for pipe in self._wiring.pipes if pipe.rate is not None]
        self._queues: dict[tuple[int, int], Queue] = {}
        self._now: dict[tuple[int, int], tuple[float, float]] = {}
        self._cut: set[int] = set()
        self._changing = threading.RLock()
        self._watcher: Child | None = None

    def open(self) -> None:
        """Make the namespaces and start the agents, as the base class says; leftovers of dead runs are removed."""
        lacks = missing(self._run)
        if lacks:
            raise EmulationError(
                f"network namespaces cannot be used: {'; '.join(lacks)}; or leave out `--emulate netns`"
            )
        remove_leftovers(self._run)
        try:
            self._watcher = watch(self.folder / "watcher.log")
            self.spaces.open()
            self._shape()
            self.agents.open()
        except BaseException:
            self.close()
            raise
        self.addresses = list(zip(self.spaces.hosts, self.agents.ports, strict=True))
        self._route()

    def start(self, t0_s: float) -> None:
        """Play the scenario, as the base class says: links by changes of their queues, `device_down` by freezing."""
        links = (self._changes(pipe) for pipe in self._pipes)
        self._play(heapq.merge(*links, self.agents.faults(self.world), key=lambda entry: entry[0]), t0_s)

    def restart(self, device: int) -> tuple[str, int]:
        """Start an agent anew, as the base class says."""
        address = super().restart(device)
        self._route()
        return address

    def cut(self, link: int, *, reset: bool = False) -> None:
        """Let nothing through a link, as the base class says; its connections cannot be closed from outside."""
        if reset:
            raise EmulationError("links in namespaces drop what is sent; only the shaper can close connections")
        with self._changing:
            self._cut.add(link)
            self._apply(link)

    def heal(self, link: int) -> None:
        """Let a link that was cut carry on, as the base class says."""
        with self._changing:
            self._cut.discard(link)
            self._apply(link)

    def report(self) -> dict[str, Any]:
        """Nothing: the kernel keeps no account of its lateness."""
        return {}

    def close(self) -> None:
        """End everything, as the base class says, and remove every namespace."""
        super().close()
        if self._watcher is not None:
            self.spaces.close()
            end_all([self._watcher])

    def _shape(self) -> None:
        """Give each link the conditions of run time 0."""
        netem = has_netem(self._run, self.spaces.names[0])
        if not netem and any(any(wire.rtt.values) for wire in self._wires):
            self.notes.append("this kernel has no netem: the round-trip time of the links is not played")
        continuum = self.world.problem.continuum
        halves = [continuum.link_name(i) for i, link in enumerate(continuum.links) if link.duplex == "half"]
        if halves:
            self.notes.append(f"half-duplex links are played as full-duplex ones: {', '.join(halves)}")
        for pipe in self._pipes:
            link = continuum.links[pipe.link]
            sender = self.spaces.names[link.b if pipe.direction else link.a]
            place = pipe.link, pipe.direction
            self._queues[place] = Queue(self._run, sender, self.spaces.device(pipe.link), netem=netem)
            self._set(pipe, 0.0)

    def _changes(self, pipe: Pipe) -> Iterator[Entry]:
        """When the rate or the delay of a link direction changes."""
        assert pipe.rate is not None  # noqa: S101 - only pipes of data are kept
        times = heapq.merge(changes(pipe.rate), changes(self._wires[pipe.link].rtt))
        return ((time_s, partial(self._set, pipe, time_s + _JUST_AFTER_S)) for time_s, _ in times)

    def _set(self, pipe: Pipe, time_s: float) -> None:
        """Give a link direction the conditions of a time."""
        assert pipe.rate is not None  # noqa: S101 - only pipes of data are kept
        values = pipe.rate.at(time_s), self._wires[pipe.link].rtt.at(time_s) / 2
        place = pipe.link, pipe.direction
        with self._changing:
            if self._now.get(place) == values:
                return
            self._now[place] = values
            if pipe.link not in self._cut:
                self._queues[place].play(*values)

    def _apply(self, link: int) -> None:
        for (number, direction), (rate_bps, delay_s) in self._now.items():
            if number == link:
                self._queues[number, direction].play(0.0 if link in self._cut else rate_bps, delay_s)

    def _route(self) -> None:
        """Where to dial: the address of the receiver's end of the link, whatever the lane."""
        for pipe in self._wiring.pipes:
            receiver = 0 if pipe.direction else 1
            self.routes[pipe.key] = (self.spaces.host(pipe.link, receiver), self.agents.ports[pipe.device])
