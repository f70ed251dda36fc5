"""The socket of a hub: messages with the addresses of those that sent them, and answers to them."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, TypeAlias

import zmq

from hardware.transport.dial import keep_alive
from twin.errors import TransportError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hardware.transport.credentials import Credentials
    from hardware.transport.loop import Loop
    from hardware.transport.parcel import Buffer, Limits

# Plain numbers: the library's own take longer to combine than a parcel has.
_NOW, _MORE = int(zmq.NOBLOCK), int(zmq.SNDMORE | zmq.NOBLOCK)
Heard: TypeAlias = "tuple[bytes, list[zmq.Frame], int, float]"
"""A message that has arrived.

Routing id of the connection; its frames, at least one and no more than any message may have; bytes of all frames, those
that were not kept too; when it was read, in monotonic seconds.
"""
_HEADROOM_BYTES = 16_384
"""CURVE, the heads, and tensors that travel behind them make frames longer than what they carry."""


class Port:
    """One ROUTER socket, bound.

    Args:
        loop: The loop that owns the socket.
        endpoint: Such as `tcp://127.0.0.1:*`.
        credentials: The own keys; without, CURVE is off.
        limits: What is accepted.

    Raises:
        TransportError: The endpoint cannot be bound.

    Attributes:
        socket: To be watched.
        number: The port as bound.
    """

    def __init__(self, loop: Loop, endpoint: str, credentials: Credentials, limits: Limits) -> None:
        socket: Any = loop.context.socket(zmq.ROUTER)
        self.socket = socket
        self._most_frames = limits.tensors + 3
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
        self.number = int(socket.last_endpoint.rsplit(b":", 1)[1])

    def read(self) -> Heard | None:
        """Return the next message; None if there is none."""
        receive = self.socket.recv
        try:
            address = receive(_NOW)
        except zmq.Again:
            return None
        heard_s = monotonic()
        frame = receive(_NOW, copy=False)
        frames, size_bytes = [frame], len(frame)
        # Frames beyond what any message has are read, counted and not kept.
        while frame.more:
            frame = receive(_NOW, copy=False)
            size_bytes += len(frame)
            if len(frames) < self._most_frames:
                frames.append(frame)
        return address, frames, size_bytes, heard_s

    def tell(self, address: bytes, message: bytes) -> None:
        """Send one short frame; to nobody once the port is closed."""
        socket = self.socket
        if not socket.closed:
            socket.send(address, _MORE)
            socket.send(message, _NOW)

    def send(self, address: bytes, frames: Sequence[Buffer]) -> bool:
        """Send a message; False once the port is closed."""
        if self.socket.closed:
            return False
        self.socket.send_multipart([address, *frames], zmq.NOBLOCK)
        return True

    def close(self) -> None:
        """Close it, dropping what it has not sent. Harmless twice."""
        self.socket.close(linger=0)
