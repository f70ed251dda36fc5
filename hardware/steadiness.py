"""Whether a machine was steady while it was measured, from the times themselves and from its load."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_DRIFT = 0.05
_MAX_SPREAD = 1.25
_MAX_LOAD_PER_CORE = 0.5


def figures(whole_s: np.ndarray, load_average: float | None, cores: int) -> dict[str, float | None]:
    """Return the figures by which steadiness is judged.

    Args:
        whole_s: Times of the whole model in order of measurement, shape [repeats], seconds.
        load_average: Runnable processes before the measurement, averaged over a minute; None where not known.
        cores: Cores that the process may use.

    Returns:
        `drift`: median of the last quarter of the times over that of the first, minus one; `spread`: 95th over 5th
        percentile; `load_per_core`.
    """
    quarter = max(len(whole_s) // 4, 1)
    p05_s, p95_s = np.quantile(whole_s, (0.05, 0.95))
    return {
        "drift": round(float(np.median(whole_s[-quarter:]) / np.median(whole_s[:quarter]) - 1.0), 4),
        "spread": round(float(p95_s / p05_s), 4),
        "load_per_core": None if load_average is None else round(load_average / cores, 3),
    }


def complaints(found: Mapping[str, float | None]) -> list[str]:
    """Return a sentence for each figure that says the machine was unsteady, with the remedy; none if it was steady."""
    drift, spread, load = (found[key] or 0.0 for key in ("drift", "spread", "load_per_core"))
    sentences = []
    if abs(drift) > _MAX_DRIFT:
        sentences.append(
            f"the whole model's time drifted by {drift:+.1%} from the first to the last quarter of the repeats; "
            "measure again with a longer --warm-up, or let the machine cool"
        )
    if spread > _MAX_SPREAD:
        sentences.append(
            f"the 95th percentile of the whole model's time is {spread:.2f} times the 5th; "
            "measure again while nothing else runs"
        )
    if load > _MAX_LOAD_PER_CORE:
        sentences.append(
            f"the load average was {load:.2f} per core at the start; stop what else runs and measure again"
        )
    return sentences
