"""Names of the places where things happen, and the rates of links as a reader should see them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from twin.world import World


def place_names(world: World) -> list[str]:
    """Names of all places: the devices, then both directions of each link."""
    continuum = world.problem.continuum
    names = list(continuum.names)
    for link in continuum.links:
        a, b = continuum.names[link.a], continuum.names[link.b]
        names += [f"{a} → {b}", f"{b} → {a}"]
    return names


def link_names(world: World) -> list[str]:
    """Names of the links, such as `pi ↔ laptop`."""
    names = world.problem.continuum.names
    return [f"{names[link.a]} ↔ {names[link.b]}" for link in world.problem.continuum.links]


def mean_rate_bps(world: World, link: int, direction: int, edges_s: np.ndarray) -> np.ndarray:
    """Mean rate of a link direction in each bin, faults included, shape [n_bins]; NaN past a trace that must end.

    Args:
        world: The scenario.
        link: Position of the link.
        direction: 0 up, 1 down.
        edges_s: Edges of the bins, strictly ascending, shape [n_bins + 1].
    """
    trace = world.links[link]
    steps = trace.down if direction else trace.up
    ends = (world.problem.continuum.links[link].a, world.problem.continuum.links[link].b)
    for fault in world.faults:
        own = fault.kind == "link_down" and fault.target == link
        if own or (fault.kind == "device_down" and fault.target in ends):
            steps = steps.masked(fault.start_s, fault.end_s)
    known = edges_s <= steps.end_s if steps.after_end == "error" else np.ones(len(edges_s), dtype=bool)
    delivered = np.full(len(edges_s), np.nan)
    delivered[known] = steps.delivered_many(edges_s[known])
    return np.asarray(np.diff(delivered) / np.diff(edges_s))
