"""What a run finds on a machine that was set up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from hardware.node.compute import Buffers
    from hardware.node.links import Links
    from hardware.node.station import Station
    from hardware.node.workshop import Workshop
    from hardware.transport.loop import Loop
    from twin.world import World


@dataclass(frozen=True, slots=True, eq=False)
class Machine:
    """A machine that was set up for a scenario.

    Attributes:
        world: The scenario.
        me: Position of the machine.
        loop: Its loop.
        links: Its links.
        station: Its queue.
        workshop: Makes its stages.
        builder: Runs what takes long beside the loop.
        inputs: Tensors of the pool of inputs, on the edge.
        trouble: Called with what has gone wrong, in words, and whether the run cannot go on.
    """

    world: World
    me: int
    loop: Loop
    links: Links
    station: Station
    workshop: Workshop
    builder: Executor
    inputs: tuple[Buffers, ...]
    trouble: Callable[[str, bool], None]

    @property
    def is_edge(self) -> bool:
        """Whether this machine is the edge."""
        return self.me == 0

    @property
    def name(self) -> str:
        """Name of the machine."""
        return self.world.problem.continuum.names[self.me]
