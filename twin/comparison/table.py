"""A comparison in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from twin.comparison import words
from twin.wording import LEVEL

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console

    from twin.comparison.judge import State, Verdict
    from twin.comparison.outcome import Comparison, PolicyPair
    from twin.comparison.quantities import Quantity

    Column = tuple[str, Callable[[Quantity], str]]

_UNLIMITED = 10_000
_COLOURS: dict[State, str] = {"holds": "green", "falls short": "red", "inconclusive": "yellow"}


def show(comparison: Comparison, verdicts: Sequence[Verdict], console: Console) -> None:
    """Print a comparison: each policy, then the ranking, what differs, what to bear in mind, and the verdicts."""
    console.print(Text(words.title(comparison), "bold"))
    console.print(Text(words.setting(comparison)))
    for pair in comparison.policies:
        _show_policy(comparison, pair, console)
    console.print(Text(words.LEGEND, "dim"))
    if (order := words.order(comparison)) is not None:
        console.print(Text(order))
    if comparison.differences:
        console.print(_differences(comparison))
    for note in comparison.notes:
        console.print(_item("!", note, "yellow"))
    if verdicts:
        console.print(_verdicts(verdicts))


def _show_policy(comparison: Comparison, pair: PolicyPair, console: Console) -> None:
    console.print()
    console.print(Text.assemble((pair.label, "bold"), f": {pair.pairing.describe()}"))
    rows, columns = words.shown(comparison, pair), _columns(comparison)
    for n in range(len(columns), 0, -1):
        table = _table(rows, columns[:n])
        if Measurement.get(console, console.options.update(max_width=_UNLIMITED), table).maximum <= console.width:
            break
    console.print(table)
    console.print(Text(words.where(pair)))
    console.print(_steps(pair))
    console.print(Text(f"decisions: {words.agreement(pair.decisions)}"))


def _columns(comparison: Comparison) -> list[Column]:
    """What is shown of a quantity; what matters least comes last and is left out where there is no room."""
    first, second = words.heads(comparison)
    return [
        (f"error, %\n[{LEVEL}]", lambda x: words.error(x.error).replace(" %", "")),
        (f"\n{first}", lambda x: words.amount(x, x.sim)),
        (f"\n{second}", lambda x: words.amount(x, x.measured)),
        ("repeats\n%", lambda x: words.in_percent(x.repeatability, "unknown")),
        ("MAPE\n%", lambda x: words.in_percent(x.mape)),
        ("scatter\n%", lambda x: words.in_percent(x.scatter, "unknown")),
        ("\nW1", lambda x: words.amount(x, x.wasserstein)),
        ("\nn", lambda x: str(x.n_measured) if x.n_sim == x.n_measured else f"{x.n_sim} / {x.n_measured}"),
    ]


def _table(rows: Sequence[Quantity], columns: Sequence[Column]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("quantity", vertical="bottom", overflow="fold")
    for header, _ in columns:
        table.add_column(Text(header), justify="right", vertical="bottom", overflow="fold")
    for x in rows:
        table.add_row(Text(f"{x.name}, {words.unit(x)}"), *(Text(cell(x)) for _, cell in columns))
    return table


def _steps(pair: PolicyPair) -> Table:
    """The waterfall: what adds up to the difference of the mean latencies."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column()
    grid.add_column(justify="right")
    for name, delta_s in words.told_steps(pair):
        grid.add_row(Text(f"  {name}"), Text(f"{words.change_ms(delta_s)} ms"))
    return grid


def _differences(comparison: Comparison) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for header in ("parameter that differs", *words.heads(comparison)):
        table.add_column(header, overflow="fold")
    for cells in words.difference_rows(comparison):
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _verdicts(verdicts: Sequence[Verdict]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for header in ("required", "of", "verdict", ""):
        table.add_column(header, overflow="fold")
    for x in verdicts:
        which = "" if x.name == x.requirement.name else f" {x.name}"
        cells = (x.requirement.text, f"{x.policy}{which}".strip())
        table.add_row(*(Text(cell) for cell in cells), Text(x.state, _COLOURS[x.state]), Text(x.why))
    return table


def _item(mark: str, text: str, style: str) -> Table:
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_row(Text(mark, style), Text(text))
    return grid
