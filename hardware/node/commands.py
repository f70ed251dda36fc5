"""What a coordinator may ask of a machine, and the answers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from hardware.edge.feed import told
from hardware.host import host_facts, load_average
from hardware.node.arrays import pack_arrays
from hardware.node.beginning import Beginning
from hardware.node.chores import Probing, Profiling
from hardware.node.handover import Handover
from hardware.node.measuring import Measuring
from hardware.node.outfit import Outfit
from twin.errors import MachineError, TwinError
from twin.runs import provenance

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hardware.node.node import Node


class Commands:
    """Takes commands in the loop's thread and answers each of them, if need be later.

    Attributes:
        measuring: Measures links; is to be told of receipts and of what did not arrive.

    Args:
        node: The machine.
    """

    def __init__(self, node: Node) -> None:
        self.measuring = Measuring(node)
        self._node = node
        self._outfit = Outfit(node, self.measuring.forget)
        beginning, handover = Beginning(node, self._outfit), Handover(node)
        probing, self._profiling = Probing(node), Profiling(node)
        self._commands: dict[str, Callable[[Callable[..., None], dict[str, Any], list[bytes]], None]] = {
            "hello": self._hello,
            "setup": self._outfit.start,
            "measure": self.measuring.start,
            "begin": beginning.begin,
            "start": beginning.start,
            "status": self._status,
            "follow": self._follow,
            "halt": self._halt,
            "collect": handover.collect,
            "quit": self._outfit.end,
            "probe": probing.start,
            "probed": probing.tell,
            "unprobe": probing.end,
            "profile": self._profiling.start,
            "profiled": self._profiling.tell,
        }

    def take(self, peer: str, message: dict[str, Any], blobs: list[bytes]) -> None:
        """Carry out a command."""

        def reply(answer: Mapping[str, Any], blobs: tuple[bytes, ...] = ()) -> None:
            self._node.hub.answer(peer, message, answer, blobs)

        command = self._commands.get(str(message.get("do")))
        if command is None:
            reply({"error": f"no command is called {message.get('do')!r}; use one version on every machine"})
            return
        try:
            command(reply, message, blobs)
        except TwinError as error:
            reply({"error": str(error)})
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, MemoryError) as error:
            reply(
                {"error": f"the command `{message['do']}` is malformed ({error!r}); use one version on every machine"}
            )

    def _hello(self, reply: Callable[..., None], _message: dict[str, Any], _blobs: list[bytes]) -> None:
        """Tell what the machine is."""
        node = self._node
        reply(
            {
                "name": node.config.name,
                "incarnation": node.loop.incarnation,
                "session": self._outfit.session,
                "models": list(node.config.models),
                "versions": provenance.versions(),
                "host": host_facts(),
                "load_average": load_average(),
            }
        )

    def _status(self, reply: Callable[..., None], _message: dict[str, Any], _blobs: list[bytes]) -> None:
        """Tell how things stand."""
        node, play = self._node, self._node.play
        answer: dict[str, Any] = {
            "session": self._outfit.session,
            "incarnation": node.loop.incarnation,
            "play": None if play is None else play.number,
            "links": {} if node.links is None else node.links.troubles,
            "troubles": node.troubles,
            "broken": node.broken,
            "now_s": time.monotonic(),
            "profiling": self._profiling.progress,
        }
        if play is not None and play.conductor is not None:
            lead = play.conductor
            answer |= {
                "poised": lead.switch.plan is not None,
                "over": lead.over,
                "t_s": lead.clock.now_s,
                "arrived": len(lead.requests),
                "under_way": lead.under_way,
                "epoch": lead.controller.epoch,
                "lost": sorted(map(list, lead.presence.lost)),
            }
        reply(answer)

    def _follow(self, reply: Callable[..., None], message: dict[str, Any], _blobs: list[bytes]) -> None:
        """Tell what is new in a run that is followed."""
        lead = self._node.require_play().conductor
        if lead is None or lead.feed is None:
            raise MachineError(f"{self._node.config.name} leads no run that is followed; use one version everywhere")
        numbers = [int(message[key]) for key in ("since", "arrivals", "epoch")]
        answer, rows = told(lead, lead.feed, *numbers)
        reply(answer, (pack_arrays({"rows": rows}),))

    def _halt(self, reply: Callable[..., None], _message: dict[str, Any], _blobs: list[bytes]) -> None:
        """End the run here and now."""
        play = self._node.require_play()
        if play.conductor is not None:
            play.conductor.halt()
        reply({})
