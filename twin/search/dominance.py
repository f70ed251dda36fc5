"""Points that no other beats in both latency and energy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from twin.search.goals import ROUNDING


class Front(NamedTuple):
    """Points that no other beats, by rising latency and falling energy, shape [m] each."""

    latency_s: np.ndarray
    energy_j: np.ndarray

    def beats(self, latency_s: np.ndarray, energy_j: np.ndarray) -> np.ndarray:
        """Whether some point is at least as good as each given one in both quantities."""
        if not len(self.latency_s):
            return np.zeros(np.shape(latency_s), dtype=bool)
        place = np.searchsorted(self.latency_s, latency_s, side="right") - 1
        return np.asarray((place >= 0) & (self.energy_j[place] <= energy_j))


def front_of(latency_s: np.ndarray, energy_j: np.ndarray) -> np.ndarray:
    """Positions of the points that no other beats in both quantities, by rising latency; infinite ones left out.

    Args:
        latency_s: Latency of each point, shape [m].
        energy_j: Energy of each point, shape [m].
    """
    order = np.lexsort((energy_j, latency_s))
    order = order[np.isfinite(latency_s[order]) & np.isfinite(energy_j[order])]
    least_before = np.minimum.accumulate(np.concatenate(([np.inf], energy_j[order])))[:-1]
    better = energy_j[order] < least_before - np.abs(np.nan_to_num(least_before, posinf=0.0)) * ROUNDING
    return np.asarray(order[better])
