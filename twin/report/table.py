"""The comparison of policies as a table for the terminal; two tables where one would be too wide."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from twin.wording import (
    LEVEL,
    METER_LEGEND,
    change,
    comparison,
    joules,
    layer_times,
    milliseconds,
    number,
    per_run,
    regrets,
    setting,
    share,
    with_interval,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console

    from twin.metrics.intervals import Paired
    from twin.metrics.summary import PolicySummary, Summary

    Column = tuple[str, Callable[[PolicySummary], str]]

_UNLIMITED = 10_000


def show(summary: Summary, console: Console) -> None:
    """Print the comparison of all policies, then each against the first, then what to bear in mind."""
    console.print(Text(f"{summary.scenario}: {summary.question}" if summary.question else summary.scenario, "bold"))
    console.print(Text(setting(summary)))
    console.print(Text(layer_times(summary)))
    for table in _tables(summary, console):
        console.print(table)
    if len(summary.policies) > 1:
        console.print(_against_first(summary))
    if regrets(summary):
        console.print(_regrets(summary))
    console.print(Text(_legend(summary), "dim"))
    for note in summary.notes:
        console.print(_item("!", note))


def _legend(summary: Summary) -> str:
    """What the columns mean."""
    text = "n: answered requests of all replications; energy per completed request"
    if summary.references:
        text += "\nclairvoyant is shown the traces, oracle-static is the best fixed partition in hindsight"
    if any(policy.metered for policy in summary.policies):
        text += f"\n±: {METER_LEGEND}"
    if summary.replications < 2:
        return text
    paired = "; differences paired by replication" if len(summary.policies) > 1 else ""
    return f"{text}\n[ ]: {LEVEL} interval over replications{paired}"


def _tables(summary: Summary, console: Console) -> list[Table]:
    """One table if it fits, else one of latencies and one of energies, else devices as rows."""
    latency, energy, rest = _latency(summary), _energy(summary), _rest(summary)
    whole = _table(summary, [*latency, *energy, *rest])
    if _fits(whole, console):
        return [whole]
    second = _table(summary, [*energy, *rest])
    if _fits(second, console):
        return [_table(summary, latency), second]
    return [_table(summary, latency), _table(summary, [energy[0], *rest]), _by_device(summary)]


def _latency(summary: Summary) -> list[Column]:
    columns: list[Column] = [
        ("\nn", lambda policy: str(policy.answered)),
        (f"latency, ms\nmean{_level(summary)}", lambda policy: with_interval(policy.latency_s("mean"), as_ms=True)),
    ]
    columns += [_percentile(name) for name in ("p50", "p95", "p99")]
    if summary.objective.deadline_s is not None:
        columns.append(("late\n%", lambda policy: share(policy.requests["late"], policy.requests["arrived"])))
    if any(_lost(policy) for policy in summary.policies):
        columns.append(("lost\n%", lambda policy: share(_lost(policy), policy.requests["arrived"])))
    return columns


def _energy(summary: Summary) -> list[Column]:
    boundary = summary.objective.boundary
    level = "" if all(policy.metered for policy in summary.policies) else _level(summary)
    header = f"{boundary} energy, J/request\ntotal{level}"
    total: Column = (header, lambda policy: joules(policy, boundary))
    return [total, *(_device(summary, device) for device in range(len(summary.devices)))]


def _level(summary: Summary) -> str:
    return f" [{LEVEL}]" if summary.replications > 1 else ""


def _percentile(name: str) -> Column:
    return f"\n{name}", lambda policy: milliseconds(policy.latency_s(name).mean)


def _device(summary: Summary, device: int) -> Column:
    boundary = summary.objective.boundary
    return f"\n{summary.devices[device]}", lambda policy: joules(policy, boundary, device)


def _rest(summary: Summary) -> list[Column]:
    return [
        ("\nreq/s", lambda policy: number(policy.throughput_rps.mean)),
        ("switches\nper run", lambda policy: per_run(policy, summary.replications)),
    ]


def _lost(policy: PolicySummary) -> int:
    return policy.requests["dropped"] + policy.requests["failed"]


def _table(summary: Summary, columns: Sequence[Column]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("\npolicy", no_wrap=True, overflow="fold")
    for header, _ in columns:
        table.add_column(Text(header), justify="right", no_wrap=True)
    for policy in summary.policies:
        table.add_row(*(Text(text) for text in (policy.label, *(cell(policy) for _, cell in columns))))
    return table


def _by_device(summary: Summary) -> Table:
    """Energy with devices as rows and policies as columns, for many devices."""
    boundary = summary.objective.boundary
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column(f"{boundary} energy\nJ/request")
    for policy in summary.policies:
        table.add_column(Text(f"\n{policy.label}"), justify="right", overflow="fold")
    for device, name in enumerate(summary.devices):
        cells = [joules(policy, boundary, device) for policy in summary.policies]
        table.add_row(Text(name), *cells)
    return table


def _fits(table: Table, console: Console) -> bool:
    unlimited = console.options.update(max_width=_UNLIMITED)
    return Measurement.get(console, unlimited, table).maximum <= console.width


def _against_first(summary: Summary) -> Table:
    """One line per policy and quantity: how it differs from the first policy."""
    grid = Table.grid(padding=(0, 1, 0, 0))
    for _ in range(3):
        grid.add_column()
    for policy in summary.policies[1:]:
        if policy.is_reference:
            continue
        who = f"{policy.label} - {summary.policies[0].label}:"
        for name, difference in comparison(summary, policy):
            grid.add_row(Text(who, "bold"), name, Text(change(difference), _colour(difference)))
            who = ""
    return grid


def _regrets(summary: Summary) -> Table:
    """How far the score of each policy lies above those of the references."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("score above that of")
    for reference in summary.references:
        table.add_column(Text(reference.label), justify="right", no_wrap=True)
    for label, texts in regrets(summary):
        table.add_row(Text(label), *(Text(text) for text in texts))
    return table


def _colour(difference: Paired) -> str:
    """Green where an interval says better, red where it says worse, plain where it cannot tell."""
    if not difference.relative.excludes_zero or difference.relative.mean is None:
        return ""
    return "green" if difference.relative.mean < 0 else "red"


def _item(mark: str, text: str) -> Table:
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_row(Text(mark, "yellow"), Text(text))
    return grid
