"""The sending end of a data connection: parcels in order, each exactly once, with the times of their transfer."""

from __future__ import annotations

import secrets
from collections import deque
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Protocol

import zmq

from hardware.transport.dial import Dial
from hardware.transport.parcel import DEFAULT_LIMITS, head_of
from hardware.transport.wire import (
    ACK,
    ACKNOWLEDGE,
    BEAT,
    BEATING,
    CREDIT,
    CREDITED,
    DATA,
    DATA_HEAD,
    Hello,
    Role,
    read_beaten,
)
from twin.errors import TransportError

if TYPE_CHECKING:
    from hardware.transport.credentials import Credentials
    from hardware.transport.loop import Loop
    from hardware.transport.parcel import Kind, Limits, Parcel
    from hardware.transport.wire import Welcome

COPY_BELOW_BYTES = 262_144
"""Shorter buffers are copied when they are sent: that takes less time than to keep track of them."""

# Plain numbers: the library's own take longer to combine than a parcel has.
_NOW, _MORE, _POLLIN = int(zmq.NOBLOCK), int(zmq.SNDMORE | zmq.NOBLOCK), int(zmq.POLLIN)
_ANSWER_BYTES = 4096
"""A hub sends nothing longer to a lane."""
_PINGS = 6
"""How many pings count for the delay; conditions change, so old ones must go."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """When a parcel travelled; all times on the sender's monotonic clock.

    Attributes:
        kind: As in the parcel.
        request: As in the parcel.
        attempt: As in the parcel.
        epoch: As in the parcel.
        size_bytes: Payload bytes.
        queued_s: When `send` was called.
        start_s: When the transmission began: the latest of `queued_s`, the finish of the parcel before it, and the
            instant at which there was a connection and credit.
        finish_s: When its last byte had left the link: `acked_s` less the round trip of an empty message.
        acked_s: When the receipt arrived.
    """

    kind: Kind
    request: int
    attempt: int
    epoch: int
    size_bytes: int
    queued_s: float
    start_s: float
    finish_s: float
    acked_s: float

    @property
    def transfer_s(self) -> float:
        """From the start of the transmission to the receipt."""
        return self.acked_s - self.start_s


class Listener(Protocol):
    """Is told, in the loop's thread, what became of each parcel: one of the two, once."""

    def sent(self, receipt: Receipt) -> object:
        """A parcel has arrived."""

    def lost(self, parcels: list[Parcel]) -> object:
        """These, in order, are not known to have arrived and are not sent any more.

        Their peer has started anew, has refused them (too large for its limits), or the lane was closed.
        """


