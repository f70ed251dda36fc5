"""Cut a traced model into stages that can run on different machines.

`python -m hardware.stages --model all --out data` writes the layer graphs to `data/models`.

The nodes of a stage are copied into a graph of its own. torch.fx's own `split_module` wires the parts together
directly; here every stage takes the cut before it and returns the cut after it, so a tensor that jumps a stage is
relayed through it, and an empty stage passes on what it gets, exactly as the layer graph counts the bytes.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from hardware.files import write_json
from hardware.models import INPUT_SHAPE, build_model, check_names
from twin.cli import guarded
from twin.errors import PartitionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import torch
    from torch import fx

    from hardware.tracing.trace import TracedModel
    from twin.graph import LayerGraph
    from twin.partition import Partition


@dataclass(frozen=True)
class StageModule:
    """The part of a model that one device runs; it shares its weights with the model.

    Attributes:
        module: Takes one tensor per name in `inputs` and returns a tuple of one per name in `outputs`.
        layers: Positions of its layers in topological order; none if it only passes tensors on.
        inputs: Names of the tensors that it receives: the cut before it.
        outputs: Names of the tensors that it hands on: the cut after it.
    """

    module: fx.GraphModule
    layers: tuple[int, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def __call__(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Run the stage on the tensors named in `inputs`; it does not modify them."""
        # A stage has no hooks, and going past those of torch.nn keeps the overhead of short layers low.
        handed_on: tuple[torch.Tensor, ...] = self.module.forward(*tensors)
        return handed_on


def split(traced: TracedModel, partition: Partition) -> tuple[StageModule, ...]:
    """Cut a model at a partition; the outputs of each stage are the inputs of the next.

    Args:
        traced: The model.
        partition: A partition of its layer graph.

    Returns:
        One stage per device, the empty ones too.

    Raises:
        PartitionError: The partition does not fit the model.
    """
    partition.check(traced.graph)
    downsets = [(), *(partition.down_set(device) for device in range(partition.n_devices))]
    cuts = [traced.graph.cut(downset) for downset in downsets]
    return tuple(
        _extract(traced, stage.layers, cuts[stage.device], cuts[stage.device + 1]) for stage in partition.stages
    )


def stage_module(traced: TracedModel, start: int, stop: int) -> StageModule:
    """Return the stage of the layers `start` up to, not including, `stop`, in topological order.

    Raises:
        PartitionError: The positions decrease or lie outside the model.
    """
    if not 0 <= start <= stop <= len(traced.graph):
        raise PartitionError(f"stage {start}..{stop} does not lie in the {len(traced.graph)} layers of the model")
    return _extract(traced, range(start, stop), traced.graph.cut(range(start)), traced.graph.cut(range(stop)))


def layer_module(traced: TracedModel, position: int) -> StageModule:
    """Return one layer alone: its inputs are what it reads, its output is what it computes."""
    layer = traced.graph.layers[position]
    return _extract(traced, (position,), layer.inputs, (layer.name,))


def _extract(
    traced: TracedModel, layers: Iterable[int], inputs: tuple[str, ...], outputs: tuple[str, ...]
) -> StageModule:
    from torch import fx  # noqa: PLC0415 - slow to import

    positions = tuple(layers)
    wanted = {name for position in positions for name in traced.nodes[position]}
    graph = fx.Graph()
    copies = {name: graph.placeholder(name) for name in (traced.output_node(tensor) for tensor in inputs)}
    for node in traced.module.graph.nodes:
        if node.name in wanted:
            copies[node.name] = graph.node_copy(node, lambda x: copies[x.name])
    graph.output(tuple(copies[traced.output_node(tensor)] for tensor in outputs))
    return StageModule(fx.GraphModule(traced.module, graph), positions, inputs, outputs)


def layer_graph(name: str, seed: int = 0, input_shape: Sequence[int] = INPUT_SHAPE) -> LayerGraph:
    """Return the layer graph of a known model, with the versions and the date in its provenance.

    Raises:
        GraphError: The model is not known.
        MeasurementError: torch or torchvision is not installed.
    """
    model = build_model(name, seed)
    from hardware.tracing.trace import trace  # noqa: PLC0415 - imports torch

    graph = trace(model, name, input_shape).graph
    provenance = {
        "source": f"torchvision.models.{name}, random weights",
        **graph.provenance,
        "torch": version("torch"),
        "torchvision": version("torchvision"),
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
    }
    return replace(graph, provenance=provenance)


def main(argv: Sequence[str] | None = None) -> int:
    """Write layer graphs to `<out>/models`."""
    parser = argparse.ArgumentParser(prog="python -m hardware.stages", description="Write the layer graphs of models.")
    parser.add_argument(
        "--model", action="extend", nargs="+", required=True, help="one or more models, or `all`; may be repeated"
    )
    parser.add_argument("--out", type=Path, default=Path("data"), help="data folder (default: data)")
    arguments = parser.parse_args(argv)
    for name in check_names(arguments.model):
        graph = layer_graph(name)
        path = arguments.out / "models" / f"{name}.json"
        write_json(path, graph.to_json())
        sys.stdout.write(f"{path}: {len(graph)} layers\n")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main))
