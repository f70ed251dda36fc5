"""Takes the command that measures one direction of a link, by parcels of given sizes, outside of any run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hardware.node.plans import EPOCHS
from hardware.transport.parcel import Kind, Parcel, TensorSpec
from twin.errors import MachineError
from twin.records import PROBE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hardware.node.node import Node
    from hardware.transport.lane import Receipt

_MEASURING = -EPOCHS
"""Epoch of parcels that measure a link outside of any run."""


@dataclass(slots=True, eq=False)
class _Series:
    """Parcels that follow each other.

    Attributes:
        reply: Is given the answer.
        link: Position of the link.
        direction: 0 for up, 1 for down.
        sizes: Bytes of the parcels that are to come.
        rows: When the receipt came, bytes and transfer time of those that have arrived.
    """

    reply: Callable[..., None]
    link: int
    direction: int
    sizes: list[int]
    rows: list[list[float]] = field(default_factory=list)


class Measuring:
    """Measures one link at a time; in the loop's thread.

    Args:
        node: The machine.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._series: _Series | None = None

    def start(self, reply: Callable[..., None], message: dict[str, Any], _blobs: list[bytes]) -> None:
        """Send parcels of given sizes over a link, one after the other, and answer with their times."""
        node, machine = self._node, self._node.require_machine()
        sizes = [int(size) for size in message["sizes_bytes"]]
        link, direction = int(message["link"]), int(message["direction"])
        most = node.config.limits.tensor_bytes
        if (link, direction) not in machine.links.lanes or not all(0 < size <= most for size in sizes):
            raise MachineError(
                f"{node.config.name} cannot send parcels of {sizes} bytes over direction {direction} of link "
                f"{link}; use one version on every machine"
            )
        if self._series is not None:
            raise MachineError(f"{node.config.name} is measuring a link already; wait for it")
        self._series = _Series(reply, link, direction, sizes)
        self._next(self._series)

    def receipt(self, link: int, direction: int, receipt: Receipt) -> bool:
        """Take the receipt of a parcel that measures a link; False if it is of another kind."""
        if receipt.epoch != _MEASURING:
            return False
        series = self._series
        if series is not None and (series.link, series.direction) == (link, direction):
            series.rows.append([receipt.acked_s, receipt.size_bytes, receipt.transfer_s])
            self._next(series)
        return True

    def undelivered(self, parcels: Sequence[Parcel]) -> None:
        """Parcels did not arrive: if one of them measures a link, it cannot be measured."""
        series = self._series
        if series is not None and any(parcel.epoch == _MEASURING for parcel in parcels):
            self._series = None
            series.reply({"error": "the link broke while it was measured; start once more"})

    def forget(self) -> None:
        """The links are gone."""
        self._series = None

    def _next(self, series: _Series) -> None:
        """Send the next parcel, or answer if there is none."""
        if not series.sizes:
            self._series = None
            series.reply({"rows": series.rows})
            return
        size = series.sizes.pop(0)
        machine = self._node.require_machine()
        ends = machine.world.problem.continuum.links[series.link]
        specs = (TensorSpec("uint8", (size,)),)
        target = (ends.b, ends.a)[series.direction]
        machine.links.send(Parcel(Kind.PROBE, PROBE, 0, _MEASURING, target, specs, (bytes(size),)))
