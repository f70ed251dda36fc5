"""The figures of a report, each as inline SVG with a caption that names units, n and source."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from twin import binning
from twin.drawing import INK, STATES, device_colour, drawing, look, quiet, svg
from twin.energy import State
from twin.places import mean_rate_bps
from twin.topology import DOWN, UP
from twin.units import mbps_from_bps, ms_from_s
from twin.wording import number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from twin.records import RunResult
    from twin.summary import Summary
    from twin.world import World

_WIDE = 15.0
"""Ratio of the largest to the smallest value from which an axis is logarithmic."""
_VARIES = 1.05
_MARKS = 400
"""Marks along the time axis that can be told apart."""
_COLUMNS = 900
"""Columns of the raster of layers."""
_STATIC_KINDS = ("static", "device-only", "oracle-static")


class Picture(NamedTuple):
    """A figure for the page.

    Attributes:
        name: Unique on the page.
        title: What it shows.
        image: Inline SVG.
        caption: Units, n and source.
    """

    name: str
    title: str
    image: str
    caption: str


def pictures(world: World, results: Sequence[RunResult], summary: Summary) -> list[Picture]:
    """All figures of a report; those that would show nothing are left out."""
    drawn = [
        over_time(world, results, summary),
        latencies(results, summary),
        energy(summary),
        layers(world, results, summary),
    ]
    return [picture for picture in drawn if picture is not None]


def over_time(world: World, results: Sequence[RunResult], summary: Summary) -> Picture | None:
    """Latency of each policy over time, above the rates of the links."""
    end_s = max((float(result.requests.arrival_s.max(initial=0.0)) for result in results), default=0.0)
    if end_s == 0 or not any(result.requests.completed.any() for result in results):
        return None
    edges_s = binning.time_edges_s(results, end_s)
    bands = [_bands(result, edges_s) for result in results]
    shaded = _most_varying(world, end_s)
    with drawing(1.5 * len(results) + 1.9) as figure:
        axes = figure.subplots(len(results) + 1, 1, sharex=True, height_ratios=[*[1.0] * len(results), 0.9])
        for position, (panel, result, band) in enumerate(zip(axes, results, bands, strict=False)):
            _latency_panel(panel, position, edges_s, band)
            _shade(panel, world, shaded, end_s)
            _mark(panel, result, end_s)
            switches = summary.policies[position].switches / max(summary.replications, 1)
            panel.set_title(f"{result.label}: {number(switches, 2)} switches per run" if switches else result.label)
            _deadline(panel, summary, vertical=False)
        _same_latency_axis(axes[:-1], bands)
        _link_panel(axes[-1], world, end_s)
        axes[-1].set_xlim(0.0, end_s)
        axes[-1].set_xlabel("time since the start, s")
        figure.legend(handles=_time_legend(world, results, shaded), loc="outside upper left", ncols=6, handlelength=1.8)
        image = svg(figure, "time")
    width_s = number(float(edges_s[1]), 2)
    return Picture(
        "time",
        "Latency over time",
        image,
        f"End-to-end latency in ms by time of arrival: median (thick) and 95th percentile (thin) in bins of {width_s} s, "
        f"warm-up included, {_sample(summary)}. Bottom: rates of the links in Mbit/s as the scenario's traces give "
        "them.",
    )


def latencies(results: Sequence[RunResult], summary: Summary) -> Picture | None:
    """Share of requests that are answered within each latency."""
    curves = [binning.distribution(result.requests) for result in results]
    known = [latency_s for latency_s, _ in curves if len(latency_s)]
    if not known:
        return None
    with drawing(3.1) as figure:
        axes = figure.subplots()
        for position, (latency_s, shares) in enumerate(curves):
            style = look(position)
            axes.step(
                ms_from_s(1.0) * latency_s,
                100 * shares,
                where="post",
                color=style.colour,
                linestyle=style.dash,
                linewidth=1.8,
                label=f"{results[position].label} (n = {summary.policies[position].answered})",
            )
        if max(x[-1] for x in known) > _WIDE * max(min(x[0] for x in known), 1e-9):
            _log_axis(axes, "x")
        _deadline(axes, summary, vertical=True)
        axes.set_yticks([0, 25, 50, 75, 95, 100])
        axes.set_ylim(0, 101)
        axes.set_xlabel("end-to-end latency, ms")
        axes.set_ylabel("answered within, % of requests")
        axes.legend(loc="lower right")
        image = svg(figure, "latencies")
    return Picture(
        "latencies",
        "Distribution of the latency",
        image,
        f"Share of the counted requests that were answered within a latency (ms), {_sample(summary)}. "
        "A curve that ends below 100 % belongs to a policy that left requests unanswered.",
    )


def energy(summary: Summary) -> Picture | None:
    """Joules per request by device and state, with and without the idle baseline."""
    n_policies, n_devices = len(summary.policies), len(summary.devices)
    if all(policy.energy_j("node", d).mean is None for policy in summary.policies for d in range(n_devices)):
        return None
    with drawing(0.23 * n_policies * (n_devices + 1) + 1.1) as figure:
        left, right = figure.subplots(1, 2, sharey=True)
        for axes, first, title in (
            (left, State.IDLE, "node: idle included"),
            (right, State.COMPUTE, "marginal: above idle"),
        ):
            _stacks(axes, summary, first)
            axes.set_title(title)
            axes.set_xlabel("J per completed request")
            axes.grid(visible=False, axis="y")
        _energy_rows(left, summary)
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=len(STATES))
        image = svg(figure, "energy")
    return Picture(
        "energy",
        "Energy by device and state",
        image,
        f"Joules per completed request of each device by what it did, mean over replications, {_sample(summary)}. "
        "Boundary on the left `node` (all joules from the end of warm-up to the last answer), on the right `marginal` "
        "(without the idle baseline); the scales differ. Power times time from the scenario's power states.",
    )


def layers(world: World, results: Sequence[RunResult], summary: Summary) -> Picture | None:
    """Which device runs which layer over time, for policies that may change their mind."""
    end_s = max((float(result.requests.arrival_s.max(initial=0.0)) for result in results), default=0.0)
    edges_s = np.linspace(0.0, end_s, _COLUMNS + 1)
    middles_s = (edges_s[:-1] + edges_s[1:]) / 2
    kinds = {policy.label: policy.kind for policy in summary.policies}
    rasters = [
        (result.label, raster)
        for result in results
        if (kinds[result.label] not in _STATIC_KINDS or len(binning.switch_times_s(result)))
        and (raster := binning.placements(result, _first(result), middles_s)) is not None
    ]
    if not rasters or end_s == 0:
        return None
    with drawing(1.7 * len(rasters) + 0.9) as figure:
        panels = figure.subplots(len(rasters), 1, sharex=True, squeeze=False)[:, 0]
        for axes, (label, raster) in zip(panels, rasters, strict=True):
            _raster(axes, raster, end_s, summary)
            axes.set_title(label)
        panels[-1].set_xlabel("time since the start, s")
        figure.legend(handles=_device_legend(summary), loc="outside upper left", ncols=6)
        image = svg(figure, "layers")
    return Picture(
        "layers",
        "Which layers ran where",
        image,
        f"Device that the plan in force gives each of the {world.problem.n_layers} layers of {summary.model} "
        f"(0 is nearest to the input), over time; replication {_first(results[0])}, source: {summary.source}.",
    )


def _sample(summary: Summary) -> str:
    """What every caption says of its numbers."""
    answered = sorted({policy.answered for policy in summary.policies})
    n = f"{answered[0]}" if len(answered) == 1 else f"{answered[0]} to {answered[-1]}"
    runs = f"{summary.replications} replication{'s' if summary.replications != 1 else ''}"
    return f"n = {n} answered requests per policy in {runs}, source: {summary.source}"


def _first(result: RunResult) -> int:
    return int(result.requests.replication.min()) if len(result.requests) else 0


def _bands(result: RunResult, edges_s: np.ndarray) -> np.ndarray:
    """Median and 95th percentile of the latency by bin in ms, shape [2, n_bins]."""
    answered = result.requests.completed
    arrival_s, latency_s = result.requests.arrival_s[answered], result.requests.latency_s[answered]
    return binning.binned_quantiles(arrival_s, ms_from_s(1.0) * latency_s, edges_s, (0.5, 0.95))


def _latency_panel(axes: Axes, position: int, edges_s: np.ndarray, band: np.ndarray) -> None:
    colour = look(position).colour
    axes.fill_between(
        edges_s,
        *(np.append(row, row[-1]) for row in band),
        step="post",
        color=colour,
        alpha=0.22,
        linewidth=0,
    )
    axes.stairs(band[1], edges_s, baseline=None, color=colour, linewidth=0.9)
    axes.stairs(band[0], edges_s, baseline=None, color=colour, linewidth=2.0)
    axes.set_ylabel("latency, ms")


def _same_latency_axis(panels: Sequence[Axes], bands: Sequence[np.ndarray]) -> None:
    """One scale for all policies, so that panels can be compared by eye."""
    values = np.concatenate([band[np.isfinite(band)] for band in bands])
    low, high = float(values.min()), float(values.max())
    for axes in panels:
        if high > _WIDE * low > 0:
            _log_axis(axes, "y")
            axes.set_ylim(low / 1.5, high * 1.5)
        else:
            axes.set_ylim(0.0, high * 1.1)


def _log_axis(axes: Axes, which: str) -> None:
    """A logarithmic axis whose labels are plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter  # noqa: PLC0415 - slow to import

    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if which == "x" else (1.0, 3.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _deadline(axes: Axes, summary: Summary, *, vertical: bool) -> None:
    if summary.objective.deadline_s is None:
        return
    at = ms_from_s(summary.objective.deadline_s)
    draw = axes.axvline if vertical else axes.axhline
    draw(at, color=INK, linewidth=0.9, linestyle=(0, (3.0, 2.0)))
    if vertical:
        axes.annotate(
            f" deadline {number(at)} ms", (at, 0.02), xycoords=("data", "axes fraction"), va="bottom", fontsize=8
        )


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
    behind.stairs(rates_bps, edges_s, fill=True, color=INK, alpha=0.13, linewidth=0)
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
        axes.plot(
            shown_s,
            np.full(len(shown_s), height),
            marker,
            markersize=size,
            color=INK,
            transform=axes.get_xaxis_transform(),
            clip_on=False,
        )


def _link_panel(axes: Axes, world: World, end_s: float) -> None:
    """Rates of all links, up solid and down dotted."""
    edges_s = np.linspace(0.0, end_s, _MARKS + 1)
    rates = []
    for link in range(len(world.links)):
        name = world.problem.continuum.link_name(link)
        for direction, dash, word in ((UP, "solid", "up"), (DOWN, (0, (1.5, 1.5)), "down")):
            rates_mbps = mbps_from_bps(1.0) * mean_rate_bps(world, link, direction, edges_s)
            rates.append(rates_mbps)
            axes.stairs(
                rates_mbps,
                edges_s,
                baseline=None,
                color=device_colour(link + 1),
                linestyle=dash,
                linewidth=1.5,
                label=f"{name} {word}",
            )
    values = np.concatenate(rates) if rates else np.empty(0)
    positive = values[values > 0]
    if len(positive) and positive.max() > _WIDE * positive.min():
        _log_axis(axes, "y")
    else:
        axes.set_ylim(bottom=0.0)
    axes.set_ylabel("rate, Mbit/s")
    axes.set_title("links")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.05), handlelength=1.6)


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
        name = world.problem.continuum.link_name(shaded[0])
        handles.append(Patch(color=INK, alpha=0.2, linewidth=0, label=f"rate of {name} up, from 0"))
    return handles


