"""The figures of a sweep: a map of the best policy over two axes, or the policies along one."""

from __future__ import annotations

from contextlib import contextmanager
from itertools import product
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np

from twin.metrics.intervals import interval
from twin.report.drawing import INK, WIDE, Picture, drawing, log_axis, look, svg
from twin.sweeping.breaks import breaks_of, is_wide
from twin.sweeping.quantities import percent_text, quantity_factor, quantity_text, scale_of
from twin.sweeping.verdict import cells_of
from twin.wording import LEVEL, UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from twin.sweeping.campaign import Outcome
    from twin.sweeping.grid import Axis, Sweep
    from twin.sweeping.verdict import Cell, Place

MOST_PANELS = 6
"""Combinations of the further axes up to which each has a panel; of more, the middle one is drawn."""
_PALE = 0.5
_LINE_WIDTH = 170
"""Characters in a line of the text below a figure."""
_READABLE = 16
"""Columns of a panel up to which gains are printed in its cells."""


def pictures(outcome: Outcome) -> list[Picture]:
    """The figures; none where nothing but seeds varies, or nothing was played to the end."""
    cells = cells_of(outcome)
    if all(cell.best is None for cell in cells.values()):
        return []
    drawn = [position for position, axis in enumerate(outcome.sweep.axes) if len(axis) > 1]
    if not drawn:
        return []
    return [_lines(outcome, cells, drawn[0])] if len(drawn) == 1 else [_maps(outcome, cells, drawn)]


def _lines(outcome: Outcome, cells: Mapping[Place, Cell], which: int) -> Picture:
    """The minimised quantity of each policy along the one axis that varies."""
    sweep = outcome.sweep
    axis, scale, factor = sweep.axes[which], scale_of(sweep.axes[which]), quantity_factor(sweep.minimise)
    along = [cells[place] for place in sorted(cells, key=lambda place: place[which])]
    x = np.array([value * scale.factor for value in axis.values] if axis.is_numeric else range(len(axis)), dtype=float)
    breaks = breaks_of(axis, along)
    caption = f"Mean and {LEVEL} interval of each policy, {_sample(along, sweep)}."
    if any(b.value is not None for b in breaks):
        caption += " Vertical: break-even, on straight lines between the points; dotted where not told apart from luck."
    with _captioned(3.4, _title(sweep), caption) as figure:
        axes = figure.subplots()
        for position, label in enumerate(sweep.labels):
            _line(axes, x, [cell.values.get(label, ()) for cell in along], factor, position, label)
        for b in breaks:
            if b.value is not None:
                dash = "dashed" if b.apart else "dotted"
                axes.axvline(b.value * scale.factor, color=INK, linewidth=0.9, linestyle=dash)
        if axis.is_numeric and is_wide(axis):
            log_axis(axes, "x")
        elif not axis.is_numeric:
            axes.set_xticks(x, [scale.text(value) for value in axis.values])
        known = [mean for cell in along for label in cell.values if (mean := cell.mean(label)) is not None]
        if max(known) > WIDE * max(min(known), 1e-9):
            log_axis(axes, "y")
        axes.set_xlabel(scale.title)
        axes.set_ylabel(quantity_text(sweep.minimise))
        axes.legend()
        image = svg(figure, "lines")
    return Picture("lines", _title(sweep), image, caption)


def _line(axes: Axes, x: np.ndarray, values: Sequence[Any], factor: float, position: int, label: str) -> None:
    found = [interval(own, floor=0.0) for own in values]
    mean = np.array([np.nan if f.mean is None else f.mean for f in found]) * factor
    low = np.array([np.nan if f.low is None else f.low for f in found]) * factor
    high = np.array([np.nan if f.high is None else f.high for f in found]) * factor
    style = look(position)
    axes.plot(x, mean, color=style.colour, linestyle=style.dash, linewidth=1.8, marker="o", markersize=3, label=label)
    axes.fill_between(x, low, high, color=style.colour, alpha=0.18, linewidth=0)


