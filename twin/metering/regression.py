"""Power of readings on what a device did: non-negative least squares, and how sure its coefficients are.

    power of a reading = idle + sum over activities of (state - idle) * busy share

The share is over the stretch that a reading stands for. How long that is (the meter averages, or it samples a point),
how much older than its stamp, and how much its age varies from poll to poll is found by trying: what leaves the
smallest residuals is taken. With the wrong stretch the shares would be noisy, and the coefficients too small. Where the
age varies, the share is the mean over all ages, which is what to expect of a reading: then coefficients are not biased,
only less sure (J. Berkson, Journal of the American Statistical Association 45, 1950).

Coefficients cannot be negative: to be busy never takes less than to idle. Residuals of readings that follow each other
are alike, so that intervals come from resampling blocks of readings (block bootstrap: H. R. Kuensch, Annals of
Statistics 17, 1989; here blocks do not overlap).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from twin.metering.activity import N_ACTIVITIES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twin.metering.activity import Activity
    from twin.metering.course import Course

_LAGS = 11
_OLDEST = 1.25
"""Largest age of the end of a stretch that is tried, in refresh periods."""
_BLURS = (0.0, 0.1, 0.2, 0.4, 0.7, 1.0)
"""Variations of the age that are tried, in refresh periods."""
_AGES = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Where in its variation an age is looked at."""
_POINT = 0.02
"""Length of the stretch of a meter that samples a point, in refresh periods."""
_BLOCK_S = 10.0
_FEWEST_BLOCKS = 20
_REFINEMENTS = 80
_DRAWS = 400
_NEAR = 1.02
"""Residuals, relative to the smallest, up to which a stretch may be the right one."""
_MOST_NEAR = 20
_TAIL = 2.5
"""Percentile at which an interval of 95 % ends, from either side."""


class Stretch(NamedTuple):
    """Which stretch before its stamp a reading stands for.

    Attributes:
        lag_s: From the end of the stretch to the stamp, at least.
        length_s: Length of the stretch; None for the time since the reading before (a counter).
        blur_s: By how much the lag varies from reading to reading.
    """

    lag_s: float
    length_s: float | None
    blur_s: float


class _Fit(NamedTuple):
    """Coefficients with one stretch, and the root mean square of what they leave unexplained."""

    coefficients: np.ndarray
    residual_w: float
    shares: np.ndarray
    stretch: Stretch


class Regression(NamedTuple):
    """Coefficients and what they rest on.

    Attributes:
        power_w: Power of idling and of each activity, shape [4].
        low_w: Lower ends of their intervals, shape [4].
        high_w: Upper ends, shape [4].
        shares: Busy shares of each reading, shape [n, 3].
        seconds: Seconds for which each reading stands, shape [n].
        stretch: Which stretch readings stand for.
        residual_w: Root mean square of what the coefficients leave unexplained.
    """

    power_w: np.ndarray
    low_w: np.ndarray
    high_w: np.ndarray
    shares: np.ndarray
    seconds: np.ndarray
    stretch: Stretch
    residual_w: float


def regress(pairs: Sequence[tuple[Course, Activity]], refresh_s: float, seed: int) -> Regression | None:
    """Fit the power of one device; None if there are too few readings.

    Args:
        pairs: Power and activity in each replication.
        refresh_s: Refresh period of the meter.
        seed: Seed of the resampling.
    """
    rows = [np.flatnonzero(np.append(False, course.known)) for course, _ in pairs]
    power_w = np.concatenate([course.power_w[row] for (course, _), row in zip(pairs, rows, strict=True)])
    if len(power_w) < _FEWEST_BLOCKS:
        return None
    counted = pairs[0][0].counted
    tried = [Stretch(0.0, None, 0.0)] if counted else _stretches(refresh_s)
    fits = [_fit(_shares(pairs, rows, stretch), power_w, stretch) for stretch in tried]
    fits.sort(key=lambda fit: fit.residual_w)
    if not counted:
        fits.insert(0, _refined(pairs, rows, power_w, fits[0]))
    best = fits[0]
    near = [fit for fit in fits[:_MOST_NEAR] if fit.residual_w <= _NEAR * best.residual_w + 1e-12]
    seconds = np.concatenate([np.diff(course.t_s)[row - 1] for (course, _), row in zip(pairs, rows, strict=True)])
    low_w, high_w = _intervals(near, power_w, float(np.median(seconds)), seed)
    return Regression(_states(best.coefficients), low_w, high_w, best.shares, seconds, best.stretch, best.residual_w)


def _stretches(refresh_s: float) -> list[Stretch]:
    """Averages over a refresh period and points, up to a little more than one period old."""
    return [
        Stretch(lag * refresh_s, length * refresh_s, blur * refresh_s)
        for length in (1.0, _POINT)
        for blur in _BLURS
        for lag in np.linspace(0.0, _OLDEST - blur, _LAGS).tolist()
    ]


