"""A figure of one replication, and how it would come out for other draws of that replication's blocks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_CELLS = 1 << 22
"""Numbers that are held at a time for weighted quantiles."""


class Sampled(NamedTuple):
    """A figure of one replication.

    Attributes:
        value: The figure.
        drawn: The figure for each draw of the blocks, shape [DRAWS]; NaN where a draw has none. None where the figure
            is of the whole replication only.
        n_blocks: Number of blocks.
    """

    value: float
    drawn: np.ndarray | None = None
    n_blocks: int = 1


def ratio(numerator: np.ndarray, denominator: np.ndarray, block: np.ndarray, taken: np.ndarray) -> Sampled:
    """A ratio of sums, such as a mean.

    Args:
        numerator: One number per entry, shape [n].
        denominator: Likewise.
        block: Block of each entry, shape [n].
        taken: How often each draw takes each block, shape [DRAWS, n_blocks].
    """
    n_blocks = taken.shape[1]
    above = np.bincount(block, numerator, n_blocks)
    below = np.bincount(block, denominator, n_blocks)
    total = float(below.sum())
    with np.errstate(invalid="ignore", divide="ignore"):
        drawn = (taken @ above) / (taken @ below)
    return Sampled(float(above.sum()) / total if total else np.nan, drawn, n_blocks)


def mean(values: np.ndarray, block: np.ndarray, taken: np.ndarray) -> Sampled:
    """The mean; the value is that of `numpy.mean`, so that it agrees with other reports to the last digit."""
    sampled = ratio(values, np.ones(len(values)), block, taken)
    return sampled._replace(value=float(values.mean()) if len(values) else np.nan)


def quantile(values: np.ndarray, probability: float, block: np.ndarray, taken: np.ndarray) -> Sampled:
    """A quantile, interpolated between order statistics; that of a draw takes each value as often as its block.

    Args:
        values: One number per entry, shape [n].
        probability: Between 0 and 1.
        block: Block of each entry, shape [n].
        taken: How often each draw takes each block, shape [DRAWS, n_blocks].
    """
    n_blocks = taken.shape[1]
    if len(values) == 0:
        return Sampled(np.nan, np.full(len(taken), np.nan), n_blocks)
    order = np.argsort(values, kind="stable")
    ordered, block = values[order], block[order]
    step = max(_CELLS // len(values), 1)
    drawn = [_weighted(ordered, taken[k : k + step][:, block], probability) for k in range(0, len(taken), step)]
    return Sampled(float(np.quantile(values, probability)), np.concatenate(drawn), n_blocks)


def _weighted(ordered: np.ndarray, weights: np.ndarray, probability: float) -> np.ndarray:
    """Quantile of ascending values that each count a whole number of times, shape [draws]; see `numpy.quantile`."""
    counted = np.cumsum(weights, axis=1)
    rank = np.maximum(counted[:, -1] - 1, 0) * probability
    below = np.array([np.searchsorted(row, at, side="right") for row, at in zip(counted, np.floor(rank), strict=True)])
    above = np.array([np.searchsorted(row, at, side="right") for row, at in zip(counted, np.ceil(rank), strict=True)])
    last = len(ordered) - 1
    low, high = ordered[np.minimum(below, last)], ordered[np.minimum(above, last)]
    return np.where(counted[:, -1] > 0, low + (rank % 1.0) * (high - low), np.nan)