def _maps(outcome: Outcome, cells: Mapping[Place, Cell], drawn: Sequence[int]) -> Picture:
    """The best policy over the first two axes, a panel for each combination of the others."""
    sweep = outcome.sweep
    across, upwards, *others = drawn
    combinations = list(product(*(range(len(sweep.axes[other])) for other in others)))
    shown = combinations if len(combinations) <= MOST_PANELS else [combinations[len(combinations) // 2]]
    panels = [_slice(sweep, cells, across, upwards, dict(zip(others, chosen, strict=True))) for chosen in shown]
    titles = [_fixed(sweep, dict(zip(others, chosen, strict=True))) for chosen in shown]
    columns = 1 if len(panels) == 1 else 2
    rows = -(-len(panels) // columns)
    caption = _map_caption(sweep, [cell for panel in panels for cell in panel.flat])
    if len(shown) == 1 and titles[0]:
        caption += f" Drawn at {titles[0]}, one of {len(combinations)} combinations of the other axes."
    height_in = rows * (0.34 * len(sweep.axes[upwards]) + 0.5) + 0.7
    with _captioned(height_in, _title(sweep), caption) as figure:
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for axes, panel, title in zip(grid.flat, panels, titles, strict=False):
            _map(axes, sweep, panel, small=columns > 1)
            axes.set_title(title if len(panels) > 1 else "")
        for axes in grid.flat[len(panels) :]:
            axes.set_visible(False)
        _ticks(grid, sweep.axes[across], sweep.axes[upwards])
        figure.legend(handles=_legend(sweep, panels), loc="outside upper left", ncols=4)
        image = svg(figure, "best")
    return Picture("best", _title(sweep), image, caption)


def _map_caption(sweep: Sweep, cells: Sequence[Cell]) -> str:
    """What a map shows, without what it does not hold."""
    quantity = quantity_text(sweep.minimise).partition(",")[0]
    what = f"Policy with the least {quantity} at each point, and by how many percent it lies below the next one's"
    texts = [f"{what}, {_sample(cells, sweep)}. Black: break-even, where the best policy changes."]
    if any(cell.apart is False for cell in cells):
        texts.append(
            f"Striped: level with the policy of the stripes (the {LEVEL} interval of the difference, paired by "
            "replication, holds zero)."
        )
    if any(cell.best is not None and cell.second is None for cell in cells):
        texts.append("No number: all others fail, or lose more requests.")
    if any(cell.best is None for cell in cells):
        texts.append("Dash: no policy could be played.")
    return " ".join(texts)


def _slice(sweep: Sweep, cells: Mapping[Place, Cell], across: int, upwards: int, at: Mapping[int, int]) -> np.ndarray:
    """The cells of a panel, shape [n_upwards, n_across]."""
    panel = np.empty((len(sweep.axes[upwards]), len(sweep.axes[across])), dtype=object)
    for j, i in np.ndindex(panel.shape):
        place = [at.get(axis, 0) for axis in range(len(sweep.axes))]
        place[across], place[upwards] = i, j
        panel[j, i] = cells[tuple(place)]
    return panel


def _fixed(sweep: Sweep, at: Mapping[int, int]) -> str:
    """The values of the other axes in words."""
    scales = {which: scale_of(sweep.axes[which]) for which in at}
    texts = [
        f"{scales[which].name} {scales[which].text(sweep.axes[which].values[position])} {scales[which].unit}".strip()
        for which, position in at.items()
    ]
    return ", ".join(texts)


def _map(axes: Axes, sweep: Sweep, panel: np.ndarray, *, small: bool) -> None:
    """One panel: a cell per point, coloured by its best policy, striped with the colour of one that is level."""
    import matplotlib as mpl  # noqa: PLC0415 - slow to import
    from matplotlib.patches import Rectangle  # noqa: PLC0415 - likewise

    n_upwards, n_across = panel.shape
    for (j, i), cell in np.ndenumerate(panel):
        corner = (i - 0.5, j - 0.5)
        if cell.best is None:
            axes.text(i, j, UNKNOWN, ha="center", va="center", fontsize=8)
            continue
        axes.add_patch(Rectangle(corner, 1, 1, facecolor=_colour(sweep, cell.best), alpha=_PALE, linewidth=0))
        if cell.apart is False and cell.second is not None:
            stripes = _colour(sweep, cell.second)
            with mpl.rc_context({"hatch.color": stripes, "hatch.linewidth": 2.0}):
                axes.add_patch(Rectangle(corner, 1, 1, fill=False, hatch="//", edgecolor=stripes, linewidth=0))
        if cell.gain is not None and n_across <= _READABLE // (2 if small else 1):
            axes.text(
                i,
                j,
                percent_text(cell.gain),
                ha="center",
                va="center",
                fontsize=7.5 if n_across <= 10 else 6.5,
                bbox={"facecolor": "white", "alpha": 0.6, "linewidth": 0, "pad": 1.0},
            )
    axes.set_xlim(-0.5, n_across - 0.5)
    axes.set_ylim(-0.5, n_upwards - 0.5)
    axes.grid(visible=False)
    axes.plot(*_borders(panel), color="black", linewidth=1.8, solid_capstyle="projecting")


def _colour(sweep: Sweep, label: str) -> str:
    return look(sweep.labels.index(label)).colour


def _borders(panel: np.ndarray) -> tuple[list[float], list[float]]:
    """The sides of cells at which the best policy changes, as x and y of one broken line."""
    best = np.array([[cell.best or "" for cell in row] for row in panel])
    x: list[float] = []
    y: list[float] = []
    for j, i in np.argwhere(best[:, 1:] != best[:, :-1]):
        x += [i + 0.5, i + 0.5, np.nan]
        y += [j - 0.5, j + 0.5, np.nan]
    for j, i in np.argwhere(best[1:] != best[:-1]):
        x += [i - 0.5, i + 0.5, np.nan]
        y += [j + 0.5, j + 0.5, np.nan]
    return x, y


def _ticks(grid: np.ndarray, across: Axis, upwards: Axis) -> None:
    x, y = scale_of(across), scale_of(upwards)
    for axes in grid.flat:
        axes.set_xticks(range(len(across)), [x.text(value) for value in across.values])
        axes.set_yticks(range(len(upwards)), [y.text(value) for value in upwards.values])
        axes.tick_params(length=0)
    for column in grid.T:
        lowest = [axes for axes in column if axes.get_visible()][-1]
        lowest.tick_params(labelbottom=True)
        lowest.set_xlabel(x.title)
    if len(grid) == 1:
        grid[0, 0].set_ylabel(y.title)
    else:
        grid[0, 0].figure.supylabel(y.title, fontsize=9.0)


def _legend(sweep: Sweep, panels: Sequence[np.ndarray]) -> list[Any]:
    from matplotlib.patches import Patch  # noqa: PLC0415 - slow to import

    used = {cell.best for panel in panels for cell in panel.flat}
    handles = [
        Patch(facecolor=look(position).colour, alpha=0.5, label=label)
        for position, label in enumerate(sweep.labels)
        if label in used
    ]
    if any(cell.apart is False for panel in panels for cell in panel.flat):
        handles.append(Patch(fill=False, hatch="//", edgecolor=INK, linewidth=0, label="level with the next"))
    return handles


@contextmanager
def _captioned(height_in: float, title: str, caption: str) -> Iterator[Figure]:
    """An empty figure with its title and caption below it, for it may be looked at alone."""
    lines = wrap(f"{title} {caption}", _LINE_WIDTH)
    with drawing(height_in + 0.13 * len(lines)) as figure:
        figure.supxlabel("\n".join(lines), x=0.008, ha="left", fontsize=7.0)
        yield figure


def _title(sweep: Sweep) -> str:
    return sweep.question or f"{sweep.name}."


def _sample(cells: Sequence[Cell], sweep: Sweep) -> str:
    counts = [len(values) for cell in cells for values in cell.values.values()]
    n = f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
    seeds = f" ({len(sweep.seeds)} seeds)" if len(sweep.seeds) > 1 else ""
    return f"n = {n} replications per point and policy{seeds}, {len(cells)} points, source: simulated"
