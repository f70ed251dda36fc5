"""Trace a model into a layer graph."""

from __future__ import annotations

import operator
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from hardware.models import INPUT_SHAPE
from hardware.tracing.fold import fold
from hardware.tracing.record import Kind, Recorder, facts
from hardware.tracing.rewrite import absorbed, make_cuttable
from twin.errors import GraphError
from twin.graph import INPUT, Layer, LayerGraph

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

METHOD = (
    "torch.fx at the granularity of torch.nn modules, shapes and aliases from one run; in-place and shape-only "
    "nodes folded; flops count a multiply-add as two"
)
"""How a layer graph is made, for its provenance."""


@dataclass(frozen=True)
class TracedModel:
    """A model as a torch.fx graph and as a layer graph.

    Attributes:
        module: The graph to execute; it shares its weights with the model that was traced and is good for one
            shape of input.
        graph: The layers.
        nodes: For each layer the names of its nodes in `module.graph`, in order of execution; the last one
            computes the layer's output.
    """

    module: fx.GraphModule
    graph: LayerGraph
    nodes: tuple[tuple[str, ...], ...]

    @property
    def input_node(self) -> str:
        """Name of the node that stands for the model's input."""
        return next(str(node.name) for node in self.module.graph.nodes if node.op == "placeholder")

    def output_node(self, tensor: str) -> str:
        """Name of the node that computes a layer's output, or that stands for `input`."""
        return self.input_node if tensor == INPUT else self.nodes[self.graph.index[tensor]][-1]


class _InPlaceProxy(fx.Proxy):
    """Keeps `x += y` in place; an ordinary proxy would turn it into `x = x + y` without a word."""

    def __iadd__(self, other: object) -> fx.Proxy:
        return self._record(operator.iadd, other)

    def __isub__(self, other: object) -> fx.Proxy:
        return self._record(operator.isub, other)

    def __imul__(self, other: object) -> fx.Proxy:
        return self._record(operator.imul, other)

    def __itruediv__(self, other: object) -> fx.Proxy:
        return self._record(operator.itruediv, other)

    def _record(self, function: Callable[..., Any], other: Any) -> fx.Proxy:  # noqa: ANN401 - anything may be added
        proxy: fx.Proxy = self.tracer.create_proxy("call_function", function, (self, other), {})
        return proxy


class _Tracer(fx.Tracer):
    """Leaves are the modules of torch.nn."""

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _InPlaceProxy(node, self)


def trace(model: torch.nn.Module, name: str, input_shape: Sequence[int] = INPUT_SHAPE) -> TracedModel:
    """Trace a model into layers.

    A layer is named by the dotted path of the module it calls; a function is named by the module whose forward
    method calls it and by itself, such as `features.3.add`. `Layer.nodes` holds the names of all nodes of the layer
    and the paths of the modules they call, so that `graph.find` finds a module that was folded.

    Args:
        model: A model in eval mode whose forward method takes one tensor.
        name: Name of the model.
        input_shape: Shape of the input, batch first; the traced model is good for this shape only.

    Raises:
        GraphError: The model is in training mode, cannot be traced, its parts rely on each other's memory in a way
            that no cut can keep, or what was traced answers something else than the model.
    """
    if model.training:
        raise GraphError(f"{name} is in training mode; call model.eval() before tracing")
    sample = _sample(model, input_shape)
    try:
        module = _record(model, sample)
        make_cuttable(module)
        members = fold(module.graph)
        _check_same_answer(model, module, sample)
    except GraphError as error:
        raise GraphError(f"{name}: {error}") from error
    nodes = tuple(tuple(node.name for node in layer) for layer in members)
    return TracedModel(module, _layer_graph(name, module.graph, members), nodes)


def _sample(model: torch.nn.Module, shape: Sequence[int]) -> torch.Tensor:
    weight = next(model.parameters(), torch.empty(0))
    generator = torch.Generator().manual_seed(0)
    return torch.randn(*shape, generator=generator, dtype=weight.dtype).to(weight.device)


