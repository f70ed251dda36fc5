"""Run a traced graph once and note at every node what it did: shapes, bytes, flops, aliases.

What a node does to memory is observed, not looked up by its name: a result that shares its storage with an
argument is a view, one that is the argument itself is an identity (dropout in inference), and an argument whose
version counter has moved was modified in place.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

import torch
from torch import fx
from torch.utils import _pytree as pytree

from hardware.tracing.flops import Call, flops
from twin.errors import GraphError

if TYPE_CHECKING:
    from collections.abc import Sequence

_SHAPE_QUERIES = frozenset({"getattr", "size", "dim", "ndimension", "numel", "len"})
"""Operations that turn a tensor into plain numbers which depend on its shape alone."""


class Kind(Enum):
    """What a node does, as far as folding and cutting care."""

    INPUT = "the model's input"
    PARAMETER = "computed from weights alone"
    LITERAL = "no tensor: a number, a shape, an assertion"
    IDENTITY = "returns its argument untouched"
    VIEW = "another look at the storage of its argument"
    IN_PLACE = "modifies its argument and returns it"
    COMPUTE = "writes new storage"
    OUTPUT = "the model's answer"


@dataclass(frozen=True, slots=True)
class Facts:
    """What was seen of one node.

    Attributes:
        kind: What it does.
        op: Name of the module's class or of the function.
        path: Dotted path of the module it calls, or None for a function.
        scope: Dotted path of the module whose forward method calls it; empty for the model itself.
        source: The node whose storage the result shares, or None.
        shape: Shape of the result; None unless it is one tensor.
        size_bytes: Bytes of the result, all its tensors together.
        flops: Floating-point operations.
        value: The result itself where it is no tensor.
    """

    kind: Kind
    op: str
    path: str | None
    scope: str
    source: fx.Node | None
    shape: tuple[int, ...] | None
    size_bytes: int
    flops: float
    value: object = None


def facts(node: fx.Node) -> Facts:
    """Return what was recorded of a node."""
    noted: Facts = node.meta["facts"]
    return noted


def note(node: fx.Node, noted: Facts) -> None:
    """Record what is known of a node; `facts` returns it."""
    node.meta["facts"] = noted


class Recorder(fx.Interpreter):
    """Runs a graph and notes `Facts` at every node.

    Args:
        module: The traced model.

    Raises:
        GraphError: While running: a plain number depends on the values in a tensor, an operation modifies an
            argument that it does not return, or no flop formula is known.
    """

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        # Otherwise every error gains a page of fx internals, which tells a user nothing.
        self.extra_traceback = False

    def run_node(self, n: fx.Node) -> Any:  # noqa: ANN401 - an fx node may return anything
        """Run one node and note what it did."""
        before = {source: _versions(self.env[source]) for source in n.all_input_nodes}
        result = super().run_node(n)
        modified = [source for source, versions in before.items() if _versions(self.env[source]) != versions]
        source = next((x for x in n.all_input_nodes if _share_storage(result, self.env[x])), None)
        kind = self._kind(n, result, source, modified)
        results = tensors_in(result)
        noted = Facts(
            kind=kind,
            op=self._op(n),
            path=str(n.target) if n.op == "call_module" else None,
            scope=_scope(n),
            source=source,
            shape=tuple(result.shape) if isinstance(result, torch.Tensor) else None,
            size_bytes=sum(tensor.numel() * tensor.element_size() for tensor in results),
            flops=self._flops(n, kind, source, results),
            value=None if results else result,
        )
        note(n, noted)
        return result

    def _kind(self, node: fx.Node, result: object, source: fx.Node | None, modified: list[fx.Node]) -> Kind:
        if node.op in {"placeholder", "output"}:
            return Kind.INPUT if node.op == "placeholder" else Kind.OUTPUT
        if modified:
            if source is None or not all(_is_same(result, self.env[x]) for x in modified):
                raise GraphError(
                    f"`{node.format_node()}` modifies an argument that it does not return; use its out-of-place form"
                )
            return Kind.IN_PLACE
        if not tensors_in(result):
            _check_literal(node, result)
            return Kind.LITERAL
        if all(facts(x).kind in {Kind.PARAMETER, Kind.LITERAL} for x in node.all_input_nodes):
            return Kind.PARAMETER
        if source is None:
            return Kind.COMPUTE
        return Kind.IDENTITY if _is_same(result, self.env[source]) else Kind.VIEW

    def _op(self, node: fx.Node) -> str:
        if node.op == "call_module":
            return type(self.module.get_submodule(str(node.target))).__name__
        return node.target if isinstance(node.target, str) else str(getattr(node.target, "__name__", node.target))

    def _flops(self, node: fx.Node, kind: Kind, source: fx.Node | None, results: Sequence[torch.Tensor]) -> float:
        only_moves = kind in {Kind.INPUT, Kind.OUTPUT, Kind.LITERAL, Kind.IDENTITY, Kind.VIEW}
        if only_moves or node.op == "get_attr" or (kind is Kind.PARAMETER and source is not None):
            return 0.0
        inputs = tuple(tuple(tensor.shape) for tensor in tensors_in(self.fetch_args_kwargs_from_env(node)))
        module = self.module.get_submodule(str(node.target)) if node.op == "call_module" else None
        return flops(Call(self._op(node), module, inputs, tuple(results[0].shape)))


def tensors_in(value: object) -> tuple[torch.Tensor, ...]:
    """Return all tensors inside nested tuples, lists and dicts, in order."""
    return tuple(leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, torch.Tensor))


def _versions(value: object) -> tuple[int, ...]:
    return tuple(tensor._version for tensor in tensors_in(value))  # noqa: SLF001 - has no public name


def _share_storage(result: object, argument: object) -> bool:
    """Say whether all tensors of `result` lie in the storage of a tensor of `argument`."""
    results = tensors_in(result)
    held = {tensor.untyped_storage().data_ptr() for tensor in tensors_in(argument) if tensor.numel()}
    return bool(results) and all(tensor.untyped_storage().data_ptr() in held for tensor in results)


def _is_same(result: object, argument: object) -> bool:
    """Say whether two values are one and the same tensor: the same elements in the same order of memory."""
    if not isinstance(result, torch.Tensor) or not isinstance(argument, torch.Tensor):
        return False
    looks = [(x.data_ptr(), x.shape, x.stride(), x.dtype) for x in (result, argument)]
    return looks[0] == looks[1]


def _scope(node: fx.Node) -> str:
    """Return the path of the innermost module whose forward method makes this call."""
    stack = node.meta.get("nn_module_stack")
    return str(next(reversed(stack.values()))[0]) if stack else ""


def _check_literal(node: fx.Node, result: object) -> None:
    reads_tensor = any(facts(x).kind is not Kind.LITERAL for x in node.all_input_nodes)
    op = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    if reads_tensor and result is not None and op not in _SHAPE_QUERIES:
        raise GraphError(
            f"`{node.format_node()}` turns the values of a tensor into {result!r}; a model whose course depends on "
            "its data cannot be traced"
        )
