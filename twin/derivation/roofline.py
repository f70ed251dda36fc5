"""Layer times from a roofline of at most three parameters, fitted to the times of whole models.

A layer takes t = flops / F + bytes / B + kernels * o. Its bytes are those of its parameters, of its inputs (that of
the model too) and of its output; each further kernel that is folded into it, such as the ReLU after a convolution,
reads and writes the output once more. Its kernels are the operations in it that compute something.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from twin.errors import ProfileError
from twin.graph import INPUT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twin.graph import Layer, LayerGraph

FORMULA = (
    "t = flops / flop_rate + (parameter + input + output bytes + 2 * output bytes per folded kernel) / byte_rate "
    "+ kernels * overhead"
)
PARAMETERS = ("flop_rate", "byte_rate", "overhead")
"""Names of the parameters, in the order of the columns of `work`."""

_MOVES_NOTHING = frozenset(
    {"flatten", "reshape", "view", "permute", "transpose", "expand", "squeeze", "unsqueeze", "getitem", "chunk"}
    | {"Flatten", "Dropout", "Identity", "stochastic_depth", "StochasticDepth", "contiguous"}
)
"""Operations that take no time of their own in inference: views, and what drops out only in training."""

_SAME = 1e-9
"""Residuals of relative errors that differ by less are equal."""


@dataclass(frozen=True, slots=True)
class Roofline:
    """A fitted roofline.

    Attributes:
        s_per_flop: 1 / F; 0 where the benchmarks show no cost of flops.
        s_per_byte: 1 / B; 0 where they show no cost of bytes.
        s_per_kernel: o; 0 where they show no overhead.
        doubts: For each parameter that the benchmarks do not determine, why.
    """

    s_per_flop: float
    s_per_byte: float
    s_per_kernel: float
    doubts: dict[str, str]

    @property
    def flop_rate(self) -> float | None:
        """F in floating-point operations per second, or None where flops cost nothing."""
        return 1.0 / self.s_per_flop if self.s_per_flop else None

    @property
    def byte_rate(self) -> float | None:
        """B in bytes per second, or None where bytes cost nothing."""
        return 1.0 / self.s_per_byte if self.s_per_byte else None

    def times_s(self, work: np.ndarray) -> np.ndarray:
        """Time of each row of `work`, in seconds; shape [n] from [n, 3]."""
        times_s: np.ndarray = work @ np.array([self.s_per_flop, self.s_per_byte, self.s_per_kernel])
        return times_s


def work(graph: LayerGraph) -> np.ndarray:
    """Flops, bytes and kernels of each layer; shape [n_layers, 3]."""
    size_bytes = {INPUT: graph.input_bytes, **{layer.name: layer.output_bytes for layer in graph.layers}}
    rows = []
    for layer in graph.layers:
        kernels = _kernels(layer)
        moved = layer.parameter_bytes + sum(size_bytes[name] for name in layer.inputs) + layer.output_bytes
        rows.append((layer.flops, moved + 2 * (kernels - 1) * layer.output_bytes, kernels))
    return np.array(rows, dtype=np.float64)


def _kernels(layer: Layer) -> int:
    """Operations of a layer that compute something, at least one."""
    return max(1, sum(operation not in _MOVES_NOTHING for operation in layer.op.split("+")))


def fit(totals: np.ndarray, times_s: Sequence[float]) -> Roofline:
    """Fit a roofline by non-negative least squares on the relative errors of whole-model times.

    Args:
        totals: Flops, bytes and kernels of each benchmarked model; shape [n_benchmarks, 3].
        times_s: Their times, in seconds, > 0.

    Raises:
        ProfileError: No parameter explains the times.
    """
    shares = totals / np.asarray(times_s)[:, None]
    coefficients = nonnegative_least_squares(shares, np.ones(len(times_s)))
    if not coefficients.any():
        raise ProfileError("the benchmarked models have neither flops nor bytes; check their layer graphs")
    doubts = {}
    for name, value in zip(PARAMETERS, coefficients, strict=True):
        if reason := _ambiguity(shares):
            doubts[name] = reason
        elif value == 0.0:
            doubts[name] = "its share of the time is zero at the bound: the benchmarks do not show it"
    s_per_flop, s_per_byte, s_per_kernel = map(float, coefficients)
    return Roofline(s_per_flop, s_per_byte, s_per_kernel, doubts)


def _ambiguity(shares: np.ndarray) -> str | None:
    """Why several rooflines fit the benchmarks equally well, or None if one does; shape [n_benchmarks, 3]."""
    count, wanted = len(shares), len(PARAMETERS)
    if count < wanted:
        return f"{count} benchmark{'s' * (count > 1)} cannot determine {wanted} parameters"
    # Columns of very different size would make the rank a matter of units.
    if np.linalg.matrix_rank(shares / np.maximum(np.linalg.norm(shares, axis=0), np.finfo(float).tiny)) < wanted:
        return "the benchmarked models are too alike in their proportions of flops, bytes and kernels"
    return None


def nonnegative_least_squares(matrix: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Solve min |matrix @ x - target| over x >= 0 exactly, by trying every set of positive entries.

    Of equally good sets the smallest wins, and of these the first in the order of the columns.

    Args:
        matrix: Shape [m, n], n <= about 10.
        target: Shape [m].

    Returns:
        The solution; shape [n].
    """
    n = matrix.shape[1]
    best, least = np.zeros(n), float(target @ target)
    # Columns of very different size would make the rank a matter of units.
    sizes = np.linalg.norm(matrix, axis=0)
    scaled = matrix / np.where(sizes > 0.0, sizes, 1.0)
    for chosen in (list(c) for size in range(1, n + 1) for c in combinations(range(n), size)):
        solution, _, rank, _ = np.linalg.lstsq(scaled[:, chosen], target, rcond=None)
        if rank < len(chosen) or (solution <= 0.0).any():
            continue
        error = scaled[:, chosen] @ solution - target
        residual = float(error @ error)
        if residual < least - _SAME:
            best, least = np.zeros(n), residual
            best[chosen] = solution / sizes[chosen]
    return best