def _stacks(axes: Axes, summary: Summary, first: State) -> None:
    """Stacked bars of all policies and devices, from a state on."""
    y = _energy_positions(summary)
    start = np.zeros(y.shape)
    for state in range(first, len(State)):
        name, colour, hatch = STATES[state]
        joules = np.array(
            [
                [policy.state_j(device, state) or 0.0 for device in range(len(summary.devices))]
                for policy in summary.policies
            ]
        )
        axes.barh(
            y.ravel(),
            joules.ravel(),
            left=start.ravel(),
            height=0.8,
            color=colour,
            hatch=hatch,
            edgecolor=INK,
            linewidth=0.3,
            label=name,
        )
        start += joules
    boundary = "node" if first == State.IDLE else "marginal"
    for p, policy in enumerate(summary.policies):
        for device in range(len(summary.devices)):
            known = policy.energy_j(boundary, device).mean
            text = " power unknown" if known is None else f" {number(known)}"
            axes.text(start[p, device], y[p, device], text, va="center", fontsize=8)
    axes.set_xlim(0.0, max(float(start.max()) * 1.18, 1e-12))


def _energy_positions(summary: Summary) -> np.ndarray:
    """Height of each bar, shape [n_policies, n_devices]: devices together, a gap between policies."""
    n_policies, n_devices = len(summary.policies), len(summary.devices)
    return np.asarray(np.arange(n_policies)[:, None] * (n_devices + 1.0) + np.arange(n_devices)[None, :])


