"""The rules by which nodes become layers: every cut must be executable and change nothing.

Each small network below does one thing to memory that a careless split would get wrong; it is run split in every
legal way over three devices.
"""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import nn
from torch.nn import functional
from toys import run_apart

from hardware.stages import split
from hardware.tracing.trace import trace
from twin.errors import GraphError
from twin.graph import INPUT
from twin.partition import Partition

SHAPE = (1, 2, 6, 6)


class Net(nn.Module):
    """Base: two convolutions that keep the shape."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(2, 2, 3, padding=1)
        self.b = nn.Conv2d(2, 2, 3, padding=1)
        self.act = nn.ReLU(inplace=True)


class Chain(Net):
    def forward(self, x):
        return self.b(self.act(self.a(x)))


class InPlaceFunction(Net):
    def forward(self, x):
        return self.b(functional.relu(self.a(x), inplace=True))


class ReadAfter(Net):
    """The residual reads y after the ReLU has modified it, under y's own name."""

    def forward(self, x):
        y = self.a(x)
        z = self.b(self.act(y))
        return z + y


class ReadBefore(Net):
    """A branch reads y before it is modified: in place would be right only in one order of execution."""

    def forward(self, x):
        y = self.a(x)
        side = self.b(y)
        y += 1.0
        return torch.cat([side, y], 1)


class ReadBeforeAndAfter(Net):
    def forward(self, x):
        y = self.a(x)
        side = self.b(y)
        z = self.act(y)
        return side * z + y


class InPlaceResidual(Net):
    """`out += identity`: the identity jumps, the sum is written over the convolution's result."""

    def forward(self, x):
        identity = self.act(self.a(x))
        out = self.b(identity)
        out += identity
        return self.act(out)


class InPlaceOnInput(Net):
    """A modified input: the caller's tensor is not ours to change."""

    def forward(self, x):
        return self.b(self.act(x)) + self.a(x)


class TwiceInPlace(Net):
    def forward(self, x):
        return self.a(x).mul_(2.0).relu_().add_(1.0)


class SharedModule(Net):
    """One module called twice, once where in place is right and once where it is not."""

    def forward(self, x):
        y = self.act(self.a(x))
        z = self.b(y)
        w = self.act(y.sub_(1.0))
        return z + w


class InPlaceOnView(Net):
    def forward(self, x):
        y = self.a(x).flatten(1)
        y.add_(1.0)
        return functional.relu(y)


class InPlaceOnCopyingReshape(Net):
    """The reshape copies here, but looks at its argument once that has been sent and lies in order."""

    def forward(self, x):
        y = self.a(x).transpose(2, 3)
        z = y.reshape(1, 72)
        z += 1.0
        return z * functional.relu(y).flatten(1)


class ShapeArithmetic(Net):
    def forward(self, x):
        y = self.a(x)
        torch._assert(y.dim() == 4, "four axes")
        n, c, h, w = y.shape
        return y.view(n, c * h, w).permute(0, 2, 1).reshape(y.size(0), -1)


class ViewOfInput(Net):
    def forward(self, x):
        return self.a(x.flip(3).transpose(2, 3)) + self.b(x.transpose(2, 3))


class SlicedView(Net):
    """A view smaller than what it looks at: the cut should carry the small one."""

    def forward(self, x):
        return functional.relu(self.a(x)[:, :1])


class GrowingView(Net):
    """A view bigger than what it looks at: the cut should carry the small one here too."""

    def forward(self, x):
        return self.a(x).mean((2, 3), keepdim=True).expand(-1, -1, 6, 6) * 2.0


class Chunks(Net):
    def forward(self, x):
        left, right = self.a(x).chunk(2, 1)
        return torch.cat([right, left], 1)