def _shares(pairs: Sequence[tuple[Course, Activity]], rows: Sequence[np.ndarray], stretch: Stretch) -> np.ndarray:
    parts = []
    for (course, activity), row in zip(pairs, rows, strict=True):
        ages = _AGES if stretch.blur_s else (0.0,)
        ends_s = [course.t_s[row] - stretch.lag_s - age * stretch.blur_s for age in ages]
        starts_s = [course.t_s[row - 1] if stretch.length_s is None else end_s - stretch.length_s for end_s in ends_s]
        shares = [activity.shares(start_s, end_s) for start_s, end_s in zip(starts_s, ends_s, strict=True)]
        parts.append(np.mean(shares, axis=0))
    return np.concatenate(parts)


def _fit(shares: np.ndarray, power_w: np.ndarray, stretch: Stretch) -> _Fit:
    from scipy.optimize import nnls  # noqa: PLC0415 - slow to import

    coefficients, norm = nnls(_design(shares), power_w)
    return _Fit(coefficients, float(norm) / math.sqrt(len(power_w)), shares, stretch)


def _refined(
    pairs: Sequence[tuple[Course, Activity]], rows: Sequence[np.ndarray], power_w: np.ndarray, best: _Fit
) -> _Fit:
    """The best fit with a stretch near that of another, or that one itself."""
    from scipy.optimize import minimize  # noqa: PLC0415 - slow to import

    shortest_s = best.stretch.length_s if best.stretch.length_s is not None else 0.0
    least_s = np.array([0.0, shortest_s / 2, 0.0])

    def at(point_s: np.ndarray) -> _Fit:
        lag_s, length_s, blur_s = np.maximum(point_s, least_s).tolist()
        stretch = Stretch(lag_s, length_s, blur_s)
        return _fit(_shares(pairs, rows, stretch), power_w, stretch)

    step_s = shortest_s / 20
    start_s = np.array([best.stretch.lag_s, shortest_s, best.stretch.blur_s])
    simplex_s = start_s + np.vstack([np.zeros(3), step_s * np.eye(3)])
    options = {"maxfev": _REFINEMENTS, "initial_simplex": simplex_s}
    found = minimize(lambda point_s: at(point_s).residual_w, start_s, method="Nelder-Mead", options=options)
    refined = at(found.x)
    return refined if refined.residual_w < best.residual_w else best


def _design(shares: np.ndarray) -> np.ndarray:
    return np.column_stack([np.ones(len(shares)), shares])


def _states(coefficients: np.ndarray) -> np.ndarray:
    """Power of the states from idle and what is above it; the last axis holds the states."""
    above = coefficients.copy()
    above[..., 1:] += coefficients[..., :1]
    return above


def _intervals(near: Sequence[_Fit], power_w: np.ndarray, period_s: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the intervals of the states, by resampling blocks of readings that follow each other.

    Each resample chooses its own stretch among those that fit nearly as well as the best; by how much the states differ
    between these stretches is added as squares.
    """
    random = np.random.default_rng(seed)
    n_blocks = max(_FEWEST_BLOCKS, int(len(power_w) * period_s / _BLOCK_S))
    blocks = np.array_split(np.arange(len(power_w)), min(n_blocks, len(power_w)))
    designs = [_design(fit.shares) for fit in near]
    squares = np.array([[design[block].T @ design[block] for design in designs] for block in blocks])
    products = np.array([[design[block].T @ power_w[block] for design in designs] for block in blocks])
    drawn = np.empty((_DRAWS, N_ACTIVITIES + 1))
    for draw in range(_DRAWS):
        chosen = random.integers(0, len(blocks), len(blocks))
        sums = zip(squares[chosen].sum(axis=0), products[chosen].sum(axis=0), strict=True)
        drawn[draw], _ = min((_solve(square, product) for square, product in sums), key=lambda pair: pair[1])
    low_w, high_w = np.percentile(_states(drawn), (_TAIL, 100 - _TAIL), axis=0)
    states_w = np.array([_states(fit.coefficients) for fit in near])
    between_w = np.abs(states_w - states_w[0]).max(axis=0)
    return states_w[0] - np.hypot(states_w[0] - low_w, between_w), states_w[0] + np.hypot(
        high_w - states_w[0], between_w
    )


def _solve(square: np.ndarray, product: np.ndarray) -> tuple[np.ndarray, float]:
    """Coefficients c >= 0 with the least |A c - p|, given A'A and A'p, and that square less p'p.

    |R c - R^-T A'p| with R'R = A'A is least for the same c, and has only as many rows as there are coefficients.
    """
    from scipy.optimize import nnls  # noqa: PLC0415 - slow to import

    values, vectors = np.linalg.eigh(square)
    roots = np.sqrt(np.maximum(values, 1e-12 * values[-1]))
    coefficients, _ = nnls((vectors * roots).T, (vectors / roots).T @ product)
    return coefficients, float(coefficients @ square @ coefficients - 2 * coefficients @ product)
