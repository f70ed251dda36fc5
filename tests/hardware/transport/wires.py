"""Parts of transport tests: a hub that notes what it is told, a listener, a proxy that cuts, a hub as a process."""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from hardware.transport.credentials import CURVE_OFF
from hardware.transport.hub import Hub
from hardware.transport.lane import Lane
from hardware.transport.line import Line
from hardware.transport.parcel import DEFAULT_LIMITS, Kind, Parcel, TensorSpec
from twin.errors import TransportError

ROOT = Path(__file__).parents[3]


def parcel(request=0, size_bytes=16, kind=Kind.WORK):
    content = bytes([request % 251]) * size_bytes
    return Parcel(kind, request, 0, 0, 1, (TensorSpec("uint8", (size_bytes,)),), (content,))


def run_until(loop, condition, timeout_s=10.0):
    """Run `loop` until `condition()`; fail if that takes too long."""
    end_s = time.monotonic() + timeout_s

    def look():
        if condition() or time.monotonic() > end_s:
            loop.stop()
        else:
            loop.call_at(time.monotonic() + 0.001, look)

    loop.post(look)
    loop.run()
    assert condition(), "this never came about"


def run_for(loop, time_s):
    loop.call_at(time.monotonic() + time_s, loop.stop)
    loop.run()


class Listener:
    def __init__(self):
        self.receipts, self.lost_parcels = [], []

    def sent(self, receipt):
        self.receipts.append(receipt)

    def lost(self, parcels):
        self.lost_parcels += parcels


class NotingHub:
    """A hub with lists of what it was told; releases at once unless `hold` is set."""

    def __init__(self, loop, credentials=CURVE_OFF, limits=DEFAULT_LIMITS, port="*", echo=True):
        self.parcels, self.messages, self.events, self.releases = [], [], [], []
        self.hold, self.echo = False, echo
        self.hub = Hub(
            loop,
            f"tcp://127.0.0.1:{port}",
            credentials,
            on_parcel=self.parcel,
            on_message=self.message,
            on_up=lambda peer: self.events.append(("up", peer)),
            on_down=lambda peer: self.events.append(("down", peer)),
            limits=limits,
        )
        self.endpoint = f"tcp://127.0.0.1:{self.hub.port}"

    def parcel(self, sender, parcel, release):
        self.parcels.append((sender, parcel))
        self.releases.append(release)
        if not self.hold:
            release()

    def message(self, peer, message, blobs):
        self.messages.append((peer, message, blobs))
        if self.echo:
            self.hub.answer(peer, message, {"echo": message.get("word")}, blobs)

    @property
    def requests(self):
        return [parcel.request for _, parcel in self.parcels]


def reopened(loop, port, **options):
    """A hub on a port that was closed just now: ZeroMQ frees it in a thread of its own, a little later."""
    end_s = time.monotonic() + 5.0
    while True:
        try:
            return NotingHub(loop, port=port, **options)
        except TransportError:
            if time.monotonic() > end_s:
                raise
            time.sleep(0.005)


class Talk:
    """What a line was told."""

    def __init__(self, loop, endpoint, identity="pi", credentials=CURVE_OFF, silent_s=0.2):
        self.events, self.messages = [], []
        self.line = Line(
            loop,
            endpoint,
            identity,
            credentials,
            silent_s=silent_s,
            on_message=lambda message, blobs: self.messages.append((message, blobs)),
            on_up=lambda incarnation: self.events.append(("up", incarnation)),
            on_down=lambda reason: self.events.append(("down", reason)),
        )

    @property
    def states(self):
        return [state for state, _ in self.events]


def lane_to(loop, endpoint, identity="pi", credentials=CURVE_OFF, **options):
    listener = Listener()
    return Lane(loop, endpoint, identity, credentials, listener=listener, **options), listener


class Proxy:
    """A TCP proxy in a thread that can be cut: connections break and new ones are closed at once."""

    def __init__(self, port):
        self._target, self._open, self._pairs = port, True, []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"tcp://127.0.0.1:{self._listening.getsockname()[1]}"
        self._lock = threading.Lock()
        self._ends = os.eventfd(0)
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def cut(self):
        with self._lock:
            self._open = False
            pairs, self._pairs = self._pairs, []
        for end in (end for pair in pairs for end in pair):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def restore(self):
        self._open = True

    def close(self):
        self.cut()
        os.eventfd_write(self._ends, 1)
        self._thread.join()
        os.close(self._ends)
        self._listening.close()

    def _accept(self):
        pumps = []
        while self._ends not in select.select([self._listening, self._ends], [], [])[0]:
            near, _ = self._listening.accept()
            with self._lock:
                if not self._open:
                    near.close()
                    continue
                far = socket.create_connection(("127.0.0.1", self._target))
                self._pairs.append((near, far))
            pumps.append(threading.Thread(target=self._pump, args=(near, far)))
            pumps[-1].start()
        for pump in pumps:
            pump.join()

    @staticmethod
    def _pump(near, far):
        other = {near: far, far: near}
        with near, far, contextlib.suppress(OSError):
            while True:
                for end in select.select([near, far], [], [])[0]:
                    data = end.recv(65536)
                    if not data:
                        return
                    other[end].sendall(data)


class HubProcess:
    """`hubprocess.py` as a child: it notes the requests that arrive, and ends with its input."""

    def __init__(self, port="*"):
        command = [sys.executable, str(Path(__file__).with_name("hubprocess.py")), str(port)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=_environment()
        )
        self.port = json.loads(self._process.stdout.readline())["port"]
        self.endpoint = f"tcp://127.0.0.1:{self.port}"

    def freeze(self):
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self._process.send_signal(signal.SIGCONT)

    def kill(self):
        self._process.kill()
        self._process.communicate()

    def end(self):
        """Return what it has noted: `requests` as [sender, request] and `events`."""
        told, _ = self._process.communicate("", timeout=20)
        return json.loads(told)


def _environment():
    return {**os.environ, "PYTHONPATH": str(ROOT)}