def _record(model: torch.nn.Module, sample: torch.Tensor) -> fx.GraphModule:
    tracer = _Tracer()
    try:
        graph = tracer.trace(model)
    except (fx.proxy.TraceError, TypeError) as error:
        raise GraphError(f"cannot be traced by torch.fx: {error}") from error
    if sum(node.op == "placeholder" for node in graph.nodes) != 1:
        raise GraphError("the forward method must take exactly one tensor")
    module = fx.GraphModule(tracer.root, graph, type(model).__name__)
    try:
        with torch.no_grad():
            Recorder(module).run(sample.clone())
    except RuntimeError as error:
        raise GraphError(f"fails on an input of shape {tuple(sample.shape)}: {error}") from error
    return module


def _check_same_answer(model: torch.nn.Module, module: fx.GraphModule, sample: torch.Tensor) -> None:
    with torch.no_grad():
        expected, answer = model(sample.clone()), module(sample.clone())
    if not isinstance(expected, torch.Tensor) or not isinstance(answer, torch.Tensor):
        raise GraphError("the answer must be one tensor")
    if not torch.equal(expected, answer):
        raise GraphError(
            "what torch.fx traced answers something else than the model; it may be random, or depend on its data "
            "or on Python side effects"
        )


def _layer_graph(name: str, graph: fx.Graph, members: Sequence[Sequence[fx.Node]]) -> LayerGraph:
    modules = graph.owning_module
    placeholder = next(node for node in graph.nodes if node.op == "placeholder")
    names = _names(members)
    layer_of = {placeholder: INPUT} | {node: names[k] for k, layer in enumerate(members) for node in layer}
    layers = tuple(
        Layer(
            name=names[k],
            op="+".join(_ops(layer)),
            inputs=tuple(dict.fromkeys(layer_of[x] for node in layer for x in node.all_input_nodes if x not in layer)),
            output_shape=facts(layer[-1]).shape or (),
            output_bytes=facts(layer[-1]).size_bytes,
            parameter_bytes=_parameter_bytes(modules, layer),
            flops=sum(facts(node).flops for node in layer),
            nodes=_all_names(layer),
        )
        for k, layer in enumerate(members)
    )
    answer = next(node for node in graph.nodes if node.op == "output")
    return LayerGraph(
        model=name,
        input_shape=facts(placeholder).shape or (),
        input_bytes=facts(placeholder).size_bytes,
        layers=layers,
        outputs=tuple(layer_of[node] for node in answer.all_input_nodes),
        provenance={"method": METHOD},
    )


def _names(members: Iterable[Sequence[fx.Node]]) -> list[str]:
    """Name each layer by its first node that is neither a weight nor a view of the layer's input."""
    used = Counter({INPUT: 1})
    names = []
    for layer in members:
        main = next((x for x in layer if facts(x).kind is Kind.COMPUTE), layer[-1])
        noted = facts(main)
        base = noted.path or ".".join(part for part in (noted.scope, noted.op) if part)
        name = base
        while used[name]:
            name = f"{base}_{used[base]}"
            used[base] += 1
        used[name] += 1
        names.append(name)
    return names


def _ops(layer: Iterable[fx.Node]) -> list[str]:
    ops = []
    for node in layer:
        if node.op != "get_attr":
            ops.append(facts(node).op)
        ops += [noted.op for _, noted in absorbed(node)]
    return ops


def _all_names(layer: Iterable[fx.Node]) -> tuple[str, ...]:
    """Names of the nodes and the paths of the modules they call, the removed identities included."""
    names = []
    for node in layer:
        for node_name, noted in ((node.name, facts(node)), *absorbed(node)):
            names += [node_name] if noted.path is None else [node_name, noted.path]
    return tuple(dict.fromkeys(names))


def _parameter_bytes(modules: fx.GraphModule | None, layer: Iterable[fx.Node]) -> int:
    """Bytes of all parameters and buffers of a layer, each counted once."""
    held: dict[int, torch.Tensor] = {}
    for node in layer:
        if modules is not None and node.op == "call_module":
            module = modules.get_submodule(str(node.target))
            held |= {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
        elif modules is not None and node.op == "get_attr":
            tensor = operator.attrgetter(str(node.target))(modules)
            held[id(tensor)] = tensor
    return sum(tensor.numel() * tensor.element_size() for tensor in held.values())
