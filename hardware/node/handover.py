"""Takes the command that hands over what one machine has recorded in a run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hardware.node.arrays import pack_arrays
from twin.runs.folder import plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from hardware.edge.conductor import Conductor
    from hardware.node.node import Node
    from hardware.node.play import Play


class Handover:
    """Hands over the records of the run under way, which ends this machine's part in it; in the loop's thread.

    The blobs of the answer are the spans, twice as many as there are meters, and on the edge the requests, the raw
    samples, the decisions and the answers that are to be checked.

    Args:
        node: The machine.
    """

    def __init__(self, node: Node) -> None:
        self._node = node

    def collect(self, reply: Callable[..., None], message: dict[str, Any], _blobs: list[bytes]) -> None:
        """Hand over what was recorded, and end this machine's part in the run."""
        play = self._node.require_play()
        lead, replication = play.conductor, int(message["replication"])
        meters, metered = self._meters(replication)
        answer: dict[str, Any] = {"troubles": self._node.troubles, "edge": lead is not None, "meters": meters}
        parts = [pack_arrays(play.recorder.columns()), *metered]
        if lead is not None:
            facts, blobs = _led(play, lead, replication)
            answer |= facts
            parts += blobs
        play.close()
        reply(answer, tuple(parts))

    def _meters(self, replication: int) -> tuple[list[dict[str, Any]], list[bytes]]:
        """End reading power meters; what they gave, in run time."""
        node, meters = self._node, self._node.meters
        node.meters = None
        if meters is None:
            return [], []
        zero_s = None if node.station is None else node.station.zero_s
        return meters.stop(replication, zero_s or 0.0)


def _led(play: Play, lead: Conductor, replication: int) -> tuple[dict[str, Any], list[bytes]]:
    """What only the edge has: requests, samples, decisions and answers."""
    workload = play.machine.world.workload
    kept = {} if play.keeper is None else play.keeper.answers
    parts = [
        pack_arrays(lead.requests.table(replication, workload).columns()),
        pack_arrays(lead.controller.raw.columns()),
        json.dumps(plain(lead.controller.log)).encode(),
        *(buffer for buffers in kept.values() for buffer in buffers),
    ]
    facts = {
        "duplicates": lead.ledger.duplicates,
        "switches": lead.switch.log,
        "zero_s": lead.clock.zero_s,
        "end_s": lead.clock.now_s,
        "answers": [[request, len(buffers)] for request, buffers in kept.items()],
    }
    return facts, parts
