"""Bounded polytopes `normals @ x <= limits`: their vertices, and points drawn from inside."""

from __future__ import annotations

from itertools import combinations

import numpy as np

_SAME = 1e-9
"""Relative difference below which a limit counts as kept, and two vertices as one."""


def vertices(normals: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """All vertices, found by solving every choice of as many limits as there are unknowns.

    Args:
        normals: Shape [m, n]; the polytope must be bounded, m and n small: all m-choose-n systems are solved.
        limits: Shape [m].

    Returns:
        The vertices in ascending order, shape [v, n]; none where the limits contradict each other.
    """
    # Unknowns and rows of very different size would make every tolerance a matter of units.
    units = 1.0 / np.abs(normals).max(axis=0)
    rows = normals * units
    sizes = np.abs(rows).max(axis=1)
    rows, bounds = rows / sizes[:, None], limits / sizes
    n = normals.shape[1]
    found = []
    for chosen in map(list, combinations(range(len(rows)), n)):
        if np.linalg.matrix_rank(rows[chosen]) < n:
            continue
        point = np.linalg.solve(rows[chosen], bounds[chosen])
        if (rows @ point <= bounds + _SAME * max(1.0, np.abs(bounds).max())).all():
            found.append(point)
    return np.asarray(_distinct(np.array(found).reshape(-1, n)) * units)


def inside(corners: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Points inside a polytope: averages of its vertices with weights drawn from a flat Dirichlet distribution.

    Args:
        corners: The vertices, shape [v, n].
        count: How many points.
        seed: Seed of the draw.

    Returns:
        The points, shape [count, n].
    """
    weights = np.random.default_rng(seed).dirichlet(np.ones(len(corners)), count)
    return np.asarray(weights @ corners)


def _distinct(points: np.ndarray) -> np.ndarray:
    """The points without repetitions, in ascending order."""
    kept: list[np.ndarray] = []
    tolerance = _SAME * max(1.0, np.abs(points).max(initial=0.0))
    for point in points[np.lexsort(points.T[::-1])]:
        if all(np.abs(point - other).max() > tolerance for other in kept):
            kept.append(point)
    return np.array(kept).reshape(-1, points.shape[1])
