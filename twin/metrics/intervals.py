"""Confidence intervals over replications: Student's t for a mean and for a paired difference."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

CONFIDENCE = 0.95
_BISECTIONS = 200
_LARGEST_T = 1e9


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its confidence interval.

    Attributes:
        mean: The mean; None where there was no value.
        low: Lower end; None where there were fewer than two values.
        high: Upper end; None likewise.
        n: Number of values.
    """

    mean: float | None
    low: float | None
    high: float | None
    n: int

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval is known and lies on one side of zero."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)

    def to_json(self) -> dict[str, Any]:
        """Return the interval as plain data."""
        return {"mean": self.mean, "low": self.low, "high": self.high, "n": self.n}


@dataclass(frozen=True, slots=True)
class Paired:
    """A policy against the first one, replication by replication, of a quantity that should be small.

    Attributes:
        relative: (policy - first) / first.
        absolute: policy - first, in the quantity's own unit.
        better: Replications in which the policy's value was the smaller one.
        equal: Replications in which both were the same.
    """

    relative: Interval
    absolute: Interval
    better: int
    equal: int

    @property
    def n(self) -> int:
        """Replications in which both have a value."""
        return self.absolute.n

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as plain data."""
        return {
            "relative": self.relative.to_json(),
            "absolute": self.absolute.to_json(),
            "better": self.better,
            "equal": self.equal,
            "n": self.n,
        }


def interval(values: Sequence[float | None], *, floor: float = -math.inf, confidence: float = CONFIDENCE) -> Interval:
    """Mean of one value per replication and its Student-t interval; replications without a value are left out.

    Args:
        values: One value per replication, None where there was none.
        floor: What the quantity cannot fall below; the interval is cut off there.
        confidence: Probability that the interval covers the mean, if the values are normal.
    """
    known = [value for value in values if value is not None]
    if not known:
        return Interval(None, None, None, 0)
    mean = fmean(known)
    if len(known) == 1:
        return Interval(mean, None, None, 1)
    half = t_quantile((1 + confidence) / 2, len(known) - 1) * stdev(known) / math.sqrt(len(known))
    return Interval(mean, max(mean - half, floor), mean + half, len(known))


def paired(policy: Sequence[float | None], first: Sequence[float | None]) -> Paired:
    """Compare two policies over the replications in which both have a value."""
    pairs = [(a, b) for a, b in zip(policy, first, strict=True) if a is not None and b is not None]
    return Paired(
        relative=interval([(a - b) / b if b else None for a, b in pairs]),
        absolute=interval([a - b for a, b in pairs]),
        better=sum(a < b for a, b in pairs),
        equal=sum(a == b for a, b in pairs),
    )


@lru_cache
def t_quantile(probability: float, degrees: int) -> float:
    """Quantile of Student's t distribution, by bisection of `t_central`.

    Args:
        probability: Between 0.5 and 1, both excluded at the upper end.
        degrees: Degrees of freedom, at least 1.

    Raises:
        ValueError: An argument is out of range.
    """
    if not 0.5 <= probability < 1 or degrees < 1:
        raise ValueError(f"no quantile at probability {probability} with {degrees} degrees of freedom")
    central = 2 * probability - 1
    low, high = 0.0, _LARGEST_T
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if t_central(middle, degrees) < central:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def t_central(t: float, degrees: int) -> float:
    """Probability that Student's t lies between -t and t.

    A finite sum for whole degrees of freedom: Abramowitz and Stegun, Handbook of Mathematical Functions,
    26.7.3 (odd) and 26.7.4 (even).
    """
    theta = math.atan2(t, math.sqrt(degrees))
    cosine = math.cos(theta)
    odd = degrees % 2
    term = cosine if odd else 1.0
    total = 0.0
    for k in range(2 + odd, degrees + 1, 2):
        total += term
        term *= cosine * cosine * (k - 1) / k
    if odd:
        return 2 / math.pi * (theta + math.sin(theta) * total)
    return math.sin(theta) * total
