"""Raspberry Pi 5: the currents and voltages that its power chip measures, by `vcgencmd pmic_read_adc`.

What the board draws is *derived* from them, as the chip does not see all of it:

    power of the board = 1.1451 * (sum over the rails of voltage * current) + 0.5879 W

a line that was fitted elsewhere against a meter on one board. Fit it again against a meter before you rest on it. A
Raspberry Pi 4 measures no currents.
"""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

from hardware.meters.errors import AccessError, DecodeError, SilentError
from hardware.meters.onboard import OnBoardMeter
from hardware.meters.protocol import DeviceFacts, MeterKind, Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

COMMAND = ("vcgencmd", "pmic_read_adc")
SLOPE, OFFSET_W = 1.1451, 0.5879
_LINE = re.compile(r"^\s*(\w+?)_([AV])\s+(?:current|volt)\(\d+\)=(\d{1,6}(?:\.\d{1,12})?)[AV]\s*$", re.MULTILINE)
_INPUT = "EXT5V"
_TIMEOUT_S = 2.0


def decode(frame: bytes) -> Reading:
    """Read the output of the command.

    Raises:
        DecodeError: It names no rail with a current and a voltage.
    """
    found = _LINE.findall(frame.decode("utf-8", errors="replace"))
    amps = {rail: float(value) for rail, quantity, value in found if quantity == "A"}
    volts = {rail: float(value) for rail, quantity, value in found if quantity == "V"}
    rails = sorted(set(amps) & set(volts))
    if not rails:
        raise DecodeError("the command shows no rail with a current; only a Raspberry Pi 5 measures them", frame)
    power_w = SLOPE * sum(volts[rail] * amps[rail] for rail in rails) + OFFSET_W
    return Reading(volts.get(_INPUT), power_w=power_w, device=DeviceFacts("Raspberry Pi 5 PMIC"))


def run_command(command: Sequence[str] = COMMAND) -> bytes:
    """Run the command and return what it prints.

    Raises:
        AccessError: It is missing, or fails.
        SilentError: It takes too long.
    """
    try:
        done = subprocess.run(command, capture_output=True, timeout=_TIMEOUT_S, check=False)  # noqa: S603 - fixed
    except subprocess.TimeoutExpired as error:
        raise SilentError(f"`{' '.join(command)}` did not end within {_TIMEOUT_S:g} s; try it by hand") from error
    except OSError as error:
        raise AccessError(
            f"`{command[0]}` cannot be run ({error.strerror}); it comes with Raspberry Pi OS, on a Raspberry Pi 5"
        ) from error
    if done.returncode:
        said = (done.stderr or done.stdout).decode("utf-8", errors="replace").strip()
        remedy = "the user must be in the group video (`sudo usermod -aG video $USER`)"
        raise AccessError(f"`{' '.join(command)}` failed ({said[:200] or done.returncode}); {remedy}")
    return done.stdout


KIND = MeterKind(
    name="pmic",
    label="Raspberry Pi 5 PMIC",
    place=f"the board's input, derived: {SLOPE} * sum of V * I over the rails + {OFFSET_W} W; refit against a meter",
    refresh_s=0.05,
    poll_s=0.2,
    decoder=lambda: decode,
)


def open_pmic(url: str, fetch: Callable[[], bytes], clock: Callable[[], float]) -> OnBoardMeter:
    """Open the power chip.

    Raises:
        MeterError: This is no Raspberry Pi 5, or the user may not ask.
    """
    decode(fetch())
    return OnBoardMeter(url, KIND, fetch, clock)
