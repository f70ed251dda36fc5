"""`python -m twin.compare SIM MEASURED`: how far two results of one scenario differ, where, and how sure that is."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from twin.cli import guarded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twin.comparison import Comparison, Verdict

FALLS_SHORT = 3
"""Exit status where a requirement falls short, or cannot be told to hold."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    from twin.comparison import compare, judge, parse  # noqa: PLC0415 - keeps --help quick

    requirements = [parse(text) for text in options.require]
    comparison = compare(options.sim, options.measured)
    verdicts = judge(comparison, requirements)
    if options.out is not None:
        from twin.comparison.page import write_comparison  # noqa: PLC0415 - likewise

        write_comparison(options.out, comparison, verdicts)
    _print(comparison, verdicts, options)
    return 0 if all(verdict.state == "holds" for verdict in verdicts) else FALLS_SHORT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m twin.compare",
        description="Hold two results of one scenario against each other: errors with their intervals, where they "
        "arise, and what differing decisions cost. Exit status: 0 if every requirement holds, 3 if one falls short or "
        "cannot be told, 2 if the results cannot be compared.",
    )
    parser.add_argument("sim", type=Path, metavar="SIM", help="result folder (or the run folder of one policy)")
    parser.add_argument("measured", type=Path, metavar="MEASURED", help="the result that it is held against")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write compare.json, compare.html and figures there")
    parser.add_argument("--json", action="store_true", help="print compare.json in place of tables")
    parser.add_argument(
        "--require",
        nargs="+",
        action="extend",
        default=[],
        metavar="WHAT",
        help="what must hold, such as 'latency_mean<=5%%' 'compute@static<=3%%' 'ranking>=1'; see docs/validation.md",
    )
    return parser


def _print(comparison: Comparison, verdicts: Sequence[Verdict], options: argparse.Namespace) -> None:
    if options.json:
        from twin.comparison.page import as_json  # noqa: PLC0415 - keeps --help quick

        sys.stdout.write(json.dumps(as_json(comparison, verdicts), indent=2, allow_nan=False) + "\n")
        return
    from rich.console import Console  # noqa: PLC0415 - likewise

    from twin.comparison.table import show  # noqa: PLC0415 - likewise

    console = Console()
    show(comparison, verdicts, console)
    if options.out is not None:
        console.print(f"results: {options.out}   page: {options.out / 'compare.html'}", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(guarded(main))
