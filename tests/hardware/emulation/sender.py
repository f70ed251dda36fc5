"""Sends messages of given sizes one after the other and prints when each was sent and acknowledged.

    python sender.py HOST PORT SECONDS SIZE [SIZE ...]

Sizes are repeated until SECONDS have passed, at least once each. Prints a list of [size, start, end] in monotonic
seconds; the first is a message of 16 bytes.
"""

import itertools
import json
import socket
import struct
import sys
import time

TIMEOUT_S = 10.0


class Client:
    """Sends messages and waits for the 8 bytes that acknowledge each."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.socket = socket.create_connection((host, port), timeout=TIMEOUT_S)
        self.sent_s = 0.0
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, size_bytes: int, tag: bytes = b"12345678") -> None:
        """Send a message of `size_bytes` bytes, its length included, with an 8-byte tag."""
        message = struct.pack("<q", size_bytes - 8) + tag + bytes(size_bytes - 16)
        self.sent_s = time.monotonic()
        self.socket.sendall(message)

    def ack(self) -> bytes:
        """Wait for an acknowledgement."""
        got = b""
        while len(got) < 8:
            data = self.socket.recv(8 - len(got))
            if not data:
                raise ConnectionResetError("closed before the acknowledgement")
            got += data
        return got

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()


def main() -> None:
    host, port, seconds, *sizes = sys.argv[1:]
    client = Client(int(port), host)
    rows, until_s = [], time.monotonic() + float(seconds)
    for position, size in enumerate(itertools.chain(["16"] * 5, itertools.cycle(sizes))):
        if position >= len(sizes) + 5 and time.monotonic() > until_s:
            break
        client.send(int(size))
        client.ack()
        rows.append([int(size), client.sent_s, time.monotonic()])
    client.close()
    sys.stdout.write(json.dumps(rows))


if __name__ == "__main__":
    main()
