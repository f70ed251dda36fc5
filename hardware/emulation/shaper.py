"""`python -m hardware.emulation.shaper`: a process that is the links of a scenario on one machine.

It reads lines of JSON: first `{"wiring": ...}`, then commands, and answers each with one line:
`{"do": "aim", "device": 1, "port": 40001}` (where a device listens), `{"do": "start", "t0_s": 12.5}` (monotonic seconds
of run time 0), `{"do": "cut", "link": 0, "reset": false}`, `{"do": "heal", "link": 0}`, `{"do": "report"}`,
`{"do": "stop"}`. It ends when its input ends.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import sys
from collections import deque
from typing import TYPE_CHECKING, Any

from hardware.emulation.moments import wake_promptly
from hardware.emulation.proxy import Shaper
from hardware.emulation.wiring import Wiring
from twin.cli import guarded

if TYPE_CHECKING:
    from collections.abc import Mapping

_PRIORITY = -10
"""The shaper does little, but at once: where this is allowed it goes before the processes that compute."""


def _prioritise() -> bool:
    """Go before the processes that compute, where that is allowed."""
    try:
        os.setpriority(os.PRIO_PROCESS, 0, _PRIORITY)
    except PermissionError:
        return False
    return True


def _say(message: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


class _Orders:
    """Lines of JSON from a file descriptor."""

    def __init__(self, stream: int) -> None:
        self.stream = stream
        self.ended = False
        self._rest = b""
        self._lines: deque[bytes] = deque()

    def read(self) -> None:
        """Take in what has arrived; blocks if that is nothing."""
        data = os.read(self.stream, 1 << 20)
        self.ended = not data
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._lines.extend(line for line in lines if line.strip())

    def next(self) -> dict[str, Any] | None:
        """The next whole line, or None if there is none yet."""
        return json.loads(self._lines.popleft()) if self._lines else None


def main() -> int:
    """Run the command.

    Returns:
        The exit status.

    Raises:
        EmulationError: A command is malformed.
    """
    orders = _Orders(sys.stdin.fileno())
    while (first := orders.next()) is None:
        if orders.ended:
            return 0
        orders.read()
    shaper = Shaper(Wiring.from_json(first["wiring"]))
    prompt, first_in_line = wake_promptly(), _prioritise()
    _say({"ports": shaper.ports, "prompt": prompt, "prioritised": first_in_line})
    # What was made so far stays; leave it out of every later collection, each of which would hold up chunks.
    gc.freeze()
    with contextlib.closing(shaper):
        _serve(shaper, orders)
    return 0


def _serve(shaper: Shaper, orders: _Orders) -> None:
    while not orders.ended:
        while (command := orders.next()) is not None:
            if command.get("do") == "stop":
                _say({"done": "stop"})
                return
            _say(shaper.obey(command))
        if shaper.turn(orders.stream):
            orders.read()


if __name__ == "__main__":
    sys.exit(guarded(main))
