"""The dialling end of one connection: connects, shakes hands, notices breaks, and dials anew after a pause."""

from __future__ import annotations

import random
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

import zmq
from zmq.utils.monitor import recv_monitor_message

from hardware.transport.wire import Welcome, read_welcome
from twin.errors import TransportError

if TYPE_CHECKING:
    from hardware.transport.credentials import Credentials
    from hardware.transport.loop import Loop, Timer

DIAL_S = 3.0
"""How long one attempt may take, from the connect to the welcome."""

_PAUSES_S = (0.03, 1.0)
"""Pause before the second attempt, and the longest; each is twice the one before, times 0.5 to 1 by chance."""
_EVENTS = zmq.Event.CONNECTED | zmq.Event.CLOSED | zmq.Event.DISCONNECTED
_REFUSALS = zmq.Event.HANDSHAKE_FAILED_AUTH | zmq.Event.HANDSHAKE_FAILED_PROTOCOL
_FAILURES = _REFUSALS | zmq.Event.HANDSHAKE_FAILED_NO_DETAIL
_SHAKEN = zmq.Event.HANDSHAKE_SUCCEEDED
_HEADROOM_BYTES = 4096
"""CURVE and the heads make frames longer than what they carry."""
_chance = random.SystemRandom()


def keep_alive(socket: Any) -> None:  # noqa: ANN401 - zmq's socket options have no types
    """Let the kernel find out within half a minute that the machine at the other end is gone."""
    socket.tcp_keepalive, socket.tcp_keepalive_idle = 1, 10
    socket.tcp_keepalive_intvl, socket.tcp_keepalive_cnt = 5, 3


class Owner(Protocol):
    """What a `Dial` works for."""

    def welcomed(self, welcome: Welcome) -> object:
        """The connection is up."""

    def readable(self) -> object:
        """There is something to read on `Dial.socket`, usually: read at least one message, if there is one."""

    def broken(self) -> object:
        """The connection was up and is no more; what it had delivered was read before."""


