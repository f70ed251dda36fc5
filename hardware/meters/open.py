"""Open a power meter by its URL.

tc66c:///dev/serial/by-id/...    RuiDeng TC66 or TC66C on that port; in the same way um24c, um25c, um34c, ct2, atorch
rapl://                          processor packages; rapl://psys the platform
nvml://0                         the first NVIDIA graphics card
pmic://                          Raspberry Pi 5
battery://BAT0                   a battery; battery:// the first
emulated://tc66c/dev/pts/5       a program that speaks as a TC66C on that port; its joules are marked `emulated`
emulated://tc66c?power_w=4.2     the same, started here, drawing that power for ever
"""

from __future__ import annotations

import difflib
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from hardware.meters import battery, nvml, pmic, rapl
from hardware.meters.emulated import Emulator
from hardware.meters.errors import UrlError
from hardware.meters.kinds import ALIASES, KINDS, SERIAL
from hardware.meters.serialmeter import SerialMeter

if TYPE_CHECKING:
    from collections.abc import Callable
    from urllib.parse import SplitResult

    from hardware.meters.protocol import PowerMeter
    from twin.metering.facts import MeterSource

_PSEUDO = "/dev/pts/"
"""Where pseudo-terminals are: a program sits at their other end, whatever it says that it is."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Where on-board sources are looked for; tests put others in.

    Attributes:
        sysfs: Where the system shows its devices.
        vcgencmd: Asks the power chip of a Raspberry Pi 5.
        nvml: Returns NVIDIA's library.
        clock: Monotonic clock.
    """

    sysfs: Path = Path("/sys")
    vcgencmd: Callable[[], bytes] = pmic.run_command
    nvml: Callable[[], Any] = nvml.import_nvml
    clock: Callable[[], float] = field(default=time.monotonic)


THIS = Machine()


def open_meter(url: str, *, patient: bool = False, machine: Machine = THIS) -> PowerMeter:
    """Open a power meter.

    Args:
        url: What to open, as the head of this module lists it.
        patient: Whether a serial port that cannot be opened now is sought again while the run goes on. On-board
            sources do not come and go, and are refused at once.
        machine: Where on-board sources are looked for.

    Raises:
        UrlError: The URL names no meter that is known.
        MeterError: The meter cannot be opened.
    """
    parts = split(url)
    kind = ALIASES.get(parts.scheme, parts.scheme)
    where = parts.netloc + parts.path
    if kind in SERIAL:
        return _serial(url, kind, where, machine, patient=patient)
    match kind:
        case "emulated":
            return _emulated(url, parts, machine, patient=patient)
        case "rapl":
            return rapl.open_rapl(url, where, machine.sysfs, machine.clock)
        case "nvml":
            return nvml.open_nvml(url, where, machine.nvml(), machine.clock)
        case "pmic":
            return pmic.open_pmic(url, machine.vcgencmd, machine.clock)
        case _:
            return battery.open_battery(url, where, machine.sysfs, machine.clock)


def split(url: str) -> SplitResult:
    """Take a URL apart.

    Raises:
        UrlError: It names no meter that is known.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise UrlError(f"`{url}` is no URL ({error}); write it like tc66c:///dev/ttyACM0") from error
    known = [*KINDS, "emulated"]
    if parts.scheme not in (*known, *ALIASES) or not url.lower().startswith(f"{parts.scheme}://"):
        raise UrlError(f"`{url}`: {_nearest(parts.scheme or url, known)}")
    return parts


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name.split(":", maxsplit=1)[0].lower(), known, 1)
    if near:
        return f"no meter is called `{name}`; did you mean {near[0]}://?"
    return f"no meter is called `{name}`; choose from {', '.join(f'{kind}://' for kind in known)}"


def _serial(url: str, kind: str, path: str, machine: Machine, *, patient: bool) -> SerialMeter:
    if not path.startswith("/") or "\0" in path:
        raise UrlError(f"`{url}` names no port; write it like {kind}:///dev/ttyACM0, with three strokes")
    entry, wire = SERIAL[kind]
    pseudo = os.path.realpath(path).startswith(_PSEUDO)
    source: MeterSource = "emulated" if pseudo else "measured"
    return SerialMeter(url, entry, wire, path, source, patient=patient, clock=machine.clock)


def _emulated(url: str, parts: SplitResult, machine: Machine, *, patient: bool) -> PowerMeter:
    kind = ALIASES.get(parts.netloc, parts.netloc)
    if kind not in SERIAL:
        raise UrlError(f"`{url}`: {_nearest(parts.netloc, list(SERIAL))}")
    entry, wire = SERIAL[kind]
    if parts.path:
        return SerialMeter(url, entry, wire, parts.path, "emulated", patient=patient, clock=machine.clock)
    power_w = _power(url, parts.query)
    emulator = Emulator(kind, lambda _start_s, _end_s: power_w, clock=machine.clock)
    return emulator.open(url, owned=True)


def _power(url: str, query: str) -> float:
    said = parse_qs(query)
    try:
        (value,) = said.pop("power_w")
        power_w = float(value)
    except (KeyError, ValueError):
        power_w = -1.0
    if said or not 0 <= power_w < 1e6:
        raise UrlError(f"`{url}`: say what it draws, such as emulated://tc66c?power_w=4.2, or name its port")
    return power_w
