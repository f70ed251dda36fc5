"""A machine as the coordinator sees it."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hardware.transport.client import Client
from twin.errors import MachineError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hardware.transport.clock import Offset
    from hardware.transport.credentials import Credentials

COORDINATOR = "coordinator"
"""Name of the coordinator, and of its key."""

_NUMBERS = itertools.count()


@dataclass(frozen=True, slots=True)
class Remote:
    """A machine that runs an agent.

    Attributes:
        name: Name of the device that it is.
        endpoint: Where its agent listens.
        credentials: The coordinator's keys, and those of the machines.
    """

    name: str
    endpoint: str
    credentials: Credentials

    def dial(self) -> Conversation:
        """Open a connection of its own, for one thread."""
        identity = f"{COORDINATOR}/{os.getpid()}-{next(_NUMBERS)}"
        return Conversation(self.name, Client(self.endpoint, identity, self.credentials.towards(self.name)))


class Conversation:
    """Questions to one machine, one at a time.

    Attributes:
        name: Name of the machine.

    Args:
        name: Name of the machine.
        client: The connection.
    """

    def __init__(self, name: str, client: Client) -> None:
        self.name, self._client = name, client

    def ask(self, do: str, blobs: Sequence[bytes] = (), timeout_s: float = 10.0, **content: object) -> Reply:
        """Give a command and wait for what becomes of it.

        Raises:
            MachineError: The machine cannot do it; the message says why.
            TransportError: It does not answer.
        """
        answer, parts = self._client.ask({"do": do, **content}, blobs, timeout_s)
        if "error" in answer:
            raise MachineError(f"{self.name}: {answer['error']}")
        return Reply(answer, parts)

    def clock_offset(self) -> Offset:
        """How far the machine's monotonic clock is ahead of this one's.

        Raises:
            TransportError: It does not answer.
        """
        return self._client.clock_offset()

    def close(self) -> None:
        """Hang up."""
        self._client.close()


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer.

    Attributes:
        content: What it says.
        blobs: What comes with it.
    """

    content: dict[str, Any]
    blobs: list[bytes]

    def __getitem__(self, key: str) -> Any:  # noqa: ANN401 - whatever the answer holds there
        return self.content[key]
