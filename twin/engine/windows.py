"""Functions of time for an event loop: they remember the piece in which they were asked last, for time moves on slowly.

What they give is what `twin.steps.Steps` gives, to the last bit: near the ends of a piece they ask it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from twin.steps import Steps

_ULPS = 16
"""Roundings of a time within which it counts as near the end of a piece."""


def finish_of(rate: Steps) -> Callable[[float, float], float]:
    """The method `finish` of a rate."""
    if len(rate.tables.rates) == 1 and rate.tables.rates[0] > 0.0:
        only_per_s = rate.tables.rates[0]
        return lambda start_s, amount: start_s + amount / only_per_s
    from_s, until_s, per_s = math.inf, -math.inf, 1.0

    def finish(start_s: float, amount: float) -> float:
        nonlocal from_s, until_s, per_s
        if from_s <= start_s <= (end_s := start_s + amount / per_s) <= until_s:
            return end_s
        end_s = rate.finish(start_s, amount)
        if not from_s <= start_s <= until_s:
            piece, from_s, until_s = _around(rate, start_s)
            per_s = rate.tables.rates[piece]
            if per_s == 0.0:
                from_s, per_s = math.inf, 1.0
        return end_s

    return finish


def at_of(steps: Steps) -> Callable[[float], float]:
    """The method `at` of a function."""
    from_s, until_s, value = math.inf, -math.inf, math.nan

    def at(t_s: float) -> float:
        nonlocal from_s, until_s, value
        if from_s <= t_s <= until_s:
            return value
        value = steps.at(t_s)
        _, from_s, until_s = _around(steps, t_s)
        return value

    return at


def _around(steps: Steps, t_s: float) -> tuple[int, float, float]:
    """The piece in which a time lies, and from when to when it surely does; the latter is empty for short pieces."""
    piece, from_s, until_s = steps.around(t_s)
    margin_s = _ULPS * math.ulp(max(t_s, until_s) if until_s < math.inf else t_s)
    return piece, from_s + margin_s, until_s - margin_s
