"""A connection through a pipe: the socket that was accepted, the one that was dialled, and a flow each way."""

from __future__ import annotations

import contextlib
import math
import socket
from typing import TYPE_CHECKING

from hardware.emulation.flow import Flow

if TYPE_CHECKING:
    from hardware.emulation.flow import Road

_READ_BYTES = 262_144


class Connection:
    """Carries bytes between a client and the device that its pipe leads to.

    The device is dialled when the client's wish to connect would have reached it. A client that closes while the link
    is cut takes back what waits: no outage lets stale bytes out later.

    Attributes:
        there: The flow from the client to the device.
        back: The flow from the device to the client.
        closed: Whether both sockets are closed.

    Args:
        client: The socket that was accepted.
        address: Host and port of the device.
        there: Road of the way to the device.
        back: Road of the way back.
        now_s: The present moment.
    """

    def __init__(self, client: socket.socket, address: tuple[str, int], there: Road, back: Road, now_s: float) -> None:
        self._client = client
        self._device: socket.socket | None = None
        self._address = address
        self._gate = there.gate
        self._dial_delay_s = there.delay_s(now_s)
        self._dial_s = self._gate.opens_s(now_s) + self._dial_delay_s
        self.there = Flow(there, self._send_there)
        self.back = Flow(back, self._send_back)
        self.closed = False
        self._leave_s = math.inf
        self._left = False
        _prepare(client)

    @property
    def next_s(self) -> float:
        """Moment at which something is to be done; infinite if nothing is."""
        if self._left:
            return self._leave_s
        if self._device is None:
            return self._dial_s
        return min(self.there.next_s, self.back.next_s)

    def readers(self) -> list[tuple[socket.socket, Flow]]:
        """Sockets that may be read, with the flow that takes what they hold."""
        if self._left:
            return []
        found = [] if self.there.ended or self.there.full else [(self._client, self.there)]
        if self._device is not None and not self.back.ended and not self.back.full:
            found.append((self._device, self.back))
        return found

    def writers(self) -> list[socket.socket]:
        """Sockets whose other end takes nothing more for now."""
        found = [self._client] if self.back.blocked else []
        if self._device is not None and self.there.blocked:
            found.append(self._device)
        return found

    def read(self, source: socket.socket, flow: Flow, now_s: float) -> None:
        """Take in what a socket holds."""
        try:
            data = source.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            if source is self._client:
                self._leave(now_s)
                return
            data = b""
        if not data and source is self._client and not self._gate.is_open(now_s):
            self._leave(now_s)
            return
        flow.take(data, now_s)

    def step(self, now_s: float) -> None:
        """Do what is due: dial, hand on, close."""
        if self._left:
            if self._leave_s <= now_s:
                self.close()
            return
        if self._device is None:
            if self._dial_s <= now_s:
                self._dial()
            return
        for flow, other in ((self.there, self.back), (self.back, self.there)):
            try:
                flow.hand_on(now_s)
            except OSError:
                # A client that wrote and left at once hears no answer, but its bytes still arrive.
                flow.closed = flow.ended = True
                if not other.ended or other.empty:
                    self.close()
                    return
        if all(flow.ended and (flow.closed or flow.empty) for flow in (self.there, self.back)):
            self.close()

    def cut(self) -> None:
        """Take note that the link was cut by hand."""
        self._dial_s = self._leave_s = math.inf

    def healed(self, now_s: float) -> None:
        """Go on after the link was cut by hand."""
        self._dial_s = self._leave_s = self._gate.opens_s(now_s) + self._dial_delay_s
        self.there.healed(now_s)
        self.back.healed(now_s)

    def close(self) -> None:
        """Close both sockets; what is still held is lost."""
        self.closed = self.there.closed = self.back.closed = True
        self._client.close()
        if self._device is not None:
            self._device.close()

    def _leave(self, now_s: float) -> None:
        """The client is gone: what waits is lost, and the device learns of it when that has crossed the link."""
        self._left = self.there.closed = self.back.closed = True
        self._client.close()
        self._leave_s = self._gate.opens_s(now_s) + self._dial_delay_s
        if self._device is None:
            self.close()

    def _dial(self) -> None:
        device = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        _prepare(device)
        self._device = device
        with contextlib.suppress(BlockingIOError):
            try:
                device.connect(self._address)
            except BlockingIOError:
                raise
            except OSError:
                # The device does not listen: the client finds its connection closed, as if it had been refused.
                self.close()

    def _send_there(self, data: memoryview) -> int:
        assert self._device is not None  # noqa: S101 - nothing is handed on before the device is dialled
        return _send(self._device, data)

    def _send_back(self, data: memoryview) -> int:
        return _send(self._client, data)


def _prepare(end: socket.socket) -> None:
    end.setblocking(False)
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _send(end: socket.socket, data: memoryview) -> int:
    """Send bytes and return how many were taken; no bytes end the stream."""
    if not len(data):
        end.shutdown(socket.SHUT_WR)
        return 0
    try:
        return end.send(data)
    except BlockingIOError:
        return 0
