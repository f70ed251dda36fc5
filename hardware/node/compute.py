"""What a machine does with the tensors that reach it: run its stage, or stand in for a machine that would.

A stage takes buffers and gives buffers, as they come from and go to the wire. Their types and shapes are known from
the layer graph before anything arrives, so whatever else arrives is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from hardware.transport.parcel import TensorSpec
from twin.errors import MeasurementError
from twin.graph import INPUT

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from hardware.stages import StageModule
    from twin.graph import LayerGraph

Buffers = tuple[Any, ...]
"""One bytes-like object per tensor."""


class Compute(Protocol):
    """The work of one stage.

    Attributes:
        takes: The tensors that it needs.
        gives: The tensors that it hands on.
    """

    @property
    def takes(self) -> tuple[TensorSpec, ...]: ...  # noqa: D102 - described above

    @property
    def gives(self) -> tuple[TensorSpec, ...]: ...  # noqa: D102 - described above

    def __call__(self, buffers: Buffers) -> Buffers:
        """Turn the tensors that arrived into those that go on."""
        ...


def specs(graph: LayerGraph, names: Sequence[str]) -> tuple[TensorSpec, ...]:
    """Type and shape of tensors by name."""
    shapes = {INPUT: graph.input_shape, **{layer.name: layer.output_shape for layer in graph.layers}}
    return tuple(TensorSpec(graph.dtype, tuple(shapes[name])) for name in names)


@dataclass(frozen=True, slots=True)
class NoCompute:
    """Computes nothing; hands on zeros of the right size.

    Attributes:
        takes: The tensors that it needs.
        gives: The tensors that it hands on.
        zeros: What it hands on, the same every time.
    """

    takes: tuple[TensorSpec, ...]
    gives: tuple[TensorSpec, ...]
    zeros: Buffers

    @classmethod
    def of(cls, takes: tuple[TensorSpec, ...], gives: tuple[TensorSpec, ...]) -> NoCompute:
        """A stage that hands on zeros."""
        return cls(takes, gives, tuple(bytearray(spec.size_bytes) for spec in gives))

    def __call__(self, buffers: Buffers) -> Buffers:  # noqa: ARG002 - as every stage is called
        """Hand on zeros."""
        return self.zeros


class TorchCompute:
    """Runs a stage of the model.

    Args:
        stage: The stage; its module is on the accelerator.
        takes: Type and shape of the tensors that it needs.
        gives: Type and shape of the tensors that it hands on.
        accelerator: `cpu` or `cuda`.
    """

    def __init__(
        self,
        stage: StageModule,
        takes: tuple[TensorSpec, ...],
        gives: tuple[TensorSpec, ...],
        accelerator: str = "cpu",
    ) -> None:
        import torch  # noqa: PLC0415 - a machine that only stands in for another needs no torch

        self._torch, self._stage, self._accelerator = torch, stage, accelerator
        self.takes, self.gives = takes, gives
        self._dtypes = [getattr(torch, spec.dtype) for spec in takes]

    def __call__(self, buffers: Buffers) -> Buffers:
        """Run the stage.

        Raises:
            MeasurementError: The stage gave something else than its layer graph says.
        """
        torch = self._torch
        with torch.inference_mode():
            tensors = [
                torch.frombuffer(buffer, dtype=dtype).reshape(spec.shape).to(self._accelerator)
                for buffer, dtype, spec in zip(buffers, self._dtypes, self.takes, strict=True)
            ]
            results = [tensor.contiguous().cpu() for tensor in self._stage(*tensors)]
        for result, spec in zip(results, self.gives, strict=True):
            if tuple(result.shape) != spec.shape:
                raise MeasurementError(
                    f"a stage gave a tensor of shape {tuple(result.shape)}, its layer graph says {spec.shape}; "
                    "write the layer graph again with `python -m hardware.stages`"
                )
        return tuple(_bytes_of(result) for result in results)


def _bytes_of(tensor: torch.Tensor) -> memoryview:
    """The numbers of a contiguous tensor as bytes, without a copy."""
    return tensor.detach().numpy().reshape(-1).view(np.uint8).data
