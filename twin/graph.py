"""The layer graph of a model: what is profiled, what can be cut, and what a cut weighs."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from twin.errors import GraphError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import networkx as nx

INPUT = "input"
"""Name of the pseudo-layer that stands for the model's input; every down-set holds it."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: the unit that is profiled and placed.

    Attributes:
        name: Unique name, the dotted path of the (first) module.
        op: What it computes, such as `Conv2d+ReLU`.
        inputs: Names of the layers whose output it reads; `input` for the model's input.
        output_shape: Shape of its output tensor, batch first.
        output_bytes: Bytes of its output tensor.
        parameter_bytes: Bytes of the weights and buffers that it holds.
        flops: Floating-point operations of one forward pass (a multiply-add counts as two).
        nodes: Names of the graph nodes that were folded into this layer, in order of execution.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    output_shape: tuple[int, ...]
    output_bytes: int
    parameter_bytes: int
    flops: float
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True)
class LayerGraph:
    """A model as a directed acyclic graph of layers, in topological order.

    Layers given in another order are sorted; the order given breaks ties.

    Attributes:
        model: Name of the model, such as `mobilenet_v2`.
        input_shape: Shape of the input tensor, batch first.
        input_bytes: Bytes of the input tensor.
        layers: The layers in topological order.
        outputs: Names of the layers whose output is the model's answer.
        dtype: Name of the number format.
        provenance: Where the graph came from (source, versions, date).

    Raises:
        GraphError: A name is used twice, an input is unknown, the graph has a cycle or is empty.
    """

    model: str
    input_shape: tuple[int, ...]
    input_bytes: int
    layers: tuple[Layer, ...]
    outputs: tuple[str, ...]
    dtype: str = "float32"
    provenance: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        _check_names(self.model, self.layers, self.outputs)
        _check_sizes(self.model, self.input_bytes, self.layers)
        object.__setattr__(self, "layers", _topological(self.model, self.layers))

    def __len__(self) -> int:
        return len(self.layers)

    @cached_property
    def index(self) -> dict[str, int]:
        """Position of each layer by its name."""
        return {layer.name: position for position, layer in enumerate(self.layers)}

    @cached_property
    def digraph(self) -> nx.DiGraph[str]:
        """The graph as `networkx.DiGraph`, with `input` as a node; node attribute `layer`."""
        import networkx as nx  # noqa: PLC0415 - slow to import and not needed by every command

        graph: nx.DiGraph[str] = nx.DiGraph(model=self.model)
        graph.add_node(INPUT)
        for layer in self.layers:
            graph.add_node(layer.name, layer=layer)
            graph.add_edges_from((source, layer.name) for source in layer.inputs)
        return graph

    @cached_property
    def predecessors(self) -> tuple[tuple[int, ...], ...]:
        """For each layer the positions of the layers that it reads (the input left out)."""
        return tuple(tuple(self.index[name] for name in layer.inputs if name != INPUT) for layer in self.layers)

    @property
    def output_bytes(self) -> int:
        """Bytes of the model's answer."""
        return sum(self.layers[self.index[name]].output_bytes for name in self.outputs)

    def find(self, name: str) -> int:
        """Return the position of the layer called `name`, or of the layer that folded it in.

        Raises:
            GraphError: No layer has or holds that name.
        """
        if name in self.index:
            return self.index[name]
        for position, layer in enumerate(self.layers):
            if name in layer.nodes:
                return position
        import difflib  # noqa: PLC0415 - only for the message

        near = difflib.get_close_matches(name, [*self.index, *(n for x in self.layers for n in x.nodes)], 1)
        remedy = f"did you mean `{near[0]}`?" if near else f"its first layer is `{self.layers[0].name}`"
        raise GraphError(f"{self.model} has no layer `{name}`: {remedy}")

    def within(self, name: str) -> tuple[int, ...]:
        """Return the positions of the layers that a name stands for: a layer, what was folded into one, or a module.

        A module, such as a block `features.9`, stands for all layers that lie in it.

        Raises:
            GraphError: There is none.
        """
        inside = tuple(
            position
            for position, layer in enumerate(self.layers)
            if any(x == name or x.startswith(f"{name}.") for x in (layer.name, *layer.nodes))
        )
        return inside or (self.find(name),)

    def cut(self, inside: Iterable[int]) -> tuple[str, ...]:
        """Names of the tensors that leave the down-set `inside`, each once, in topological order.

        A tensor produced inside and consumed outside crosses; the model's answers have a consumer after
        the last layer, and the input is produced inside every down-set.

        Args:
            inside: Positions of the layers of a down-set.
        """
        held = set(inside)
        consumed = {name for position, layer in enumerate(self.layers) if position not in held for name in layer.inputs}
        consumed.update(self.outputs)
        crossing = [INPUT] if INPUT in consumed else []
        crossing += [x.name for position, x in enumerate(self.layers) if position in held and x.name in consumed]
        return tuple(crossing)

    def cut_bytes(self, inside: Iterable[int]) -> int:
        """Bytes of the tensors that leave the down-set `inside`."""
        return sum(
            self.input_bytes if name == INPUT else self.layers[self.index[name]].output_bytes
            for name in self.cut(inside)
        )

    def to_json(self) -> dict[str, Any]:
        """Return the graph as the plain data of `data/models/<model>.json`."""
        data = asdict(self)
        data["schema"] = 1
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any], place: str = "layer graph") -> LayerGraph:
        """Build a graph from the plain data that `to_json` returns.

        Raises:
            GraphError: A key is missing, or the graph is malformed.
        """
        try:
            layers = tuple(_layer(entry) for entry in data["layers"])
            return cls(
                model=data["model"],
                input_shape=tuple(data["input_shape"]),
                input_bytes=data["input_bytes"],
                layers=layers,
                outputs=tuple(data["outputs"]),
                dtype=data.get("dtype", "float32"),
                provenance=data.get("provenance", {}),
            )
        except (KeyError, TypeError) as error:
            raise GraphError(f"{place}: missing or malformed key {error}; write it with hardware.stages") from error
        except GraphError as error:
            raise GraphError(f"{place}: {error}") from error


