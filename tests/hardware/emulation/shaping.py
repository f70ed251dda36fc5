"""Loopback parts for the tests of the emulation: a server that acknowledges messages, and a shaper in a thread."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import threading
from typing import TYPE_CHECKING, Any

from sender import TIMEOUT_S

from hardware.emulation.proxy import Shaper
from hardware.emulation.wiring import Pipe, Wire, Wiring
from twin.steps import Steps

if TYPE_CHECKING:
    from collections.abc import Iterator


def steps(*pieces: tuple[float, float]) -> Steps:
    """A function of time from (time, value) pairs."""
    return Steps(tuple(t for t, _ in pieces), tuple(v for _, v in pieces))


def one_link(
    rate: Steps, rtt_s: float = 0.0, outages_s: tuple[tuple[float, float], ...] = (), *, half: bool = False
) -> Wiring:
    """A link between devices 0 and 1: data up to device 1, data down to device 0, control up."""
    wire = Wire("a-b", Steps.constant(rtt_s), outages_s)
    return Wiring(
        (wire,),
        (
            Pipe(0, 0, "data", 1, 0, rate),
            Pipe(0, 1, "data", 0, 0 if half else 1, rate),
            Pipe(0, 0, "control", 1, -1, None),
        ),
    )


class Server:
    """Acknowledges each message (8 bytes of length, then the rest) with the first 8 bytes of its body."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.accepted = 0
        self.gone = threading.Semaphore(0)
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.accepted += 1
                self._open.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError), client, client.makefile("rb") as file:
            while len(head := file.read(8)) == 8:
                body = file.read(struct.unpack("<q", head)[0])
                client.sendall(body[:8])
        self.gone.release()

    def close(self) -> None:
        """Close every socket."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for client in self._open:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)


class ShaperThread:
    """A shaper that runs in a thread of the test and takes commands by `tell`."""

    def __init__(self, wiring: Wiring) -> None:
        self._shaper = Shaper(wiring)
        self.ports = self._shaper.ports
        self._read, self._write = os.pipe()
        self._answer: dict[str, Any] = {}
        self._answered = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def tell(self, **command: Any) -> dict[str, Any]:
        """Give a command and return the answer."""
        os.write(self._write, json.dumps(command).encode() + b"\n")
        assert self._answered.acquire(timeout=TIMEOUT_S)
        return self._answer

    def _run(self) -> None:
        with os.fdopen(self._read, "rb", buffering=0) as orders, contextlib.closing(self._shaper):
            while True:
                if not self._shaper.turn(orders.fileno()):
                    continue
                line = orders.readline()
                if not line:
                    return
                self._answer = self._shaper.obey(json.loads(line))
                self._answered.release()

    def close(self) -> None:
        """End it."""
        os.close(self._write)
        self._thread.join(TIMEOUT_S)
        assert not self._thread.is_alive()


@contextlib.contextmanager
def shaped(wiring: Wiring) -> Iterator[tuple[ShaperThread, Server]]:
    """A shaper and a server that stands for both devices."""
    server, shaper = Server(), ShaperThread(wiring)
    try:
        for device in (0, 1):
            shaper.tell(do="aim", device=device, port=server.port)
        yield shaper, server
    finally:
        shaper.close()
        server.close()
