"""The battery of a laptop: what it gives while nothing charges it is what the whole machine draws."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hardware.meters.errors import AccessError, DecodeError, NoPowerError
from hardware.meters.onboard import OnBoardMeter, number, pack, text, unpack
from hardware.meters.protocol import DeviceFacts, MeterKind, Reading
from twin import units

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_NUMBERS = ("voltage_now", "current_now", "power_now", "energy_now", "charge_now")
_TEXTS = ("status", "manufacturer", "model_name", "serial_number")
_REMEDY = "the battery is gone; `python -m hardware.power list` shows what there is"


def decode(frame: bytes) -> Reading:
    """Read a frame; `energy_wh` and `charge_ah` are what the battery still holds, which is an estimate of its own.

    Raises:
        NoPowerError: It is not discharging, so that it cannot tell what the machine draws.
        DecodeError: The frame is none of a battery.
    """
    values = unpack(frame, "a battery")
    micro = {name: number(values, name, frame) for name in _NUMBERS}
    voltage_v, current_a, power_w, energy_wh, charge_ah = (
        None if value is None else units.from_micro(abs(value)) for value in micro.values()
    )
    status = str(values.get("status", ""))
    if status != "Discharging":
        raise NoPowerError(f"the battery is not in use (it says `{status}`); unplug the charger")
    if power_w is None and voltage_v is not None and current_a is not None:
        power_w = voltage_v * current_a
    if power_w is None:
        raise DecodeError("the battery tells neither its power nor its current; use a power meter", frame)
    if current_a is None and voltage_v:
        current_a = power_w / voltage_v
    names = [str(values.get(name) or "") for name in _TEXTS[1:]]
    device = DeviceFacts(" ".join(filter(None, names[:2])) or "battery", serial=names[2])
    return Reading(voltage_v, current_a, power_w, charge_ah, energy_wh, device=device)


KIND = MeterKind(
    name="battery",
    label="battery",
    place="between battery and machine; the whole machine, while no charger is plugged in",
    refresh_s=1.0,
    poll_s=0.5,
    decoder=lambda: decode,
    power_step_w=1e-3,
)


def open_battery(url: str, name: str, sysfs: Path, clock: Callable[[], float]) -> OnBoardMeter:
    """Open a battery by its name, such as `BAT0`, or the first one.

    Raises:
        AccessError: There is none by this name.
    """
    there = batteries(sysfs)
    if not there:
        raise AccessError(f"{sysfs / 'class/power_supply'}: this machine has no battery; use a power meter")
    if name and name not in there:
        raise AccessError(f"{sysfs / 'class/power_supply'}: no battery `{name}`; there is {', '.join(there)}")
    folder = sysfs / "class/power_supply" / (name or there[0])

    def fetch() -> bytes:
        present = [entry for entry in (*_NUMBERS, *_TEXTS) if (folder / entry).exists()]
        said = {entry: text(folder / entry, _REMEDY) for entry in ("status", *present)}
        return pack({entry: _number(value) if entry in _NUMBERS else value for entry, value in said.items()})

    fetch()
    return OnBoardMeter(url, KIND, fetch, clock)


def batteries(sysfs: Path) -> list[str]:
    """Return the names of the batteries of this machine."""
    folders = sorted((sysfs / "class/power_supply").glob("*"))
    return [folder.name for folder in folders if _is_battery(folder)]


def _is_battery(folder: Path) -> bool:
    kind = folder / "type"
    # A mouse reports its battery too, with the scope `Device`.
    scope = folder / "scope"
    of_a_device = scope.exists() and text(scope, _REMEDY) == "Device"
    return kind.exists() and text(kind, _REMEDY) == "Battery" and not of_a_device


def _number(said: str) -> int | str:
    """The number as the system says it; what is none is refused when the frame is read."""
    return int(said) if said.lstrip("-").isdecimal() else said
