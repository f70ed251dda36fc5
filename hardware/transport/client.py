"""Questions to a hub, one at a time, from a program that has no loop of its own."""

from __future__ import annotations

import secrets
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

import zmq

from hardware.transport.clock import Offset, Offsets
from hardware.transport.dial import Dial
from hardware.transport.loop import Loop
from hardware.transport.parcel import DEFAULT_LIMITS
from hardware.transport.wire import (
    ASK,
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
    from collections.abc import Mapping, Sequence

    from hardware.transport.credentials import Credentials
    from hardware.transport.parcel import Buffer
    from hardware.transport.wire import Welcome

TIMEOUT_S = 10.0
"""How long an answer may take, unless the asking side says otherwise."""


class Client:
    """Dials a hub at the first question and keeps the connection; for one thread; a context manager.

    Args:
        endpoint: Of the hub, such as `tcp://192.168.1.20:5600`.
        identity: The name of this end; each line and client of a hub needs its own.
        credentials: With the key of the hub: `credentials.towards(name)`.
    """

    def __init__(self, endpoint: str, identity: str, credentials: Credentials) -> None:
        self._endpoint, self._identity, self._credentials = endpoint, identity, credentials
        self._loop = Loop()
        self._numbers = count(1)
        self._sending: list[bytes | bytearray | memoryview] | None = None
        self._wanted, self._waiting = 0, False
        self._answer: tuple[dict[str, Any], list[bytes]] | Offset | None = None
        self._problem = ""
        longest_bytes = max(DEFAULT_LIMITS.tensor_bytes, DEFAULT_LIMITS.text_bytes)
        hello = Hello(Role.CLIENT, secrets.randbits(63), self._loop.incarnation, 0.0, identity).pack()
        try:
            self._dial = Dial(self._loop, endpoint, credentials, hello, self, longest_bytes)
        except TransportError:
            self._loop.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(
        self, message: Mapping[str, Any], blobs: Sequence[Buffer] = (), timeout_s: float = TIMEOUT_S
    ) -> tuple[dict[str, Any], list[bytes]]:
        """Send a message and wait for its answer.

        The message is sent with the key `ask` added, a number; the answer is the next message that carries the same
        number (`Hub.answer` adds it), or none at all.

        Returns:
            The answer, with that key taken out, and its blobs.

        Raises:
            TransportError: Nothing answers at the endpoint, the keys do not match, the connection broke before the
                answer came, or the hub let `timeout_s` pass.
        """
        self._wanted = next(self._numbers)
        answer = self._exchange([MESSAGE_HEAD, pack_message({**message, ASK: self._wanted}), *blobs], timeout_s)
        if isinstance(answer, Offset):
            raise TransportError(f"{self._endpoint}: the hub has answered another question")
        answer[0].pop(ASK, None)
        return answer

    def clock_offset(self, exchanges: int = 8, timeout_s: float = TIMEOUT_S) -> Offset:
        """Return the offset of the hub's monotonic clock, by the quickest of some exchanges.

        Raises:
            TransportError: As for `ask`.
        """
        self._wanted = 0
        offsets = Offsets(exchanges)
        for _ in range(exchanges):
            answer = self._exchange([], timeout_s)
            if isinstance(answer, Offset):
                offsets.add(answer)
        best = offsets.best()
        if best is None:
            raise TransportError(f"{self._endpoint}: no clock was read; ask for at least one exchange")
        return best

    def close(self) -> None:
        """Hang up. Harmless twice."""
        self._dial.close()
        self._loop.close()

    def welcomed(self, welcome: Welcome) -> None:  # noqa: ARG002 - any incarnation will do
        """The connection is up (called by the `Dial`)."""
        self._send()

    def broken(self) -> None:
        """The connection is gone (called by the `Dial`)."""
        if self._sending is None and self._waiting:
            self._problem = "the connection broke before the answer came; has the agent died? look at its output"
            self._loop.stop()

    def readable(self) -> None:
        """Read what the hub has sent (called by the loop)."""
        socket = self._dial.socket
        while socket is not None and socket is self._dial.socket:
            try:
                frames = socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._take(frames)

    def _exchange(
        self, frames: list[bytes | bytearray | memoryview], timeout_s: float
    ) -> tuple[dict[str, Any], list[bytes]] | Offset:
        """Send `frames` (a beat if there are none) once the connection is up, and wait for what answers them."""
        if self._dial.state == "closed":
            raise TransportError(f"{self._endpoint}: this client is closed; make another")
        self._answer, self._problem, self._waiting = None, "", True
        self._sending = frames
        late = self._loop.call_at(monotonic() + timeout_s, self._loop.stop)
        # Breaks that happened since the last question come first: only then is the state what it says.
        self._loop.post(self._loop.post, self._send)
        try:
            self._loop.run()
        finally:
            late.cancel()
            unsent, self._sending, self._waiting = self._sending is not None, None, False
        if self._answer is None:
            raise TransportError(f"{self._endpoint}: {self._problem or self._complaint(timeout_s, unsent=unsent)}")
        return self._answer

    def _send(self) -> None:
        socket, frames = self._dial.socket, self._sending
        if socket is None or frames is None:
            return
        self._sending = None
        socket.send_multipart(frames or [BEATING.pack(BEAT, monotonic())], zmq.NOBLOCK)

    def _take(self, frames: list[bytes]) -> None:
        received_s, head = monotonic(), frames[0]
        if head == MESSAGE_HEAD and self._wanted:
            try:
                message, blobs = read_message(frames, DEFAULT_LIMITS)
            except TransportError as error:
                self._end(None, f"the answer cannot be used: {error}")
                return
            if message.get(ASK, self._wanted) == self._wanted:
                self._end((message, blobs))
            return
        offset = read_beaten(head, received_s)
        if offset is not None and not self._wanted:
            self._end(offset)

    def _end(self, answer: tuple[dict[str, Any], list[bytes]] | Offset | None, problem: str = "") -> None:
        self._answer, self._problem = answer, problem
        self._loop.stop()

    def _complaint(self, timeout_s: float, *, unsent: bool) -> str:
        if not unsent:
            return f"no answer within {timeout_s} s; is the agent busy or stopped? look at its output, or wait longer"
        if self._dial.state == "refused":
            return (
                f"refused: {self._dial.why}; check that the agent has the public key of {self._identity!r} among its "
                "allowed keys, that the key known here is the agent's, and that CURVE is on at both ends or at none"
            )
        return (
            f"not reached within {timeout_s} s: {self._dial.why}; check the address and the firewall, and that "
            "`python -m hardware.agent` is running there"
        )
