"""Stands for an agent: says its port, answers each message with its name, and ends when its input does.

python standin.py NAME [early | deaf | babble | portless | ""] [HOST PORT]
"""

import signal
import socket
import struct
import sys
import threading
import time


def serve(name: str, client: socket.socket) -> None:
    with client, client.makefile("rb") as file:
        while len(head := file.read(8)) == 8:
            file.read(struct.unpack("<q", head)[0])
            client.sendall(name.encode().ljust(8)[:8])


def accept(name: str, listener: socket.socket) -> None:
    while True:
        client, _ = listener.accept()
        threading.Thread(target=serve, args=(name, client), daemon=True).start()


def main(name: str, how: str = "", host: str = "127.0.0.1", port: str = "0") -> int:
    if how == "early":
        sys.stderr.write("no weights\nin this file\n")
        return 3
    if how in ("babble", "portless"):
        sys.stdout.write("hello\n" if how == "babble" else '{"name": "x"}\n')
        sys.stdout.flush()
        sys.stdin.read()
        return 0
    listener = socket.create_server((host, int(port)))
    threading.Thread(target=accept, args=(name, listener), daemon=True).start()
    if how == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.stdout.write(f'{{"port": {listener.getsockname()[1]}}}\n')
    sys.stdout.flush()
    sys.stdin.read()
    while how == "deaf":
        time.sleep(1.0)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
