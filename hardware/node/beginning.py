"""Takes the commands that begin a run: its parts are put together, its meters read, and its time let begin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hardware.edge.conductor import Conductor, Options
from hardware.node.activity import Activity
from hardware.node.metering import EMULATED, Meters
from hardware.node.play import Play
from hardware.node.site import EdgeSite
from twin.errors import TwinError
from twin.policies import POLICIES

if TYPE_CHECKING:
    from collections.abc import Callable

    from hardware.node.machine import Machine
    from hardware.node.node import Node
    from hardware.node.outfit import Outfit


class Beginning:
    """Begins runs on a machine that is set up; in the loop's thread.

    Args:
        node: The machine.
        outfit: What it was set up with.
    """

    def __init__(self, node: Node, outfit: Outfit) -> None:
        self._node, self._outfit = node, outfit

    def begin(self, reply: Callable[..., None], message: dict[str, Any], _blobs: list[bytes]) -> None:
        """Take part in a run; on the edge, make the first decision."""
        node, machine, ready = self._node, self._node.require_machine(), self._outfit.ready
        assert ready is not None  # noqa: S101 - there is a machine
        if node.play is not None:
            node.play.close()
        node.troubles, node.broken = [], False
        replication = int(message["replication"])
        machine.station.speed = ready.speed(machine.me, replication)
        machine.station.zero_s = None
        self._read_meters(machine)
        keeper = None
        if machine.is_edge and message["check"]:
            from hardware.verify import Keeper  # noqa: PLC0415 - imports torch

            keeper = Keeper[tuple[bytes, ...]](machine.world.seed, replication)
        # What an earlier run has left on its way would delay this one.
        machine.links.clear()
        play = Play(machine, int(message["play"]), keeper)
        if machine.is_edge:
            play.conductor = _conductor(play, message, replication)
        node.play = play
        reply({})
        if play.conductor is None:
            play.reporter.beat()
        else:
            # It may take longer than whoever asked would wait.
            node.loop.post(self._prepare, play, play.conductor)

    def start(self, reply: Callable[..., None], message: dict[str, Any], _blobs: list[bytes]) -> None:
        """Let run time begin at an instant of this machine's clock."""
        play, zero_s = self._node.require_play(), float(message["zero_s"])
        play.machine.station.zero_s = zero_s
        if play.conductor is not None:
            play.conductor.start(zero_s)
        reply({})

    def _read_meters(self, machine: Machine) -> None:
        """Begin to read power meters; a run goes on without those that cannot be opened."""
        node, orders = self._node, self._outfit.orders
        assert orders is not None  # noqa: S101 - there is a machine
        if node.meters is not None:
            node.meters.stop(0, 0.0)
        power = machine.world.problem.continuum.devices[machine.me].power
        is_emulated = any(order.url == EMULATED for order in orders.meters)
        node.activity = machine.station.activity = Activity(power) if is_emulated and power is not None else None
        node.meters = Meters(orders.meters, node.fresh_folder(), node.activity)
        for text in node.meters.troubles:
            node.trouble(text, fatal=False)

    def _prepare(self, play: Play, conductor: Conductor) -> None:
        """Make the first decision, unless another run has begun."""
        if play is self._node.play and not conductor.over:
            try:
                conductor.prepare()
            except TwinError as error:
                self._node.trouble(str(error), fatal=True)


def _conductor(play: Play, message: dict[str, Any], replication: int) -> Conductor:
    """Who leads a run, as a command says."""
    shift_s, follow = tuple(message["shift_s"]), bool(message.get("follow"))
    options = Options(message["switch"], float(message["downtime_s"]), shift_s, follow)
    policy = POLICIES[message["kind"]](**message["options"])
    return Conductor(
        play.machine.world,
        policy,
        replication,
        loop=play.machine.loop,
        site=EdgeSite(play),
        options=options,
        on_over=lambda: None,
    )
