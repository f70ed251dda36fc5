"""All kinds of meters that are known, by their names in URLs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hardware.meters import atorch, battery, ct2, nvml, pmic, rapl, tc66c, um

if TYPE_CHECKING:
    from hardware.meters.port import Wire
    from hardware.meters.protocol import MeterKind

SERIAL: dict[str, tuple[MeterKind, Wire]] = {
    tc66c.KIND.name: (tc66c.KIND, tc66c.WIRE),
    **{kind.name: (kind, um.WIRE) for kind in um.KINDS},
    ct2.KIND.name: (ct2.KIND, ct2.WIRE),
    atorch.KIND.name: (atorch.KIND, atorch.WIRE),
}
"""Meters on a serial port, with how they speak."""

ALIASES = {"tc66": "tc66c"}
"""Other names: these two are the same but for Bluetooth."""

KINDS: dict[str, MeterKind] = {
    **{name: kind for name, (kind, _) in SERIAL.items()},
    **{kind.name: kind for kind in (rapl.KIND, nvml.KIND, pmic.KIND, battery.KIND)},
}
"""Every kind."""
