"""`python -m hardware.agent --config agent.yaml`: the part of the testbed that runs on every machine.

It waits for a coordinator (`python -m hardware.run`), loads the model that it names, runs the stages that are asked
of it and, on the edge, leads the run. It ends on SIGTERM and SIGINT, or with `--until-eof` when its input ends.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from twin.cli import guarded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hardware.agent_file import AgentConfig
    from hardware.transport.credentials import Credentials
    from hardware.transport.loop import Loop

_SWITCH_S = 5e-4
"""How long one thread of Python may keep the others waiting: the loop must answer while stages compute."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m hardware.agent", description="Run one machine of a testbed until it is stopped."
    )
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="configuration of the agent (YAML)")
    parser.add_argument(
        "--until-eof", action="store_true", help="end when the standard input ends, as it does when the parent dies"
    )
    options = parser.parse_args(arguments)
    from hardware.agent_file import read_agent  # noqa: PLC0415 - keeps --help quick

    config = read_agent(options.config)
    run_agent(config, credentials_of(config), until_eof=options.until_eof)
    return 0


def credentials_of(config: AgentConfig) -> Credentials:
    """The keys of an agent.

    Raises:
        TransportError: A key file is missing or malformed.
    """
    from hardware.transport.credentials import CURVE_OFF, load  # noqa: PLC0415 - keeps --help quick

    if config.secret_key is None or config.allowed_keys is None:
        return CURVE_OFF
    return load(config.secret_key, config.allowed_keys)


def run_agent(config: AgentConfig, credentials: Credentials, *, until_eof: bool) -> None:
    """Run an agent until it is told to stop; its first line of output says its port."""
    from hardware.node.node import Node  # noqa: PLC0415 - keeps --help quick
    from hardware.transport.loop import Loop  # noqa: PLC0415 - as above

    sys.setswitchinterval(_SWITCH_S)
    loop = Loop()
    node = Node(loop, config, credentials)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: loop.stop())
    if until_eof:
        threading.Thread(target=_wait_for_end, args=(loop,), daemon=True).start()
    sys.stdout.write(json.dumps({"port": node.hub.port, "name": config.name}) + "\n")
    sys.stdout.flush()
    try:
        loop.run()
    finally:
        node.close()
        loop.close()


def _wait_for_end(loop: Loop) -> None:
    # Not through sys.stdin, whose lock this thread would still hold when the interpreter ends.
    while os.read(0, 4096):
        pass
    loop.stop()


if __name__ == "__main__":
    sys.exit(guarded(main))
