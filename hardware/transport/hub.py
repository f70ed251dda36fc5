"""The receiving end of a machine: one port for parcels, control messages and heartbeats of all its peers."""

from __future__ import annotations

from collections import Counter
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

import zmq

from hardware.transport.dial import keep_alive
from hardware.transport.gate import Gate, key_of
from hardware.transport.inbox import Inbox
from hardware.transport.parcel import DEFAULT_LIMITS, decode
from hardware.transport.roll import Peer, Roll
from hardware.transport.wire import (
    ACK,
    ACKNOWLEDGE,
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
    from collections.abc import Callable, Mapping, Sequence

    from hardware.transport.credentials import Credentials
    from hardware.transport.loop import Loop
    from hardware.transport.parcel import Buffer, Limits, Parcel
    from hardware.transport.wire import Hello

_AT_ONCE = 32
"""Messages that are read before timers and other sockets have their turn."""
_SESSIONS = 16
"""Lanes of one identity that are remembered; the one that connected longest ago goes first."""
# Plain numbers: the library's own take longer to combine than a parcel has.
_NOW, _MORE, _POLLIN = int(zmq.NOBLOCK), int(zmq.SNDMORE | zmq.NOBLOCK), int(zmq.POLLIN)
_SMALL_BYTES = 8192
"""ZeroMQ lets shorter frames share a buffer, at odd addresses; they are copied out of it."""
_HEADROOM_BYTES = 4096
"""CURVE and the heads make frames longer than what they carry."""


class OnParcel(Protocol):
    """Takes a parcel that has arrived; called in the loop's thread.

    Each parcel comes exactly once, those of one lane in order. It is acknowledged by then. The lane goes on sending
    only while few are unreleased, so `release()` must be called once the parcel takes no more room here: when the
    worker has taken it off its queue, say. It may be called from any thread, and more than once.
    """

    def __call__(self, sender: str, parcel: Parcel, release: Callable[[], None]) -> object:
        """Take `parcel` from the lane of `sender`."""


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
        self.dropped: Counter[str] = Counter()
        self.unreleased = 0
        self._loop, self._credentials, self._limits = loop, credentials, limits
        self._on_parcel, self._on_message = on_parcel, on_message
        self._roll = Roll(loop, on_up, on_down)
        self._inboxes: dict[tuple[str, int], Inbox] = {}
        self._lanes: dict[bytes, Inbox] = {}
        self._peers: dict[bytes, Peer] = {}
        self._gate = None if credentials.keys is None else Gate(loop, credentials)
        self._socket = _bound(loop, endpoint, credentials, limits)
        self.port = int(self._socket.last_endpoint.rsplit(b":", 1)[1])
        loop.watch(self._socket, self._readable)

    def say(self, peer: str, message: Mapping[str, Any], blobs: Sequence[Buffer] = ()) -> bool:
        """Send a control message to a peer that has dialled this hub.

        Delivered at most once, in order: what the connection has not carried when it breaks is gone.

        Returns:
            False where the peer is not up: nothing is sent then.

        Raises:
            TransportError: The message is not JSON.
        """
        text, known = pack_message(message), self._roll.get(peer)
        if known is None or not known.up or self._socket.closed:
            return False
        self._socket.send_multipart([known.address, MESSAGE_HEAD, text, *blobs], zmq.NOBLOCK)
        return True

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
        self._loop.unwatch(self._socket)
        self._socket.close(linger=0)
        if self._gate is not None:
            self._gate.close()

    def _readable(self) -> None:
        receive = self._socket.recv
        for _ in range(_AT_ONCE):
            try:
                address = receive(_NOW)
            except zmq.Again:
                return
            heard_s = monotonic()
            # Frames beyond what any message has are read, counted and not kept.
            frames: list[zmq.Frame] = []
            size_bytes, more = 0, True
            while more:
                frame = receive(_NOW, copy=False)
                more = frame.more
                size_bytes += len(frame)
                if len(frames) < self._limits.tensors + 3:
                    frames.append(frame)
            self._dispatch(address, frames, size_bytes, heard_s)
            # Cheaper than an exception, and mostly there is only one.
            if self._socket.closed or not self._socket.getsockopt(zmq.EVENTS) & _POLLIN:
                return

    def _dispatch(self, address: bytes, frames: list[zmq.Frame], size_bytes: int, heard_s: float) -> None:
        head = frames[0].bytes
        kind = head[0] if head else 0
        inbox = self._lanes.get(address)
        if inbox is not None and kind == DATA and len(head) >= DATA_HEAD.size:
            self._parcel(inbox, head, frames, size_bytes - len(head), heard_s)
        elif kind == BEAT and len(head) == BEATING.size and (inbox is not None or address in self._peers):
            stamp = BEATING.unpack(head)[1]
            self._tell(address, BEATEN_BACK.pack(BEATEN, stamp, heard_s, monotonic()))
            if inbox is None:
                self._roll.heard(self._peers[address])
        elif kind == MESSAGE and address in self._peers:
            self._message(self._peers[address], frames)
        elif kind == HELLO:
            self._greet(address, head, frames[0])
        else:
            known = inbox is not None or address in self._peers
            self.dropped["malformed" if known or kind not in {DATA, BEAT, MESSAGE} else "stranger"] += 1

    def _parcel(self, inbox: Inbox, head: bytes, frames: list[zmq.Frame], size_bytes: int, heard_s: float) -> None:
        number = DATA_HEAD.unpack_from(head)[1]
        if number != inbox.arrived + 1:
            self.dropped["doubled" if number <= inbox.arrived else "malformed"] += 1
            return
        parcel = self._decoded(inbox, head, frames)
        inbox.take_in(size_bytes)
        if parcel is None:
            inbox.release(size_bytes)
        inbox.told()
        self._tell(
            inbox.address,
            ACKNOWLEDGE.pack(
                ACK, parcel is None, number, monotonic() - heard_s, inbox.taken_parcels, inbox.taken_bytes
            ),
        )
        if parcel is not None:
            self.unreleased += 1
            self._on_parcel(inbox.sender, parcel, _Release(self, inbox, size_bytes))

    def _decoded(self, inbox: Inbox, head: bytes, frames: list[zmq.Frame]) -> Parcel | None:
        if not inbox.has_room():
            self.dropped["over credit"] += 1
            return None
        try:
            return decode((head[DATA_HEAD.size :], *map(_buffer, frames[1:])), self._limits)
        except TransportError:
            self.dropped["malformed"] += 1
            return None

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
            self._tell(address, pack_refusal(str(error)))
            return
        if not self._credentials.admits(hello.identity, key_of(frame)):
            self._tell(
                address, pack_refusal(f"the key of this machine is not that of {hello.identity!r} in the peer's list")
            )
        elif hello.role is Role.LANE:
            inbox = self._inbox(hello, address)
            self._tell(address, inbox.welcome(self.incarnation).pack())
        else:
            self._tell(address, Welcome(self.incarnation, 0, 0, 0, 0, 0).pack())
            self._enter(hello, address)

    def _inbox(self, hello: Hello, address: bytes) -> Inbox:
        """Return the inbox of a lane, with its present connection; those of the sender's former lives are dropped."""
        for key, old in list(self._inboxes.items()):
            if old.sender == hello.identity and old.incarnation != hello.incarnation:
                self._forget(key)
        key = (hello.identity, hello.session)
        inbox = self._inboxes.pop(key, None) or Inbox(hello.identity, hello.incarnation, self._limits, self._tell)
        self._lanes.pop(inbox.address, None)
        inbox.address = address
        self._lanes[address] = self._inboxes[key] = inbox
        mine = [key for key in self._inboxes if key[0] == hello.identity]
        for oldest in mine[:-_SESSIONS]:
            self._forget(oldest)
        return inbox

    def _forget(self, key: tuple[str, int]) -> None:
        self._lanes.pop(self._inboxes.pop(key).address, None)

    def _enter(self, hello: Hello, address: bytes) -> None:
        before = self._roll.get(hello.identity)
        if before is not None:
            self._peers.pop(before.address, None)
        peer = self._roll.enter(hello, address)
        self._peers[address] = peer
        self._roll.heard(peer)

    def _tell(self, address: bytes, message: bytes) -> None:
        if not self._socket.closed:
            self._socket.send(address, _MORE)
            self._socket.send(message, _NOW)


class _Release:
    """Gives back the credit of one parcel, once, from any thread."""

    __slots__ = ("_done", "_hub", "_inbox", "_size_bytes")

    def __init__(self, hub: Hub, inbox: Inbox, size_bytes: int) -> None:
        self._hub, self._inbox, self._size_bytes = hub, inbox, size_bytes
        self._done = False

    def __call__(self) -> None:
        loop = self._hub._loop  # noqa: SLF001 - a part of the hub
        if loop.is_here():
            self._give_back()
        else:
            loop.post(self._give_back)

    def _give_back(self) -> None:
        if not self._done:
            self._done = True
            self._hub.unreleased -= 1
            self._inbox.release(self._size_bytes)


def _buffer(frame: zmq.Frame) -> Buffer:
    """Return writable, aligned memory with the content of a frame, copied only where it is small."""
    return bytearray(frame.buffer) if len(frame) <= _SMALL_BYTES else frame.buffer


def _bound(loop: Loop, endpoint: str, credentials: Credentials, limits: Limits) -> Any:  # noqa: ANN401 - zmq's types
    socket: Any = loop.context.socket(zmq.ROUTER)
    # Credit bounds what lanes send; answers that a full queue would drop could never be made up for.
    socket.linger = socket.sndhwm = 0
    socket.maxmsgsize = max(limits.tensor_bytes, limits.text_bytes) + _HEADROOM_BYTES
    socket.ipv6 = True
    keep_alive(socket)
    if credentials.keys is not None:
        socket.curve_server = True
        socket.curve_publickey, socket.curve_secretkey = credentials.keys.public, credentials.keys.secret
        socket.zap_domain = b"testbed"
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        socket.close(linger=0)
        raise TransportError(
            f"{endpoint}: cannot listen there ({error}); is another agent running, or is the port taken?"
        ) from error
    return socket
