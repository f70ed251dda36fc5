"""How long each station was busy in each interval of a run, from visits in the order of service."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from twin.engine.batches import Batch, Floats
    from twin.engine.routes import Routes
    from twin.problem import Problem


def busy_s(batches: Iterable[Batch], routes: Routes, problem: Problem, edges_s: Floats, end_s: float) -> np.ndarray:
    """Seconds of computing, transmitting and receiving by device and bin.

    Args:
        batches: The visits.
        routes: The legs.
        problem: Says who sits at the ends of each link.
        edges_s: Edges of the bins, ascending, shape [n_bins + 1].
        end_s: When what was under way was cut off.

    Returns:
        Seconds, shape [n_devices, 3, n_bins].
    """
    n, n_bins = problem.n_devices, len(edges_s) - 1
    seconds = np.zeros((n, 3, n_bins))
    for batch in batches:
        for place, own in _by_place(batch, routes):
            first, extra_s = _in_bins(own.start_s, np.minimum(own.finish_s, end_s), edges_s)
            bins = slice(first, first + len(extra_s))
            if place < n:
                seconds[place, 0, bins] += extra_s
                continue
            link, direction = divmod(place - n, 2)
            ends = (problem.continuum.links[link].a, problem.continuum.links[link].b)
            seconds[ends[direction], 1, bins] += extra_s
            seconds[ends[1 - direction], 2, bins] += extra_s
    return seconds


def _by_place(batch: Batch, routes: Routes) -> list[tuple[int, Batch]]:
    """The visits of each direction: the two of a half-duplex link share a station."""
    places = routes.place[batch.leg]
    if np.ndim(places) == 0 or (places == places[0]).all():
        return [(int(np.ravel(places)[0]), batch)]
    return [(place, batch.where(places == place)) for place in np.unique(places).tolist()]


def _in_bins(start_s: Floats, until_s: Floats, edges_s: Floats) -> tuple[int, Floats]:
    """Time in each bin of stretches that follow each other, from the first bin that they touch on."""
    n_bins = len(edges_s) - 1
    begun = slice(0, int(np.searchsorted(start_s, edges_s[-1])))
    start_s, until_s = start_s[begun], until_s[begun]
    if len(start_s) == 0 or n_bins == 0:
        return 0, np.zeros(0)
    first = int(np.searchsorted(edges_s, start_s[0], side="right")) - 1
    last = max(int(np.searchsorted(edges_s, until_s[-1])), first + 1)
    inner_s = edges_s[first : last + 1]
    done_s = np.concatenate([[0.0], np.cumsum(until_s - start_s)])
    begun_by = np.searchsorted(start_s, inner_s)
    over_s = np.where(begun_by > 0, np.maximum(until_s[begun_by - 1] - inner_s, 0.0), 0.0)
    return first, np.diff(done_s[begun_by] - over_s)
