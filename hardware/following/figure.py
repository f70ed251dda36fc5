"""What the live twin predicted and what came of it, over time, as a figure of the report."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from twin.report.drawing import INK, Picture, device_colour, drawing, look, svg
from twin.units import ms_from_s
from twin.wording import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

    from hardware.following.ledger import Interval

_LINES = (("measured", look(0)), ("predicted", look(1)), ("twin, arrivals known", look(2)))
_SHOWN_PERCENT = 60.0
"""Residuals beyond this are drawn at the edge of their panel."""


def picture(
    intervals: Mapping[str, Sequence[Interval]],
    summaries: Mapping[str, Mapping[str, object]],
    devices: Sequence[str],
    source: str,
) -> Picture | None:
    """Draw the first replication of each policy.

    Args:
        intervals: The intervals by policy.
        summaries: Their summaries.
        devices: Names of the devices.
        source: What the measured figures are.

    Returns:
        None if nothing was predicted.
    """
    shown = {
        label: [x for x in rows if x.replication == rows[0].replication] for label, rows in intervals.items() if rows
    }
    shown = {label: rows for label, rows in shown.items() if any(x.is_told for x in rows)}
    if not shown:
        return None
    with drawing(3.4 * len(shown) + 0.6) as figure:
        panels = figure.subplots(2 * len(shown), 1, sharex=True, height_ratios=[1.2, 1.0] * len(shown))
        for position, (label, rows) in enumerate(shown.items()):
            above, below = panels[2 * position : 2 * position + 2]
            above.set_title(label)
            _latency(above, rows)
            _residuals(below, rows, len(devices))
            for axes in (above, below):
                _flags(axes, rows)
        panels[-1].set_xlabel("time since the start, s")
        figure.legend(handles=_handles(devices), loc="outside upper left", ncols=4)
        image = svg(figure, "live")
    words = "; ".join(_in_words(label, summaries[label]) for label in shown)
    return Picture(
        "live",
        "The live twin: predicted before, measured after",
        image,
        "Mean latency in ms of the requests that arrived in each control interval, as the twin predicted it before the "
        "interval began and as it was measured; below, by how much more was measured, in % of what the twin says once "
        "it knows which requests came, and of what it says of each device. Triangles: the twin was found to be wrong "
        f"and fitted anew. {words}. Source of what was measured: {source}; predictions are simulated.",
    )


def _latency(axes: Axes, rows: Sequence[Interval]) -> None:
    told = [x for x in rows if x.is_told and x.whole is not None]
    middle_s = [(x.forecast.start_s + x.forecast.end_s) / 2 for x in told]
    measured = [ms_from_s(x.whole.measured_s) for x in told if x.whole is not None]
    predicted = [ms_from_s(x.forecast.mean_s) for x in told]
    axes.plot(middle_s, measured, color=look(0).colour, linewidth=1.6, marker=".")
    axes.plot(middle_s, predicted, color=look(1).colour, linewidth=1.2)
    known = [x for x in rows if x.explained is not None]
    axes.plot(
        [(x.forecast.start_s + x.forecast.end_s) / 2 for x in known],
        [ms_from_s(x.explained.expected_s) for x in known if x.explained is not None],
        color=look(2).colour,
        linestyle=look(2).dash,
        linewidth=1.0,
    )
    axes.set_ylim(bottom=0.0)
    axes.set_ylabel("latency, ms")


def _residuals(axes: Axes, rows: Sequence[Interval], n_devices: int) -> None:
    series: dict[int, list[tuple[float, float]]] = {}
    for x in rows:
        middle_s = (x.forecast.start_s + x.forecast.end_s) / 2
        for residual in (*x.parts, *([] if x.explained is None else [x.explained])):
            if residual.place < n_devices:
                series.setdefault(residual.place, []).append((middle_s, 100 * residual.relative))
    axes.axhline(0.0, color=INK, linewidth=0.8)
    for place, points in sorted(series.items()):
        times_s, values = zip(*points, strict=True)
        kept = [min(max(value, -_SHOWN_PERCENT), _SHOWN_PERCENT) for value in values]
        style = look(2).colour if place < 0 else device_colour(place)
        axes.plot(times_s, kept, marker=".", markersize=4, linewidth=1.0 if place < 0 else 0.7, color=style)
    axes.set_ylabel("residual, %")


def _flags(axes: Axes, rows: Sequence[Interval]) -> None:
    times_s = [flag.t_s for x in rows for flag in x.flags]
    at_top = axes.get_xaxis_transform()
    (marks,) = axes.plot(times_s, [1.0] * len(times_s), "v", markersize=5.0, color=INK, transform=at_top, clip_on=False)
    marks.set_in_layout(False)


def _handles(devices: Sequence[str]) -> list[object]:
    from matplotlib.lines import Line2D  # noqa: PLC0415 - slow to import

    lines = []
    for name, style in _LINES:
        drawn: Any = {"color": style.colour, "linestyle": "solid" if style is look(0) else style.dash}
        lines.append(Line2D([], [], label=name, **drawn))
    dots = [
        Line2D([], [], color=device_colour(place), marker=".", linewidth=0.7, label=f"compute on {name}")
        for place, name in enumerate(devices)
    ]
    flag = Line2D([], [], color=INK, marker="v", linestyle="", markersize=5, label="flag")
    return [*lines, *dots, flag]


def _in_words(label: str, data: Mapping[str, object]) -> str:
    scores = data["scores"]
    assert isinstance(scores, list)  # noqa: S101 - as `outcome.summary` makes it
    first = {score["name"]: score for score in scores}
    parts = [f"{name}: n = {x['n']}, MAPE {_percent(x['mape'])}" for name, x in list(first.items())[:2]]
    flags = data["flags"]
    assert isinstance(flags, list)  # noqa: S101 - likewise
    return f"{label}: {', '.join(parts)}, {len(flags)} flag{'' if len(flags) == 1 else 's'}"


def _percent(value: float | None) -> str:
    return UNKNOWN if value is None or not math.isfinite(value) else f"{100 * value:.1f} %"
