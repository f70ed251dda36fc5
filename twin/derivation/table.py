"""A derivation as tables for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from twin.units import megabytes_from_bytes, ms_from_s, us_from_s
from twin.wording import percent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from twin.derivation.profiles import Comparison, Derivation
    from twin.derivation.roofline import Roofline


def show(derivation: Derivation, console: Console | None = None) -> None:
    """Print the fitted parameters, the whole models and the checks.

    Args:
        derivation: What to print.
        console: Where to print; standard output by default.
    """
    console = console or Console()
    console.print(Text(derivation.benchmarks.device, "bold"))
    console.print(Text(derivation.benchmarks.citation, "dim"))
    console.print(_parameters(derivation.roofline))
    console.print(_comparisons("whole models, in the fit", derivation.fitted))
    for check, stages in zip(derivation.benchmarks.checks, derivation.checks, strict=True):
        console.print(_comparisons(f"{check.name}, not in the fit", stages))
        console.print(Text(check.note, "dim"))
    for note in derivation.benchmarks.notes:
        console.print(Text(note, "dim"))


def _parameters(roofline: Roofline) -> Table:
    table = Table("parameter", "value", "not determined because", box=SIMPLE_HEAD)
    gflops = None if roofline.flop_rate is None else f"{megabytes_from_bytes(roofline.flop_rate) / 1e3:.4g} GFLOP/s"
    gbytes = None if roofline.byte_rate is None else f"{megabytes_from_bytes(roofline.byte_rate) / 1e3:.4g} GB/s"
    overhead = f"{us_from_s(roofline.s_per_kernel):.4g} us per kernel"
    for name, value in (("flop_rate", gflops), ("byte_rate", gbytes), ("overhead", overhead)):
        table.add_row(name, value or "no limit", roofline.doubts.get(name, ""))
    return table


def _comparisons(title: str, entries: Iterable[Comparison]) -> Table:
    table = Table("layers", title=title, title_justify="left", title_style="", box=SIMPLE_HEAD)
    for heading in ("published ms", "derived ms", "error"):
        table.add_column(heading, justify="right")
    for entry in entries:
        table.add_row(
            entry.what,
            f"{ms_from_s(entry.published_s):.3f}",
            f"{ms_from_s(entry.derived_s):.3f}",
            f"{percent(entry.error)} %",
        )
    return table
