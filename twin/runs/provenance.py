"""Where a result comes from: versions, the revision of the code, and the host without its name."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = ("continuum-twin", "numpy", "simpy")
_INPUTS = ("twin", "hardware", "data", "scenarios", ":!data/runs")
"""Folders whose changes make a result differ from what its revision would give."""
_GIT_TIMEOUT_S = 10.0


def now() -> str:
    """The date and time, ISO 8601, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def versions() -> dict[str, str | None]:
    """Versions of Python and of the packages that settle a result; None where one is not installed."""
    return {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}}


def host() -> dict[str, Any]:
    """Facts of this machine that settle how fast it is; nothing that names it or its owner."""
    return {
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "machine": platform.machine(),
        "cpu": _cpu(),
        "cpus": os.cpu_count(),
    }


@lru_cache(maxsize=1)
def code() -> dict[str, Any] | None:
    """Git revision of this code and whether files differ from it; None outside a git checkout of it."""
    package = Path(__file__).parent
    if _git("ls-files", "--error-unmatch", Path(__file__).name, at=package) is None:
        return None
    root = Path(_git("rev-parse", "--show-toplevel", at=package) or package)
    changes = _git("status", "--porcelain", "--", *_INPUTS, at=root)
    return {"revision": _git("rev-parse", "HEAD", at=package), "dirty": None if changes is None else bool(changes)}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu() -> str | None:
    """Name of the processor, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or None
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or None


def _git(*arguments: str, at: Path) -> str | None:
    """What git answers; None where git is absent, fails or hangs."""
    git = shutil.which("git")
    if git is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments, no shell
            [git, *arguments], cwd=at, capture_output=True, text=True, timeout=_GIT_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
