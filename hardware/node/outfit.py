"""What a machine is set up with; takes the commands that set it up, and that let it forget."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from hardware.node.links import Links
from hardware.node.machine import Machine
from hardware.node.setup import Orders, Ready, get_ready
from twin.errors import TwinError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hardware.node.node import Node


class Outfit:
    """Sets a machine up for one scenario at a time; in the loop's thread.

    Attributes:
        orders: What the coordinator asked of the machine; None before.
        ready: What the machine has become by that; None before.
        session: Name that the coordinator gave to the setup; empty before.

    Args:
        node: The machine.
        on_forget: Called when the machine has forgotten its scenario.
    """

    def __init__(self, node: Node, on_forget: Callable[[], None]) -> None:
        self.orders: Orders | None = None
        self.ready: Ready | None = None
        self.session = ""
        self._node, self._on_forget = node, on_forget
        self._setups = 0

    def start(self, reply: Callable[..., None], message: dict[str, Any], blobs: list[bytes]) -> None:
        """Forget any scenario, and load another one beside the loop; the answer comes once that is done."""
        node, orders, session = self._node, Orders.from_json(message["orders"]), str(message["session"])
        self._forget()
        number, folder = self._setups, node.fresh_folder()

        def ready(made: Ready | None, error: BaseException | None) -> None:
            if made is None:
                reply({"error": _words(error)})
            elif number != self._setups:
                reply({"error": f"{node.config.name} was told to do something else meanwhile"})
            else:
                try:
                    self.ready, self.orders = made, orders
                    self._wire(orders, made, session, blobs[1:])
                except (TwinError, LookupError, TypeError, ValueError, AttributeError) as wrong:
                    self._forget()
                    reply({"error": _words(wrong)})
                else:
                    reply(made.facts)

        node.beside(lambda: get_ready(orders, blobs[0], folder, node.config), ready)

    def end(self, reply: Callable[..., None], _message: dict[str, Any], _blobs: list[bytes]) -> None:
        """Forget the scenario; the agent goes on."""
        self._forget()
        reply({})

    def _wire(self, orders: Orders, ready: Ready, session: str, inputs: list[bytes]) -> None:
        """Connect the machine with its neighbours, and give it its queue."""
        node, world = self._node, ready.world
        continuum = world.problem.continuum
        node.links = Links(
            node.loop,
            node.hub,
            continuum,
            orders.me,
            orders.dials,
            node.credentials,
            silent_s=world.detect_s,
            owner=node,
        )
        station = node.make_station(continuum.devices[orders.me].slots)
        node.machine = Machine(
            world=world,
            me=orders.me,
            loop=node.loop,
            links=node.links,
            station=station,
            workshop=ready.workshop,
            builder=node.builder,
            inputs=tuple((bytearray(buffer),) for buffer in inputs),
            trouble=node.trouble,
        )
        self.session = session

    def _forget(self) -> None:
        """Forget the scenario, also one that is being loaded."""
        self._setups += 1
        self._node.tear_down()
        self.ready, self.orders, self.session = None, None, ""
        self._on_forget()


def _words(error: BaseException | None) -> str:
    """An error in words; one that is not for users goes to the log as it is."""
    if not isinstance(error, TwinError):
        sys.stderr.write(f"{error!r}\n")
    return str(error) if isinstance(error, TwinError) else f"{type(error).__name__}: {error}"
