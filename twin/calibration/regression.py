"""Robust regression: `y = X theta + known`, with a few wild values among the rows.

An M-estimator with Huber's function to find the scale of the residuals and Tukey's biweight to be moved no more by
what is wild (Maronna, Martin and Yohai, Robust Statistics, chapters 2 and 5). Intervals come from the sandwich formula,
once with each row by itself (White 1980) and once with rows of the same stretch of time summed up first (Liang and
Zeger 1986), because rows that follow each other are alike; the wider one counts.

Of stage times the logarithm is fitted: a log-normal factor of mean 1 has the median exp(-sigma^2 / 2), so what is
fitted is the mean although half of the rows lie below the curve.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from twin.metrics.intervals import CONFIDENCE, t_quantile

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_HUBER = 1.345
_TUKEY = 8.0
"""Both lose 5 % of the efficiency of least squares on normal errors."""
_MAD_OF_NORMAL = 0.6744897501960817
_INSIDE = 5.0
"""Standard deviations within which a residual counts for the scale."""
_TURNS = 60
_SETTLED = 1e-10
_LEAST_SCALE = 1e-9
_LEAST_SHARE = 0.02
"""Share of the expected value that a prediction keeps while the fit is on its way, so that it has a logarithm."""
_MOST_DEGREES = 200
_SLACK = 1e-6
"""Half-width that an interval has at least, relative to the figure: files hold no more digits."""


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """What is to be explained.

    Attributes:
        columns: What each parameter is multiplied by, shape [n, p].
        known: What is added to that, shape [n].
        y: What was measured, shape [n].
        spread: Size of the errors of each row, up to a factor, shape [n]; of no use for logarithms.
        block: Number of the stretch of time in which each row was measured, shape [n].
        is_log: Whether errors are factors on `y`.
        is_robust: Whether rows that are wild do not count.
    """

    columns: Floats
    known: Floats
    y: Floats
    spread: Floats
    block: NDArray[np.int64]
    is_log: bool
    is_robust: bool = True

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.y)


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """A fit.

    Attributes:
        theta: The parameters, shape [p].
        half: Half-width of the 95 % interval of each, shape [p].
        scale: Standard deviation of the residuals that are not wild; of logarithms, or in units of `Data.spread`.
        scale_half: Half-width of its interval.
        expected: What is predicted for each row, shape [n].
        wild: Rows that the fit does not count at all, shape [n].
    """

    theta: Floats
    half: Floats
    scale: float
    scale_half: float
    expected: Floats
    wild: NDArray[np.bool_]


def regress(data: Data, start: Floats) -> Fitted:
    """Fit the parameters.

    Args:
        data: At least as many rows as parameters, the columns not collinear.
        start: What the parameters are expected to be, shape [p]; rows that are predicted by it to be long weigh
            accordingly less in the first turns.
    """
    expected = np.maximum(data.columns @ start + data.known, np.finfo(float).tiny)
    size = expected if data.is_log else data.spread
    theta = _settle(start, lambda now: _linear(data, now, size), _huber)
    theta = _settle(theta, lambda now: _residuals(data, now, expected), _huber)
    theta = _settle(theta, lambda now: _residuals(data, now, expected), _tukey if data.is_robust else _alike)
    return _result(data, theta, expected)


def _linear(data: Data, theta: Floats, size: Floats) -> tuple[Floats, Floats]:
    residual = (data.y - data.columns @ theta - data.known) / size
    return residual, data.columns / size[:, None]


def _residuals(data: Data, theta: Floats, expected: Floats) -> tuple[Floats, Floats]:
    """Residuals, shape [n], and minus their derivatives by the parameters, shape [n, p]."""
    if not data.is_log:
        return _linear(data, theta, data.spread)
    predicted = np.maximum(data.columns @ theta + data.known, _LEAST_SHARE * expected)
    residual = np.log(data.y / predicted)
    for _ in range(3):
        scale = _inner_scale(residual, 0) if data.is_robust else float(np.std(residual))
        residual = np.log(data.y / predicted) + scale**2 / 2
    return residual, data.columns / predicted[:, None]


def _settle(
    theta: Floats, residuals: Callable[[Floats], tuple[Floats, Floats]], weigh: Callable[[Floats], Floats]
) -> Floats:
    """Weighted least squares, over and over with weights from the residuals (Gauss-Newton where they bend)."""
    for _ in range(_TURNS):
        residual, slopes = residuals(theta)
        root = np.sqrt(weigh(residual / _scale(residual)))
        norms = np.maximum(np.linalg.norm(slopes * root[:, None], axis=0), np.finfo(float).tiny)
        step, *_ = np.linalg.lstsq(slopes * root[:, None] / norms, residual * root, rcond=None)
        step = step / norms
        theta = theta + step
        if np.abs(slopes @ step).max() <= _SETTLED:
            break
    return theta


def _scale(residual: Floats) -> float:
    """Standard deviation by the median of the absolute values."""
    return max(float(np.median(np.abs(residual))) / _MAD_OF_NORMAL, _LEAST_SCALE)


def _inner_scale(residual: Floats, n_parameters: int) -> float:
    """Standard deviation of the residuals that are not wild."""
    scale = _scale(residual)
    for _ in range(3):
        inside = residual[np.abs(residual) <= _INSIDE * scale]
        degrees = max(len(inside) - n_parameters, 1)
        scale = max(math.sqrt(float((inside**2).sum()) / degrees), _LEAST_SCALE)
    return scale


def _huber(residual: Floats) -> Floats:
    return np.asarray(np.minimum(1.0, _HUBER / np.maximum(np.abs(residual), np.finfo(float).tiny)))


def _tukey(residual: Floats) -> Floats:
    return np.asarray(np.clip(1 - (residual / _TUKEY) ** 2, 0.0, None) ** 2)


def _alike(residual: Floats) -> Floats:
    return np.ones(len(residual))


def _result(data: Data, theta: Floats, expected: Floats) -> Fitted:
    residual, slopes = _residuals(data, theta, expected)
    p = slopes.shape[1]
    scale = _scale(residual)
    weight, curvature = _tukey(residual / scale), _curvature(residual / scale)
    sigma = _inner_scale(residual, p)
    if not data.is_robust:
        weight = curvature = np.ones(len(residual))
        sigma = max(float(np.linalg.norm(residual)) / math.sqrt(max(data.n - p, 1)), _LEAST_SCALE)
    half = _half_widths(slopes, residual * weight, curvature, data.block)
    inside = np.abs(residual) <= (_INSIDE * sigma if data.is_robust else math.inf)
    sigma_half = _scale_half(residual[inside], sigma, data.block[inside])
    if data.is_log:
        # The correction from the median to the mean is itself only as sure as the scale is.
        half = np.hypot(half, np.abs(theta) * sigma * sigma_half)
    half = np.maximum(half, _SLACK * np.abs(theta))
    return Fitted(theta, half, sigma, sigma_half, data.columns @ theta + data.known, weight == 0.0)


def _scale_half(residual: Floats, sigma: float, block: NDArray[np.int64]) -> float:
    """Half-width of the interval of a standard deviation: at least that of normal errors."""
    squares = residual**2 - sigma**2
    n = len(squares)
    _, number = np.unique(block, return_inverse=True)
    by_block = np.bincount(number, weights=squares)
    error = max(float(np.linalg.norm(squares)), float(np.linalg.norm(by_block)), math.sqrt(2 * n) * sigma**2) / n
    return _t(min(n - 1, max(len(by_block) - 1, 1))) * error / (2 * sigma)


def _curvature(residual: Floats) -> Floats:
    """Derivative of the biweight's influence function."""
    square = (residual / _TUKEY) ** 2
    return np.asarray(np.where(square < 1, (1 - square) * (1 - 5 * square), 0.0))


