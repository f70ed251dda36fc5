"""The lanes of a hub: by their present connections, and by name over connections that break."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hardware.transport.inbox import Inbox

if TYPE_CHECKING:
    from hardware.transport.inbox import Reception
    from hardware.transport.wire import Hello

_SESSIONS = 16
"""Lanes of one identity that are remembered; the one that connected longest ago goes first."""


class Inboxes:
    """The inboxes of one hub.

    Args:
        reception: What they share.

    Attributes:
        connected: By routing id of the connection.
    """

    def __init__(self, reception: Reception) -> None:
        self.connected: dict[bytes, Inbox] = {}
        self._reception = reception
        self._known: dict[tuple[str, int], Inbox] = {}

    def enter(self, hello: Hello, address: bytes) -> Inbox:
        """Return the inbox of a lane, with its present connection; those of the sender's former lives are dropped."""
        for key, old in list(self._known.items()):
            if old.sender == hello.identity and old.incarnation != hello.incarnation:
                self._forget(key)
        key = (hello.identity, hello.session)
        inbox = self._known.pop(key, None) or Inbox(hello.identity, hello.incarnation, self._reception)
        self.connected.pop(inbox.address, None)
        inbox.address = address
        self.connected[address] = self._known[key] = inbox
        mine = [key for key in self._known if key[0] == hello.identity]
        for oldest in mine[:-_SESSIONS]:
            self._forget(oldest)
        return inbox

    def _forget(self, key: tuple[str, int]) -> None:
        self.connected.pop(self._known.pop(key).address, None)
