"""Takes from every machine what it recorded in a run; machines that do not answer are named."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hardware.coordinator.collect import ClockFit
from twin.errors import MachineError, TransportError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hardware.coordinator.remote import Conversation, Reply
    from hardware.transport.clock import Offset

_EDGE_S = 120.0
_OTHERS_S = 10.0
"""How long handing over may take; without the edge there is no run, so it is waited for longer."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """What was taken.

    Attributes:
        replies: What each machine handed over, the edge first; None for one that did not answer.
        clocks: How the clock of each machine runs.
        lost: Whose records are lost, in words.
    """

    replies: list[Reply | None]
    clocks: list[ClockFit]
    lost: list[str]

    @property
    def troubles(self) -> list[str]:
        """What went wrong on the machines, in words."""
        return [text for reply in self.replies if reply is not None for text in reply["troubles"]]


def gather(conversations: Sequence[Conversation], before: Sequence[tuple[float, Offset]], replication: int) -> Gathered:
    """Take the records of a run.

    Args:
        conversations: The machines, the edge first.
        before: When the clock of each was looked at before the run, and its offset.
        replication: Number of the replication.

    Raises:
        TransportError: The edge does not answer.
        MachineError: The edge took part in no run.
    """
    found = Gathered([], [], [])
    for talk, (at_s, offset) in zip(conversations, before, strict=True):
        reply, clock = None, ClockFit((at_s, at_s), (offset.offset_s, offset.offset_s), offset.uncertainty_s)
        try:
            reply = talk.ask("collect", timeout_s=_OTHERS_S if found.replies else _EDGE_S, replication=replication)
            after = talk.clock_offset()
            worst_s = max(offset.uncertainty_s, after.uncertainty_s)
            clock = ClockFit((at_s, time.monotonic()), (offset.offset_s, after.offset_s), worst_s)
        except (TransportError, MachineError) as error:
            if not found.replies:
                raise
            found.lost.append(f"the records of {talk.name} are lost: {error}")
        found.replies.append(reply)
        found.clocks.append(clock)
    return found
