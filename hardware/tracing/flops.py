"""Floating-point operations of one call of an operation.

A multiply-add counts as two. Every other arithmetic operation, comparison, exponential, square root and error
function on one element counts as one. A bias is the value that an accumulator starts from, so it is free.
Operations that only move data cost nothing. The formulas:

    convolution            2 * outputs * (channels_in / groups) * kernel_height * kernel_width
    linear                 2 * outputs * features_in
    batch norm             2 per element: scale and shift, the statistics being constants in inference
    layer norm             7 per element: mean 1, centre 1, variance 2, normalise 1, scale 1, shift 1
    ReLU, ReLU6            1 per element
    sigmoid                4 per element: negate, exponential, add, divide
    SiLU                   5 per element: sigmoid and a product
    GELU                   5 per element: x * (1 + erf(x / sqrt 2)) / 2
    add, sub, mul, div     1 per element of the output
    max, average pooling   kernel_height * kernel_width per output
    adaptive pooling       the sizes of all its windows
    attention              see `_attention`
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twin.errors import GraphError

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an operation.

    Attributes:
        op: Name of the module's class or of the function.
        module: The `torch.nn.Module`, or None for a function.
        inputs: Shapes of its tensor arguments, in order; a tensor passed twice counts twice.
        output: Shape of its (first) result.
    """

    op: str
    module: Any
    inputs: tuple[tuple[int, ...], ...]
    output: tuple[int, ...]


def flops(call: Call) -> float:
    """Return the floating-point operations of one call.

    Raises:
        GraphError: No formula for this operation is known.
    """
    formula = _FORMULAS.get(call.op)
    if formula is None:
        raise GraphError(f"no formula for the floating-point operations of `{call.op}`; add one to {__name__}")
    return float(formula(call))


def _per_element(operations: int) -> Callable[[Call], float]:
    return lambda call: operations * math.prod(call.output)


def _convolution(call: Call) -> float:
    # The weight is [channels_out, channels_in / groups, kernel_height, kernel_width].
    return 2.0 * math.prod(call.output) * float(math.prod(call.module.weight.shape[1:]))


def _linear(call: Call) -> float:
    return 2.0 * math.prod(call.output) * float(call.module.in_features)


def _pooling(call: Call) -> float:
    kernel = call.module.kernel_size
    window = math.prod(kernel) if isinstance(kernel, tuple) else kernel * kernel
    return float(math.prod(call.output) * window)


def _adaptive_pooling(call: Call) -> float:
    """Add the window sizes: along one axis, window i spans floor(i n/o) to ceil((i + 1) n/o)."""
    *maps, height, width = call.output
    *_, height_in, width_in = call.inputs[0]
    return math.prod(maps) * _window_sum(height_in, height) * _window_sum(width_in, width)


def _window_sum(size_in: int, size_out: int) -> int:
    return sum(-(-(i + 1) * size_in // size_out) - i * size_in // size_out for i in range(size_out))


def _attention(call: Call) -> float:
    """Count multi-head attention over L queries and S keys of width E, for each of N sequences.

    Projections of the queries (2 L E E), keys and values (2 S E E each, at their own widths), scores and weighted
    values (2 L S E each), scaling of the queries (L E), softmax (5 per score and head: maximum, difference,
    exponential, sum, quotient) and the output projection (2 L E E).
    """
    query, key, value = call.inputs[:3]
    batch, queries = (query[0], query[1]) if call.module.batch_first else (query[1], query[0])
    keys = key[1] if call.module.batch_first else key[0]
    width, heads = query[-1], call.module.num_heads
    projections = 2 * width * (2 * queries * width + keys * (key[-1] + value[-1]))
    products = 4 * queries * keys * width
    return float(batch * (projections + products + queries * width + 5 * heads * queries * keys))


_FORMULAS: dict[str, Callable[[Call], float]] = {
    "Conv2d": _convolution,
    "Linear": _linear,
    "BatchNorm2d": _per_element(2),
    "LayerNorm": _per_element(7),
    "MultiheadAttention": _attention,
    "MaxPool2d": _pooling,
    "AvgPool2d": _pooling,
    "AdaptiveAvgPool2d": _adaptive_pooling,
    "adaptive_avg_pool2d": _adaptive_pooling,
    **dict.fromkeys(("ReLU", "ReLU6", "relu", "relu_"), _per_element(1)),
    **dict.fromkeys(("Sigmoid", "sigmoid"), _per_element(4)),
    **dict.fromkeys(("SiLU", "silu", "GELU", "gelu"), _per_element(5)),
    **dict.fromkeys(("add", "add_", "iadd", "sub", "sub_", "isub"), _per_element(1)),
    **dict.fromkeys(("mul", "mul_", "imul", "truediv", "div", "div_", "itruediv"), _per_element(1)),
    **dict.fromkeys(("cat", "stack", "reshape", "flatten", "Flatten", "contiguous", "clone"), _per_element(0)),
}
