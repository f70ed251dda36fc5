"""The receiving end of a machine: one port for parcels, control messages and heartbeats of all its peers."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any

from hardware.transport.gate import Gate, key_of
from hardware.transport.inbox import OnParcel, Reception
from hardware.transport.inboxes import Inboxes
from hardware.transport.parcel import DEFAULT_LIMITS
from hardware.transport.port import Port
from hardware.transport.roll import Peer, Roll
from hardware.transport.wire import (
    ASK,
    BEAT,
    BEATEN,
    BEATEN_BACK,
    BEATING,
    DATA,
    DATA_HEAD,
    HELLO,
    MESSAGE,
    MESSAGE_HEAD,
    Role,
    Welcome,
    pack_message,
    pack_refusal,
    read_hello,
    read_message,
)
from twin.errors import TransportError

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Mapping, Sequence

    import zmq

    from hardware.transport.credentials import Credentials
    from hardware.transport.loop import Loop
    from hardware.transport.parcel import Buffer, Limits
    from hardware.transport.port import Heard
    from hardware.transport.wire import Hello

__all__ = ["Hub", "OnParcel"]

_AT_ONCE = 32
"""Messages that are read before timers and other sockets have their turn."""
_BURST_S = 40e-6
"""A message that comes so soon after another is likely to be followed by more."""


class Hub:
    """One ROUTER socket; everything here is called in, and calls from, the loop's thread (but for `release`).

    A loop has one hub, and a hub lives as long as its loop. Peers are the identities of lines and clients; `sender`
    of a parcel is the identity of its lane.

    Args:
        loop: The loop that owns the socket.
        endpoint: Such as `tcp://127.0.0.1:*` or `tcp://0.0.0.0:5600`.
        credentials: The own keys and the keys that may connect; `CURVE_OFF` lets in everybody.
        on_parcel: Takes parcels.
        on_message: Takes control messages: the peer, the message and its blobs (bytes). A `Client` waits for
            an answer, which `answer` sends.
        on_up: A peer is heard: at first, after `on_down`, or in a new incarnation (after an `on_down` then).
        on_down: A peer that was up has been silent for longer than the `silent_s` of its line, or has started anew.
            Not called for clients, which are up while they ask.
        limits: What is accepted.

    Raises:
        TransportError: The endpoint cannot be bound.

    Attributes:
        port: As bound.
        incarnation: That of the loop.
        dropped: What was dropped, by reason: `malformed` (not a message of this protocol, or over the limits),
            `stranger` (from a connection that has not said hello, or that its owner has replaced), `doubled` (parcels
            that had arrived before), `over credit` (parcels that were sent without credit).
        unreleased: Parcels that have arrived and are not released yet.
    """

    def __init__(
        self,
        loop: Loop,
        endpoint: str,
        credentials: Credentials,
        *,
        on_parcel: OnParcel,
        on_message: Callable[[str, dict[str, Any], list[bytes]], object],
        on_up: Callable[[str], object],
        on_down: Callable[[str], object],
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self.incarnation = loop.incarnation
        self._loop, self._credentials, self._limits, self._on_message = loop, credentials, limits, on_message
        self._roll = Roll(loop, on_up, on_down)
        self._peers: dict[bytes, Peer] = {}
        self._heard_s = 0.0
        self._gate = None if credentials.keys is None else Gate(loop, credentials)
        self._port = Port(loop, endpoint, credentials, limits)
        self._reception = Reception(loop, limits, self._port.tell, on_parcel)
        self._inboxes = Inboxes(self._reception)
        self.port = self._port.number
        loop.watch(self._port.socket, self._readable)

    @property
    def dropped(self) -> Counter[str]:
        """What was dropped, by reason."""
        return self._reception.dropped

    @property
    def unreleased(self) -> int:
        """Parcels that have arrived and are not released yet."""
        return self._reception.unreleased

    def say(self, peer: str, message: Mapping[str, Any], blobs: Sequence[Buffer] = ()) -> bool:
        """Send a control message to a peer that has dialled this hub.

        Delivered at most once, in order: what the connection has not carried when it breaks is gone.

        Returns:
            False where the peer is not up: nothing is sent then.

        Raises:
            TransportError: The message is not JSON.
        """
        text, known = pack_message(message), self._roll.get(peer)
        if known is None or not known.up:
            return False
        return self._port.send(known.address, [MESSAGE_HEAD, text, *blobs])

    def answer(
        self, peer: str, message: Mapping[str, Any], reply: Mapping[str, Any], blobs: Sequence[Buffer] = ()
    ) -> bool:
        """Send the `reply` to a `message` that a client has asked: `say` with the number of the question added.

        A client takes a message without that number for the answer too, but then a late answer may be mistaken for
        that of the next question.
        """
        return self.say(peer, {**reply, ASK: message[ASK]} if ASK in message else reply, blobs)

    def peers_up(self) -> tuple[str, ...]:
        """Return the peers that are up."""
        return self._roll.up()

    def incarnation_of(self, peer: str) -> int | None:
        """Return the incarnation of a peer's process, or None if it was never heard."""
        known = self._roll.get(peer)
        return None if known is None else known.incarnation

    def close(self) -> None:
        """Close the port, without further calls. Harmless twice."""
        self._roll.close()
        self._loop.unwatch(self._port.socket)
        self._port.close()
        if self._gate is not None:
            self._gate.close()

    def _readable(self) -> None:
        """Read one message, or several where one follows close upon another: finding out that none is left costs."""
        for _ in range(_AT_ONCE):
            heard = self._port.read()
            if heard is None:
                return
            is_burst = heard[3] - self._heard_s < _BURST_S
            self._heard_s = heard[3]
            self._take(heard)
            if not is_burst or self._port.socket.closed:
                return

    def _take(self, heard: Heard) -> None:
        address, frames, size_bytes, heard_s = heard
        head = frames[0].buffer
        kind = head[0] if head else 0
        inbox = self._inboxes.connected.get(address)
        if inbox is not None and kind == DATA and len(head) >= DATA_HEAD.size:
            inbox.take(frames, head, size_bytes, heard_s)
        else:
            self._other(heard, kind, is_lane=inbox is not None)

    def _other(self, heard: Heard, kind: int, *, is_lane: bool) -> None:
        """Take a message that is no parcel, or not from a lane."""
        address, frames, _, heard_s = heard
        peer = self._peers.get(address)
        known = is_lane or peer is not None
        if kind == BEAT and len(frames[0]) == BEATING.size and known:
            stamp_s = BEATING.unpack(frames[0].bytes)[1]
            self._port.tell(address, BEATEN_BACK.pack(BEATEN, stamp_s, heard_s, monotonic()))
            if peer is not None:
                self._roll.heard(peer)
        elif kind == MESSAGE and peer is not None:
            self._message(peer, frames)
        elif kind == HELLO:
            self._greet(address, frames[0].bytes, frames[0])
        else:
            self.dropped["malformed" if known or kind not in {DATA, BEAT, MESSAGE} else "stranger"] += 1

    def _message(self, peer: Peer, frames: list[zmq.Frame]) -> None:
        try:
            message, blobs = read_message([frame.bytes for frame in frames], self._limits)
        except TransportError:
            self.dropped["malformed"] += 1
            return
        self._roll.heard(peer)
        self._on_message(peer.name, message, blobs)

    def _greet(self, address: bytes, raw: bytes, frame: zmq.Frame) -> None:
        try:
            hello = read_hello(raw)
        except TransportError as error:
            self.dropped["malformed"] += 1
            self._port.tell(address, pack_refusal(str(error)))
            return
        if not self._credentials.admits(hello.identity, key_of(frame)):
            self._port.tell(
                address, pack_refusal(f"the key of this machine is not that of {hello.identity!r} in the peer's list")
            )
        elif hello.role is Role.LANE:
            inbox = self._inboxes.enter(hello, address)
            self._port.tell(address, inbox.welcome(self.incarnation).pack())
        else:
            self._port.tell(address, Welcome(self.incarnation, 0, 0, 0, 0, 0).pack())
            self._enter(hello, address)

    def _enter(self, hello: Hello, address: bytes) -> None:
        before = self._roll.get(hello.identity)
        if before is not None:
            self._peers.pop(before.address, None)
        peer = self._roll.enter(hello, address)
        self._peers[address] = peer
        self._roll.heard(peer)