def _half_widths(slopes: Floats, influence: Floats, curvature: Floats, block: NDArray[np.int64]) -> Floats:
    """Half-widths of the 95 % intervals, the wider of those by rows and those by stretches of time."""
    n, p = slopes.shape
    norms = np.maximum(np.linalg.norm(slopes, axis=0), np.finfo(float).tiny)
    unit = slopes / norms
    bread = np.linalg.pinv((unit * curvature[:, None]).T @ unit, hermitian=True)
    scores = unit * influence[:, None]
    by_row = _errors(bread, scores) * math.sqrt(n / max(n - p, 1)) * _t(n - p)
    _, number = np.unique(block, return_inverse=True)
    n_blocks = int(number.max()) + 1
    if n_blocks < p + 3:
        return np.asarray(by_row / norms)
    sums = np.zeros((n_blocks, p))
    np.add.at(sums, number, scores)
    by_block = _errors(bread, sums) * math.sqrt(n_blocks / (n_blocks - 1)) * _t(n_blocks - 1)
    return np.asarray(np.maximum(by_row, by_block) / norms)


def _errors(bread: Floats, scores: Floats) -> Floats:
    covariance = bread @ (scores.T @ scores) @ bread
    return np.asarray(np.sqrt(np.maximum(np.diag(covariance), 0.0)))


def _t(degrees: int) -> float:
    return t_quantile((1 + CONFIDENCE) / 2, min(max(degrees, 1), _MOST_DEGREES))
