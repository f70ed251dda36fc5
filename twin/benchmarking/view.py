"""The report of a benchmark in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from twin.benchmarking.decisions import POLICY_MODEL
from twin.benchmarking.rounds import STEADY
from twin.benchmarking.work import PLAYERS
from twin.units import megabytes_from_bytes, us_from_s
from twin.wording import UNKNOWN, given, number

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console

    from twin.benchmarking.rounds import Repeats
    from twin.benchmarking.suite import Ratio, Report
    from twin.benchmarking.work import Point, Work


def show(report: Report, console: Console) -> None:
    """Print the tables, and what is to be said against them."""
    console.print(Text("Requests per second of processor time, against other programs in the same rounds", "bold"))
    console.print(_ratios(report))
    console.print(
        Text("Time of an exact decision on three devices, in µs [range]; the lattice is built before", "bold")
    )
    console.print(_searches(report))
    console.print(Text(f"Time of a decision while {POLICY_MODEL} is played, in µs", "bold"))
    console.print(_policies(report))
    console.print(Text("Cost against work: µs of processor time per request ± half the range, and peak memory", "bold"))
    for table in _work(report.work):
        console.print(table)
    console.print(Text(_environment(report), "dim"))
    for note in notes(report):
        console.print(Text(f"! {note}", "yellow"))


def notes(report: Report) -> list[str]:
    """What to bear in mind."""
    found = []
    if report.is_busy:
        found.append(
            f"other programs were at work (load {given(report.environment['load_before'])} on "
            f"{report.environment['cpus']} processors): close them and run it again"
        )
    if report.unstable:
        found.append(
            f"unstable, for the repeats lie more than {STEADY:.0%} of their median apart: {'; '.join(report.unstable)}"
        )
    return found


def range_of(repeats: Repeats) -> str:
    """Least and largest value, as text."""
    return f"[{number(min(repeats.values))}, {number(max(repeats.values))}]"


def rate(value_rps: float) -> str:
    """A rate with three digits and a space between thousands."""
    return f"{float(f'{value_rps:.3g}'):,.0f}".replace(",", " ")


def _ratios(report: Report) -> Table:
    table = _table(("", "requests/s", "times", "range", "n", "aim"), left=1)
    for against, other in report.rivals.items():
        about = "not installed" if other is None else rate(other.median)
        table.add_row(Text(f"against {against}", "italic"), about, *[""] * 4)
        for ratio in report.ratios:
            if ratio.against == against and ratio.ratio is not None:
                table.add_row(f"  {ratio.name}", rate(ratio.rate.median), *_compared(ratio, ratio.ratio))
    return table


def _compared(ratio: Ratio, times: Repeats) -> list[str]:
    aim = UNKNOWN if ratio.aim is None else f">= {given(ratio.aim)}"
    return [number(times.median), range_of(times), str(len(times.values)), aim]


def _searches(report: Report) -> Table:
    table = _table(("model", "down-sets", "all constraints", "sums only", "n"), left=1)
    for x in report.searches:
        n = len(x.full.values), len(x.sums.values)
        repeats = str(n[0]) if n[0] == n[1] else f"{n[0]}, {n[1]}"
        table.add_row(x.model, str(x.down_sets), _microseconds(x.full), _microseconds(x.sums), repeats)
    return table


def _policies(report: Report) -> Table:
    table = _table(("policy", "median [range]", "n"), left=1)
    for x in report.policies:
        table.add_row(x.kind, _microseconds(x.decisions), str(len(x.decisions.values)))
    return table


def _microseconds(times: Repeats) -> str:
    low, middle, high = (number(us_from_s(x)) for x in (min(times.values), times.median, max(times.values)))
    return f"{middle} [{low}, {high}]"


def _work(work: Work) -> list[Table]:
    """A table over requests and one over devices."""
    return [
        _over("requests", work.over_requests, lambda x: x.requests),
        _over("devices", work.over_devices, lambda x: x.devices),
    ]


def _over(title: str, points: Sequence[Point], place: Callable[[Point], int]) -> Table:
    players = [player for player in PLAYERS if any(x.player == player for x in points)]
    table = _table((title, *players), left=0)
    for at in sorted({place(x) for x in points}):
        here = {x.player: x for x in points if place(x) == at}
        cells = [_cost(here[player]) if player in here else UNKNOWN for player in players]
        table.add_row(rate(at), *cells)
    return table


def _cost(x: Point) -> str:
    spread = f" ± {50 * x.rate.spread:.0f} %" if len(x.rate.values) > 1 else ""
    return f"{number(x.each_us)}{spread}\n{megabytes_from_bytes(x.memory_bytes):.0f} MB"


def _environment(report: Report) -> str:
    """The machine and the versions, in a few lines."""
    e = report.environment
    loads = " and ".join(UNKNOWN if e[x] is None else f"{e[x]:.2f}" for x in ("load_before", "load_after"))
    return (
        f"{e['cpu']}, {e['cpus']} processors, {e['system']} {e['machine']}\n"
        f"Python {e['python']}, numpy {e['numpy']}, simpy {e['simpy']}; load before and after {loads}; {e['date']}"
    )


def _table(headers: Sequence[str], *, left: int) -> Table:
    """A table whose first columns stand to the left."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for position, header in enumerate(headers):
        table.add_column(
            Text(header), justify="left" if position < left else "right", vertical="bottom", overflow="fold"
        )
    return table
