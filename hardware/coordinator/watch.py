"""Looks after the machines other than the edge while a run lasts: one that was started anew is set up again."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from twin.errors import MachineError, TransportError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hardware.coordinator.remote import Conversation, Remote

_EVERY_S = 0.5
_ANSWER_S = 2.0


class Watch:
    """Asks one machine again and again whether it still takes part, in a thread of its own.

    Attributes:
        name: Name of the machine.
        returns: How often it was set up again.
        errors: What went wrong then, in words.

    Args:
        remote: Tells where the machine is now.
        session: The session that it should be in.
        again: Sets it up again over a given connection, and lets it take part in the run.
    """

    def __init__(self, remote: Callable[[], Remote], session: str, again: Callable[[Conversation], None]) -> None:
        self.name = remote().name
        self.returns = 0
        self.errors: list[str] = []
        self._remote, self._session, self._again = remote, session, again
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"watch-{self.name}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        conversation = self._remote().dial()
        try:
            while not self._stopped.wait(_EVERY_S):
                try:
                    self._look(conversation)
                except TransportError:
                    # The edge has noticed too; the machine may come back, under a new connection.
                    conversation.close()
                    conversation = self._remote().dial()
        finally:
            conversation.close()

    def _look(self, conversation: Conversation) -> None:
        if conversation.ask("status", timeout_s=_ANSWER_S)["session"] != self._session:
            try:
                self._again(conversation)
            except MachineError as error:
                self.errors.append(str(error))
            else:
                self.returns += 1