class Weights(Net):
    """A class token, as in a vision transformer: weights alone make a node, read twice."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.ones(1, 2, 1, 6))
        self.register_buffer("scale", torch.full((1,), 3.0))

    def forward(self, x):
        token = self.token.expand(x.shape[0], -1, -1, -1) * self.scale
        y = torch.cat([token, self.a(x)], 2)
        return torch.cat([y, self.b(token)], 2)


class Identities(Net):
    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(inplace=True)
        self.same = nn.Identity()

    def forward(self, x):
        y = self.drop(self.a(self.same(x)))
        return self.same(self.act(functional.dropout(y, training=self.training)) + y)


class Unread(Net):
    """A result that nobody reads, and one that is only modified."""

    def forward(self, x):
        y = self.a(x)
        self.b(y)
        y.clamp_(min=0.0)
        return y


NETWORKS = (
    Chain,
    InPlaceFunction,
    ReadAfter,
    ReadBefore,
    ReadBeforeAndAfter,
    InPlaceResidual,
    InPlaceOnInput,
    TwiceInPlace,
    SharedModule,
    InPlaceOnView,
    InPlaceOnCopyingReshape,
    ShapeArithmetic,
    ViewOfInput,
    SlicedView,
    GrowingView,
    Chunks,
    Weights,
    Identities,
    Unread,
)


@pytest.fixture(autouse=True)
def _all_operations_have_a_formula(monkeypatch):
    from hardware.tracing import flops

    monkeypatch.setattr(flops, "_FORMULAS", _Any(flops._FORMULAS))


class _Any(dict):
    def get(self, key, default=None):
        return super().get(key, lambda call: 0.0)


def make(network: type[Net]) -> Net:
    torch.manual_seed(1)
    return network().eval()


@pytest.mark.parametrize("network", NETWORKS, ids=lambda x: x.__name__)
def test_every_split_over_three_devices_gives_the_whole_models_answer(network: type[Net]) -> None:
    model = make(network)
    traced = trace(model, network.__name__, SHAPE)
    image = torch.randn(SHAPE, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = make(network)(image.clone())
    partitions = legal_partitions(traced.graph, 3)
    assert len(partitions) >= 3
    for partition in partitions:
        (answer,) = run_apart(split(traced, partition), image)
        assert torch.equal(answer, expected), partition


def legal_partitions(graph, n_devices: int) -> list[Partition]:
    """All partitions of a small graph."""
    return [
        Partition(placement, n_devices)
        for placement in product(range(n_devices), repeat=len(graph))
        if all(placement[s] <= placement[i] for i, sources in enumerate(graph.predecessors) for s in sources)
    ]


def layers_of(network: type[Net]) -> list[tuple[str, str, tuple[str, ...]]]:
    graph = trace(make(network), network.__name__, SHAPE).graph
    return [(layer.name, layer.op, layer.inputs) for layer in graph.layers]


def test_an_in_place_node_joins_the_node_that_wrote_its_argument() -> None:
    assert layers_of(Chain) == [("a", "Conv2d+ReLU", (INPUT,)), ("b", "Conv2d", ("a",))]


def test_a_reader_of_a_modified_tensor_reads_the_modified_layer() -> None:
    assert layers_of(ReadAfter)[-1] == ("add", "add", ("b", "a"))


def test_an_in_place_node_whose_argument_others_read_before_is_a_layer_of_its_own() -> None:
    layers = layers_of(ReadBefore)
    assert [op for _, op, _ in layers] == ["Conv2d", "Conv2d", "iadd", "cat"]
    assert [inputs for *_, inputs in layers][:3] == [(INPUT,), ("a",), ("a",)]


def test_an_in_place_residual_is_one_layer_with_the_convolution_that_it_overwrites() -> None:
    names = layers_of(InPlaceResidual)
    assert [inputs for *_, inputs in names] == [(INPUT,), ("a",)]
    assert names[1][1].startswith("Conv2d+")


def test_a_smaller_view_folds_into_its_producer_and_a_bigger_one_into_its_reader() -> None:
    small = trace(make(SlicedView), "sliced", SHAPE).graph
    assert small.layers[0].output_shape == (1, 1, 6, 6)
    growing = trace(make(GrowingView), "growing", SHAPE).graph
    assert [layer.output_bytes for layer in growing.layers] == [288, 8, 288]


def test_shape_arithmetic_and_assertions_disappear() -> None:
    graph = trace(make(ShapeArithmetic), "shapes", SHAPE).graph
    # What is left is the convolution and a reshape that has to copy.
    assert [layer.op.split("+")[0] for layer in graph.layers] == ["Conv2d", "reshape"]
    assert graph.layers[-1].output_shape == (1, 72)


def test_weights_count_where_they_are_read_and_are_found_by_name() -> None:
    model = make(Weights)
    graph = trace(model, "weights", SHAPE).graph
    convolutions = 4 * (2 * 2 * 9 + 2)
    by_name = {layer.name: layer.parameter_bytes for layer in graph.layers}
    # The token is sent to nobody: each reader computes it, and the convolution of it, from its own copy.
    assert list(by_name.values()) == [convolutions, 4 * 13, convolutions + 4 * 13]
    assert graph.find("token") == 1


def test_folded_modules_are_found_by_their_path() -> None:
    graph = trace(make(Chain), "chain", SHAPE).graph
    assert graph.find("act") == graph.find("a") == 0
    assert graph.find("b") == 1


def test_the_traced_model_shares_its_weights_and_leaves_the_model_as_it_was() -> None:
    model = make(ReadBeforeAndAfter)
    traced = trace(model, "shared", SHAPE)
    assert model.act.inplace
    assert traced.module.get_parameter("a.weight") is model.a.weight


class ViewReadLater(Net):
    def forward(self, x):
        y = self.a(x)
        view = y.flatten(1)
        y.add_(1.0)
        return view + 1.0


class DependsOnData(Net):
    def forward(self, x):
        return self.a(x) if x.sum() > 0 else self.b(x)


class ReadsValue(Net):
    def forward(self, x):
        return self.a(x) * x.max().item()


class TwoInputs(Net):
    def forward(self, x, y):
        return self.a(x) + y


class Random(Net):
    def forward(self, x):
        return self.a(x) + torch.rand(x.shape)


class TwoAnswers(Net):
    def forward(self, x):
        return self.a(x), self.b(x)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (ViewReadLater, "reads later|looks at"),
        (DependsOnData, "cannot be traced"),
        (ReadsValue, "data"),
        (TwoInputs, "exactly one tensor"),
        (Random, "random"),
        (TwoAnswers, "one tensor"),
    ],
    ids=lambda x: getattr(x, "__name__", ""),
)
def test_a_model_that_cannot_be_cut_faithfully_is_refused(network: type[Net], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        trace(make(network), "odd", SHAPE)


def test_a_model_in_training_mode_is_refused_with_the_remedy() -> None:
    with pytest.raises(GraphError, match=r"model\.eval\(\)"):
        trace(Chain(), "chain", SHAPE)
