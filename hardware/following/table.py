"""The live twin's predictions as a table for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from twin.wording import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

_HEADER = ("live twin", "predicted", "n", "MAPE\n%", "bias\n%", "within\n10 %, %", "flags")


def show(summaries: Mapping[str, Mapping[str, Any]], console: Console) -> None:
    """Print how well each policy's run was predicted, and when the twin was found to be wrong."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for position, name in enumerate(_HEADER):
        table.add_column(name, justify="left" if position < 2 else "right", vertical="bottom", overflow="fold")
    for label, data in summaries.items():
        for position, score in enumerate(data["scores"]):
            table.add_row(
                Text(label if position == 0 else "", "bold"),
                score["name"],
                str(score["n"]),
                f"{100 * score['mape']:.1f}",
                f"{100 * score['bias']:+.1f}",
                f"{100 * score['close']:.0f}",
                str(score["flags"] or ""),
            )
        table.add_section()
    console.print(table)
    for label, data in summaries.items():
        console.print(Text(_told(label, data)))
        for flag in data["flags"]:
            console.print(Text(f"  flag {_flag(flag)}", "yellow"))


def _told(label: str, data: Mapping[str, Any]) -> str:
    share = UNKNOWN if data["cpu_share"] is None else f"{100 * data['cpu_share']:.1f} % of one core"
    late = f", {data['late']} of them made too late" if data["late"] else ""
    return f"{label}: {data['intervals']} predictions{late}, {data['cpu_s']:.2f} s of processor time ({share})"


def _flag(flag: Mapping[str, Any]) -> str:
    fitted, bias = flag["fitted"], flag["bias"]
    return (
        f"at {flag['t_s']:.1f} s: {flag['part']} was {100 * abs(bias):.0f} % {'slower' if bias > 0 else 'faster'} than "
        f"the twin said over {flag['intervals']} intervals; {fitted['quantity']}: {fitted['before']:.4g} -> "
        f"{fitted['after']:.4g}"
    )
