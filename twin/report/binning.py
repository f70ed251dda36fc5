"""Records -> the few numbers that a drawing needs, however many requests there were."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from twin.records import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twin.records import Requests, RunResult

_MOST_BINS = 150
_FEWEST_BINS = 12
_ANSWERS_PER_BIN = 12
_STEPS = (1.0, 2.0, 5.0, 10.0)
_MOST_POINTS = 1000


def time_edges_s(results: Sequence[RunResult], end_s: float) -> np.ndarray:
    """Edges of time bins of a round width, few enough that most hold a dozen answers of each policy.

    Args:
        results: The policies that will share the bins.
        end_s: End of the last bin, at least.

    Returns:
        Edges from 0, shape [n_bins + 1].
    """
    fewest = min(int(result.requests.completed.sum()) for result in results)
    n = min(max(fewest // _ANSWERS_PER_BIN, _FEWEST_BINS), _MOST_BINS)
    raw_s = max(end_s, 1e-9) / n
    power = 10.0 ** math.floor(math.log10(raw_s))
    width_s = next(step * power for step in _STEPS if step * power >= raw_s * (1 - 1e-9))
    return np.asarray(np.arange(math.ceil(end_s / width_s - 1e-9) + 1) * width_s)


def binned_quantiles(
    t_s: np.ndarray, values: np.ndarray, edges_s: np.ndarray, probabilities: Sequence[float]
) -> np.ndarray:
    """Quantiles of the values in each time bin, interpolated between order statistics.

    Args:
        t_s: Time of each value, shape [n].
        values: The values, shape [n].
        edges_s: Edges of the bins, shape [n_bins + 1].
        probabilities: Which quantiles, shape [q].

    Returns:
        Shape [q, n_bins]; NaN where a bin holds no value.
    """
    n_bins = len(edges_s) - 1
    position = np.searchsorted(edges_s, t_s, side="right") - 1
    inside = (position >= 0) & (position < n_bins)
    position, values = position[inside], values[inside]
    ordered = values[np.lexsort((values, position))]
    count = np.bincount(position, minlength=n_bins)
    first = np.cumsum(count) - count
    result = np.full((len(probabilities), n_bins), np.nan)
    held = np.flatnonzero(count)
    for row, probability in enumerate(probabilities):
        rank = (count[held] - 1) * probability
        below = first[held] + np.floor(rank).astype(np.int64)
        above = first[held] + np.ceil(rank).astype(np.int64)
        result[row, held] = ordered[below] + (rank % 1.0) * (ordered[above] - ordered[below])
    return result


def distribution(requests: Requests, most_points: int = _MOST_POINTS) -> tuple[np.ndarray, np.ndarray]:
    """Latencies and the share of all counted requests that were answered within each.

    Requests that were never answered keep the last share below 1.

    Args:
        requests: The requests.
        most_points: How many points to return at most.

    Returns:
        Ascending latencies in seconds and shares, both of shape [n]; empty if nothing was answered.
    """
    latency_s = np.sort(requests.latency_s[requests.counted & requests.completed])
    n = len(latency_s)
    picked = np.unique(np.round(np.linspace(0, n - 1, min(n, most_points))).astype(np.int64)) if n else np.empty(0, int)
    return latency_s[picked], (picked + 1) / max(int(requests.counted.sum()), 1)


def lost_times_s(requests: Requests) -> np.ndarray:
    """When those requests arrived that were never answered."""
    return np.asarray(requests.arrival_s[requests.outcome > Outcome.LATE])


def switch_times_s(result: RunResult) -> np.ndarray:
    """When the partition changed, in all replications."""
    return np.array([entry["t_s"] for entry in result.decisions if entry["switched"]], dtype=float)


def placements(result: RunResult, replication: int, times_s: np.ndarray) -> np.ndarray | None:
    """Device of each layer over time: what the newest decision wanted for requests that arrive then.

    Args:
        result: The run.
        replication: Number of the replication.
        times_s: Times, ascending, shape [n].

    Returns:
        Positions of devices, shape [n_layers, n]; None if nothing was decided.
    """
    ours = [entry for entry in result.decisions if entry["replication"] == replication]
    if not ours:
        return None
    changes = [ours[0], *(entry for entry in ours[1:] if entry["switched"])]
    starts_s = np.array([entry["t_s"] for entry in changes])
    plans = np.array([entry["partition"]["placement"] for entry in changes], dtype=np.int64)
    in_force = np.maximum(np.searchsorted(starts_s, times_s, side="right") - 1, 0)
    return np.asarray(plans[in_force].T)
