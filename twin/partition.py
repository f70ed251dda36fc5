"""A partition: which device runs which layers, as a value that can be compared, hashed and stored."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from twin.errors import PartitionError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from twin.graph import LayerGraph


@dataclass(frozen=True, slots=True)
class Stage:
    """The layers that one device runs.

    Attributes:
        device: Position of the device in the continuum, the edge first.
        layers: Positions of its layers in topological order; empty if the device runs nothing.
    """

    device: int
    layers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Partition:
    """The device of every layer. Data only ever moves onwards: to the same device or a later one.

    Attributes:
        placement: For each layer, in topological order, the position of its device.
        n_devices: Number of devices of the continuum.

    Raises:
        PartitionError: A device position is out of range.
    """

    placement: tuple[int, ...]
    n_devices: int

    def __post_init__(self) -> None:
        if not self.placement:
            raise PartitionError("a partition needs at least one layer")
        if min(self.placement) < 0 or max(self.placement) >= self.n_devices:
            raise PartitionError(f"placement {self.placement} names devices outside 0..{self.n_devices - 1}")

    @property
    def stages(self) -> tuple[Stage, ...]:
        """One stage per device, the empty ones too."""
        layers: list[list[int]] = [[] for _ in range(self.n_devices)]
        for position, device in enumerate(self.placement):
            layers[device].append(position)
        return tuple(Stage(device, tuple(held)) for device, held in enumerate(layers))

    @property
    def visited(self) -> tuple[Stage, ...]:
        """The stages that hold layers, in the order in which a request visits them."""
        return tuple(stage for stage in self.stages if stage.layers)

    def down_set(self, device: int) -> tuple[int, ...]:
        """Positions of the layers that have run once `device` has finished."""
        return tuple(i for i, owner in enumerate(self.placement) if owner <= device)

    def check(self, graph: LayerGraph) -> Partition:
        """Return the partition if it fits `graph`.

        Raises:
            PartitionError: The number of layers differs, or data would have to move backwards.
        """
        if len(self.placement) != len(graph):
            raise PartitionError(
                f"the partition places {len(self.placement)} layers, but {graph.model} has {len(graph)}"
            )
        for position, sources in enumerate(graph.predecessors):
            for source in sources:
                if self.placement[source] > self.placement[position]:
                    raise PartitionError(
                        f"layer `{graph.layers[position].name}` on device {self.placement[position]} reads "
                        f"`{graph.layers[source].name}` on the later device {self.placement[source]}; "
                        "data moves from the edge onwards only"
                    )
        return self

    def describe(self, device_names: Sequence[str]) -> str:
        """Say the partition in one line, such as `pi 0-10 | laptop 11-30 | pc 31-39`.

        A stage that is no contiguous range of the topological order shows its number of layers.
        """
        parts = []
        for stage in self.visited:
            first, last = stage.layers[0], stage.layers[-1]
            contiguous = last - first + 1 == len(stage.layers)
            span = f"{first}-{last}" if contiguous else f"{len(stage.layers)} of {first}-{last}"
            parts.append(f"{device_names[stage.device]} {span}")
        return " | ".join(parts)

    def to_json(self) -> dict[str, Any]:
        """Return the partition as plain data."""
        return {"placement": list(self.placement), "n_devices": self.n_devices}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Partition:
        """Build a partition from the plain data that `to_json` returns."""
        return cls(tuple(data["placement"]), data["n_devices"])

    @classmethod
    def on_device(cls, n_layers: int, device: int, n_devices: int) -> Partition:
        """Place all layers on one device."""
        return cls((device,) * n_layers, n_devices)

    @classmethod
    def from_cuts(cls, cuts: Sequence[int], n_layers: int) -> Partition:
        """Cut the topological order: device k runs the layers from `cuts[k-1]` up to, not including, `cuts[k]`.

        Args:
            cuts: Non-decreasing positions 0..n_layers, one fewer than there are devices.
            n_layers: Number of layers of the graph.

        Raises:
            PartitionError: The cuts decrease or lie outside the graph.
        """
        bounds = [0, *cuts, n_layers]
        if any(a > b for a, b in pairwise(bounds)):
            raise PartitionError(f"cuts {list(cuts)} must not decrease and must lie in 0..{n_layers}")
        placement: list[int] = []
        for device, (start, stop) in enumerate(pairwise(bounds)):
            placement += [device] * (stop - start)
        return cls(tuple(placement), len(cuts) + 1)


def thirds(n_layers: int, n_devices: int) -> Partition:
    """Cut where the layer count is nearest to equal parts: 1/3 and 2/3 for three devices."""
    return Partition.from_cuts(
        [round(k * n_layers / n_devices) for k in range(1, n_devices)],
        n_layers,
    )
