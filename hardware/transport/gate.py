"""Lets in whose key is allowed: the ZAP handler of a process, as a watcher of its loop instead of a thread.

ZeroMQ asks it (ZAP 1.0, ZeroMQ RFC 27) during each CURVE handshake.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import zmq
from zmq.utils import z85

from twin.errors import TransportError

if TYPE_CHECKING:
    from hardware.transport.credentials import Credentials
    from hardware.transport.loop import Loop

_ADDRESS = "inproc://zeromq.zap.01"


class Gate:
    """Answers for one hub; a loop has at most one.

    Args:
        loop: The loop of the hub.
        credentials: With the allowed keys.

    Raises:
        TransportError: The loop has a gate already.
    """

    def __init__(self, loop: Loop, credentials: Credentials) -> None:
        self._loop = loop
        self._keys = frozenset(credentials.allowed.values())
        self._socket: Any = loop.context.socket(zmq.ROUTER)
        self._socket.linger = 0
        try:
            self._socket.bind(_ADDRESS)
        except zmq.ZMQError as error:
            self._socket.close()
            raise TransportError("this loop has a hub already; give the second hub a loop of its own") from error
        loop.watch(self._socket, self._asked)

    def close(self) -> None:
        """Answer no more. Harmless twice."""
        self._loop.unwatch(self._socket)
        self._socket.close(linger=0)

    def _asked(self) -> None:
        frames = self._socket.recv_multipart(zmq.NOBLOCK)
        split = frames.index(b"") + 1
        version, number, *_, mechanism, key = [*frames[split:], b"", b""][:7]
        admitted = mechanism == b"CURVE" and len(key) == 32 and z85.encode(key) in self._keys
        status = (b"200", b"OK", z85.encode(key)) if admitted else (b"400", b"key not allowed", b"")
        self._socket.send_multipart([*frames[:split], version, number, *status, b""])


def key_of(frame: zmq.Frame) -> bytes | None:
    """Return the public key (Z85) of who has sent a frame; None without CURVE."""
    try:
        return str(frame.get("User-Id")).encode()
    except zmq.ZMQError:
        return None
