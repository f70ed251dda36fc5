"""Turn a recorded graph into one whose nodes may run on different machines, without changing its answer.

A cut hands on copies, so what one layer does to memory must not be what another layer relies on. The rules:

* Numbers and shapes become literals: the graph is good for one shape of input, and no shape arithmetic crosses a cut.
* An identity (dropout in inference) disappears; its readers read its argument.
* A node that modifies p in place returns p, so whoever reads p after it, in the order of execution, is made to
  read the node. What is left reads p before it is modified.
* It stays in place only if nobody else can see the storage: every look at the storage taken before has one
  reader, the next in the chain from the node that wrote it to the modifying node, and the writer is an operation
  that computes something. Not the input, not a weight, and no reshape that had to copy: it copies because of how its
  argument lay in memory, and would look at it instead once the argument has been sent. The whole chain becomes one
  layer (see `fold`), so no cut separates them.
* Otherwise it is replaced by its out-of-place form, which writes the same values to new storage; every reader then
  sees what it saw in the whole model, whatever the order in which the stages run.
* A look at the storage that is taken before the modification and read after it cannot be kept apart from it: refused.
* A value computed from weights alone is copied for each reader, which is cheaper than sending it.
"""

from __future__ import annotations

import copy
import operator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from hardware.tracing.record import Facts, Kind, facts, note
from twin.errors import GraphError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_OUT_OF_PLACE: Mapping[object, Callable[..., Any]] = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
}


def make_cuttable(module: fx.GraphModule) -> None:
    """Apply the rules above to a recorded graph; its nodes keep their `Facts`.

    Raises:
        GraphError: A tensor is modified in place in a way that no split can reproduce.
    """
    graph = module.graph
    _fold_literals(graph)
    _remove_identities(graph)
    _settle_in_place(module)
    _copy_for_each_reader(graph)
    # In-place nodes have got all the readers that depend on them, so what has no reader now does nothing.
    graph.eliminate_dead_code()
    graph.lint()
    module.recompile()


def absorbed(node: fx.Node) -> tuple[tuple[str, Facts], ...]:
    """Return name and facts of the identities that stood behind a node and were removed."""
    removed: tuple[tuple[str, Facts], ...] = node.meta.get("absorbed", ())
    return removed


def _fold_literals(graph: fx.Graph) -> None:
    for node in list(graph.nodes):
        if facts(node).kind is Kind.LITERAL:
            for user in list(node.users):
                user.args = fx.map_arg(user.args, _literal)
                user.kwargs = fx.map_arg(user.kwargs, _literal)
            graph.erase_node(node)


def _literal(node: fx.Node) -> Any:  # noqa: ANN401 - a literal may be anything
    return facts(node).value if facts(node).kind is Kind.LITERAL else node


def _remove_identities(graph: fx.Graph) -> None:
    for node in list(graph.nodes):
        source = facts(node).source
        if facts(node).kind is Kind.IDENTITY and source is not None:
            source.meta["absorbed"] = (*absorbed(source), (node.name, facts(node)), *absorbed(node))
            for user in list(node.users):
                _redirect(user, node, source)
            graph.erase_node(node)


def _settle_in_place(module: fx.GraphModule) -> None:
    order = {node: position for position, node in enumerate(module.graph.nodes)}
    for node in module.graph.nodes:
        source = facts(node).source
        if facts(node).kind is not Kind.IN_PLACE or source is None:
            continue
        for user in list(source.users):
            if order[user] > order[node]:
                _redirect(user, source, node)
        root = _root(node)
        looks = [x for x in module.graph.nodes if order[x] < order[node] and _root(x) is root]
        _check_not_read_later(node, looks, order)
        owns_storage = facts(root).kind is Kind.COMPUTE and facts(root).flops > 0
        if not owns_storage or any(len(look.users) > 1 for look in looks):
            _make_out_of_place(module, node)


def _root(node: fx.Node) -> fx.Node:
    """Return the node that wrote the storage which a node's result lies in."""
    source = facts(node).source
    return node if source is None else _root(source)


def _check_not_read_later(node: fx.Node, looks: list[fx.Node], order: Mapping[fx.Node, int]) -> None:
    for look in looks:
        for user in look.users:
            if order[user] > order[node]:
                raise GraphError(
                    f"`{node.name}` modifies in place what `{look.name}` looks at and `{user.name}` reads later; "
                    "use an out-of-place operation there, otherwise the model cannot be cut"
                )


def _make_out_of_place(module: fx.GraphModule, node: fx.Node) -> None:
    """Let a node write new storage instead of its argument's; the model that was traced stays as it is."""
    if node.op == "call_module":
        target = f"{node.target}_out_of_place"
        twin = copy.copy(module.get_submodule(str(node.target)))
        if not hasattr(twin, "inplace"):
            raise GraphError(_no_form(node))
        twin.inplace = False  # type: ignore[assignment]
        module.add_submodule(target, twin)
        node.target = target
    elif node.kwargs.get("inplace"):
        node.kwargs = {**node.kwargs, "inplace": False}
    elif node.op == "call_method":
        node.target = str(node.target).removesuffix("_")
    else:
        name = str(getattr(node.target, "__name__", ""))
        function = _OUT_OF_PLACE.get(node.target) or getattr(torch, name.removesuffix("_"), None)
        if function is None or function is node.target:
            raise GraphError(_no_form(node))
        node.target = function
    note(node, replace(facts(node), kind=Kind.COMPUTE, source=None))


def _no_form(node: fx.Node) -> str:
    return f"`{node.name}` modifies a tensor that others read, and no out-of-place form of it is known; use one there"


def _copy_for_each_reader(graph: fx.Graph) -> None:
    """Copy what is computed from weights alone, and views that are several tensors (a chunk), for each reader."""
    for node in reversed(list(graph.nodes)):
        several = facts(node).kind is Kind.VIEW and facts(node).shape is None
        if facts(node).kind is Kind.PARAMETER or several:
            for user in list(node.users)[1:]:
                with graph.inserting_after(node):
                    twin = graph.node_copy(node)
                _redirect(user, node, twin)


def _redirect(user: fx.Node, old: fx.Node, new: fx.Node) -> None:
    """Let `user` read `new` instead of `old`."""
    user.replace_input_with(old, new)
    if facts(user).source is old:
        note(user, replace(facts(user), source=new))
