"""What this machine has that tells power: what is readable, and what to do about the rest."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hardware.meters import battery
from hardware.meters.errors import MeterError
from hardware.meters.open import THIS, open_meter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from hardware.meters.open import Machine
    from hardware.meters.protocol import Reading

_MOST_CARDS = 16
_BY_ID = Path("/dev/serial/by-id")


class Found(NamedTuple):
    """One source of power readings.

    Attributes:
        url: How to open it.
        readable: Whether it can be read now.
        says: What it says, or what to do so that it can be read.
    """

    url: str
    readable: bool
    says: str


def survey(machine: Machine = THIS, ports: Callable[[], Iterable[tuple[str, str]]] | None = None) -> list[Found]:
    """Look at every source; on-board sources are read once, serial ports are not touched.

    Args:
        machine: Where on-board sources are looked for.
        ports: Path and description of the serial ports; default those of this machine.
    """
    try:
        serial = [_port(path, what) for path, what in (ports or serial_ports)()]
    except MeterError as error:
        serial = [Found("serial ports", readable=False, says=str(error))]
    names = battery.batteries(machine.sysfs) or [""]
    boards = [_try(url, machine) for url in ("rapl://", "pmic://", *(f"battery://{name}" for name in names))]
    return [*serial, *boards, *_cards(machine)]


def serial_ports() -> list[tuple[str, str]]:
    """Path and description of the serial ports of this machine, by their lasting names where they have some.

    Raises:
        MeterError: pyserial is missing.
    """
    try:
        from serial.tools.list_ports import comports  # noqa: PLC0415 - optional, and slow to import
    except ImportError as error:
        raise MeterError("pyserial is missing; install it with `pip install 'continuum-twin[hardware]'`") from error
    lasting = {str(path.resolve()): str(path) for path in sorted(_BY_ID.glob("*"))}
    return sorted((lasting.get(port.device, port.device), port.description) for port in comports())


def told(reading: Reading, power_w: float | None = None) -> str:
    """A reading in one line; `power_w` stands in where the meter shows no power."""
    shown = (
        ("W", power_w if reading.power_w is None else reading.power_w, 3),
        ("V", reading.voltage_v, 3),
        ("A", reading.current_a, 4),
        ("J counted", reading.counter_j, 1),
        ("C", reading.temperature_c, 0),
    )
    return ", ".join(f"{value:.{digits}f} {unit}" for unit, value, digits in shown if value is not None)


def _port(path: str, what: str) -> Found:
    url = f"tc66c://{path}"
    if os.access(path, os.R_OK | os.W_OK):
        return Found(url, readable=True, says=f"{what}; if the meter is another, put its name before ://")
    return Found(url, readable=False, says=f"{what}; closed to this user: `sudo usermod -aG dialout $USER`")


def _try(url: str, machine: Machine) -> Found:
    try:
        meter = open_meter(url, machine=machine)
        try:
            sample = meter.read()
        finally:
            meter.close()
    except MeterError as error:
        return Found(url, readable=False, says=str(error))
    return Found(url, readable=True, says=told(sample.reading) if sample else "")


def _cards(machine: Machine) -> Iterator[Found]:
    """The graphics cards, up to the first that is not there."""
    for index in range(_MOST_CARDS):
        found = _try(f"nvml://{index}", machine)
        if index == 0 or found.readable:
            yield found
        if not found.readable:
            return
