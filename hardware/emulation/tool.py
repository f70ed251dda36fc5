"""Running `ip` and `tc`."""

from __future__ import annotations

import subprocess
from typing import Protocol

from twin.errors import EmulationError

_TIMEOUT_S = 10.0


class Run(Protocol):
    """Runs a program and returns what it printed."""

    def __call__(self, *command: str) -> str:
        """Run it.

        Raises:
            EmulationError: It cannot be run or failed.
        """


def run_tool(*command: str) -> str:
    """Run a program of the system and return what it printed.

    Raises:
        EmulationError: It cannot be run or failed; the message holds the command and what it said.
    """
    line = " ".join(command)
    try:
        done = subprocess.run(  # noqa: S603 - commands of our own
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EmulationError(f"cannot run `{line}`: {error}") from error
    if done.returncode:
        said = done.stderr.strip() or f"status {done.returncode}"
        raise EmulationError(f"`{line}` failed: {said}; run as root on a kernel with network namespaces, veth and tbf")
    return done.stdout
