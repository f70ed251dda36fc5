"""An error and its confidence interval, from replications and from draws of their blocks.

The variance of a mean over n replications is estimated twice: as the variance between the replications over n
(n - 1 degrees of freedom), and as the variance of the draws within them over n (as many degrees of freedom as there
are blocks, less one each). The first sees everything by which one run differs from the next, but from few runs; the
second rests on many blocks, but cannot see what all of a run shares. They are added, which counts what lies within
twice and so errs on the wide side; without it, two runs that happen to agree would claim a certainty that they do not
have. A single replication has no interval, because its own blocks say nothing of the next one. The interval is
Student's t with the degrees of freedom of the sum (Satterthwaite 1946, Biometrics Bulletin 2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from twin.metrics.intervals import CONFIDENCE, t_quantile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twin.comparison.sampled import Sampled

_MANY = 1000
"""Degrees of freedom from which Student's t is as good as normal."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its confidence interval.

    Attributes:
        value: The value; None where it is not known.
        low: Lower end of the interval; None where nothing tells how sure the value is.
        high: Upper end.
    """

    value: float | None
    low: float | None = None
    high: float | None = None

    @property
    def half_width(self) -> float | None:
        """Half of the interval's width."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2

    @property
    def nearest_zero(self) -> float | None:
        """The least size that a value in the interval has."""
        if self.low is None or self.high is None:
            return None
        return max(self.low, -self.high, 0.0)

    def to_json(self) -> dict[str, Any]:
        """The estimate as plain data."""
        return {"value": self.value, "low": self.low, "high": self.high}


UNKNOWN = Estimate(None)


class Share(NamedTuple):
    """A part of a variance and its degrees of freedom."""

    variance: float
    degrees: float


def average(values: Sequence[Sampled]) -> Estimate:
    """Mean over replications."""
    mean = _mean(values)
    return _estimate(mean, [_shares(values, 1.0)])


def difference(sim: Sequence[Sampled], measured: Sequence[Sampled], *, joint: bool) -> Estimate:
    """Mean over replications of the first minus that of the second.

    Args:
        sim: The figure of each replication of one side.
        measured: Likewise of the other.
        joint: Whether the k-th of both belong together, and their draws too.
    """
    value = _mean(sim) - _mean(measured)
    if joint:
        return _estimate(value, [_shares(_combined(sim, 1.0, measured, -1.0), 1.0)])
    return _estimate(value, [_shares(sim, 1.0), _shares(measured, 1.0)])


def relative_error(
    sim: Sequence[Sampled], measured: Sequence[Sampled], *, joint: bool, besides: Sequence[Share] = ()
) -> Estimate:
    """Relative error of the first mean against the second, `sim / measured - 1`; its variance to first order.

    Args:
        sim: The figure of each replication of one side.
        measured: Likewise of the other, the reference.
        joint: Whether the k-th of both belong together, and their draws too.
        besides: What else the variance of the relative error is made of, such as that of a meter.

    Returns:
        Zero where both are zero; unknown where only the reference is.
    """
    reference, own = _mean(measured), _mean(sim)
    if reference == 0 and own == 0:
        return Estimate(0.0, 0.0, 0.0)
    if not (reference > 0 and math.isfinite(own)):
        return UNKNOWN
    ratio = own / reference
    if joint:
        shares = [_shares(_combined(sim, 1 / reference, measured, -ratio / reference), 1.0)]
    else:
        shares = [_shares(sim, 1 / reference), _shares(measured, ratio / reference)]
    return _estimate(ratio - 1, [*shares, besides])


def repeatability(values: Sequence[Sampled]) -> float | None:
    """Standard deviation between replications over their mean; None for fewer than two."""
    known = [x.value for x in values]
    mean = _mean(values)
    return float(np.std(known, ddof=1)) / mean if len(known) > 1 and mean > 0 else None


def scatter(sim: Sequence[Sampled], measured: Sequence[Sampled]) -> float | None:
    """Standard deviation between replications of the paired relative error; None for fewer than two."""
    reference, own = _mean(measured), _mean(sim)
    if len(measured) < 2 or not reference > 0:
        return None
    errors = [(x.value - own / reference * y.value) / reference for x, y in zip(sim, measured, strict=True)]
    return float(np.std(errors, ddof=1))


def _mean(values: Sequence[Sampled]) -> float:
    return float(np.mean([x.value for x in values])) if values else math.nan


def _combined(a: Sequence[Sampled], by: float, b: Sequence[Sampled], times: float) -> list[Sampled]:
    """`by * a + times * b`, replication by replication and draw by draw."""
    return [
        x._replace(
            value=by * x.value + times * y.value,
            drawn=None if x.drawn is None or y.drawn is None else by * x.drawn + times * y.drawn,
        )
        for x, y in zip(a, b, strict=True)
    ]


def _shares(values: Sequence[Sampled], factor: float) -> Sequence[Share] | None:
    """What the variance of the mean over replications, times a factor, is made of.

    None for a single replication: its own blocks cannot tell how the next one would differ. Only where not even they
    differ, as in a run held against itself, there is nothing to tell.
    """
    n = len(values)
    known = [(x.drawn, x.n_blocks) for x in values if x.drawn is not None and x.n_blocks > 1]
    within = None
    if len(known) == n and n:
        variance = sum(float(np.nanvar(drawn)) * blocks / (blocks - 1) for drawn, blocks in known) / n**2
        within = Share(factor**2 * variance, sum(blocks - 1 for _, blocks in known))
    if n < 2:
        return [within] if within is not None and within.variance == 0 else None
    between = Share(factor**2 * float(np.var([x.value for x in values], ddof=1)) / n, n - 1)
    return [between] if within is None else [between, within]


def _estimate(value: float, parts: Sequence[Sequence[Share] | None]) -> Estimate:
    """An interval around a value; none where a part of the variance is not known."""
    if not math.isfinite(value):
        return UNKNOWN
    known = [part for part in parts if part is not None]
    shares = [share for part in known for share in part]
    if len(known) < len(parts):
        return Estimate(value)
    variance = sum(share.variance for share in shares)
    if not math.isfinite(variance):
        return Estimate(value)
    if variance == 0:
        return Estimate(value, value, value)
    degrees = variance**2 / sum(share.variance**2 / share.degrees for share in shares)
    half = t_quantile((1 + CONFIDENCE) / 2, max(min(int(degrees + 1e-9), _MANY), 1)) * math.sqrt(variance)
    return Estimate(value, value - half, value + half)
