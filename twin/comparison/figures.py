"""The figures of a comparison, each as inline SVG with a caption that names units, n and sources."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from twin.comparison import words
from twin.report.binning import binned_quantiles
from twin.report.drawing import INK, WIDE, Picture, drawing, log_axis, look, svg
from twin.units import ms_from_s
from twin.wording import LEVEL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from twin.comparison.outcome import Comparison, PolicyPair
    from twin.comparison.quantities import Quantity

_MOST_POINTS = 1000
_MOST_BINS = 120
_REQUESTS_PER_BIN = 12
_FURTHEST = 0.6
"""Relative error at which the axis of errors ends; what lies beyond is an arrow."""
_MS_PER_S = ms_from_s(1.0)


def pictures(comparison: Comparison) -> list[Picture]:
    """All figures of a comparison; policies without answers are left out."""
    pairs = [pair for pair in comparison.policies if pair.steps]
    if not pairs:
        return []
    return [
        errors(comparison, pairs),
        waterfalls(comparison, pairs),
        latencies(comparison, pairs),
        over_time(comparison, pairs),
    ]


def errors(comparison: Comparison, pairs: Sequence[PolicyPair]) -> Picture:
    """Relative error of each quantity with its interval, beside the scatter of the reference's runs."""
    rows = [[x for x in words.shown(comparison, pair) if x.error.value is not None] for pair in pairs]
    with drawing(0.21 * sum(len(x) for x in rows) + 0.55 * len(rows) + 0.8) as figure:
        panels = figure.subplots(len(rows), 1, sharex=True, squeeze=False, height_ratios=[len(x) + 1.0 for x in rows])[
            :, 0
        ]
        for position, (axes, pair, found) in enumerate(zip(panels, pairs, rows, strict=True)):
            _errors_of(axes, found, look(position + 1).colour)
            axes.set_title(pair.label)
        panels[-1].set_xlabel("relative error, %")
        image = svg(figure, "errors")
    return Picture(
        "errors",
        "How far the two sides differ",
        image,
        f"Signed relative error of the first side ({comparison.sim.source}) against the second "
        f"({comparison.measured.source}) with its {LEVEL} interval; grey: standard deviation between replications "
        f"of the second, arrivals included. An arrow stands for what lies beyond {100 * _FURTHEST:.0f} %. "
        f"{_sample(comparison, pairs)}",
    )


def _errors_of(axes: Axes, found: Sequence[Quantity], colour: str) -> None:
    for row, x in enumerate(found):
        if x.repeatability is not None:
            half = 100 * min(x.repeatability, _FURTHEST)
            axes.barh(row, 2 * half, left=-half, height=0.62, color=INK, alpha=0.15, linewidth=0)
        value = x.error.value or 0.0
        ends = [value if end is None else end for end in (x.error.low, x.error.high)]
        axes.plot([100 * float(np.clip(end, -_FURTHEST, _FURTHEST)) for end in ends], [row, row], color=colour)
        beyond = abs(value) > _FURTHEST
        marker = (">" if value > 0 else "<") if beyond else "o"
        axes.plot(100 * float(np.clip(value, -_FURTHEST, _FURTHEST)), row, marker, color=colour, markersize=4.5)
    axes.axvline(0.0, color=INK, linewidth=0.8)
    axes.set_yticks(range(len(found)), [x.name for x in found])
    axes.set_ylim(len(found) - 0.4, -0.6)
    axes.use_sticky_edges = False
    axes.margins(x=0.02)
    axes.tick_params(axis="y", length=0)


def waterfalls(comparison: Comparison, pairs: Sequence[PolicyPair]) -> Picture:
    """What the difference of the mean latencies is made of."""
    told = [words.told_steps(pair) for pair in pairs]
    with drawing(0.22 * sum(len(x) + 2 for x in told) + 0.6 * len(told) + 0.5) as figure:
        panels = figure.subplots(len(told), 1, squeeze=False, height_ratios=[len(x) + 2.5 for x in told])[:, 0]
        for axes, pair, rows in zip(panels, pairs, told, strict=True):
            _waterfall(axes, comparison, pair, rows)
        panels[-1].set_xlabel("mean end-to-end latency, ms")
        image = svg(figure, "waterfall")
    return Picture(
        "waterfall",
        "Where the difference arises",
        image,
        f"From the mean latency of the second side ({comparison.measured.source}) to that of the first "
        f"({comparison.sim.source}), per counted request that was answered; the bars add up to the difference. "
        f"{_sample(comparison, pairs)}",
    )


def _waterfall(axes: Axes, comparison: Comparison, pair: PolicyPair, rows: Sequence[tuple[str, float]]) -> None:
    mean = pair.quantity("latency_mean")
    assert mean is not None  # noqa: S101 - a pair with steps has answers
    at_ms, names = ms_from_s(mean.measured), [words.heads(comparison)[1]]
    axes.plot(at_ms, 0, "D", color=INK, markersize=4.5)
    for row, (name, delta_s) in enumerate(rows, start=1):
        delta_ms = ms_from_s(delta_s)
        colour, hatch = ("#d4610c", "") if delta_ms > 0 else ("#2b83c6", "///")
        axes.barh(row, delta_ms, left=at_ms, height=0.66, color=colour, hatch=hatch, edgecolor=INK, linewidth=0.4)
        axes.plot([at_ms, at_ms], [row - 1, row], color=INK, linewidth=0.5)
        at_ms += delta_ms
        names.append(f"{name}  {words.change_ms(delta_s)}")
    axes.plot([at_ms, at_ms], [len(rows), len(rows) + 1], color=INK, linewidth=0.5)
    axes.plot(at_ms, len(rows) + 1, "D", color=INK, markersize=4.5)
    axes.set_yticks(range(len(rows) + 2), [*names, words.heads(comparison)[0]])
    axes.set_ylim(len(rows) + 1.6, -0.6)
    axes.use_sticky_edges = False
    axes.margins(x=0.04)
    axes.tick_params(axis="y", length=0)
    axes.set_title(f"{pair.label}: {words.change_ms(mean.bias)} ms")


