"""Layer graphs and partitions: what is checked, what a cut weighs, and that both survive a file."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.errors import GraphError, PartitionError, ScenarioError
from twin.graph import INPUT, Layer, LayerGraph, load_graph
from twin.partition import Partition, thirds
from twin.topology import Continuum, Device, Hop, Link


def layer(name, *inputs, size=100, nodes=()):
    return Layer(name, "Conv2d", inputs, (1, size // 4), size, 10, 1e3, nodes)


def residual():
    """input -> a -> b -> add(a, b) -> head"""
    layers = (layer("a", INPUT), layer("b", "a", size=40), layer("add", "a", "b"), layer("head", "add", size=8))
    return LayerGraph("residual", (1, 50), 200, layers, ("head",))


def test_a_cut_carries_each_tensor_once():
    graph = residual()
    assert graph.cut([]) == (INPUT,)
    assert graph.cut([0]) == ("a",)
    assert graph.cut([0, 1]) == ("a", "b")
    assert graph.cut_bytes([0, 1]) == 140
    assert graph.cut([0, 1, 2, 3]) == ("head",)


def test_an_input_that_is_needed_later_and_an_early_answer_are_carried():
    layers = (layer("a", INPUT, size=4), layer("b", "a", INPUT, size=40), layer("c", "b", size=8))
    graph = LayerGraph("early", (1, 50), 200, layers, ("a", "c"))
    assert graph.cut([0]) == (INPUT, "a")
    assert graph.cut([0, 1]) == ("a", "b")
    assert graph.cut([0, 1, 2]) == ("a", "c")
    assert graph.output_bytes == 12


def test_layers_are_sorted_and_found_by_the_names_they_folded():
    layers = (layer("b", "a"), layer("a", INPUT, nodes=("a", "a.relu")))
    graph = LayerGraph("shuffled", (1, 50), 200, layers, ("b",))
    assert [x.name for x in graph.layers] == ["a", "b"]
    assert graph.find("a.relu") == 0
    with pytest.raises(GraphError, match=r"no layer `a.rel`: did you mean `a.relu`"):
        graph.find("a.rel")


def test_a_module_stands_for_all_layers_in_it():
    names = ("block.1.conv", "block.1.add", "block.10.conv", "head")
    layers = tuple(
        layer(name, source, nodes=(name, f"{name}.relu")) for name, source in zip(names, (INPUT, *names), strict=False)
    )
    graph = LayerGraph("blocks", (1, 50), 200, layers, ("head",))
    assert graph.within("block.1") == (0, 1)
    assert graph.within("block.10") == (2,)
    assert graph.within("block") == (0, 1, 2)
    assert graph.within("block.1.add.relu") == graph.within("block.1.add") == (1,)
    with pytest.raises(GraphError, match=r"no layer `block\.2`"):
        graph.within("block.2")


@pytest.mark.parametrize(
    ("layers", "outputs", "message"),
    [
        ((layer("a", "b"), layer("b", "a")), ("b",), "cycle through `a`, `b`"),
        ((layer("a", INPUT), layer("a", INPUT)), ("a",), "`a` is used twice"),
        ((layer("a", "x"),), ("a",), "reads `x`, which does not exist"),
        ((layer("a"),), ("a",), "has no inputs"),
        ((layer("a", INPUT),), ("z",), "must name one or more"),
        ((layer("a", INPUT),), ("a", "a"), "each once"),
        ((), ("a",), "has no layers"),
        ((layer("a", INPUT, size=-4),), ("a",), "output_bytes of `a` is -4"),
        ((layer("a", INPUT, size=float("nan")),), ("a",), "must be a finite number"),
    ],
)
def test_malformed_graphs_are_refused(layers, outputs, message):
    with pytest.raises(GraphError, match=message):
        LayerGraph("bad", (1, 50), 200, layers, outputs)


def test_a_graph_survives_its_file(tmp_path):
    path = tmp_path / "residual.json"
    path.write_text(json.dumps(residual().to_json()))
    assert load_graph(path) == residual()
    assert set(residual().digraph.successors("a")) == {"b", "add"}


def test_a_graph_file_that_cannot_be_used_is_named(tmp_path):
    path = tmp_path / "bad.json"
    with pytest.raises(GraphError, match=r"bad.json: cannot be read"):
        load_graph(path)
    path.write_text("{")
    with pytest.raises(GraphError, match=r"bad.json: is not JSON"):
        load_graph(path)
    path.write_text("{}")
    with pytest.raises(GraphError, match=r"bad.json: missing or malformed key 'layers'"):
        load_graph(path)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=4).map(sorted), st.integers(9, 30))
def test_cuts_make_contiguous_stages_that_survive_json(cuts, n_layers):
    partition = Partition.from_cuts(cuts, n_layers)
    assert [len(partition.down_set(k)) for k in range(len(cuts))] == cuts
    assert sum(len(stage.layers) for stage in partition.stages) == n_layers
    assert Partition.from_json(json.loads(json.dumps(partition.to_json()))) == partition
    assert hash(partition) == hash(Partition(partition.placement, partition.n_devices))


def test_thirds_cut_nearest_to_a_third_and_two_thirds():
    assert [len(stage.layers) for stage in thirds(22, 3).stages] == [7, 8, 7]
    assert [len(stage.layers) for stage in thirds(10, 2).stages] == [5, 5]
    assert [len(stage.layers) for stage in thirds(10, 1).stages] == [10]


def test_data_must_not_move_backwards():
    with pytest.raises(PartitionError, match="layer `b` on device 0 reads `a` on the later device 1"):
        Partition((1, 0, 1, 1), 2).check(residual())
    with pytest.raises(PartitionError, match="places 2 layers, but residual has 4"):
        Partition((0, 0), 2).check(residual())
    with pytest.raises(PartitionError, match=r"outside 0..1"):
        Partition((0, 2), 2)


def test_a_partition_in_words():
    assert Partition((0, 0, 1, 2), 3).describe(["pi", "laptop", "pc"]) == "pi 0-1 | laptop 2-2 | pc 3-3"
    assert Partition((0, 1, 0, 1), 2).describe(["pi", "pc"]) == "pi 2 of 0-2 | pc 2 of 1-3"


def devices(n):
    return tuple(Device(f"d{i}", "tier") for i in range(n))


def test_paths_take_the_fewest_links_and_the_lowest_numbers():
    continuum = Continuum(devices(4), (Link(0, 1), Link(0, 2), Link(1, 3), Link(2, 3)))
    assert continuum.path(0, 3) == (Hop(0, 0, 0, 1), Hop(2, 0, 1, 3))
    assert continuum.path(3, 0) == (Hop(2, 1, 3, 1), Hop(0, 1, 1, 0))
    assert continuum.path(1, 2) == (Hop(0, 1, 1, 0), Hop(1, 0, 0, 2))
    assert continuum.path(2, 2) == ()
    direct = Continuum(devices(3), (Link(0, 1), Link(1, 2), Link(0, 2)))
    assert direct.path(0, 2) == (Hop(2, 0, 0, 2),)


@pytest.mark.parametrize(
    ("n", "links", "message"),
    [
        (3, (Link(0, 1),), "nothing leads from `d0` to `d2`"),
        (2, (Link(0, 1), Link(0, 1)), "d0 and d1 are joined twice"),
        (2, (Link(1, 0),), "the one nearer to the edge first"),
        (0, (), "there are none"),
    ],
)
def test_continua_that_cannot_be(n, links, message):
    with pytest.raises(ScenarioError, match=message):
        Continuum(devices(n), links)
