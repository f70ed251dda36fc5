"""`python -m twin.benchmark`: how fast engines, searches and policies are, as multiples of other programs."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from twin.cli import guarded
from twin.errors import RunFolderError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import Console


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    if options.figure is not None and not options.figure.parent.is_dir():
        raise RunFolderError(f"--figure {options.figure}: there is no folder {options.figure.parent}; make it first")
    from rich.console import Console  # noqa: PLC0415 - keeps --help quick

    from twin.benchmarking.suite import QUICK, USUAL, WHOLE, measure  # noqa: PLC0415 - likewise

    extent = WHOLE if options.full else QUICK if options.quick else USUAL
    with _progress(Console(stderr=True)) as tick:
        report = measure(Path.cwd(), extent, tick)
    if options.figure is not None:
        from twin.benchmarking.figure import picture  # noqa: PLC0415 - likewise
        from twin.runs.folder import write_text  # noqa: PLC0415 - likewise

        write_text(options.figure, picture(report).alone() + "\n")
    if options.json:
        sys.stdout.write(json.dumps(report.to_json(), indent=2, allow_nan=False) + "\n")
        return 0
    from twin.benchmarking.view import show  # noqa: PLC0415 - likewise

    show(report, Console())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m twin.benchmark",
        description="Measure how fast engines, searches and policies are, as multiples of other programs in the same "
        "run. Needs the folder `data` of the project here or above.",
    )
    extent = parser.add_mutually_exclusive_group()
    extent.add_argument("--quick", action="store_true", help="half a minute: short runs, wide ranges")
    extent.add_argument(
        "--full", action="store_true", help="up to ten million requests (some more minutes, 3 GB of memory)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON in place of tables")
    parser.add_argument("--figure", type=Path, metavar="FILE", help="draw cost against work as SVG")
    return parser


@contextmanager
def _progress(console: Console) -> Iterator[Callable[[str], None]]:
    """A line that says what is measured, on a terminal."""
    if not console.is_terminal:
        yield lambda _: None
        return
    with console.status("") as status:
        yield status.update


if __name__ == "__main__":
    sys.exit(guarded(main))
