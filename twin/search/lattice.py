"""The down-sets of a layer graph: every way in which a model can have run so far, and what the cut there weighs."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from twin.graph import INPUT

if TYPE_CHECKING:
    from twin.graph import LayerGraph

CAP = 50_000
"""Number of down-sets past which blocks are merged."""

_WORD_BITS = 64


class Level(NamedTuple):
    """The down-sets of one size: positions `start..stop`, and the cover edges that leave them upwards."""

    start: int
    stop: int
    upper: np.ndarray
    offsets: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Lattice:
    """The down-sets of a layer graph, ordered by size; the first is empty and the last holds every layer.

    P is the number of down-sets, N that of layers, E that of cover edges.

    Attributes:
        member: Whether each down-set holds each layer, shape [P, N].
        words: The same, packed into 64-bit words, shape [P, ceil(N / 64)].
        cut_bytes: Bytes of the tensors that leave each down-set, shape [P].
        size: Number of layers of each down-set, shape [P].
        lower: Lower end of each cover edge, in increasing order, shape [E].
        upper: Upper end of each cover edge, shape [E].
        levels: Down-sets by size, from the smallest, the full one left out, with their edges upwards.
        is_chain: Whether every two down-sets are nested, so that positions compare as the sets do.
        merged: Blocks that were merged to keep the number of down-sets below the cap, as `first..last`.
    """

    member: np.ndarray
    words: np.ndarray
    cut_bytes: np.ndarray
    size: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    levels: tuple[Level, ...]
    is_chain: bool
    merged: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.size)

    def within(self, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
        """Whether each down-set in `lower` (shape [m]) lies within each in `upper` (shape [n]): shape [m, n]."""
        if self.is_chain:
            return np.asarray(lower[:, None] <= upper[None, :])
        inside = np.ones((len(lower), len(upper)), dtype=bool)
        for word in range(self.words.shape[1]):
            inside &= (self.words[lower, word][:, None] & ~self.words[upper, word][None, :]) == 0
        return inside

    def least_above(self, values: np.ndarray) -> np.ndarray:
        """Least of `values` (shape [P]) over the down-sets that strictly hold each one; infinity for the full one.

        Linear in the cover edges: a strict superset lies above or on one of the covers.
        """
        above = np.full(len(values), np.inf)
        if self.is_chain:
            above[:-1] = np.minimum.accumulate(values[:0:-1])[::-1]
            return above
        least = values.copy()
        for start, stop, upper, offsets in reversed(self.levels):
            here = np.minimum.reduceat(least[upper], offsets)
            above[start:stop] = here
            np.minimum(least[start:stop], here, out=least[start:stop])
        return above


_CACHE: WeakKeyDictionary[LayerGraph, dict[int, Lattice]] = WeakKeyDictionary()


def lattice_of(graph: LayerGraph, *, cap: int = CAP) -> Lattice:
    """Return the lattice of `graph`, built once for each graph and cap.

    A graph is a series of blocks, cut where every later layer needs every earlier one, and its down-sets are those
    of one block after another. While there are more than `cap`, the block with the most inner down-sets becomes
    one unit, which runs on one device as a whole; `Lattice.merged` names such blocks.

    Args:
        graph: The layers.
        cap: Number of down-sets past which blocks are merged.
    """
    lattices = _CACHE.setdefault(graph, {})
    if cap not in lattices:
        lattices[cap] = _build(graph, cap)
    return lattices[cap]


class _Block(NamedTuple):
    """A run of layers `start..stop` in series with the rest; `sets` and `covers` exclude the set that it starts from.

    `sets` is None where the block is merged into one unit.
    """

    start: int
    stop: int
    sets: list[int] | None
    covers: list[tuple[int, int]]

    @property
    def gain(self) -> int:
        """Number of down-sets that the block adds."""
        return len(self.sets) if self.sets is not None else 1


def _build(graph: LayerGraph, cap: int) -> Lattice:
    before = [sum(1 << source for source in set(sources)) for sources in graph.predecessors]
    blocks = [_block(before, start, stop, cap) for start, stop in pairwise(_series_cuts(before))]
    merged = [block.sets is None for block in blocks]
    total = 1 + sum(block.gain for block in blocks)
    for position in sorted(range(len(blocks)), key=lambda i: -blocks[i].gain):
        if total <= cap or blocks[position].gain == 1:
            break
        total -= blocks[position].gain - 1
        blocks[position] = blocks[position]._replace(sets=None)
        merged[position] = True
    names = [f"{graph.layers[b.start].name}..{graph.layers[b.stop - 1].name}" for b in blocks]
    return _assemble(graph, blocks, tuple(name for name, is_merged in zip(names, merged, strict=True) if is_merged))


def _series_cuts(before: list[int]) -> list[int]:
    """Positions at which every later layer needs, directly or not, every earlier one; 0 and N among them."""
    ancestors: list[int] = []
    for sources in before:
        known = sources
        rest = sources
        while rest:
            lowest = rest & -rest
            rest ^= lowest
            known |= ancestors[lowest.bit_length() - 1]
        ancestors.append(known)
    cuts = [len(before)]
    common = -1
    for position in range(len(before) - 1, -1, -1):
        common &= ancestors[position]
        prefix = (1 << position) - 1
        if common & prefix == prefix:
            cuts.append(position)
    return cuts[::-1]


def _block(before: list[int], start: int, stop: int, cap: int) -> _Block:
    """Enumerate the down-sets of one block by size; merged if there are more than `cap`."""
    base = (1 << start) - 1
    after: dict[int, list[int]] = {layer: [] for layer in range(start, stop)}
    for layer in range(start, stop):
        for source in range(start, layer):
            if before[layer] >> source & 1:
                after[source].append(layer)
    ready = sum(1 << layer for layer in range(start, stop) if before[layer] & ~base == 0)
    sets: list[int] = []
    covers: list[tuple[int, int]] = []
    level = {base: ready}
    while level:
        above: dict[int, int] = {}
        for held, open_layers in level.items():
            _extend(held, open_layers, before, after, above, covers)
        sets += above
        if len(sets) > cap:
            return _Block(start, stop, None, [])
        level = above
    return _Block(start, stop, sets, covers)


def _extend(
    held: int,
    open_layers: int,
    before: list[int],
    after: dict[int, list[int]],
    above: dict[int, int],
    covers: list[tuple[int, int]],
) -> None:
    """Add each layer that may run next to the down-set `held`; note the new sets with the layers open to them."""
    rest = open_layers
    while rest:
        layer = rest & -rest
        rest ^= layer
        larger = held | layer
        covers.append((held, larger))
        if larger not in above:
            opened = open_layers ^ layer
            for follower in after[layer.bit_length() - 1]:
                if before[follower] & ~larger == 0:
                    opened |= 1 << follower
            above[larger] = opened


def _assemble(graph: LayerGraph, blocks: list[_Block], merged: tuple[str, ...]) -> Lattice:
    masks = [0]
    covers: list[tuple[int, int]] = []
    for block in blocks:
        whole = (1 << block.stop) - 1
        masks += block.sets if block.sets is not None else [whole]
        covers += block.covers if block.sets is not None else [((1 << block.start) - 1, whole)]
    position = {mask: index for index, mask in enumerate(masks)}
    edges = np.array([(position[low], position[high]) for low, high in covers], dtype=np.int64)
    edges = edges[np.lexsort((edges[:, 1], edges[:, 0]))]
    n_words = -(-len(graph) // _WORD_BITS)
    raw = np.frombuffer(b"".join(mask.to_bytes(n_words * 8, "little") for mask in masks), dtype=np.uint8)
    raw = raw.reshape(len(masks), -1)
    member = np.unpackbits(raw, axis=1, count=len(graph), bitorder="little").astype(bool)
    size = member.sum(axis=1)
    return Lattice(
        member=member,
        words=raw.view("<u8"),
        cut_bytes=_cut_bytes(graph, member),
        size=size,
        lower=edges[:, 0],
        upper=edges[:, 1],
        levels=_levels(size, edges),
        is_chain=len(edges) == len(masks) - 1,
        merged=merged,
    )


def _levels(size: np.ndarray, edges: np.ndarray) -> tuple[Level, ...]:
    starts = [*np.flatnonzero(np.diff(size, prepend=-1)).tolist()]
    first_edge = np.searchsorted(edges[:, 0], np.arange(len(size) + 1))
    return tuple(
        Level(
            start,
            stop,
            np.ascontiguousarray(edges[first_edge[start] : first_edge[stop], 1]),
            first_edge[start:stop] - first_edge[start],
        )
        for start, stop in pairwise(starts)
    )


def _cut_bytes(graph: LayerGraph, member: np.ndarray) -> np.ndarray:
    """Bytes that leave each down-set (`LayerGraph.cut_bytes` of all at once), shape [P]."""
    consumers: dict[str, list[int]] = {INPUT: [], **{layer.name: [] for layer in graph.layers}}
    for position, layer in enumerate(graph.layers):
        for name in set(layer.inputs):
            consumers[name].append(position)
    total = graph.input_bytes * ~member[:, consumers[INPUT]].all(axis=1)
    total = total.astype(float)
    for position, layer in enumerate(graph.layers):
        crosses = member[:, position]
        if layer.name not in graph.outputs:
            crosses = crosses & ~member[:, consumers[layer.name]].all(axis=1)
        total += layer.output_bytes * crosses
    return total
