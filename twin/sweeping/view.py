"""A sweep in the terminal: the head of its table, the best policy of each region, and where the files are."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from twin.sweeping.breaks import breaks_of
from twin.sweeping.quantities import percent_text, quantity_text, scale_of
from twin.sweeping.verdict import cells_of
from twin.wording import LEVEL, UNKNOWN, milliseconds, number

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rich.console import Console

    from twin.sweeping.campaign import Outcome, Timing
    from twin.sweeping.grid import Axis, Point
    from twin.sweeping.quantities import Scale
    from twin.sweeping.row import Row
    from twin.sweeping.verdict import Cell, Place

    Column = tuple[str, Callable[[Point, Row], str]]

_HEAD = 8
"""Rows of the table that are shown."""
_ERRORS = 3
"""Different errors that are shown."""
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_UNLIMITED = 10_000


def show(outcome: Outcome, console: Console) -> None:
    """Print what came out."""
    sweep, cells = outcome.sweep, cells_of(outcome)
    console.print(Text(f"{sweep.name}: {sweep.question}" if sweep.question else sweep.name, "bold"))
    console.print(Text(_counts(outcome)))
    console.print(_head(outcome, console))
    if len(outcome.rows) > _HEAD:
        console.print(Text(f"the first {_HEAD} of {len(outcome.rows)} rows; latency in ms, energy in J/request", "dim"))
    if any(cell.best is not None for cell in cells.values()):
        _show_best(outcome, cells, console)
    for error, n in Counter(outcome.rows[row_id].error for row_id in outcome.failed).most_common(_ERRORS):
        console.print(Text(f"! {n} failed: {error}", "yellow"))
    if outcome.failed:
        console.print(Text("! column `error` of the table has them all", "yellow"))
    if (text := cost(outcome.timing)) is not None:
        console.print(Text(text, "dim"))


def cost(timing: Timing) -> str | None:
    """What it took, in words; None where nothing was played."""
    share = timing.scheduling_share
    if share is None:
        return None
    workers = f"{timing.workers} worker{'s' if timing.workers != 1 else ''} {timing.kind}"
    return (
        f"{timing.played} results in {number(timing.wall_s)} s on {workers}, ready after {number(timing.start_s)} s; "
        f"scheduling took {100 * share:.1f} % of their time"
    )


def _counts(outcome: Outcome) -> str:
    sweep, n = outcome.sweep, len(outcome.rows)
    seeds = f" x {len(sweep.seeds)} seeds" if len(sweep.seeds) > 1 else ""
    shape = " x ".join(str(len(axis)) for axis in sweep.axes) or "1"
    failed = f", {len(outcome.failed)} failed" if outcome.failed else ""
    policies = f"{len(sweep.labels)} polic{'y' if len(sweep.labels) == 1 else 'ies'}"
    return f"{shape} points{seeds} x {policies} = {n} results ({outcome.reused} reused{failed}) · source: simulated"


def _head(outcome: Outcome, console: Console) -> Table:
    """The first rows, with as many columns as there is room for."""
    columns = _columns(outcome)
    for n in range(len(columns), 0, -1):
        table = _table(outcome, columns[:n])
        if Measurement.get(console, console.options.update(max_width=_UNLIMITED), table).maximum <= console.width:
            break
    return table


def _columns(outcome: Outcome) -> list[Column]:
    """What is shown of each row; what matters least comes last."""
    sweep = outcome.sweep
    found: list[Column] = []
    for which, axis in enumerate(sweep.axes):
        scale = scale_of(axis)
        group, _, name = scale.name.rpartition(".")
        header = "\n".join(part for part in (group, name.partition(" (with")[0], scale.unit) if part)
        found.append((header, partial(_value, axis, scale, which)))
    if len(sweep.seeds) > 1:
        found.append(("seed", lambda point, _: str(point.seed)))
    found += [
        ("policy", lambda _, row: row.label),
        ("latency\nmean", lambda _, row: milliseconds(row.over_replications("latency_mean_s").mean)),
        ("\np95", lambda _, row: milliseconds(row.over_replications("latency_p95_s").mean)),
        ("score", lambda _, row: number(row.over_replications("score").mean) if row.status == "ok" else "failed"),
        ("energy\nnode", lambda _, row: number(row.over_replications("energy_node_j").mean)),
        ("lost\n%", lambda _, row: _in_percent(row.share("dropped", "failed"))),
        ("late\n%", lambda _, row: _in_percent(row.share("late"))),
        ("switches\nper run", lambda _, row: number(row.over_replications("switches").mean, 2)),
        ("engine", lambda _, row: row.engine),
    ]
    return found


def _table(outcome: Outcome, columns: Sequence[Column]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for header, _ in columns:
        text = header in ("policy", "engine")
        table.add_column(Text(header), justify="left" if text else "right", vertical="bottom", overflow="fold")
    for (index, _), row in list(outcome.rows.items())[:_HEAD]:
        table.add_row(*(Text(cell(outcome.points[index], row)) for _, cell in columns))
    return table


def _value(axis: Axis, scale: Scale, which: int, point: Point, _: Row) -> str:
    return scale.text(axis.values[point.positions[which]])


def _in_percent(share: float | None) -> str:
    return UNKNOWN if share is None else f"{100 * share:.1f}"


def _show_best(outcome: Outcome, cells: Mapping[Place, Cell], console: Console) -> None:
    """How often each policy is the best, and where."""
    sweep = outcome.sweep
    wins = Counter(cell.best for cell in cells.values())
    unsure = Counter(cell.best for cell in cells.values() if cell.apart is False)
    console.print(Text(f"least {quantity_text(sweep.minimise).partition(',')[0]}, by policy:", "bold"))
    grid = Table.grid(padding=(0, 2, 0, 0))
    for letter, label in zip(_LETTERS, sweep.labels, strict=False):
        doubt = f"; at {unsure[label]} of them not told apart from the next" if unsure[label] else ""
        grid.add_row(Text(f"{letter} {label}"), Text(f"at {wins[label]} of {len(cells)} points{doubt}"))
    console.print(grid)
    drawn = [which for which, axis in enumerate(sweep.axes) if len(axis) > 1]
    if len(drawn) == 1:
        for line in _regions(outcome, cells, drawn[0]):
            console.print(Text(line))
    elif len(drawn) == 2:
        lines = _map(outcome, cells, drawn[0], drawn[1], console.width)
        for line in lines:
            console.print(Text(line), no_wrap=True)


def _regions(outcome: Outcome, cells: Mapping[Place, Cell], which: int) -> list[str]:
    """The stretches of the one axis in which one policy is the best, with the break-even between them."""
    axis = outcome.sweep.axes[which]
    scale = scale_of(axis)
    along = [cells[place] for place in sorted(cells, key=lambda place: place[which])]
    lines, first = [], 0
    for found in breaks_of(axis, along):
        lines.append(_region(scale.text(axis.values[first]), scale.text(axis.values[found.before]), found.low))
        level = "" if found.value is None else f" (break-even at {scale.text(found.value)} {scale.unit}".rstrip() + ")"
        lines[-1] += level + ("" if found.apart else ", not told apart at this end")
        first = found.before + 1
    lines.append(_region(scale.text(axis.values[first]), scale.text(axis.values[-1]), along[-1].best or UNKNOWN))
    return [f"{scale.title}:", *lines]


def _region(first: str, last: str, label: str) -> str:
    return f"  {first if first == last else f'{first} to {last}'}: {label}"


def _map(outcome: Outcome, cells: Mapping[Place, Cell], across: int, upwards: int, width: int) -> list[str]:
    """The best policy over two axes, a letter each with the gain in percent; letters only where it would not fit."""
    sweep = outcome.sweep
    x, y = sweep.axes[across], sweep.axes[upwards]
    x_scale, y_scale = scale_of(x), scale_of(y)
    for text in (_letter_and_gain, _letter):
        rows = [["", *(x_scale.text(value) for value in x.values)]]
        for j in reversed(range(len(y))):
            cell = [text(sweep.labels, cells[_place(sweep.axes, {across: i, upwards: j})]) for i in range(len(x))]
            rows.append([y_scale.text(y.values[j]), *cell])
        widths = [max(len(row[column]) for row in rows) for column in range(len(x) + 1)]
        lines = ["  ".join(f"{cell:>{w}}" for cell, w in zip(row, widths, strict=True)) for row in rows]
        if len(lines[0]) <= width:
            break
    else:
        return []
    note = f"right: {x_scale.title}; down: {y_scale.title}; %: less than the next policy's; ~: not told apart ({LEVEL})"
    return [*lines, *_folded(note, width)]


def _folded(text: str, width: int) -> list[str]:
    lines = [""]
    for part in text.split("; "):
        joined = f"{lines[-1]}; {part}" if lines[-1] else part
        lines[-1:] = [joined] if len(joined) <= width else [lines[-1], part]
    return lines


def _place(axes: Sequence[object], at: Mapping[int, int]) -> Place:
    return tuple(at.get(which, 0) for which in range(len(axes)))


def _letter(labels: Sequence[str], cell: Cell) -> str:
    if cell.best is None:
        return UNKNOWN
    return _LETTERS[labels.index(cell.best) % len(_LETTERS)] + ("~" if cell.apart is False else " ")


def _letter_and_gain(labels: Sequence[str], cell: Cell) -> str:
    if cell.gain is None:
        return _letter(labels, cell)
    return f"{_letter(labels, cell)}{percent_text(cell.gain)}%"
