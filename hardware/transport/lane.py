"""The sending end of a data connection: parcels in order, each exactly once, with the times of their transfer."""

from __future__ import annotations

import secrets
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING

import zmq

from hardware.transport.dial import Dial
from hardware.transport.outbox import Outbox
from hardware.transport.parcel import DEFAULT_LIMITS
from hardware.transport.receipt import Listener, Receipt
from hardware.transport.wire import (
    ACK,
    ACKNOWLEDGE,
    BEAT,
    BEATING,
    CREDIT,
    CREDITED,
    Hello,
    Role,
    read_beaten,
)
from twin.errors import TransportError

if TYPE_CHECKING:
    from hardware.transport.credentials import Credentials
    from hardware.transport.loop import Loop
    from hardware.transport.outbox import Entry
    from hardware.transport.parcel import Limits, Parcel
    from hardware.transport.wire import Welcome

__all__ = ["COPY_BELOW_BYTES", "Lane", "Listener", "Receipt"]

COPY_BELOW_BYTES = 262_144
"""Shorter buffers are copied when they are sent: that takes less time than to keep track of them."""

# Plain numbers: the library's own take longer to combine than a parcel has.
_NOW, _MORE = int(zmq.NOBLOCK), int(zmq.SNDMORE | zmq.NOBLOCK)
_ANSWER_BYTES = 4096
"""A hub sends nothing longer to a lane."""
_PINGS = 6
"""How many pings count for the delay; conditions change, so old ones must go."""