def load_graph(path: Path) -> LayerGraph:
    """Read a layer graph from a JSON file.

    Raises:
        GraphError: The file is missing, is not JSON or holds a malformed graph.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise GraphError(f"{path}: cannot be read ({error.strerror}); models lie in data/models") from error
    except ValueError as error:
        raise GraphError(f"{path}: is not JSON ({error})") from error
    return LayerGraph.from_json(data, str(path))


def _layer(entry: Mapping[str, Any]) -> Layer:
    return Layer(
        name=entry["name"],
        op=entry["op"],
        inputs=tuple(entry["inputs"]),
        output_shape=tuple(entry["output_shape"]),
        output_bytes=entry["output_bytes"],
        parameter_bytes=entry["parameter_bytes"],
        flops=entry["flops"],
        nodes=tuple(entry.get("nodes", ())),
    )


def _check_names(model: str, layers: tuple[Layer, ...], outputs: tuple[str, ...]) -> None:
    if not layers:
        raise GraphError(f"{model} has no layers")
    known: set[str] = {INPUT}
    for layer in layers:
        if layer.name in known:
            raise GraphError(f"{model}: the name `{layer.name}` is used twice; layer names must be unique")
        known.add(layer.name)
    for layer in layers:
        if not layer.inputs:
            raise GraphError(f"{model}: layer `{layer.name}` has no inputs; the first layer reads `{INPUT}`")
        for name in layer.inputs:
            if name not in known:
                raise GraphError(f"{model}: layer `{layer.name}` reads `{name}`, which does not exist")
    if not outputs or INPUT in outputs or not known.issuperset(outputs) or len(set(outputs)) < len(outputs):
        raise GraphError(f"{model}: outputs {list(outputs)} must name one or more of its layers, each once")


def _check_sizes(model: str, input_bytes: int, layers: tuple[Layer, ...]) -> None:
    sizes: list[tuple[str, str, float]] = [("input_bytes", INPUT, input_bytes)]
    for layer in layers:
        sizes += [
            ("output_bytes", layer.name, layer.output_bytes),
            ("parameter_bytes", layer.name, layer.parameter_bytes),
            ("flops", layer.name, layer.flops),
        ]
    for key, name, value in sizes:
        if not math.isfinite(value) or value < 0:
            raise GraphError(f"{model}: {key} of `{name}` is {value}; it must be a finite number >= 0")


def _topological(model: str, layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """Sort the layers so that each follows its inputs; the order given breaks ties."""
    placed: set[str] = {INPUT}
    ordered: list[Layer] = []
    waiting = list(layers)
    while waiting:
        ready = next((layer for layer in waiting if placed.issuperset(layer.inputs)), None)
        if ready is None:
            names = ", ".join(f"`{layer.name}`" for layer in waiting[:5])
            raise GraphError(f"{model}: the graph has a cycle through {names}; a model must be acyclic")
        waiting.remove(ready)
        placed.add(ready.name)
        ordered.append(ready)
    return tuple(ordered)
