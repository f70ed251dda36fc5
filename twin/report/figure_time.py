"""Latency of each policy over time, with the link that made it so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from twin.places import link_names, mean_rate_bps, place_names
from twin.report import binning
from twin.report.drawing import (
    INK,
    WIDE,
    Picture,
    deadline_line,
    device_colour,
    drawing,
    log_axis,
    look,
    quiet,
    sample,
    svg,
)
from twin.topology import DOWN, UP
from twin.units import mbps_from_bps, ms_from_s
from twin.wording import number, per_run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from twin.metrics.summary import Summary
    from twin.records import RunResult
    from twin.world import World

_VARIES = 1.05
"""Ratio of the largest to the smallest rate from which a link counts as changing."""
_MARKS = 400
"""Marks along the time axis that can be told apart."""


def over_time(world: World, results: Sequence[RunResult], summary: Summary) -> Picture | None:
    """Latency of each policy over time, above the rates of the links."""
    end_s = max((float(result.requests.arrival_s.max(initial=0.0)) for result in results), default=0.0)
    if end_s == 0 or not any(result.requests.completed.any() for result in results):
        return None
    edges_s = binning.time_edges_s(results, end_s)
    bands = [_bands(result, edges_s) for result in results]
    answered = [int(result.requests.completed.sum()) for result in results]
    shaded = _most_varying(world, end_s)
    with drawing(1.35 * len(results) + 2.3) as figure:
        axes = figure.subplots(len(results) + 1, 1, sharex=True, height_ratios=[*[1.0] * len(results), 0.9])
        for position, (panel, result, band) in enumerate(zip(axes, results, bands, strict=False)):
            _latency_panel(panel, position, edges_s, band)
            _shade(panel, world, shaded, end_s)
            _mark(panel, result, end_s)
            switches = per_run(summary.policies[position], summary.replications)
            panel.set_title(result.label + (f" (switches per run: {switches})" if switches != "0" else ""))
            deadline_line(panel, summary, vertical=False)
        _same_latency_axis(axes[:-1], bands)
        _link_panel(axes[-1], world, end_s)
        axes[-1].set_xlim(0.0, end_s)
        axes[-1].set_xlabel("time since the start, s")
        figure.legend(handles=_time_legend(world, results, shaded), loc="outside upper left", ncols=6, handlelength=1.8)
        figure.legend(*axes[-1].get_legend_handles_labels(), loc="outside lower left", ncols=4)
        image = svg(figure, "time")
    return Picture(
        "time",
        "Latency over time",
        image,
        "End-to-end latency in ms by time of arrival: median (thick) and 95th percentile (thin) in bins of "
        f"{number(float(edges_s[1]), 2)} s, warm-up included, {sample(summary, answered)}. Dashed: the deadline; "
        "triangles: switches in any replication. Bottom: rates of the links in Mbit/s as the scenario's traces and "
        "faults make them.",
    )


def _bands(result: RunResult, edges_s: np.ndarray) -> np.ndarray:
    """Median and 95th percentile of the latency by bin in ms, shape [2, n_bins]."""
    answered = result.requests.completed
    arrival_s, latency_s = result.requests.arrival_s[answered], result.requests.latency_s[answered]
    return binning.binned_quantiles(arrival_s, ms_from_s(1.0) * latency_s, edges_s, (0.5, 0.95))


def _latency_panel(axes: Axes, position: int, edges_s: np.ndarray, band: np.ndarray) -> None:
    colour = look(position).colour
    median, high = (np.append(row, row[-1]) for row in band)
    axes.fill_between(edges_s, median, high, step="post", color=colour, alpha=0.22, linewidth=0)
    axes.stairs(band[1], edges_s, baseline=None, color=colour, linewidth=0.9)
    axes.stairs(band[0], edges_s, baseline=None, color=colour, linewidth=2.0)
    axes.set_ylabel("latency, ms")


def _same_latency_axis(panels: Sequence[Axes], bands: Sequence[np.ndarray]) -> None:
    """One scale for all policies, so that panels can be compared by eye."""
    values = np.concatenate([band[np.isfinite(band)] for band in bands])
    low, high = float(values.min()), float(values.max())
    for axes in panels:
        if high > WIDE * low > 0:
            log_axis(axes, "y")
            axes.set_ylim(low / 1.5, high * 1.5)
        else:
            axes.set_ylim(0.0, high * 1.1)


def _most_varying(world: World, end_s: float) -> tuple[int, int] | None:
    """The link direction whose rate changes most; None if none changes."""
    edges_s = np.linspace(0.0, end_s, _MARKS + 1)
    spread = {}
    for link in range(len(world.links)):
        rates_bps = mean_rate_bps(world, link, UP, edges_s)
        low, high = np.nanmin(rates_bps), np.nanmax(rates_bps)
        spread[link, UP] = high / max(low, 1e-3 * high) if high > 0 else 1.0
    widest = max(spread, key=lambda key: spread[key], default=None)
    return widest if widest is not None and spread[widest] > _VARIES else None


def _shade(axes: Axes, world: World, place: tuple[int, int] | None, end_s: float) -> None:
    """The rate of a link behind a panel, from 0 to the largest rate it reaches."""
    if place is None:
        return
    edges_s = np.linspace(0.0, end_s, _MARKS + 1)
    rates_bps = mean_rate_bps(world, *place, edges_s)
    behind = axes.twinx()
    behind.set_zorder(axes.get_zorder() - 1)
    axes.patch.set_visible(False)
    behind.stairs(rates_bps, edges_s, fill=True, color=INK, alpha=0.11, linewidth=0)
    behind.set_ylim(0.0, np.nanmax(rates_bps) * 1.02)
    behind.set_yticks([])
    quiet(behind)


def _mark(axes: Axes, result: RunResult, end_s: float) -> None:
    """Switches above the panel and requests without an answer at its foot."""
    for times_s, height, marker, size in (
        (binning.switch_times_s(result), 1.0, "v", 5.0),
        (binning.lost_times_s(result.requests), 0.04, "x", 4.0),
    ):
        shown_s = np.unique(np.round(times_s / end_s * _MARKS)) * end_s / _MARKS
        (marks,) = axes.plot(
            shown_s,
            np.full(len(shown_s), height),
            marker,
            markersize=size,
            color=INK,
            transform=axes.get_xaxis_transform(),
            clip_on=False,
        )
        marks.set_in_layout(False)


def _link_panel(axes: Axes, world: World, end_s: float) -> None:
    """Rates of all links, up solid and down dotted."""
    edges_s = np.linspace(0.0, end_s, _MARKS + 1)
    rates = []
    for link in range(len(world.links)):
        up, down = (mbps_from_bps(1.0) * mean_rate_bps(world, link, d, edges_s) for d in (UP, DOWN))
        there, back = place_names(world)[world.problem.n_devices + 2 * link :][:2]
        style: dict[str, Any] = {"color": device_colour(link + 1), "linewidth": 1.5}
        rates += [up, down]
        if np.array_equal(up, down, equal_nan=True):
            axes.stairs(up, edges_s, baseline=None, label=link_names(world)[link], **style)
        else:
            axes.stairs(up, edges_s, baseline=None, label=there, **style)
            axes.stairs(down, edges_s, baseline=None, label=back, linestyle=(0, (1.5, 1.5)), **style)
    values = np.concatenate(rates) if rates else np.empty(0)
    positive = values[values > 0]
    if len(positive) and positive.max() > WIDE * positive.min():
        log_axis(axes, "y")
    else:
        axes.set_ylim(bottom=0.0)
    axes.set_ylabel("rate, Mbit/s")
    axes.set_title("links")


def _time_legend(world: World, results: Sequence[RunResult], shaded: tuple[int, int] | None) -> list[object]:
    from matplotlib.lines import Line2D  # noqa: PLC0415 - slow to import
    from matplotlib.patches import Patch  # noqa: PLC0415 - likewise

    handles: list[object] = [
        Line2D([], [], color=INK, linewidth=2.0, label="median"),
        Line2D([], [], color=INK, linewidth=0.9, label="95th percentile"),
    ]
    if any(len(binning.switch_times_s(result)) for result in results):
        handles.append(Line2D([], [], color=INK, marker="v", linestyle="", markersize=5, label="switch"))
    if any(len(binning.lost_times_s(result.requests)) for result in results):
        handles.append(Line2D([], [], color=INK, marker="x", linestyle="", markersize=4, label="never answered"))
    if shaded is not None:
        name = place_names(world)[world.problem.n_devices + 2 * shaded[0] + shaded[1]]
        handles.append(Patch(color=INK, alpha=0.2, linewidth=0, label=f"rate of {name}, from 0"))
    return handles
