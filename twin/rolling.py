"""Estimates that rest on the newest few of many samples, for all samples at once.

They are what the one-by-one form in `twin.conditions` gives after each sample, to the last bit, as long as no sample
breaks with what was expected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def windows(before: Sequence[float], values: Floats) -> list[Floats]:
    """The newest values at each of `values`, oldest first: as many columns as there were `before`, shape [n] each."""
    n, all_values = len(values), np.concatenate([before, values])
    return [all_values[first : first + n] for first in range(1, len(before) + 1)]


def median_of_three(columns: Sequence[Floats]) -> Floats:
    """Median of three columns, shape [n]."""
    a, b, c = columns
    return np.maximum(np.minimum(a, b), np.minimum(np.maximum(a, b), c))


def first_break(values: Floats, expected: Floats, factor: float) -> int:
    """Position of the first value that differs from what was expected by more than a factor; n if none does."""
    breaks = ~((expected / factor <= values) & (values <= expected * factor))
    return int(breaks.argmax()) if breaks.any() else len(values)


def shifted(first: float, values: Floats) -> Floats:
    """What held before each of `values`: `first`, then each but the last; shape [n]."""
    before = np.empty_like(values)
    before[0], before[1:] = first, values[:-1]
    return before