@dataclass(slots=True)
class _Entry:
    """A parcel in the lane: its number, its head as sent, and the bytes of all parcels up to and with it."""

    number: int
    parcel: Parcel
    head: bytes
    size_bytes: int
    through_bytes: int
    queued_s: float
    handed_s: float | None = None


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
        self.waiting = self.bytes_waiting = 0
        self._loop, self._listener, self._limits, self._ping_s = loop, listener, limits, ping_s
        self._identity = identity
        self._unsent: deque[_Entry] = deque()
        self._unacked: deque[_Entry] = deque()
        self._incarnation: int | None = None
        self._window = (0, 0)
        self.delay_s: float | None = None
        self._finish_s = 0.0
        self._pings_s: deque[float] = deque(maxlen=_PINGS)
        self._pinged = False
        self._numbered = self._sent = self._acked = 0
        self._through_bytes = self._sent_bytes = self._acked_bytes = 0
        self._taken_parcels = self._taken_bytes = 0
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

    def send(self, parcel: Parcel) -> None:
        """Queue a parcel behind those before it.

        Raises:
            TransportError: The parcel is malformed or over the limits, or the lane is closed; nothing is queued.
        """
        if self._dial.state == "closed":
            raise TransportError(f"the lane of {self._identity} is closed; request {parcel.request} cannot be sent")
        head, size_bytes = head_of(parcel, self._limits), parcel.size_bytes
        self._numbered += 1
        self._through_bytes += size_bytes
        self._unsent.append(_Entry(self._numbered, parcel, head, size_bytes, self._through_bytes, monotonic()))
        self.waiting += 1
        self.bytes_waiting += size_bytes
        self._pump()

    def under_way(self, now_s: float) -> list[tuple[int, float]]:
        """Return (size_bytes, start_s) of what is being transmitted at `now_s`.

        That is one parcel, the oldest without a receipt, or none: parcels behind it in the connection have not begun
        as far as is known here.
        """
        if not self._unacked or self._start_s(self._unacked[0]) > now_s:
            return []
        return [(self._unacked[0].size_bytes, self._start_s(self._unacked[0]))]

    def redial(self) -> None:
        """Break the connection and dial at once: for an owner that knows the old one to be dead. Nothing is lost."""
        self._dial.redial()

    def close(self) -> None:
        """Hang up. `listener.lost` is given what is waiting, and nothing is called after that. Harmless twice."""
        self._dial.close()
        self._ping_timer.cancel()
        self._lose()

    def welcomed(self, welcome: Welcome) -> None:
        """The connection is up (called by the `Dial`)."""
        known = welcome.incarnation == self._incarnation and self._acked <= welcome.arrived <= self._sent
        if self._incarnation is not None and not known:
            # What the listener sends again at once waits until the new count has begun.
            self._window = (0, 0)
            self._lose()
        self._incarnation = welcome.incarnation
        self._window = (welcome.window_parcels, welcome.window_bytes)
        self._credited(welcome.taken_parcels, welcome.taken_bytes)
        # What came before the break has arrived, though its receipt did not; what did not goes again, first.
        self._arrived(welcome.arrived, 0.0)
        if self._unacked:
            self._loop.lanes_busy -= 1
            self._unsent.extendleft(reversed(self._unacked))
            self._unacked.clear()
        self._sent = self._acked
        self._sent_bytes = self._acked_bytes
        self._pinged = False
        self._ping()
        self._pump()

    def broken(self) -> None:
        """The connection is gone (called by the `Dial`): what has no receipt waits for the next one."""

    def readable(self) -> None:
        """Read what the hub has sent (called by the loop)."""
        socket = self._dial.socket
        while socket is not None and socket is self._dial.socket:
            try:
                raw = socket.recv(_NOW)
            except zmq.Again:
                return
            self._take(raw)
            # Cheaper than an exception, and mostly there is only one.
            if socket.closed or not int(socket.getsockopt(zmq.EVENTS)) & _POLLIN:
                return

    def _take(self, raw: bytes) -> None:
        kind, length = raw[0] if raw else 0, len(raw)
        if kind == ACK and length == ACKNOWLEDGE.size:
            _, refused, number, handled_s, *credit = ACKNOWLEDGE.unpack(raw)
            self._credited(*credit)
            if refused:
                self._refused(number)
            else:
                self._arrived(number, handled_s)
            self._pump()
        elif kind == CREDIT and length == CREDITED.size:
            self._credited(*CREDITED.unpack(raw)[1:])
            self._pump()
        elif (offset := read_beaten(raw, monotonic())) is not None:
            self._pinged = False
            self._pings_s.append(max(0.0, offset.rtt_s))
            self.delay_s = min(self._pings_s)

    def _credited(self, taken_parcels: int, taken_bytes: int) -> None:
        self._taken_parcels, self._taken_bytes = taken_parcels, taken_bytes

    def _pump(self) -> None:
        """Hand to the connection what there is credit for."""
        socket, unsent = self._dial.socket, self._unsent
        if socket is None:
            return
        parcels, size_bytes = self._window
        while (
            unsent and self._sent - self._taken_parcels < parcels and self._sent_bytes - self._taken_bytes < size_bytes
        ):
            entry = unsent.popleft()
            if entry.handed_s is None:
                entry.handed_s = monotonic()
            self._sent, self._sent_bytes = entry.number, entry.through_bytes
            if not self._unacked:
                self._loop.lanes_busy += 1
            self._unacked.append(entry)
            _hand(socket, entry)

    def _arrived(self, number: int, handled_s: float) -> None:
        """Everything up to `number` has arrived."""
        while self._unacked and self._unacked[0].number <= number:
            entry = self._unacked[0]
            acked_s, start_s = monotonic(), self._start_s(entry)
            self._finish_s = max(start_s, acked_s - handled_s - (self.delay_s or 0.0))
            self._off_the_queue()
            parcel = entry.parcel
            self._listener.sent(
                Receipt(
                    parcel.kind,
                    parcel.request,
                    parcel.attempt,
                    parcel.epoch,
                    entry.size_bytes,
                    entry.queued_s,
                    start_s,
                    self._finish_s,
                    acked_s,
                )
            )

    def _refused(self, number: int) -> None:
        if self._unacked and self._unacked[0].number == number:
            self._listener.lost([self._off_the_queue().parcel])

    def _off_the_queue(self) -> _Entry:
        entry = self._unacked.popleft()
        self._acked, self._acked_bytes = entry.number, entry.through_bytes
        self.waiting -= 1
        self.bytes_waiting -= entry.size_bytes
        if not self._unacked:
            self._loop.lanes_busy -= 1
        return entry

    def _start_s(self, entry: _Entry) -> float:
        return max(entry.queued_s, entry.handed_s or entry.queued_s, self._finish_s)

    def _lose(self) -> None:
        """Give up everything that waits, and count from the beginning again."""
        if self._unacked:
            self._loop.lanes_busy -= 1
        lost = [entry.parcel for entry in (*self._unacked, *self._unsent)]
        self._unacked.clear()
        self._unsent.clear()
        self.waiting = self.bytes_waiting = 0
        self._begin()
        if lost:
            self._listener.lost(lost)

    def _begin(self) -> None:
        self._numbered = self._sent = self._acked = 0
        self._through_bytes = self._sent_bytes = self._acked_bytes = 0
        self._taken_parcels = self._taken_bytes = 0

    def _ping(self) -> None:
        # A ping behind a parcel would measure the parcel.
        socket = self._dial.socket
        if socket is not None and not self._unacked and not self._pinged:
            self._pinged = True
            socket.send(BEATING.pack(BEAT, monotonic()), zmq.NOBLOCK)

    def _ping_again(self) -> None:
        self._ping()
        self._ping_timer = self._loop.call_at(monotonic() + self._ping_s, self._ping_again)


def _hand(socket: zmq.Socket[bytes], entry: _Entry) -> None:
    buffers = entry.parcel.buffers
    last = len(buffers) - 1
    head = DATA_HEAD.pack(DATA, entry.number) + entry.head
    socket.send(head, _MORE if buffers else _NOW)
    for place, buffer in enumerate(buffers):
        copied = memoryview(buffer).nbytes < COPY_BELOW_BYTES
        socket.send(buffer, _NOW if place == last else _MORE, copied)