def latencies(comparison: Comparison, pairs: Sequence[PolicyPair]) -> Picture:
    """Distribution functions of the latency on both sides, one above the other."""
    with drawing(1.75 * len(pairs) + 0.9) as figure:
        panels = figure.subplots(len(pairs), 1, sharex=True, squeeze=False)[:, 0]
        ends = []
        for axes, pair in zip(panels, pairs, strict=True):
            for position, cuts in ((1, pair.pairing.sim), (0, pair.pairing.measured)):
                ordered = np.sort(np.concatenate([cut.times.latency_s for cut in cuts]))
                picked = np.unique(np.linspace(0, len(ordered) - 1, min(len(ordered), _MOST_POINTS)).astype(np.int64))
                style = look(position)
                axes.step(
                    _MS_PER_S * ordered[picked],
                    100 * (picked + 1) / len(ordered),
                    where="post",
                    color=style.colour,
                    linestyle=style.dash,
                    linewidth=1.8,
                    label=words.heads(comparison)[1 - position],
                )
                ends += [float(ordered[0]), float(ordered[-1])]
            axes.set_title(pair.label)
            axes.set_ylabel("answered, %")
            axes.set_ylim(0, 101)
        if max(ends) > WIDE * max(min(ends), 1e-9):
            log_axis(panels[-1], "x")
        panels[-1].set_xlabel("end-to-end latency, ms")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left", ncols=2)
        image = svg(figure, "latencies")
    return Picture(
        "latencies",
        "Both distributions of the latency",
        image,
        "Share of the counted and answered requests within a latency (ms), all replications together. "
        f"{_sample(comparison, pairs)}",
    )


def over_time(comparison: Comparison, pairs: Sequence[PolicyPair]) -> Picture:
    """Residuals of the latency over time."""
    with drawing(1.6 * len(pairs) + 0.9) as figure:
        panels = figure.subplots(len(pairs), 1, sharex=True, squeeze=False)[:, 0]
        for position, (axes, pair) in enumerate(zip(panels, pairs, strict=True)):
            edges, low, middle, high = residuals(pair)
            colour = look(position + 1).colour
            if low is not None and high is not None:
                axes.fill_between(
                    edges,
                    *(np.append(x, x[-1]) for x in (low, high)),
                    step="post",
                    color=colour,
                    alpha=0.22,
                    linewidth=0,
                )
            axes.stairs(middle, edges, baseline=None, color=colour, linewidth=1.8)
            axes.axhline(0.0, color=INK, linewidth=0.8)
            axes.set_title(pair.label)
            axes.set_ylabel("residual, ms")
        panels[-1].set_xlabel("time of arrival since the start, s")
        image = svg(figure, "residuals")
    return Picture(
        "residuals",
        "Residuals over time",
        image,
        f"Latency of the first side ({comparison.sim.source}) minus that of the second ({comparison.measured.source}) "
        "in ms by time of arrival: median of the residuals of paired requests, with the range from their 5th to their "
        "95th percentile; where requests are not paired, the difference of the medians. "
        f"{_sample(comparison, pairs)}",
    )


def residuals(pair: PolicyPair) -> tuple[np.ndarray, np.ndarray | None, np.ndarray, np.ndarray | None]:
    """Edges of time bins (s), and the residuals' 5th percentile, median and 95th percentile in each (ms)."""
    pairing = pair.pairing
    sides = [
        (
            np.concatenate([cut.times.arrival_s for cut in cuts]),
            _MS_PER_S * np.concatenate([cut.times.latency_s for cut in cuts]),
        )
        for cuts in (pairing.sim, pairing.measured)
    ]
    end_s = max(float(t_s.max()) for t_s, _ in sides)
    fewest = min(len(t_s) for t_s, _ in sides)
    n_bins = int(np.clip(fewest // _REQUESTS_PER_BIN, 1, _MOST_BINS))
    edges = np.linspace(0.0, np.nextafter(max(end_s, 1e-9), np.inf), n_bins + 1)
    if pairing.mode != "requests":
        own, reference = (binned_quantiles(t_s, values, edges, (0.5,))[0] for t_s, values in sides)
        return edges, None, own - reference, None
    t_s, values = [], []
    for cut, other, (rows, theirs) in zip(pairing.sim, pairing.measured, pairing.matches, strict=True):
        t_s.append(other.times.arrival_s[theirs])
        values.append(_MS_PER_S * (cut.times.latency_s[rows] - other.times.latency_s[theirs]))
    low, middle, high = binned_quantiles(np.concatenate(t_s), np.concatenate(values), edges, (0.05, 0.5, 0.95))
    return edges, low, middle, high


def _sample(comparison: Comparison, pairs: Sequence[PolicyPair]) -> str:
    counts: dict[str, Any] = {}
    for name in ("n_sim", "n_measured"):
        found = sorted(getattr(mean, name) for pair in pairs if (mean := pair.quantity("latency_mean")) is not None)
        counts[name] = f"{found[0]}" if found[0] == found[-1] else f"{found[0]} to {found[-1]}"
    return (
        f"n = {counts['n_sim']} against {counts['n_measured']} answered requests per policy in "
        f"{comparison.sim.replications} against {comparison.measured.replications} replications, sources: "
        f"{comparison.sim.source} and {comparison.measured.source}."
    )
