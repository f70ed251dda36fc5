"""The wiring of a testbed on one machine: which pipes join its devices, and how fast and how far each link is."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from twin.cost import station_of
from twin.steps import Steps
from twin.topology import DOWN, UP
from twin.world import faulted_rates, link_outages_s

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twin.world import World

Lane = Literal["data", "control"]
"""What a pipe carries: parcels, which take the time of the link, or messages of control, which are only delayed."""


@dataclass(frozen=True, slots=True)
class Wire:
    """A link as the emulation plays it.

    Attributes:
        name: Name of the link, such as `pi-laptop`.
        rtt: Round-trip time in seconds.
        outages_s: Start and end, in run time, of the faults that cut it.
    """

    name: str
    rtt: Steps
    outages_s: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Pipe:
    """A way for connections from one device to another over a link.

    Attributes:
        link: Position of the link.
        direction: Direction in which it is dialled: 0 up, 1 down.
        lane: What it carries.
        device: Position of the device that it leads to.
        station: Number of the station that serves it; both directions of a half-duplex link share one.
        rate: Goodput in bits per second, outages left in, or None for a control line.
    """

    link: int
    direction: int
    lane: Lane
    device: int
    station: int
    rate: Steps | None

    @property
    def key(self) -> tuple[int, int, Lane]:
        """Link, direction and lane: what tells a pipe from the others."""
        return self.link, self.direction, self.lane


@dataclass(frozen=True, slots=True)
class Wiring:
    """All links and pipes of a testbed.

    Attributes:
        wires: The links by position.
        pipes: The pipes: data up, data down and control of each link.
    """

    wires: tuple[Wire, ...]
    pipes: tuple[Pipe, ...]

    @classmethod
    def from_world(cls, world: World) -> Wiring:
        """Wire up the devices of a scenario.

        A run on machines may outlast a trace that says `after_end: error`, if only by a heartbeat; its last value is
        held then.
        """
        continuum, n = world.problem.continuum, world.problem.n_devices
        rates = faulted_rates(world)
        wires, pipes = [], []
        for position, link in enumerate(continuum.links):
            rtt = _held(world.links[position].rtt)
            wires.append(Wire(continuum.link_name(position), rtt, tuple(link_outages_s(world, position))))
            for direction, target in ((UP, link.b), (DOWN, link.a)):
                rate = _held(rates[n + 2 * position + direction])
                station = station_of(world.problem, position, direction)
                pipes.append(Pipe(position, direction, "data", target, station, rate))
            pipes.append(Pipe(position, UP, "control", link.b, -1, None))
        return cls(tuple(wires), tuple(pipes))

    def to_json(self) -> dict[str, Any]:
        """The wiring as plain data."""
        wires = [{"name": x.name, "rtt": _steps_to_json(x.rtt), "outages_s": list(x.outages_s)} for x in self.wires]
        pipes = [
            {
                "link": x.link,
                "direction": x.direction,
                "lane": x.lane,
                "device": x.device,
                "station": x.station,
                "rate": None if x.rate is None else _steps_to_json(x.rate),
            }
            for x in self.pipes
        ]
        return {"wires": wires, "pipes": pipes}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Wiring:
        """The reverse of `to_json`.

        Raises:
            TraceError: A function of time is malformed.
        """
        wires = tuple(
            Wire(x["name"], _steps_from_json(x["rtt"]), tuple((start_s, end_s) for start_s, end_s in x["outages_s"]))
            for x in data["wires"]
        )
        pipes = tuple(
            Pipe(**{**x, "rate": None if x["rate"] is None else _steps_from_json(x["rate"])}) for x in data["pipes"]
        )
        return cls(wires, pipes)


def _held(steps: Steps) -> Steps:
    return dataclasses.replace(steps, after_end="hold") if steps.after_end == "error" else steps


def _steps_to_json(steps: Steps) -> dict[str, Any]:
    return {
        "times_s": list(steps.times_s),
        "values": list(steps.values),
        "after_end": steps.after_end,
        "duration_s": steps.duration_s,
        "loop_from_s": steps.loop_from_s,
        "name": steps.name,
    }


def _steps_from_json(data: Mapping[str, Any]) -> Steps:
    return Steps(**{**data, "times_s": tuple(data["times_s"]), "values": tuple(data["values"])})
