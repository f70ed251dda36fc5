"""A link as a run met it: goodput and round-trip time over time, from the messages that went over it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from twin.conditions import BULK_BYTES
from twin.steps import Steps
from twin.traces import LinkTrace
from twin.units import BITS_PER_BYTE
from twin.world import link_outages_s

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from twin.calibration.messages import Messages
    from twin.topology import Link
    from twin.world import World

    Floats = NDArray[np.float64]

_SAME = 1e-6
"""Relative difference below which all windows of a trace say the same, so that it is one constant."""
_SAME_S = 1e-9
"""Round-trip times that differ by less are the same."""


def measured_link(world: World, position: int, table: Messages, window_s: float, notes: list[str]) -> LinkTrace:
    """The trace of one link, as measured; what was not measured is as the scenario says.

    Args:
        world: The scenario.
        position: Position of the link.
        table: Messages of one replication.
        window_s: Length of the windows; 0: each message by itself.
        notes: What could not be taken is added here, in words.
    """
    trace, name = world.links[position], world.problem.continuum.link_name(position)
    own = table.where(table.link == position)
    rates = [trace.up, trace.down]
    for direction, way in enumerate(("up", "down")):
        there = own.where(own.direction == direction)
        sent_s = _transmissions_s(world.problem.continuum.links[position], trace, there)
        useful = sent_s > 0
        if not useful.any():
            notes.append(f"{name} {way}: no message took any time; the scenario's goodput is played")
            continue
        big = there.size_bytes > BULK_BYTES
        if (useful & big).any():
            useful &= big
        else:
            notes.append(f"{name} {way}: no message above {BULK_BYTES} bytes; delays of smaller ones count as goodput")
        outages_s = link_outages_s(world, position)
        rates[direction] = _goodput(there.where(useful), sent_s[useful], outages_s, window_s, f"{name} {way}")
    rtt = _round_trips(own, window_s, f"{name} rtt")
    return LinkTrace(f"{name} as measured", rates[0], rates[1], trace.rtt if rtt is None else rtt)


def _transmissions_s(link: Link, trace: LinkTrace, table: Messages) -> Floats:
    """Time of each message without half the round trip, overhead and slow start."""
    rtt_s = np.where(np.isfinite(table.rtt_s), table.rtt_s, trace.rtt.at_many(table.finish_s))
    slow_s = np.where(table.pause_s > link.slow_start_idle_s, link.slow_start_s, 0.0)
    return np.asarray(table.one_way_s - rtt_s / 2 - link.message_overhead_s - slow_s)


def _goodput(
    table: Messages, sent_s: Floats, outages_s: Sequence[tuple[float, float]], window_s: float, name: str
) -> Steps:
    """Goodput of one direction over time: bits / time in which they were sent, outages left out."""
    bits, start_s = table.size_bytes * BITS_PER_BYTE, table.start_s
    up_s = _up_s(start_s + sent_s, outages_s) - _up_s(start_s, outages_s)
    start_s, bits, end_s, up_s = start_s[up_s > 0], bits[up_s > 0], (start_s + sent_s)[up_s > 0], up_s[up_s > 0]
    if window_s == 0:
        return _steps(np.maximum(start_s, 0.0), bits / up_s, float(bits.sum() / up_s.sum()), name)
    edges_s = np.arange(0.0, float(end_s.max()) + window_s, window_s)
    busy_s, came = np.zeros(len(edges_s)), np.zeros(len(edges_s))
    first = np.maximum((start_s // window_s).astype(int), 0)
    last = np.minimum((end_s // window_s).astype(int), len(edges_s) - 1)
    for at, (from_window, to_window) in enumerate(zip(first, last, strict=True)):
        inside = np.arange(from_window, to_window + 1)
        from_s = np.maximum(edges_s[inside], start_s[at])
        to_s = np.minimum(edges_s[inside] + window_s, end_s[at])
        share_s = np.maximum(_up_s(to_s, outages_s) - _up_s(from_s, outages_s), 0.0)
        busy_s[inside] += share_s
        came[inside] += share_s / up_s[at] * bits[at]
    known = busy_s > 0
    return _steps(edges_s, _nearest(came[known] / busy_s[known], known), float(bits.sum() / up_s.sum()), name)


def _up_s(t_s: Floats, outages_s: Sequence[tuple[float, float]]) -> Floats:
    """Time for which a link was up by a time."""
    down_s = sum((np.clip(t_s, a_s, b_s) - a_s for a_s, b_s in outages_s), np.zeros(len(t_s)))
    return np.asarray(t_s - down_s)


def _round_trips(table: Messages, window_s: float, name: str) -> Steps | None:
    """Round-trip time over time, the median of each window; None where it was not measured."""
    known = np.isfinite(table.rtt_s)
    if not known.any():
        return None
    at_s, rtt_s = np.maximum(table.finish_s[known], 0.0), np.maximum(table.rtt_s[known], 0.0)
    order = np.argsort(at_s, kind="stable")
    at_s, rtt_s = at_s[order], rtt_s[order]
    middle_s = float(np.median(rtt_s))
    if rtt_s.max() - rtt_s.min() < _SAME_S:
        return Steps.constant(middle_s, name)
    if window_s == 0:
        return _steps(at_s, rtt_s, middle_s, name)
    windows = (at_s // window_s).astype(int)
    edges_s = np.arange(windows[-1] + 1) * window_s
    known_windows = np.isin(np.arange(len(edges_s)), windows)
    values_s = np.array([float(np.median(rtt_s[windows == number])) for number in np.unique(windows)])
    return _steps(edges_s, _nearest(values_s, known_windows), middle_s, name)


def _nearest(values: Floats, known: NDArray[np.bool_]) -> Floats:
    """Values of all windows: those that are not known have that of the nearest one that is."""
    there = np.flatnonzero(known)
    windows = np.arange(len(known))
    after = np.clip(np.searchsorted(there, windows), 0, len(there) - 1)
    before = np.clip(after - 1, 0, None)
    closer = np.where(np.abs(there[before] - windows) <= np.abs(there[after] - windows), before, after)
    return np.asarray(values[closer])


def _steps(times_s: Floats, values: Floats, mean: float, name: str) -> Steps:
    """A function of time by its knots; one constant where all values are the same."""
    if values.max() - values.min() <= _SAME * values.max():
        return Steps.constant(mean, name)
    starts_s, first = np.unique(times_s, return_index=True)
    kept = values[first]
    changed = np.append(True, kept[1:] != kept[:-1])
    starts_s, kept = starts_s[changed], kept[changed]
    starts_s[0] = 0.0
    return Steps(tuple(starts_s.tolist()), tuple(kept.tolist()), name=name)
