"""Blocks of requests that follow each other, and how often each draw of a bootstrap takes each of them.

Requests that follow each other are alike: they met the same queue and the same link. Resampled one by one they would
seem to say more than they do, so that blocks are resampled, long enough for one to tell little of the next.
"""

from __future__ import annotations

import math

import numpy as np

DRAWS = 400
"""Draws of a bootstrap; a standard error from so many is itself known to about 4 %."""
_FEWEST, _MOST = 8, 64
"""Blocks of a replication, as long as there are so many requests."""


def block_length(series: np.ndarray) -> int:
    """Length of a block, in requests, by the rule of Politis and White.

    The rule (Politis and White 2004, Econometric Reviews 23; corrected by Patton, Politis and White 2009) is that of
    the circular bootstrap: `(2 G^2 / D)^(1/3) * n^(1/3)` with `G = sum of lambda(k/M) |k| R(k)` and
    `D = 4/3 * (sum of lambda(k/M) R(k))^2`, R the autocovariance, lambda the flat-top window, and M twice the lag
    beyond which no autocorrelation stands out.

    Args:
        series: One value per request in order, shape [n].

    Returns:
        At least 1, at most n.
    """
    n = len(series)
    centred = series - series.mean() if n else series
    variance = float(centred @ centred) / max(n, 1)
    if n < 4 or variance <= 0:
        return 1
    most_lag = min(math.ceil(math.sqrt(n)) + 5, n - 1)
    covariance = np.array([float(centred[lag:] @ centred[: n - lag]) / n for lag in range(most_lag + 1)])
    window = 2 * max(_last_notable(covariance / variance, n), 1)
    lags = np.arange(1, min(window, most_lag) + 1)
    weights = np.clip(2 * (1 - lags / window), 0.0, 1.0)
    g = 2 * float((weights * lags * covariance[lags]).sum())
    d = 4 / 3 * (variance + 2 * float((weights * covariance[lags]).sum())) ** 2
    if d <= 0:
        return 1
    return max(1, min(math.ceil(math.cbrt(2 * g**2 / d * n)), n))


def _last_notable(correlation: np.ndarray, n: int) -> int:
    """The lag from which on several in a row do not stand out from chance."""
    limit = 2 * math.sqrt(math.log10(n) / n)
    in_a_row = max(5, math.ceil(math.sqrt(math.log10(n))))
    quiet = 0
    for lag in range(1, len(correlation)):
        quiet = quiet + 1 if abs(correlation[lag]) < limit else 0
        if quiet == in_a_row:
            return lag - in_a_row
    return len(correlation) - 1


def number_of_blocks(n: int, length: int) -> int:
    """How many blocks n requests are cut into."""
    return max(min(max(round(n / length), _FEWEST), _MOST, n), 1)


def edges_s(arrival_s: np.ndarray, n_blocks: int) -> np.ndarray:
    """Times that cut requests into blocks of about the same number, shape [n_blocks - 1]."""
    cuts = np.round(np.linspace(0, len(arrival_s), n_blocks + 1)[1:-1]).astype(np.int64)
    return np.asarray(arrival_s[cuts])


def block_of(t_s: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Block in which each time falls, shape as `t_s`."""
    return np.searchsorted(edges, t_s, side="right")


def draws(n_blocks: int, random: np.random.Generator) -> np.ndarray:
    """How often each draw takes each block, shape [DRAWS, n_blocks]."""
    return random.multinomial(n_blocks, np.full(n_blocks, 1.0 / n_blocks), size=DRAWS).astype(float)
