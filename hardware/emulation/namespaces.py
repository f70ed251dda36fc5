"""Network namespaces of a testbed: made, joined, and removed whatever happens.

Everything made carries the process id of the run in its name, so that what a dead run left behind is found. A watcher,
`python -m hardware.emulation.namespaces PID`, removes it as soon as its input ends, which the end of the run brings
about however it ends.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hardware.emulation.child import Child
from hardware.emulation.queues import free_block
from hardware.emulation.tool import run_tool
from twin.cli import guarded
from twin.errors import EmulationError

if TYPE_CHECKING:
    from hardware.emulation.tool import Run
    from twin.topology import Continuum

PREFIX = "ctwin"
_NAMESPACE = re.compile(rf"{PREFIX}(\d+)-\w+")
_VETH = re.compile(rf"\b{PREFIX}(\d+)m\d+(?=@)")
_ADMIN_BITS = {"CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21}


class Namespaces:
    """A namespace per device, a pair of virtual Ethernet devices per link, and one per device for the coordinator.

    Attributes:
        names: Name of each namespace.
        hosts: Address at which the coordinator reaches each device.

    Args:
        continuum: Devices and links.
        run: Runs `ip`.
    """

    def __init__(self, continuum: Continuum, run: Run = run_tool) -> None:
        self._continuum = continuum
        self._run = run
        self._block = 0
        self.names = [f"{PREFIX}{os.getpid()}-{device}" for device in range(len(continuum))]
        self.hosts: list[str] = []

    def open(self) -> None:
        """Make everything.

        Raises:
            EmulationError: The kernel refuses.
        """
        self._block = free_block(self._run("ip", "-4", "-o", "addr"))
        for device, name in enumerate(self.names):
            self._run("ip", "netns", "add", name)
            self._run("ip", "-n", name, "link", "set", "lo", "up")
            self._reach(device, name)
        for position, link in enumerate(self._continuum.links):
            self._join(position, self.names[link.a], self.names[link.b])

    def device(self, link: int) -> str:
        """Name of the network device of a link, the same at both its ends."""
        return f"link{link}"

    def host(self, link: int, end: int) -> str:
        """Address of an end of a link: 0 nearer to the edge, 1 the other."""
        return f"10.{self._block}.{link}.{end + 1}"

    def _join(self, link: int, a: str, b: str) -> None:
        device = self.device(link)
        self._run("ip", "link", "add", device, "netns", a, "type", "veth", "peer", "name", device, "netns", b)
        for end, name in enumerate((a, b)):
            self._run("ip", "-n", name, "addr", "add", f"{self.host(link, end)}/30", "dev", device)
            self._run("ip", "-n", name, "link", "set", device, "up")

    def _reach(self, device: int, name: str) -> None:
        """Join a namespace to this one, for the coordinator."""
        here, there = f"{PREFIX}{os.getpid()}m{device}", "manage"
        base = f"10.{self._block}.{128 + device}"
        self._run("ip", "link", "add", here, "type", "veth", "peer", "name", there, "netns", name)
        self._run("ip", "addr", "add", f"{base}.1/30", "dev", here)
        self._run("ip", "link", "set", here, "up")
        self._run("ip", "-n", name, "addr", "add", f"{base}.2/30", "dev", there)
        self._run("ip", "-n", name, "link", "set", there, "up")
        self.hosts.append(f"{base}.2")

    def close(self) -> None:
        """Remove everything; may be called again."""
        remove(os.getpid(), self._run)


def remove(pid: int, run: Run = run_tool) -> None:
    """Remove whatever a run has made, and end what still runs in it.

    Raises:
        EmulationError: The system refuses.
    """
    for found in _NAMESPACE.finditer(run("ip", "netns", "list")):
        if int(found[1]) == pid:
            for inmate in run("ip", "netns", "pids", found[0]).split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(inmate), signal.SIGKILL)
            run("ip", "netns", "del", found[0])
    for found in _VETH.finditer(run("ip", "-o", "link")):
        if int(found[1]) == pid:
            # It goes with its other end; that it is gone already is as good.
            with contextlib.suppress(EmulationError):
                run("ip", "link", "del", found[0])


def remove_leftovers(run: Run = run_tool) -> list[int]:
    """Remove what runs have made that are dead, and return their process ids.

    Raises:
        EmulationError: The system refuses.
    """
    listed = run("ip", "netns", "list") + run("ip", "-o", "link")
    owners = {int(found[1]) for pattern in (_NAMESPACE, _VETH) for found in pattern.finditer(listed)}
    dead = sorted(pid for pid in owners if not Path(f"/proc/{pid}").exists())
    for pid in dead:
        remove(pid, run)
    return dead


def missing(run: Run = run_tool, status: Path = Path("/proc/self/status")) -> list[str]:
    """What this machine lacks for namespaces, in words; empty if it lacks nothing.

    Args:
        run: Runs `ip` and `tc`.
        status: Where the kernel tells the rights of this process.
    """
    if not status.exists():
        return ["this is not Linux, the one system with network namespaces"]
    lacks = [
        f"the program `{tool}` is missing; install iproute2" for tool in ("ip", "tc") if shutil.which(tool) is None
    ]
    if os.geteuid() != 0:
        lacks.append("this user is not root; run with sudo")
    held = re.search(r"^CapEff:\s*([0-9a-f]+)", status.read_text(encoding="ascii"), re.MULTILINE)
    rights = int(held[1], 16) if held else 0
    lacks += [f"the right {name} is missing" for name, bit in _ADMIN_BITS.items() if not rights >> bit & 1]
    return lacks or _refused(run)


def _refused(run: Run) -> list[str]:
    """What the kernel refuses, found out by trying."""
    name = f"{PREFIX}{os.getpid()}-try"
    place = ("-n", name)
    bucket = ("qdisc", "add", "dev", "try0", "root", "tbf", "rate", "1mbit", "burst", "4000", "limit", "9000")
    attempts = (
        ("network namespaces", ("ip", "netns", "add", name)),
        ("virtual Ethernet (veth)", ("ip", *place, "link", "add", "try0", "type", "veth", "peer", "name", "try1")),
        ("the token bucket (tbf)", ("tc", *place, *bucket)),
    )
    try:
        for what, command in attempts:
            try:
                run(*command)
            except EmulationError as error:
                return [f"the kernel does not allow {what}: {error}"]
    finally:
        with contextlib.suppress(EmulationError):
            run("ip", "netns", "del", name)
    return []


def watch(log: Path) -> Child:
    """Start the watcher of this process: it removes what the run made once this process has ended.

    Raises:
        EmulationError: It cannot be started.
    """
    command = [sys.executable, "-m", "hardware.emulation.namespaces", str(os.getpid())]
    watcher = Child("watcher", command, log)
    watcher.hear(30.0)
    return watcher


def main(arguments: list[str] | None = None) -> int:
    """Wait until the input ends, then remove what a run has made.

    Args:
        arguments: Process id of the run; by default those of the command line.

    Returns:
        The exit status.
    """
    (pid,) = sys.argv[1:] if arguments is None else arguments
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdout.write("{}\n")
    sys.stdout.flush()
    sys.stdin.read()
    remove(int(pid))
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main))
