"""A child process that says first what it offers, and ends when its parent does."""

from __future__ import annotations

import contextlib
import io
import json
import queue
import signal
import subprocess
import threading
import time
from typing import IO, TYPE_CHECKING, Any

from twin.errors import EmulationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_TAIL_BYTES = 2_000
_GRACE_S = 2.0
"""Time to end by itself once the input has ended; as long again after SIGTERM, which is half of what may pass."""


class Child:
    """A process whose input is a pipe that only this process holds, so that it sees our end whatever ends us.

    It has a process group of its own: Ctrl-C reaches the parent alone, which then ends it in order, and a child that is
    frozen when the parent dies is woken and hung up on by the kernel.

    Attributes:
        name: What error messages call it.
        frozen: Whether it was stopped by SIGSTOP.
        process: The process.

    Args:
        name: What error messages call it.
        command: Program and arguments.
        log: File to which its error output is added.

    Raises:
        EmulationError: The program cannot be started.
    """

    def __init__(self, name: str, command: Sequence[str], log: Path) -> None:
        self.name = name
        self.frozen = False
        self._log = log
        self._lines: queue.Queue[bytes | None] = queue.Queue()
        try:
            with log.open("ab") as errors:
                self._log_start = errors.tell()
                self.process: subprocess.Popen[bytes] = subprocess.Popen(  # noqa: S603 - a command of our own
                    list(command),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    bufsize=0,
                    process_group=0,
                )
        except OSError as error:
            raise EmulationError(f"{name}: cannot start `{command[0]}`: {error}") from error
        assert self.process.stdout is not None  # noqa: S101 - it is a pipe
        self._listener = threading.Thread(target=self._listen, args=(self.process.stdout,), daemon=True)
        self._listener.start()

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self.process.poll() is None

    def hear(self, timeout_s: float) -> dict[str, Any]:
        """Wait for the next line of its output and return it.

        Raises:
            EmulationError: It ended, said nothing in time, or said something that is not a JSON object.
        """
        try:
            line = self._lines.get(timeout=timeout_s)
        except queue.Empty:
            raise EmulationError(f"{self.name}: said nothing for {timeout_s:g} s{self._tail()}") from None
        if line is None:
            self._lines.put(None)
            raise self.died()
        try:
            message = json.loads(line)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            raise EmulationError(f"{self.name}: said {line[:200]!r}, which is not a JSON object{self._tail()}")
        return message

    def say(self, message: Mapping[str, Any]) -> None:
        """Write a line to its input.

        Raises:
            EmulationError: It has ended.
        """
        assert self.process.stdin is not None  # noqa: S101 - it is a pipe
        left = memoryview(json.dumps(message).encode() + b"\n")
        try:
            while left:
                left = left[self.process.stdin.write(left) or 0 :]
        except (OSError, ValueError) as error:
            raise self.died() from error

    def died(self) -> EmulationError:
        """The error of a child that has ended without being asked to."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=1.0)
        status = self.process.poll()
        how = f"ended by {signal.Signals(-status).name}" if status is not None and status < 0 else f"status {status}"
        return EmulationError(f"{self.name}: ended early ({how}); its log is {self._log}{self._tail()}")

    def freeze(self) -> None:
        """Stop it in the middle of whatever it does."""
        self._signal(signal.SIGSTOP)
        self.frozen = True

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)
        self.frozen = False

    def kill(self) -> None:
        """End it at once."""
        self._signal(signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=_GRACE_S)
        self.hang_up()

    def hang_up(self) -> None:
        """End its input, which asks it to end."""
        if self.frozen:
            self.thaw()
        assert self.process.stdin is not None  # noqa: S101 - it is a pipe
        with contextlib.suppress(OSError):
            self.process.stdin.close()

    def join(self) -> None:
        """Wait until its output was read to the end, once it has ended."""
        self._listener.join(timeout=_GRACE_S)

    def _signal(self, number: signal.Signals) -> None:
        # A process that has ended but was not yet waited for takes signals without a word; poll waits for it.
        if self.alive:
            self.process.send_signal(number)

    def _listen(self, output: IO[bytes]) -> None:
        with io.BufferedReader(output) as lines:  # type: ignore[type-var]
            for line in lines:
                self._lines.put(line)
        self._lines.put(None)

    def _tail(self) -> str:
        """The last lines that it wrote to its log, to end a message with."""
        try:
            with self._log.open("rb") as log:
                size_bytes = log.seek(0, 2)
                log.seek(max(self._log_start, size_bytes - _TAIL_BYTES))
                text = log.read().decode(errors="replace").strip()
        except OSError:
            return ""
        return f"; it said last:\n{text}" if text else "; it left no message"


def end_all(children: Sequence[Child]) -> None:
    """End children within seconds: by the end of their input, then by SIGTERM, then by SIGKILL."""
    for child in children:
        child.hang_up()
    _wait(children, _GRACE_S)
    for child in children:
        if child.alive:
            child.process.terminate()
    _wait(children, _GRACE_S / 2)
    for child in children:
        if child.alive:
            child.kill()
        child.join()


def _wait(children: Sequence[Child], at_most_s: float) -> None:
    deadline_s = time.monotonic() + at_most_s
    for child in children:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.process.wait(timeout=max(deadline_s - time.monotonic(), 0.0))