class Lane:
    """Dials a hub and keeps dialling; everything here is called in, and calls from, the loop's thread.

    A lane never gives up by itself: while its peer does not answer, or a link stands still, parcels wait. Frames
    above `COPY_BELOW_BYTES` are sent from where they lie.

    Args:
        loop: The loop that owns the socket.
        endpoint: Of the peer's hub, or of a shaper before it.
        identity: The `sender` that the hub tells its owner; its name must match the key.
        credentials: With the key of the peer: `credentials.towards(name)`.
        listener: Is told what became of parcels.
        limits: What the peer accepts, as far as known here; `send` refuses more.
        ping_s: Interval of pings while the lane is idle.

    Attributes:
        state: `dialling`, `refused` (dialling on), `up` or `closed`.
        why: What was last wrong with the connection, in words; empty while up.
        waiting: Parcels waiting or being sent: sent, and neither acknowledged nor lost.
        bytes_waiting: Their payload bytes.
        delay_s: Smallest recent round trip of a ping on this connection; None until the first.
    """

    def __init__(
        self,
        loop: Loop,
        endpoint: str,
        identity: str,
        credentials: Credentials,
        *,
        listener: Listener,
        limits: Limits = DEFAULT_LIMITS,
        ping_s: float = 0.5,
    ) -> None:
        self._loop, self._listener, self._ping_s = loop, listener, ping_s
        self._identity = identity
        self._outbox = Outbox(loop, limits)
        self._incarnation: int | None = None
        self.delay_s: float | None = None
        self._finish_s = 0.0
        self._pings_s: deque[float] = deque(maxlen=_PINGS)
        self._pinged = False
        hello = Hello(Role.LANE, secrets.randbits(63), loop.incarnation, 0.0, identity).pack()
        self._dial = Dial(loop, endpoint, credentials, hello, self, _ANSWER_BYTES)
        self._ping_timer = loop.call_at(monotonic() + ping_s, self._ping_again)

    @property
    def state(self) -> str:
        """`dialling`, `refused` (dialling on), `up` or `closed`."""
        return self._dial.state

    @property
    def why(self) -> str:
        """What was last wrong with the connection, in words; empty while up."""
        return self._dial.why

    @property
    def waiting(self) -> int:
        """Parcels waiting or being sent: sent, and neither acknowledged nor lost."""
        return self._outbox.waiting

    @property
    def bytes_waiting(self) -> int:
        """Their payload bytes."""
        return self._outbox.bytes_waiting

    def send(self, parcel: Parcel) -> None:
        """Queue a parcel behind those before it.

        Raises:
            TransportError: The parcel is malformed or over the limits, or the lane is closed; nothing is queued.
        """
        if self._dial.state == "closed":
            raise TransportError(f"the lane of {self._identity} is closed; request {parcel.request} cannot be sent")
        self._outbox.put(parcel)
        self._pump()

    def under_way(self, now_s: float) -> list[tuple[int, float]]:
        """Return (size_bytes, start_s) of what is being transmitted at `now_s`.

        That is one parcel, the oldest without a receipt, or none: parcels behind it in the connection have not begun
        as far as is known here.
        """
        oldest = self._outbox.under_way
        if not oldest or self._start_s(oldest[0]) > now_s:
            return []
        return [(oldest[0].size_bytes, self._start_s(oldest[0]))]

    def redial(self) -> None:
        """Break the connection and dial at once: for an owner that knows the old one to be dead. Nothing is lost."""
        self._dial.redial()

    def close(self) -> None:
        """Hang up. `listener.lost` is given what is waiting, and nothing is called after that. Harmless twice."""
        self._dial.close()
        self._ping_timer.cancel()
        self._lost(self._outbox.lose())

    def welcomed(self, welcome: Welcome) -> None:
        """The connection is up (called by the `Dial`)."""
        known = welcome.incarnation == self._incarnation and self._outbox.fits(welcome)
        if self._incarnation is not None and not known:
            # What the listener sends again at once waits until the new count has begun.
            self._lost(self._outbox.lose())
        self._incarnation = welcome.incarnation
        self._outbox.open(welcome)
        # What came before the break has arrived, though its receipt did not; what did not goes again, first.
        self._arrived(welcome.arrived, 0.0)
        self._outbox.rewind()
        self._pinged = False
        self._ping()
        self._pump()

    def broken(self) -> None:
        """The connection is gone (called by the `Dial`): what has no receipt waits for the next one."""

    def readable(self) -> None:
        """Read a message of the hub (called by the loop)."""
        socket = self._dial.socket
        if socket is None:
            return
        try:
            raw = socket.recv(_NOW)
        except zmq.Again:
            return
        kind, length = raw[0] if raw else 0, len(raw)
        if kind == ACK and length == ACKNOWLEDGE.size:
            _, refused, number, handled_s, taken_parcels, taken_bytes = ACKNOWLEDGE.unpack(raw)
            self._outbox.credited(taken_parcels, taken_bytes)
            if refused:
                self._lost(self._outbox.refused(number))
            else:
                self._arrived(number, handled_s)
            self._pump()
        elif kind == CREDIT and length == CREDITED.size:
            self._outbox.credited(*CREDITED.unpack(raw)[1:])
            self._pump()
        elif (offset := read_beaten(raw, monotonic())) is not None:
            self._pinged = False
            self._pings_s.append(max(0.0, offset.rtt_s))
            self.delay_s = min(self._pings_s)

    def _pump(self) -> None:
        """Hand to the connection what there is credit for."""
        socket, take = self._dial.socket, self._outbox.take
        while socket is not None and (entry := take()) is not None:
            _hand(socket, entry)

    def _arrived(self, number: int, handled_s: float) -> None:
        """Everything up to `number` has arrived."""
        while (entry := self._outbox.arrived(number)) is not None:
            acked_s, start_s = monotonic(), self._start_s(entry)
            self._finish_s = finish_s = max(start_s, acked_s - handled_s - (self.delay_s or 0.0))
            kind, request, attempt, epoch = entry.parcel[:4]
            size_bytes, queued_s = entry.size_bytes, entry.queued_s
            self._listener.sent(
                Receipt(kind, request, attempt, epoch, size_bytes, queued_s, start_s, finish_s, acked_s)
            )

    def _start_s(self, entry: Entry) -> float:
        return max(entry.queued_s, entry.handed_s or entry.queued_s, self._finish_s)

    def _lost(self, parcels: list[Parcel]) -> None:
        if parcels:
            self._listener.lost(parcels)

    def _ping(self) -> None:
        # A ping behind a parcel would measure the parcel.
        socket = self._dial.socket
        if socket is not None and not self._outbox.under_way and not self._pinged:
            self._pinged = True
            socket.send(BEATING.pack(BEAT, monotonic()), zmq.NOBLOCK)

    def _ping_again(self) -> None:
        self._ping()
        self._ping_timer = self._loop.call_at(monotonic() + self._ping_s, self._ping_again)


def _hand(socket: zmq.Socket[bytes], entry: Entry) -> None:
    *before, last = entry.frames
    for frame in before:
        socket.send(frame, _MORE, memoryview(frame).nbytes < COPY_BELOW_BYTES)
    socket.send(last, _NOW, memoryview(last).nbytes < COPY_BELOW_BYTES)
