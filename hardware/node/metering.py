"""The power meters that one machine reads while a run lasts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hardware.meters.emulated import Emulator
from hardware.meters.errors import MeterError
from hardware.meters.open import open_meter
from hardware.meters.sampler import Sampler
from hardware.node.arrays import pack_arrays

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from hardware.meters.protocol import PowerMeter
    from hardware.node.activity import Activity

EMULATED = "emulated://tc66c"
"""Stands for a meter that shows what an emulated machine would draw."""
_VOLTAGE_V = 12.0


@dataclass(frozen=True, slots=True)
class MeterOrder:
    """A meter that a machine is asked to read.

    Attributes:
        url: How it is opened; `EMULATED` for one that shows what the machine itself would draw.
        device: Position of the device that it measures.
        name: Name of that device.
    """

    url: str
    device: int
    name: str


class Meters:
    """Meters that are being read.

    Attributes:
        troubles: Meters that could not be opened, in words.

    Args:
        orders: Which to read.
        folder: Folder for their raw frames.
        activity: What an emulated machine does.
    """

    def __init__(self, orders: Sequence[MeterOrder], folder: Path, activity: Activity | None) -> None:
        self.troubles: list[str] = []
        self._orders: list[MeterOrder] = []
        self._samplers: list[Sampler] = []
        self._frames: list[Path] = []
        for order in orders:
            frames = folder / f"frames-{order.device}.jsonl"
            try:
                meter = _open(order.url, activity)
            except MeterError as error:
                self.troubles.append(
                    f"{order.name}: the meter {order.url} cannot be read, so there is no energy: {error}"
                )
                continue
            self._orders.append(order)
            self._frames.append(frames)
            # Origin 0: times stay on this machine's monotonic clock until the records are put together.
            self._samplers.append(Sampler(meter, order.name, frames, origin_s=0.0).start())

    def stop(self, replication: int, zero_s: float) -> tuple[list[dict[str, Any]], list[bytes]]:
        """End reading.

        Args:
            replication: Number of the replication, for the table.
            zero_s: Run time 0 on this machine's monotonic clock; raw frames keep that clock.

        Returns:
            What stands beside the readings of each meter, and twice as many blobs: its readings and its raw frames.
        """
        entries, blobs = [], []
        for order, sampler, frames in zip(self._orders, self._samplers, self._frames, strict=True):
            recording = sampler.stop(replication, order.device).shifted(-zero_s)
            entries.append({**recording.to_json(), "complaints": recording.complaints()})
            blobs += [pack_arrays(recording.readings.columns()), frames.read_bytes()]
        self._orders, self._samplers, self._frames = [], [], []
        return entries, blobs


def _open(url: str, activity: Activity | None) -> PowerMeter:
    if url != EMULATED:
        return open_meter(url, patient=True)
    if activity is None:
        raise MeterError("only a machine that stands in for another one has an emulated meter; name a meter's own URL")
    return Emulator("tc66c", activity.power_w, voltage_v=_VOLTAGE_V).open(EMULATED, owned=True)
