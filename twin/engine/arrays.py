"""The arrays engine: the simulated backend for whatever needs no event loop, on columns in place of events.

It means the same as the events engine and gives the same records: every time to the last bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twin.engine.closed_loop import ClosedLoop
from twin.engine.open_loop import OpenLoop
from twin.errors import EngineError

if TYPE_CHECKING:
    from twin.control import Policy
    from twin.records import RunResult
    from twin.world import World

_NOTICED = ("link_down", "device_down")


class ArraysEngine:
    """The simulated backend for FIFO stations of one slot that nobody takes away."""

    def run(self, world: World, policy: Policy[Any], label: str, replication: int) -> RunResult:
        """Play one policy once; see `twin.backend.Backend`.

        Raises:
            EngineError: The scenario holds what only the events engine plays.
        """
        refuse(world)
        play = ClosedLoop if world.workload.kind == "closed" else OpenLoop
        return play(world, policy, replication).play(label)


def refuse(world: World) -> None:
    """Refuse a scenario that the arrays engine does not play.

    Raises:
        EngineError: It holds something unsupported; the message names all of it.
    """
    missing = unsupported(world)
    if missing:
        raise EngineError(f"{world.name}: the arrays engine does not play {'; '.join(missing)}; use `--engine events`")


def unsupported(world: World) -> tuple[str, ...]:
    """What of a scenario the arrays engine does not play, in words, with the place of each; empty if all is."""
    problem, found = world.problem, []
    for device in problem.continuum.devices:
        if device.slots > 1:
            found.append(f"several slots (devices.{device.name}.slots: {device.slots})")
        if device.queue_limit is not None:
            found.append(f"queue limits (devices.{device.name}.queue_limit: {device.queue_limit})")
    found += [
        f"losses (faults.{position}.kind: {fault.kind})"
        for position, fault in enumerate(world.faults)
        if fault.kind in _NOTICED
    ]
    source = problem.switch.weights_from
    if source is not None:
        found.append(f"weights that are loaded (switch.weights_from: {problem.continuum.names[source]})")
    return tuple(found)
