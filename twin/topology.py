"""Devices, links and the continuum that they form."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, NamedTuple

from twin.errors import ScenarioError

if TYPE_CHECKING:
    import networkx as nx

UP = 0
"""Direction of a link from the earlier device to the later one."""
DOWN = 1
"""Direction of a link from the later device to the earlier one."""


@dataclass(frozen=True, slots=True)
class PowerStates:
    """Power of a device by what it does, in watts; transmit and receive equal idle where not known."""

    idle_w: float
    compute_w: float
    transmit_w: float
    receive_w: float


@dataclass(frozen=True, slots=True)
class Device:
    """A machine that runs layers.

    Attributes:
        name: Unique name.
        tier: Label such as `edge`, `fog` or `cloud`; nothing depends on it.
        power: Power states, or None if nothing is known of the device's power.
        memory_bytes: Memory for one stage (weights plus the cuts at both ends); None for no limit.
        slots: Number of requests that it serves at once.
        queue_limit: Largest number of requests that may wait; one more is dropped. None for no limit.
    """

    name: str
    tier: str
    power: PowerStates | None = None
    memory_bytes: float | None = None
    slots: int = 1
    queue_limit: int | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """A link between two devices, with an up and a down direction.

    Attributes:
        a: Position of the device nearer to the edge.
        b: Position of the later device.
        duplex: `half` if both directions share one medium, as on WiFi.
        message_overhead_s: Fixed time per message, beside transmission and propagation.
        slow_start_s: Extra time of a message that follows a pause (TCP slow start after idle).
        slow_start_idle_s: Length of such a pause.
    """

    a: int
    b: int
    duplex: Literal["full", "half"] = "full"
    message_overhead_s: float = 0.0
    slow_start_s: float = 0.0
    slow_start_idle_s: float = 0.2


class Hop(NamedTuple):
    """One link of a path, with the direction in which it is crossed."""

    link: int
    direction: int
    sender: int
    receiver: int


@dataclass(frozen=True)
class Continuum:
    """Devices from the edge (position 0) to the cloud, and the links between them.

    Raises:
        ScenarioError: Names repeat, a link joins nothing or repeats, or a device cannot be reached.
    """

    devices: tuple[Device, ...]
    links: tuple[Link, ...]

    def __post_init__(self) -> None:
        names = [device.name for device in self.devices]
        if not names:
            raise ScenarioError("devices: there are none; give at least the edge device")
        for name in names:
            if names.count(name) > 1:
                raise ScenarioError(f"devices: the name `{name}` is used twice; device names must be unique")
        seen: set[tuple[int, int]] = set()
        for position, link in enumerate(self.links):
            if not 0 <= link.a < link.b < len(names):
                raise ScenarioError(
                    f"links.{position}: joins devices {link.a} and {link.b}; a link joins two different devices, "
                    "the one nearer to the edge first"
                )
            if (link.a, link.b) in seen:
                raise ScenarioError(f"links.{position}: {names[link.a]} and {names[link.b]} are joined twice")
            seen.add((link.a, link.b))
        for device in range(1, len(names)):
            if (0, device) not in self._paths:
                raise ScenarioError(
                    f"links: nothing leads from `{names[0]}` to `{names[device]}`; add a link between "
                    f"`{names[device]}` and an earlier device"
                )

    def __len__(self) -> int:
        return len(self.devices)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the devices in order."""
        return tuple(device.name for device in self.devices)

    def position(self, name: str) -> int:
        """Return the position of the device called `name`.

        Raises:
            ScenarioError: There is no such device.
        """
        if name not in self.names:
            raise ScenarioError(f"there is no device `{name}`; the devices are {', '.join(self.names)}")
        return self.names.index(name)

    def link_name(self, link: int) -> str:
        """Name of a link, such as `pi-laptop`."""
        return f"{self.names[self.links[link].a]}-{self.names[self.links[link].b]}"

    def path(self, source: int, target: int) -> tuple[Hop, ...]:
        """The fixed path between two devices: fewest links, ties by lowest index; empty for the same device.

        Raises:
            ScenarioError: No path joins them.
        """
        if (source, target) not in self._paths:
            raise ScenarioError(f"links: nothing leads from `{self.names[source]}` to `{self.names[target]}`")
        return self._paths[source, target]

    @cached_property
    def graph(self) -> nx.Graph[int]:
        """The links as `networkx.Graph` over device positions; edge attribute `link`."""
        import networkx as nx  # noqa: PLC0415 - slow to import and not needed by every command

        graph: nx.Graph[int] = nx.Graph()
        graph.add_nodes_from(range(len(self.devices)))
        graph.add_edges_from((x.a, x.b, {"link": position}) for position, x in enumerate(self.links))
        return graph

    @cached_property
    def _paths(self) -> dict[tuple[int, int], tuple[Hop, ...]]:
        """Paths between all pairs; the way back is the way there, reversed."""
        neighbours: dict[int, list[int]] = {device: [] for device in range(len(self.devices))}
        between: dict[tuple[int, int], int] = {}
        for position, link in enumerate(self.links):
            neighbours[link.a].append(link.b)
            neighbours[link.b].append(link.a)
            between[link.a, link.b] = position
        paths: dict[tuple[int, int], tuple[Hop, ...]] = {}
        for source in neighbours:
            routes: dict[int, tuple[int, ...]] = {source: (source,)}
            frontier = [source]
            while frontier:
                reached: dict[int, tuple[int, ...]] = {}
                for here in frontier:
                    for there in neighbours[here]:
                        route = (*routes[here], there)
                        if there not in routes and route < reached.get(there, (len(neighbours),)):
                            reached[there] = route
                routes |= reached
                frontier = sorted(reached)
            for target, route in routes.items():
                if target < source:
                    continue
                hops = tuple(
                    Hop(between[min(i, j), max(i, j)], UP if i < j else DOWN, i, j) for i, j in pairwise(route)
                )
                paths[source, target] = hops
                paths[target, source] = tuple(
                    Hop(hop.link, 1 - hop.direction, hop.receiver, hop.sender) for hop in reversed(hops)
                )
        return paths