def _energy_rows(axes: Axes, summary: Summary) -> None:
    y = _energy_positions(summary)
    names = [
        f"{policy.label}   {device}" if position == 0 else device
        for policy in summary.policies
        for position, device in enumerate(summary.devices)
    ]
    axes.set_yticks(y.ravel(), names)
    axes.set_ylim(y.max() + 0.8, -0.8)
    axes.tick_params(axis="y", length=0)


def _raster(axes: Axes, raster: np.ndarray, end_s: float, summary: Summary) -> None:
    from matplotlib.colors import BoundaryNorm, ListedColormap  # noqa: PLC0415 - slow to import

    n_devices = len(summary.devices)
    axes.imshow(
        raster,
        aspect="auto",
        interpolation="nearest",
        extent=(0.0, end_s, len(raster) - 0.5, -0.5),
        cmap=ListedColormap([device_colour(device) for device in range(n_devices)]),
        norm=BoundaryNorm(np.arange(n_devices + 1) - 0.5, n_devices),
    )
    axes.set_ylabel("layer")
    axes.grid(visible=False)
    axes.locator_params(axis="y", integer=True, nbins=6)


def _device_legend(summary: Summary) -> list[object]:
    from matplotlib.patches import Patch  # noqa: PLC0415 - slow to import

    return [Patch(color=device_colour(device), label=name) for device, name in enumerate(summary.devices)]
