"""Cost against work as a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twin.benchmarking.view import rate
from twin.benchmarking.work import PLAYERS
from twin.report.drawing import Picture, drawing, log_axis, look, svg
from twin.units import us_from_s

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes

    from twin.benchmarking.suite import Report
    from twin.benchmarking.work import Point

_HEIGHT_IN = 3.4


def picture(report: Report) -> Picture:
    """Processor time per request over the number of requests, and over that of devices."""
    with drawing(_HEIGHT_IN) as figure:
        left, right = figure.subplots(1, 2, sharey=True)
        _lines(left, report.work.over_requests, lambda x: x.requests)
        _lines(right, report.work.over_devices, lambda x: x.devices)
        log_axis(left, "y")
        left.set_xscale("log")
        sizes = sorted({x.requests for x in report.work.over_requests})
        left.set_xticks(sizes, [rate(n) for n in sizes])
        left.minorticks_off()
        left.set_xlabel("requests of a run, three devices")
        right.set_xlabel("devices")
        left.set_ylabel("processor time per request (µs)")
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
        image = svg(figure, "performance")
    return Picture("performance", "What a request costs", image, caption(report))


def caption(report: Report) -> str:
    """Units, n and source."""
    counts = sorted({len(x.rate.values) for x in (*report.work.over_requests, *report.work.over_devices)})
    n = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return (
        f"Median and range of n = {n} plays, each point in a process of its own; source: measured "
        f"on {report.environment['cpu']}."
    )


def _lines(axes: Axes, points: Sequence[Point], place: Callable[[Point], int]) -> None:
    for position, player in enumerate(reversed(PLAYERS)):
        own = sorted((x for x in points if x.player == player), key=place)
        if not own:
            continue
        costs_us = [x.each_us for x in own]
        ranges_us = [(us_from_s(1 / max(x.rate.values)), us_from_s(1 / min(x.rate.values))) for x in own]
        below = [cost - low for cost, (low, _) in zip(costs_us, ranges_us, strict=True)]
        above = [high - cost for cost, (_, high) in zip(costs_us, ranges_us, strict=True)]
        style = look(position)
        axes.errorbar(
            [place(x) for x in own],
            costs_us,
            yerr=[below, above],
            label=player,
            color=style.colour,
            linestyle=style.dash,
            linewidth=1.6,
            marker="o",
            markersize=3.5,
            elinewidth=1.0,
            capsize=2.0,
        )
