"""Which peers of a hub are up: heard of late, in which incarnation, over which connection."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from hardware.transport.loop import Loop
    from hardware.transport.wire import Hello


@dataclass(slots=True)
class Peer:
    """A line or client that has dialled.

    Attributes:
        name: Its identity.
        address: Routing id of its present connection.
        incarnation: Of its process.
        silent_s: Silence after which it counts as down; 0 for a client, which is not watched.
        heard_s: When it was last heard.
        up: Whether it was heard since it was last given up.
    """

    name: str
    address: bytes
    incarnation: int
    silent_s: float
    heard_s: float
    up: bool = False


class Silence:
    """Tells when somebody has not been heard for too long.

    A process that was stopped, or busy, for long finds everybody silent when it goes on, though their messages are
    waiting to be read: whoever looks late looks again a little later.

    Args:
        loop: The loop.
        silent_s: Longest silence.
        heard_s: Gives the instant at which they were last heard.
        silent: Is called once; the watch has ended then.
    """

    def __init__(self, loop: Loop, silent_s: float, heard_s: Callable[[], float], silent: Callable[[], object]) -> None:
        self._loop, self._silent_s, self._heard_s, self._silent = loop, silent_s, heard_s, silent
        self._due_s = monotonic() + silent_s
        self._timer = loop.call_at(self._due_s, self._look)

    def stop(self) -> None:
        """Watch no longer."""
        self._timer.cancel()

    def _look(self) -> None:
        now_s, end_s = monotonic(), self._heard_s() + self._silent_s
        grace_s = self._silent_s / 8
        if now_s < end_s:
            self._due_s = end_s
        elif now_s - self._due_s > grace_s:
            self._due_s = now_s + grace_s
        else:
            self._silent()
            return
        self._timer = self._loop.call_at(self._due_s, self._look)


class Roll:
    """The peers of a hub by name.

    Args:
        loop: The loop.
        on_up: As for the hub.
        on_down: As for the hub.
    """

    def __init__(self, loop: Loop, on_up: Callable[[str], object], on_down: Callable[[str], object]) -> None:
        self._loop, self._on_up, self._on_down = loop, on_up, on_down
        self._peers: dict[str, Peer] = {}
        self._watches: dict[str, Silence] = {}

    def get(self, name: str) -> Peer | None:
        """Return a peer that has ever dialled."""
        return self._peers.get(name)

    def up(self) -> tuple[str, ...]:
        """Return the names of those that are up."""
        return tuple(peer.name for peer in self._peers.values() if peer.up)

    def enter(self, hello: Hello, address: bytes) -> Peer:
        """Take in a connection: of a new peer, of one that has dialled again, or of one that has started anew."""
        before = self._peers.get(hello.identity)
        same = before is not None and before.incarnation == hello.incarnation and before.silent_s == hello.silent_s
        if before is not None and same:
            before.address = address
            return before
        peer = Peer(hello.identity, address, hello.incarnation, hello.silent_s, monotonic())
        self._peers[hello.identity] = peer
        if before is not None:
            self._give_up(before)
        return peer

    def heard(self, peer: Peer) -> None:
        """A peer has sent something."""
        peer.heard_s = monotonic()
        if peer.up:
            return
        peer.up = True
        if peer.silent_s:
            self._watches[peer.name] = Silence(
                self._loop, peer.silent_s, lambda: peer.heard_s, lambda: self._give_up(peer)
            )
            self._on_up(peer.name)

    def close(self) -> None:
        """Watch nobody any more."""
        for watch in self._watches.values():
            watch.stop()

    def _give_up(self, peer: Peer) -> None:
        watch = self._watches.pop(peer.name, None)
        if watch is not None:
            watch.stop()
        if peer.up:
            peer.up = False
            if peer.silent_s:
                self._on_down(peer.name)
