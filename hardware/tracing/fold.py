"""Group the nodes of a cuttable graph into layers.

A layer is one node that computes, with those around it that a cut should not separate from it:

* a node that modifies its argument in place joins the node that wrote it;
* a view (flatten, reshape, permute, an index) joins its producer if it is the only reader of the producer and no
  bigger, so that the smaller tensor is sent; else its reader, if it has one only; else it is a layer of its own;
* what is computed from weights alone joins its reader.

In every layer only the last node is read by others. This is checked, and it is why folding makes no cycle: whatever
reads a layer comes after that layer's last node, so layers ordered by their last node are in topological order.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from hardware.tracing.record import Kind, facts
from twin.errors import GraphError

if TYPE_CHECKING:
    from torch import fx


class _Side(Enum):
    """Where a view belongs."""

    PRODUCER = "with the node that it looks at"
    READER = "with the node that reads it"
    OWN = "a layer of its own"


def fold(graph: fx.Graph) -> list[list[fx.Node]]:
    """Return the nodes of each layer in order of execution, the layers in topological order.

    Args:
        graph: A recorded graph that `make_cuttable` has prepared.

    Raises:
        GraphError: An operation has several results that are read separately.
    """
    nodes = [node for node in graph.nodes if node.op not in {"placeholder", "output"}]
    sides: dict[fx.Node, _Side] = {}
    leader: dict[fx.Node, fx.Node] = {node: node for node in nodes}
    for node in nodes:
        partner = _partner(node, sides)
        if partner is not None:
            _join(leader, node, partner)
    layers: dict[fx.Node, list[fx.Node]] = {}
    for node in nodes:
        layers.setdefault(_find(leader, node), []).append(node)
    order = {node: position for position, node in enumerate(nodes)}
    for members in layers.values():
        _check_single_outlet(members)
    return sorted(layers.values(), key=lambda members: order[members[-1]])


def _partner(node: fx.Node, sides: dict[fx.Node, _Side]) -> fx.Node | None:
    """Return the node whose layer `node` joins, or None if it starts a layer."""
    kind = facts(node).kind
    if kind is Kind.IN_PLACE:
        return facts(node).source
    if kind is Kind.PARAMETER:
        return _only_reader(node)
    if kind is Kind.VIEW:
        sides[node] = _side(node, sides)
        return {_Side.PRODUCER: facts(node).source, _Side.READER: _only_reader(node), _Side.OWN: None}[sides[node]]
    return None


def _side(node: fx.Node, sides: dict[fx.Node, _Side]) -> _Side:
    source = facts(node).source
    if source is not None and facts(source).kind is not Kind.INPUT and len(source.users) == 1:
        grows = facts(node).size_bytes > facts(source).size_bytes
        if not grows and sides.get(source) is not _Side.READER:
            return _Side.PRODUCER
    return _Side.READER if _only_reader(node) is not None else _Side.OWN


def _only_reader(node: fx.Node) -> fx.Node | None:
    readers = list(node.users)
    return readers[0] if len(readers) == 1 and readers[0].op != "output" else None


def _find(leader: dict[fx.Node, fx.Node], node: fx.Node) -> fx.Node:
    while leader[node] is not node:
        node = leader[node]
    return node


def _join(leader: dict[fx.Node, fx.Node], node: fx.Node, other: fx.Node) -> None:
    leader[_find(leader, node)] = _find(leader, other)


def _check_single_outlet(members: list[fx.Node]) -> None:
    inside = set(members)
    outlets = [node for node in members if any(reader not in inside for reader in node.users)]
    if outlets != members[-1:] or facts(outlets[0]).shape is None:
        names = ", ".join(f"`{node.name}`" for node in outlets)
        raise GraphError(f"the layer of {names} must have exactly one tensor as its result, otherwise it cannot be cut")
