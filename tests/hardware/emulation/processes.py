"""Processes of the tests of the emulation: stand-ins for agents, and who is still there."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from hardware.emulation.local import LocalTestbed

HERE = Path(__file__).parent
NAMES = ("pi", "laptop", "pc")


def commands(*hows: str, listen: tuple[str, int] = LocalTestbed.listen) -> list[list[str]]:
    """A stand-in per device; `hows` say what is wrong with each."""
    padded = (*hows, "", "", "")
    host, port = listen[0], str(listen[1])
    stand_in = str(HERE / "standin.py")
    return [[sys.executable, stand_in, name, how, host, port] for name, how in zip(NAMES, padded, strict=False)]


def gone(pid: int, within_s: float = 8.0) -> bool:
    """Whether a process ends within a time; one that ended but nobody has waited for counts as ended."""
    deadline_s = time.monotonic() + within_s
    while time.monotonic() < deadline_s:
        try:
            if Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.02)
    return False


def children_of(pid: int) -> list[int]:
    """Processes whose parent is `pid`."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(encoding="ascii", errors="replace").rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return sorted(found)
