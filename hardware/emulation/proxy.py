"""The proxy that makes the links of a scenario out of loopback connections.

One thread does it all: each chunk has its moment, worked out from the trace, and `select` sleeps until the next one.
"""

from __future__ import annotations

import math
import select
import socket
import time
from itertools import chain
from typing import TYPE_CHECKING, Any

from hardware.emulation.connection import Connection
from hardware.emulation.flow import Road
from hardware.emulation.gate import Gate
from hardware.emulation.moments import RunTime
from hardware.emulation.station import Station
from twin.errors import EmulationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hardware.emulation.wiring import Pipe, Wiring

HOST = "127.0.0.1"
_MOST_CONNECTIONS = 400
"""`select` takes file descriptors below 1024, and a connection has two."""
_LONGEST_WAIT_S = 0.5


class Shaper:
    """Carries the connections of all pipes.

    Attributes:
        ports: Port on which each pipe listens.

    Args:
        wiring: The links and pipes.
    """

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._run_time = RunTime()
        self._gates = [Gate(wire, self._run_time) for wire in wiring.wires]
        self._stations = {pipe.station: Station(self._run_time) for pipe in wiring.pipes if pipe.rate is not None}
        self._roads = [self._make_roads(pipe) for pipe in wiring.pipes]
        self._listeners = [_listen() for _ in wiring.pipes]
        self._addresses: dict[int, tuple[str, int]] = {}
        self._connections: list[tuple[Pipe, Connection]] = []
        self.ports = [int(listener.getsockname()[1]) for listener in self._listeners]

    def _make_roads(self, pipe: Pipe) -> tuple[Road, Road]:
        wire, gate = self._wiring.wires[pipe.link], self._gates[pipe.link]
        station = None if pipe.rate is None else self._stations[pipe.station]
        return Road(wire, gate, self._run_time, station, pipe.rate), Road(wire, gate, self._run_time)

    def obey(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out a command and return the answer to it.

        Raises:
            EmulationError: There is no such command, or it lacks something.
        """
        try:
            match command["do"]:
                case "aim":
                    self._addresses[command["device"]] = (command.get("host", HOST), command["port"])
                case "start":
                    self.start(float(command["t0_s"]))
                case "cut":
                    self.cut(command["link"], reset=command.get("reset", False))
                case "heal":
                    self.heal(command["link"])
                case "report":
                    return {"done": "report", **self.report()}
                case unknown:
                    raise EmulationError(f"shaper: no command `{unknown}`; use aim, start, cut, heal, report or stop")
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise EmulationError(f"shaper: the command {command} is malformed: {error!r}") from error
        return {"done": command["do"], "at_s": time.monotonic()}

    def start(self, t0_s: float) -> None:
        """Play the traces and faults, with run time 0 at the moment `t0_s`."""
        self._run_time.t0_s = t0_s
        for station in self._stations.values():
            station.replan()

    def cut(self, link: int, *, reset: bool = False) -> None:
        """Let nothing through a link; with `reset`, close its connections too."""
        if self._gates[link].cut:
            return
        self._gates[link].cut = True
        now_s = time.monotonic()
        for station in self._stations_of(link):
            station.advance(now_s)
            station.pause(now_s)
        for connection in self._connections_of(link):
            if reset:
                connection.close()
            else:
                connection.cut()

    def heal(self, link: int) -> None:
        """Let a link that was cut carry on."""
        if not self._gates[link].cut:
            return
        self._gates[link].cut = False
        now_s = time.monotonic()
        for station in self._stations_of(link):
            station.resume(now_s)
        for connection in self._connections_of(link):
            connection.healed(now_s)

    def report(self) -> dict[str, Any]:
        """How late chunks were handed on so far, over all pipes, in seconds."""
        rows = [road.lateness for road in chain.from_iterable(self._roads)]
        chunks = sum(row.chunks for row in rows)
        return {
            "chunks": chunks,
            "mean_late_s": sum(row.sum_s for row in rows) / chunks if chunks else None,
            "worst_late_s": max(row.worst_s for row in rows) if chunks else None,
        }

    def turn(self, commands: int) -> bool:
        """Wait until something happens, or is due, and see to it.

        Args:
            commands: File descriptor on which commands arrive.

        Returns:
            Whether there is something to read on it.
        """
        self._connections = [row for row in self._connections if not row[1].closed]
        reading = {sock: (link, flow) for _, link in self._connections for sock, flow in link.readers()}
        writing = [sock for _, link in self._connections for sock in link.writers()]
        wait_s = min(max(self._next_s() - time.monotonic(), 0.0), _LONGEST_WAIT_S)
        watched: list[int | socket.socket] = [commands, *self._listeners, *reading]
        ready, _, _ = select.select(watched, writing, [], wait_s)
        now_s = time.monotonic()
        for position, listener in enumerate(self._listeners):
            if listener in ready:
                self._accept(position, now_s)
        for sock, (link, flow) in reading.items():
            if sock in ready and not link.closed:
                link.read(sock, flow, now_s)
        self._step()
        return commands in ready

    def close(self) -> None:
        """Close every socket."""
        for _, connection in self._connections:
            connection.close()
        for listener in self._listeners:
            listener.close()

    def _step(self) -> None:
        now_s = time.monotonic()
        for station in self._stations.values():
            station.advance(now_s)
        for _, connection in self._connections:
            if not connection.closed:
                connection.step(now_s)

    def _next_s(self) -> float:
        stations = (station.next_s for station in self._stations.values())
        return min(chain(stations, (connection.next_s for _, connection in self._connections)), default=math.inf)

    def _accept(self, position: int, now_s: float) -> None:
        pipe = self._wiring.pipes[position]
        try:
            client, _ = self._listeners[position].accept()
        except OSError:
            # The client has left again.
            return
        address = self._addresses.get(pipe.device)
        if address is None or len(self._connections) >= _MOST_CONNECTIONS:
            client.close()
            return
        self._connections.append((pipe, Connection(client, address, *self._roads[position], now_s)))

    def _stations_of(self, link: int) -> list[Station]:
        numbers = {pipe.station for pipe in self._wiring.pipes if pipe.link == link and pipe.rate is not None}
        return [self._stations[number] for number in sorted(numbers)]

    def _connections_of(self, link: int) -> list[Connection]:
        return [connection for pipe, connection in self._connections if pipe.link == link]


def _listen() -> socket.socket:
    listener = socket.create_server((HOST, 0), backlog=64)
    listener.setblocking(False)
    return listener
