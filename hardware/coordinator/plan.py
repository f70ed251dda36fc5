"""What a testbed is set up with, and who follows its runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hardware.coordinator.linkcheck import LinkCheck
    from hardware.coordinator.remote import Conversation
    from hardware.edge.switching import SwitchMode
    from hardware.node.setup import Orders
    from twin.profiles import Source
    from twin.world import World


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What a testbed is set up with.

    Attributes:
        world: The scenario.
        bundle: The scenario, packed for the agents.
        inputs: Bytes of each input of the pool.
        orders: What is asked of each machine.
        source: What its figures are: `measured`, or `emulated` if any machine or link is.
        switch: How the partition is changed.
        one_by_one: Set the machines up one after the other, as those that share a host must be.
        check: Whether answers are kept to be checked.
        idle_s: How long meters are read before and after each run, for the idle baseline.
        facts: What is to be recorded with every run.
    """

    world: World
    bundle: bytes
    inputs: tuple[bytes, ...]
    orders: tuple[Orders, ...]
    source: Source
    switch: SwitchMode = "epoch"
    one_by_one: bool = False
    check: bool = True
    idle_s: float = 5.0
    facts: dict[str, Any] = field(default_factory=dict)


class Companion(Protocol):
    """Somebody who follows each run while it lasts."""

    def begin(
        self, label: str, replication: int, dial: Callable[[], Conversation], zero_s: float, links: Sequence[LinkCheck]
    ) -> None:
        """A run is about to begin.

        Args:
            label: Name of the policy.
            replication: Number of the replication.
            dial: Opens a connection to the edge.
            zero_s: This machine's monotonic time of run time 0.
            links: What each direction of each link gave before the first run.
        """
        ...

    def end(self) -> None:
        """The run is over."""
        ...
