"""RAPL, the energy counters in processors of Intel and AMD, as Linux shows them.

Each counter wraps at its own range. Only whole packages are read: the domains inside a package (`core`, `uncore`) are
part of it, `psys` covers the package again, and `intel-rapl-mmio` is the same counter by another way. `rapl://psys`
reads the platform instead. Memory (`dram`) is in no package, and is not read.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hardware.meters.errors import AccessError, DecodeError
from hardware.meters.onboard import OnBoardMeter, number, pack, text, unpack, whole
from hardware.meters.protocol import DeviceFacts, MeterKind, Reading
from twin import units

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_STEP_J = 2.0**-14
"""The unit of the counter in most processors (Intel's manual, volume 3, RAPL; some count in 2^-16 J)."""
_REMEDY = (
    "recent kernels let only root read it: `sudo chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj` "
    "until the next start, or run this as root"
)


class Unwrapper:
    """Adds up what counters that wrap have counted since the first frame."""

    def __init__(self) -> None:
        self._last_uj: dict[str, float] = {}
        self._total_uj = 0.0

    def __call__(self, frame: bytes) -> Reading:
        """Read a frame: of each domain its counter and the range at which it wraps.

        Raises:
            DecodeError: The frame is none of RAPL, or its domains are not those of the frame before.
        """
        values = unpack(frame, "RAPL")
        now_uj = {name: self._pair(name, value, frame) for name, value in values.items()}
        if not now_uj or (self._last_uj and set(now_uj) != set(self._last_uj)):
            raise DecodeError(f"the domains are {sorted(now_uj)}, before they were {sorted(self._last_uj)}", frame)
        for name, (counter_uj, range_uj) in now_uj.items():
            step_uj = counter_uj - self._last_uj.get(name, counter_uj)
            self._total_uj += step_uj + range_uj if step_uj < 0 else step_uj
            self._last_uj[name] = counter_uj
        energy_j = units.from_micro(self._total_uj)
        model = f"RAPL {'+'.join(sorted(now_uj))}"
        return Reading(energy_wh=units.wh_from_j(energy_j), counter_j=energy_j, device=DeviceFacts(model))

    def _pair(self, name: str, value: object, frame: bytes) -> tuple[float, float]:
        if not isinstance(value, list) or len(value) != 2:
            raise DecodeError(f"{name} has no counter and range", frame)
        counter_uj, range_uj = (number({name: part}, name, frame) for part in value)
        if counter_uj is None or range_uj is None or not 0 <= counter_uj <= range_uj:
            raise DecodeError(f"the counter of {name} is outside its range", frame)
        return counter_uj, range_uj


KIND = MeterKind(
    name="rapl",
    label="RAPL",
    place="the processor's own count of its packages; memory, disks, screen and losses of the supply are not in it",
    refresh_s=0.001,
    poll_s=0.1,
    decoder=Unwrapper,
    counter_step_j=_STEP_J,
)


def open_rapl(url: str, which: str, sysfs: Path, clock: Callable[[], float]) -> OnBoardMeter:
    """Open the counters.

    Args:
        url: How it was asked for.
        which: Empty for all packages, or `psys`.
        sysfs: Where the system shows its devices, `/sys`.
        clock: Monotonic clock.

    Raises:
        AccessError: There are none, or this user may not read them.
    """
    found = domains(sysfs, which)

    def fetch() -> bytes:
        return pack({name: [whole(folder / "energy_uj", _REMEDY), range_uj] for name, (folder, range_uj) in found})

    fetch()
    return OnBoardMeter(url, KIND, fetch, clock)


def domains(sysfs: Path, which: str = "") -> list[tuple[str, tuple[Path, int]]]:
    """Return name, folder and range of the domains to read.

    Raises:
        AccessError: There are none.
    """
    wanted = re.compile(re.escape(which) or r"package-\d+(-die-\d+)?")
    folders = sorted((sysfs / "class/powercap").glob("intel-rapl:*"))
    named = [(text(folder / "name", _REMEDY), folder) for folder in folders]
    found = [(name, (folder, whole(folder / "max_energy_range_uj", _REMEDY))) for name, folder in named
             if wanted.fullmatch(name)]  # fmt: skip
    if not found:
        raise AccessError(
            f"{sysfs / 'class/powercap'}: no RAPL domain `{which or 'package'}`; load it with `sudo modprobe "
            f"intel_rapl_msr`, or use a power meter: virtual machines and ARM boards have none"
        )
    return found
