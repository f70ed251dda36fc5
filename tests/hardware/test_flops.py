"""The counted operations, against PyTorch's own counter and against counting by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from hardware.models import build_model
from hardware.tracing.flops import Call, flops
from hardware.tracing.record import facts
from hardware.tracing.trace import trace
from twin.errors import GraphError


def counted_by_torch(module: nn.Module, *inputs: torch.Tensor) -> int:
    """What PyTorch counts: the products and sums of matrix products and convolutions alone."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(*inputs)
    return counter.get_total_flops()


def counted(module: nn.Module, *inputs: torch.Tensor) -> float:
    with torch.no_grad():
        output = module(*inputs)
    tensor = output[0] if isinstance(output, tuple) else output
    return flops(Call(type(module).__name__, module, tuple(tuple(x.shape) for x in inputs), tuple(tensor.shape)))


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.Conv2d(3, 8, 3), (1, 3, 20, 24)),
        (nn.Conv2d(3, 8, (3, 5), stride=2, padding=1, bias=False), (2, 3, 21, 24)),
        (nn.Conv2d(8, 8, 3, groups=8), (1, 8, 16, 16)),
        (nn.Conv2d(8, 12, 1, groups=4, dilation=2), (1, 8, 9, 9)),
        (nn.Linear(30, 7), (1, 30)),
        (nn.Linear(30, 7, bias=False), (4, 5, 30)),
    ],
    ids=str,
)
def test_convolutions_and_linear_layers_count_as_torch_counts_them(module: nn.Module, shape: tuple[int, ...]) -> None:
    x = torch.zeros(shape)
    assert counted(module, x) == counted_by_torch(module, x)


@pytest.mark.parametrize(("name", "size"), [("mobilenet_v2", 64), ("resnet50", 64), ("alexnet", 64)])
def test_the_matrix_products_of_a_whole_model_count_as_torch_counts_them(name: str, size: int) -> None:
    model = build_model(name)
    traced = trace(model, name, (1, 3, size, size))
    products = sum(facts(node).flops for node in traced.module.graph.nodes if facts(node).op in {"Conv2d", "Linear"})
    assert products == counted_by_torch(model, torch.zeros(1, 3, size, size))
    assert sum(layer.flops for layer in traced.graph.layers) > products


def test_attention_counts_its_matrix_products_as_torch_does_and_the_rest_by_the_formula() -> None:
    batch, queries, width, heads = 2, 6, 8, 2
    module = nn.MultiheadAttention(width, heads, batch_first=True)
    x = torch.zeros(batch, queries, width)
    q = nn.Linear(width, width)
    projections = 4 * counted_by_torch(q, x)
    head = torch.zeros(batch * heads, queries, width // heads)
    with FlopCounterMode(display=False) as counter:
        scores = torch.bmm(head, head.transpose(1, 2))
        torch.bmm(scores, head)
    scaling, softmax = batch * queries * width, 5 * batch * heads * queries * queries
    products = projections + counter.get_total_flops()
    call = Call("MultiheadAttention", module, ((batch, queries, width),) * 3, (batch, queries, width))
    assert flops(call) == products + scaling + softmax


def test_attention_over_fewer_keys_than_queries_projects_each_once() -> None:
    module = nn.MultiheadAttention(8, 1, batch_first=True)
    call = Call("MultiheadAttention", module, ((1, 5, 8), (1, 3, 8), (1, 3, 8)), (1, 5, 8))
    by_hand = 2 * 8 * 8 * (5 + 3 + 3 + 5) + 2 * (2 * 5 * 3 * 8) + 5 * 8 + 5 * 5 * 3
    assert flops(call) == by_hand


@pytest.mark.parametrize(
    ("module", "shape", "per_output"),
    [
        (nn.ReLU(), (1, 2, 3, 4), 1),
        (nn.ReLU6(), (1, 2, 3, 4), 1),
        (nn.Sigmoid(), (1, 2, 3, 4), 4),
        (nn.SiLU(), (1, 2, 3, 4), 5),
        (nn.GELU(), (1, 2, 3, 4), 5),
        (nn.BatchNorm2d(2).eval(), (1, 2, 3, 4), 2),
        (nn.LayerNorm(4), (1, 3, 4), 7),
        (nn.MaxPool2d(2), (1, 2, 4, 4), 4),
        (nn.MaxPool2d((2, 3), stride=1), (1, 2, 4, 4), 6),
        (nn.AvgPool2d(2), (1, 2, 4, 4), 4),
    ],
    ids=str,
)
def test_operations_on_elements_count_per_output(module: nn.Module, shape: tuple[int, ...], per_output: int) -> None:
    x = torch.zeros(shape)
    with torch.no_grad():
        outputs = math.prod(module(x).shape)
    assert counted(module, x) == per_output * outputs


def test_adaptive_pooling_counts_every_element_of_every_window() -> None:
    assert counted(nn.AdaptiveAvgPool2d(1), torch.zeros(1, 5, 7, 6)) == 5 * 7 * 6
    # Windows along an axis of 7 cut in 3 are 0-2, 2-4, 4-6: nine elements; an axis of 6 cut in 2 is covered once.
    assert counted(nn.AdaptiveAvgPool2d((3, 2)), torch.zeros(1, 1, 7, 6)) == 9 * 6
    # More outputs than inputs: every output looks at one or two elements.
    assert counted(nn.AdaptiveAvgPool2d((2, 1)), torch.zeros(1, 1, 1, 1)) == 2


def test_moving_data_is_free() -> None:
    for op in ("cat", "flatten", "reshape"):
        assert flops(Call(op, None, ((1, 8),), (1, 8))) == 0.0


def test_an_operation_without_formula_is_refused_with_its_name() -> None:
    with pytest.raises(GraphError, match=r"`fft`.*add one"):
        flops(Call("fft", None, ((1, 8),), (1, 8)))
