"""What a measurement must know about the machine it ran on, and nothing that identifies the machine."""

from __future__ import annotations

import datetime as dt
import os
import platform
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
_CPU_KEYS = ("model name", "Model")
"""Names under which /proc/cpuinfo gives the processor: x86, and boards that run ARM."""


def host_facts(device: str = "cpu") -> dict[str, Any]:
    """Return the processor, cores, governor, operating system and versions; None where a fact is not readable.

    Args:
        device: `cpu`, or `cuda` to add the name of the graphics card.
    """
    facts = {
        "cpu": cpu_model(),
        "cores": cores(),
        "governor": _first_line(_GOVERNOR),
        "os": _system(),
        "python": platform.python_version(),
        "torch": version("torch"),
        "torchvision": version("torchvision"),
    }
    if device == "cuda":
        import torch  # noqa: PLC0415 - slow to import

        facts["gpu"] = torch.cuda.get_device_name()
        facts["cuda"] = torch.version.cuda
    return facts


def cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str | None:
    """Return the name of the processor or of the board."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or None
    entries = [[part.strip() for part in line.split(":", 1)] for line in lines if ":" in line]
    named = (value for key in _CPU_KEYS for name, value in entries if name == key)
    return next(named, platform.processor() or platform.machine())


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def load_average() -> float | None:
    """Return the average number of runnable processes over the last minute, or None where the system has none."""
    try:
        return round(os.getloadavg()[0], 2)
    except (AttributeError, OSError):
        return None


def today() -> str:
    """Return the date in UTC, such as `2026-05-31`."""
    return dt.datetime.now(dt.UTC).date().isoformat()


def _system() -> str:
    try:
        distribution = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        distribution = platform.system()
    release = re.match(r"[\d.]*\d", platform.release())
    kernel = f"{platform.system()} {release.group() if release else ''}".strip()
    return f"{distribution}, {kernel}, {platform.machine()}"


def _first_line(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except OSError:
        return None
