"""A control connection to a hub: messages both ways, heartbeats, and the offset between the two clocks."""

from __future__ import annotations

import secrets
from time import monotonic
from typing import TYPE_CHECKING, Any

import zmq

from hardware.transport.clock import Offsets
from hardware.transport.dial import Dial
from hardware.transport.parcel import DEFAULT_LIMITS
from hardware.transport.roll import Silence
from hardware.transport.wire import (
    BEAT,
    BEATING,
    MESSAGE_HEAD,
    Hello,
    Role,
    pack_message,
    read_beaten,
    read_message,
)
from twin.errors import TransportError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hardware.transport.credentials import Credentials
    from hardware.transport.loop import Loop
    from hardware.transport.parcel import Buffer, Limits
    from hardware.transport.wire import Welcome

SILENT_S = 2.0
"""Silence after which a peer counts as down, unless its owner says otherwise."""


class Line:
    """Dials a hub and keeps dialling; everything here is called in, and calls from, the loop's thread.

    Args:
        loop: The loop that owns the socket.
        endpoint: Of the peer's hub, or of a shaper before it.
        identity: The name of this end; each line and client of a hub needs its own (`pi`, `pi/control`).
        credentials: With the key of the peer: `credentials.towards(name)`.
        silent_s: Silence after which either end takes the other for lost; beats go every quarter of it.
        on_message: Takes a message of the hub and its blobs (bytes).
        on_up: The peer is heard: at first, after `on_down`, or in a new incarnation (after an `on_down` then).
            Is given the incarnation.
        on_down: The peer has not been heard for longer than `silent_s`, since the line was opened or since it was
            last heard, or has started anew. Is given the reason in words. Called once until the next `on_up`.
        limits: What is accepted.

    Attributes:
        state: `dialling`, `refused` (dialling on), `up` or `closed`.
        why: What was last wrong with the connection, in words; empty while up.
        is_up: Whether `on_up` was the last to be called.
        incarnation: Of the peer, as last heard; None before that.
        rtt_s: Round trip of the best recent beat; None before the first.
        offset_s: Seconds to add to the own monotonic clock to get the peer's, by that beat; None before the first.
            Its error is at most `rtt_s` / 2. Beats that met no parcel of this process's lanes are preferred.
        dropped: Messages of the hub that were malformed or over the limits.
    """

    def __init__(
        self,
        loop: Loop,
        endpoint: str,
        identity: str,
        credentials: Credentials,
        *,
        silent_s: float = SILENT_S,
        on_message: Callable[[dict[str, Any], list[bytes]], object],
        on_up: Callable[[int], object],
        on_down: Callable[[str], object],
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self.is_up = False
        self.incarnation: int | None = None
        self.dropped = 0
        self._loop, self._silent_s, self._limits = loop, silent_s, limits
        self._on_message, self._on_up, self._on_down = on_message, on_up, on_down
        self._offsets = Offsets()
        self._quiet = True
        self._heard_s = monotonic()
        hello = Hello(Role.LINE, secrets.randbits(63), loop.incarnation, silent_s, identity).pack()
        longest_bytes = max(limits.tensor_bytes, limits.text_bytes)
        self._dial = Dial(loop, endpoint, credentials, hello, self, longest_bytes)
        self._silence = self._watch()
        self._beat_timer = loop.call_at(monotonic() + silent_s / 4, self._beat_again)

    @property
    def state(self) -> str:
        """`dialling`, `refused` (dialling on), `up` or `closed`."""
        return self._dial.state

    @property
    def why(self) -> str:
        """What was last wrong with the connection, in words; empty while up."""
        return self._dial.why

    @property
    def rtt_s(self) -> float | None:
        """Round trip of the best recent beat; None before the first."""
        best = self._offsets.best()
        return None if best is None else best.rtt_s

    @property
    def offset_s(self) -> float | None:
        """Seconds to add to the own monotonic clock to get the peer's, by that beat; None before the first."""
        best = self._offsets.best()
        return None if best is None else best.offset_s

    def say(self, message: Mapping[str, Any], blobs: Sequence[Buffer] = ()) -> bool:
        """Send a control message.

        Delivered at most once, in order: what the connection has not carried when it breaks is gone.

        Returns:
            False where the peer is not up: nothing is sent then.

        Raises:
            TransportError: The message is not JSON.
        """
        text, socket = pack_message(message), self._dial.socket
        if socket is None or not self.is_up:
            return False
        socket.send_multipart([MESSAGE_HEAD, text, *blobs], zmq.NOBLOCK)
        return True

    def close(self) -> None:
        """Hang up, without further calls. Harmless twice."""
        self._dial.close()
        self._silence.stop()
        self._beat_timer.cancel()

    def welcomed(self, welcome: Welcome) -> None:
        """The connection is up (called by the `Dial`)."""
        if self.incarnation != welcome.incarnation:
            self.incarnation = welcome.incarnation
            # Another process has another clock, if it runs on another machine now.
            self._offsets = Offsets()
            self._down("the peer has started anew")
        self._heard()
        self._beat()

    def broken(self) -> None:
        """The connection is gone (called by the `Dial`); whether the peer is, silence will tell."""

    def readable(self) -> None:
        """Read what the hub has sent (called by the loop)."""
        socket = self._dial.socket
        while socket is not None and socket is self._dial.socket:
            try:
                frames = socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._heard()
            self._take(frames)

    def _take(self, frames: list[bytes]) -> None:
        head = frames[0]
        if head == MESSAGE_HEAD:
            try:
                message, blobs = read_message(frames, self._limits)
            except TransportError:
                self.dropped += 1
                return
            self._on_message(message, blobs)
            return
        offset = read_beaten(head, self._heard_s, quiet=self._quiet and not self._loop.lanes_busy)
        if offset is None:
            self.dropped += 1
        else:
            self._offsets.add(offset)

    def _heard(self) -> None:
        self._heard_s = monotonic()
        if not self.is_up and self.incarnation is not None:
            self.is_up = True
            self._silence.stop()
            self._silence = self._watch()
            self._on_up(self.incarnation)

    def _watch(self) -> Silence:
        return Silence(self._loop, self._silent_s, lambda: self._heard_s, self._silent)

    def _silent(self) -> None:
        if self.is_up:
            self._down(f"silent for {self._silent_s} s" + (f": {self.why}" if self.why else ""))
            # The old connection may be dead without knowing it.
            self._dial.redial()
        else:
            self._on_down(f"not reached within {self._silent_s} s: {self.why}")

    def _down(self, reason: str) -> None:
        if self.is_up:
            self.is_up = False
            self._silence.stop()
            self._on_down(reason)

    def _beat(self) -> None:
        socket = self._dial.socket
        if socket is not None:
            self._quiet = not self._loop.lanes_busy
            socket.send(BEATING.pack(BEAT, monotonic()), zmq.NOBLOCK)

    def _beat_again(self) -> None:
        self._beat()
        self._beat_timer = self._loop.call_at(monotonic() + self._silent_s / 4, self._beat_again)
