"""The reproduction as tables for the terminal, readable at 80 columns: links, cells, hypotheses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from twin.reproduction.cells import ENERGY_TOLERANCE, POINTS_TOLERANCE, TIME_TOLERANCE
from twin.reproduction.fit import FASTEST_BPS
from twin.reproduction.why import UNEXPLAINED
from twin.reproduction.worlds import CHAIN, PLAIN
from twin.units import mbps_from_bps, ms_from_s
from twin.wording import number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rich.console import Console

    from twin.reproduction.cells import Cell
    from twin.reproduction.predict import Spread
    from twin.reproduction.study import Reproduction

_TIMES = {
    PLAIN.name: "plain: profiles as derived",
    CHAIN.name: "chain: fog and cloud as the static row has them",
}
_SAME = 1e-3
"""Relative width below which a range is shown as one figure."""


def show(study: Reproduction, console: Console) -> None:
    """Print the links, every cell, what was tested to explain them, and then splits and plans."""
    from twin.reproduction.plans_table import show_plans  # noqa: PLC0415 - it takes its helpers from here

    console.print(Text("The seed paper in the twin", "bold"))
    console.print(Text(study.published.citation, "dim"))
    _show_links(study, console)
    for case in study.cases:
        for variant, text in _TIMES.items():
            cells = [cell for cell in study.cells if (cell.model, cell.variant) == (case.model, variant)]
            console.print(_cells(f"{case.model}, {text}", cells))
    console.print(Text(_legend(study), "dim"))
    for hypothesis in study.hypotheses:
        verdict = "supported" if hypothesis.holds else f"not supported: its cells stay {UNEXPLAINED}"
        console.print(item(hypothesis.key, f"{hypothesis.text} [{verdict}]"))
    show_plans(study, console)


def table(title: str, columns: Sequence[tuple[str, bool]]) -> Table:
    """An empty table; each column has a heading and may be aligned to the right."""
    made = Table(
        title=f"\n{title}",
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        pad_edge=False,
        padding=0,
    )
    for heading, right in columns:
        made.add_column(heading, justify="right" if right else "left", no_wrap=True)
    return made


def item(mark: str, text: str) -> Table:
    """A paragraph behind a mark."""
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_row(Text(mark, "yellow"), Text(text))
    return grid


def between(spread: Spread) -> str:
    """The range of a figure; nothing where it does not depend on the links."""
    if spread.high - spread.low <= _SAME * abs(spread.centre):
        return ""
    return "..".join(number(x, 3 if abs(x) >= 1 else 2) for x in (spread.low, spread.high))


def _show_links(study: Reproduction, console: Console) -> None:
    columns = [("static split", False), ("hop 1, Mbit", True), ("hop 2, Mbit", True), ("messages, ms", True)]
    made = table("Links, derived from the static rows", [*columns, ("error at centre", True)])
    for x in study.equations:
        bits = (f"{mbps_from_bps(amount):.3f}" for amount in x.bits)
        made.add_row(x.model, *bits, _ms(x.transfer_s), f"{100 * study.links.centre.error(x):+.1f} %")
    console.print(made)
    for text in _links_texts(study):
        console.print(item("-", text))


def _links_texts(study: Reproduction) -> list[str]:
    fixed_s, *per_bit_s = study.exact
    links, ranges, centre = study.links, study.links.ranges(), study.links.centre
    rates = (f"{_mbps(1.0 / x)} Mbit/s{'' if x > 0 else ', which is impossible'}" for x in per_bit_s)
    messages = (
        "messages: published latency less the published stage times (joules / watts); answers are counted in the bits; "
        "errors are shares of the published latency"
    )
    exact = (
        f"met exactly by {_ms(fixed_s)} ms of fixed times and {' and '.join(rates)}; possible links are at least "
        f"{100 * study.least_error:.1f} % off the worst row"
    )
    feasible = (
        f"all that are within {100 * links.tolerance:g} % ({len(links.corners)} vertices): fixed times of "
        f"{_range(ranges['fixed_s'], _ms)} ms in sum, and nothing says how much of it on which hop; hop 1 "
        f"{_range(ranges['rate_1_bps'], _mbps)} Mbit/s; hop 2 {_range(ranges['rate_2_bps'], _mbps)} Mbit/s "
        f"({_mbps(FASTEST_BPS)} is the limit of the search)"
    )
    middle = (
        f"the centre (in the scenario files at the default tolerance): {_ms(centre.fixed_s[0])} and "
        f"{_ms(centre.fixed_s[1])} ms, {_mbps(centre.rate_bps[0])} and {_mbps(centre.rate_bps[1])} Mbit/s"
    )
    return [messages, exact, feasible, middle]


def _cells(title: str, cells: Iterable[Cell]) -> Table:
    columns = [("cell", False), ("published", True), ("simulated", True), ("range", True), ("error", True)]
    made = table(title, [*columns, ("", False), ("use", False)])
    last = None
    for cell in cells:
        if last not in {None, cell.row}:
            made.add_section()
        last = cell.row
        made.add_row(
            f"{cell.row} {cell.quantity}, {cell.unit}",
            _published(cell),
            number(cell.simulated.centre),
            between(cell.simulated),
            Text(_error(cell), "" if cell.matches else "yellow"),
            "?" if cell.why == UNEXPLAINED else cell.why or "",
            cell.use,
        )
    return made


def _published(cell: Cell) -> str:
    """The figure as it was published; what is derived from several has a star."""
    return f"{cell.published:.6g}" if cell.source == "published" else f"{number(cell.published)}*"


def _error(cell: Cell) -> str:
    # Adding zero turns -0.0 into 0.0.
    value, unit = (cell.error, "pp") if cell.unit == "%" else (100 * cell.error, "%")
    return f"{round(value, 1) + 0.0:+.1f}{unit}"


def _legend(study: Reproduction) -> str:
    return (
        "\npublished: of the paper; *: derived from its figures, with idle powers that are assumed. simulated: of the "
        f"twin at the centre of the feasible set; range: over {study.points} points of it, its vertices among them. "
        "use: derived-from, the profiles rest on the cell; fitted, links or stage times of its simulated figure do; "
        "predicted, that rests on other cells. node: joules with the waiting counted.\n"
        f"Beside errors above {100 * TIME_TOLERANCE:.0f} % (ms), {100 * ENERGY_TOLERANCE:.0f} % (J) or "
        f"{POINTS_TOLERANCE:.0f} percentage points (pp) stands a hypothesis that was tested, or ?: {UNEXPLAINED}."
    )


def _range(pair: tuple[float, float], text: Callable[[float], str]) -> str:
    return f"{text(pair[0])} to {text(pair[1])}"


def _ms(value_s: float) -> str:
    return f"{ms_from_s(value_s):.2f}"


def _mbps(value_bps: float) -> str:
    return f"{mbps_from_bps(value_bps):.0f}"
