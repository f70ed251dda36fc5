"""The lattice of down-sets: against every subset tried, and against sums over the layer graph."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import graphs
from worlds import make_graph

from twin.graph import Layer, LayerGraph, load_graph
from twin.search.lattice import lattice_of

MODELS = Path(__file__).parents[2] / "data" / "models"


def down_sets(graph):
    """Every subset of the layers that holds the sources of all that it holds."""
    return {
        held
        for held in product((False, True), repeat=len(graph))
        if all(held[source] for layer, here in enumerate(held) if here for source in graph.predecessors[layer])
    }


def branches(width, output_bytes=10):
    """A first layer, `width` layers beside each other, and a last one that joins them."""
    first = Layer("first", "Op", ("input",), (1,), output_bytes, 0, 0.0)
    middle = [Layer(f"m{i}", "Op", ("first",), (1,), output_bytes, 0, 0.0) for i in range(width)]
    last = Layer("last", "Op", tuple(layer.name for layer in middle), (1,), output_bytes, 0, 0.0)
    return LayerGraph("branches", (1,), 5, (first, *middle, last), ("last",))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(graphs())
def test_it_holds_exactly_the_down_sets_by_size_with_their_cuts(graph):
    lattice = lattice_of(graph)
    assert {tuple(row) for row in lattice.member.tolist()} == down_sets(graph)
    assert len(lattice) == len(down_sets(graph))
    assert not lattice.member[0].any()
    assert lattice.member[-1].all()
    assert np.all(np.diff(lattice.size) >= 0)
    assert lattice.cut_bytes.tolist() == [graph.cut_bytes(np.flatnonzero(row)) for row in lattice.member]
    assert lattice.merged == ()


@settings(max_examples=150, deadline=None, derandomize=True)
@given(graphs())
def test_its_edges_are_the_pairs_that_differ_by_one_layer(graph):
    lattice = lattice_of(graph)
    n = len(lattice)
    inside = (lattice.member[:, None, :] <= lattice.member[None, :, :]).all(axis=2)
    covers = inside & (lattice.size[None, :] == lattice.size[:, None] + 1)
    assert set(zip(lattice.lower.tolist(), lattice.upper.tolist(), strict=True)) == set(
        zip(*(x.tolist() for x in np.nonzero(covers)), strict=True)
    )
    assert np.array_equal(lattice.within(np.arange(n), np.arange(n)), inside)
    assert lattice.is_chain == bool((inside | inside.T).all())


@settings(max_examples=150, deadline=None, derandomize=True)
@given(graphs(), st.integers(0, 2**32 - 1))
def test_the_least_value_above_each_set_is_that_of_its_strict_supersets(graph, seed):
    lattice = lattice_of(graph)
    n = len(lattice)
    values = np.random.default_rng(seed).permutation(n).astype(float)
    strictly = lattice.within(np.arange(n), np.arange(n)) & ~np.eye(n, dtype=bool)
    expected = np.where(strictly, values[None, :], np.inf).min(axis=1)
    assert np.array_equal(lattice.least_above(values), expected)


def test_a_chain_has_one_more_set_than_layers():
    lattice = lattice_of(make_graph())
    assert lattice.is_chain
    assert len(lattice) == 5
    assert lattice.cut_bytes.tolist() == [100_000, 200_000, 50_000, 10_000, 4_000]


def test_a_tensor_with_several_consumers_counts_once():
    lattice = lattice_of(branches(3, output_bytes=7))
    assert len(lattice) == 2 + 2**3 + 1 - 1
    after_first = int(np.flatnonzero(lattice.size == 1)[0])
    assert lattice.cut_bytes[after_first] == 7


def test_a_lattice_is_built_once_for_each_graph():
    graph = make_graph()
    assert lattice_of(graph) is lattice_of(graph)
    assert lattice_of(graph, cap=2) is not lattice_of(graph)


def test_past_the_cap_whole_blocks_are_merged_and_named():
    wide, narrow = branches(5), branches(2)
    layers = list(wide.layers)
    layers += [
        Layer(f"again-{x.name}", x.op, tuple(f"again-{i}" if i != "input" else "last" for i in x.inputs), (1,), 9, 0, 0)
        for x in narrow.layers
    ]
    graph = LayerGraph("two blocks", (1,), 5, tuple(layers), ("again-last",))
    whole = lattice_of(graph)
    merged = lattice_of(graph, cap=len(whole) - 1)
    assert merged.merged == ("m0..m4",)
    assert len(merged) == len(whole) - 30
    known = {tuple(row) for row in whole.member.tolist()}
    assert all(tuple(row) in known for row in merged.member.tolist())
    assert merged.cut_bytes.tolist() == [graph.cut_bytes(np.flatnonzero(row)) for row in merged.member]
    assert np.isinf(merged.least_above(np.arange(len(merged), dtype=float))[-1])


def test_a_graph_too_wide_to_list_is_still_merged():
    lattice = lattice_of(branches(40))
    assert lattice.merged == ("m0..m39",)
    assert len(lattice) == 4


@pytest.mark.parametrize("model", ["alexnet", "vgg16"])
def test_models_without_branches_are_chains(model):
    graph = load_graph(MODELS / f"{model}.json")
    lattice = lattice_of(graph)
    assert lattice.is_chain
    assert len(lattice) == len(graph) + 1


@pytest.mark.parametrize("model", sorted(path.stem for path in MODELS.glob("*.json")))
def test_the_lattices_of_the_models_need_no_merging(model):
    lattice = lattice_of(load_graph(MODELS / f"{model}.json"))
    assert lattice.merged == ()
    assert len(lattice) < 10_000


def test_parallel_branches_make_more_sets_than_layers():
    graph = load_graph(MODELS / "googlenet.json")
    lattice = lattice_of(graph)
    assert not lattice.is_chain
    assert len(lattice) > 10 * len(graph)
