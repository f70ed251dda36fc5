"""The figures of a report, each as inline SVG with a caption that names units, n and source."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from twin.report import binning
from twin.report.drawing import WIDE, Picture, deadline_line, device_colour, drawing, log_axis, look, sample, svg
from twin.report.figure_energy import energy
from twin.report.figure_time import over_time
from twin.units import ms_from_s

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from twin.metrics.summary import Summary
    from twin.records import RunResult
    from twin.world import World

_COLUMNS = 900
"""Columns of the raster of layers."""
_STATIC_KINDS = ("static", "device-only", "oracle-static")


def pictures(world: World, results: Sequence[RunResult], summary: Summary) -> list[Picture]:
    """All figures of a report; those that would show nothing are left out."""
    drawn = [
        over_time(world, results, summary),
        latencies(results, summary),
        energy(summary),
        layers(world, results, summary),
    ]
    return [picture for picture in drawn if picture is not None]


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
        if max(x[-1] for x in known) > WIDE * max(min(x[0] for x in known), 1e-9):
            log_axis(axes, "x")
        deadline_line(axes, summary, vertical=True)
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
        f"Share of the counted requests that were answered within a latency (ms), {sample(summary)}. "
        "A curve that ends below 100 % belongs to a policy that left requests unanswered.",
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


def _first(result: RunResult) -> int:
    return int(result.requests.replication.min()) if len(result.requests) else 0


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