class Dial:
    """Keeps one connection to a hub up.

    Each attempt has a socket of its own that is thrown away with what it has not sent, so nothing stale arrives late.

    Args:
        loop: The loop that owns the sockets.
        endpoint: Of the hub, or of a shaper before it.
        credentials: With the key of the hub.
        hello: First message of each connection.
        owner: Is told.
        max_frame_bytes: Longest frame that the hub may send.

    Raises:
        TransportError: The endpoint is no address, or the hub's key is missing.

    Attributes:
        socket: Of the connection that is up, else None.
        state: `dialling`, `refused` (dialling on), `up` or `closed`.
        why: What was last wrong with the connection, in words; empty while up.
    """

    def __init__(
        self, loop: Loop, endpoint: str, credentials: Credentials, hello: bytes, owner: Owner, max_frame_bytes: int
    ) -> None:
        if credentials.keys is not None and credentials.server is None:
            raise TransportError(
                f"{endpoint}: the public key of this machine is missing; use credentials.towards(name)"
            )
        self.socket: zmq.Socket[bytes] | None = None
        self.state, self.why = "dialling", "not connected yet"
        self._loop, self._endpoint, self._credentials = loop, endpoint, credentials
        self._hello, self._owner, self._max_frame_bytes = hello, owner, max_frame_bytes
        self._trying: zmq.Socket[bytes] | None = None
        self._monitor: zmq.Socket[bytes] | None = None
        self._reached = self._shaken = False
        self._pause_s = _PAUSES_S[0]
        self._timer: Timer | None = None
        self._connect()

    def redial(self) -> None:
        """Break the connection and dial at once."""
        if self.state == "closed":
            return
        was_up = self.state == "up"
        self._hang_up()
        self.state, self.why = "dialling", "dialling anew"
        if was_up:
            self._owner.broken()
        if self.state == "dialling" and self._trying is None:
            self._connect()

    def close(self) -> None:
        """Hang up for good; the owner is not told."""
        self._hang_up()
        self.state, self.why = "closed", "closed here"

    def _connect(self) -> None:
        socket: Any = self._loop.context.socket(zmq.DEALER)
        socket.linger = socket.sndhwm = 0
        socket.reconnect_ivl = -1
        socket.maxmsgsize = self._max_frame_bytes + _HEADROOM_BYTES
        socket.ipv6 = True
        keep_alive(socket)
        keys = self._credentials.keys
        if keys is not None:
            socket.curve_publickey, socket.curve_secretkey = keys.public, keys.secret
            socket.curve_serverkey = self._credentials.server
        self._reached = self._shaken = False
        self._trying = socket
        self._monitor = socket.get_monitor_socket(_EVENTS | _FAILURES | _SHAKEN)
        self._loop.watch(self._monitor, self._event)
        self._loop.watch(socket, self._first)
        try:
            socket.connect(self._endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise TransportError(f"{self._endpoint}: no address of a hub ({error}); write tcp://HOST:PORT") from error
        socket.send(self._hello)
        self._timer = self._loop.call_at(monotonic() + DIAL_S, self._late)

    def _first(self) -> None:
        socket = self._trying
        if socket is None:
            return
        raw = socket.recv_multipart(zmq.NOBLOCK)[0]
        try:
            welcome = read_welcome(raw)
        except TransportError as error:
            self._fail("refused", str(error))
            return
        if self._timer is not None:
            self._timer.cancel()
        self.socket, self._trying = socket, None
        self.state, self.why, self._pause_s = "up", "", _PAUSES_S[0]
        self._loop.watch(socket, self._owner.readable)
        self._owner.welcomed(welcome)

    def _event(self) -> None:
        monitor = self._monitor
        while monitor is not None and monitor is self._monitor:
            try:
                told = recv_monitor_message(monitor, zmq.NOBLOCK)
            except zmq.Again:
                return
            self._take(zmq.Event(told["event"]))

    def _take(self, event: zmq.Event) -> None:
        if event == zmq.Event.CONNECTED:
            self._reached = True
        elif event == _SHAKEN:
            self._shaken = True
        elif event & _REFUSALS:
            self._fail("refused", "the peer does not accept this machine's key, or CURVE is on at one end only")
        elif self.state == "up":
            # What has arrived counts, such as receipts that came just before the break.
            while self.state == "up" and self.socket is not None and self.socket.poll(0):
                self._owner.readable()
            if self.state == "up":
                self._fail("dialling", "the connection broke")
        elif not self._reached:
            self._fail("dialling", "nothing answers there")
        elif not self._shaken:
            self._fail("refused", "the peer broke off the handshake: it has another key than the one known here")
        else:
            self._fail("dialling", "the connection broke before it was up")

    def _late(self) -> None:
        if self._trying is not None:
            self._fail("dialling", "no answer" if self._reached else "nothing answers there")

    def _fail(self, state: str, why: str) -> None:
        if self.state == "closed":
            return
        was_up = self.state == "up"
        self._hang_up()
        self.state, self.why = state, why
        self._timer = self._loop.call_at(monotonic() + self._pause_s * _chance.uniform(0.5, 1.0), self._again)
        self._pause_s = min(2 * self._pause_s, _PAUSES_S[1])
        if was_up:
            self._owner.broken()

    def _again(self) -> None:
        if self._trying is None and self.socket is None and self.state != "closed":
            self._connect()

    def _hang_up(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        socket, monitor = self.socket or self._trying, self._monitor
        self.socket = self._trying = self._monitor = None
        if monitor is not None:
            self._loop.unwatch(monitor)
        if socket is not None:
            self._loop.unwatch(socket)
            with suppress(zmq.ZMQError):
                # Only fails where the context is gone already, and the monitor with it.
                socket.disable_monitor()
            socket.close(linger=0)
        if monitor is not None:
            monitor.close(linger=0)
