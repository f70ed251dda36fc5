"""`python -m twin.paper`: the seed paper's figures, published against simulated, cell by cell."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from twin.cli import guarded
from twin.errors import ScenarioError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twin.reproduction.study import Reproduction


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status.

    Raises:
        TwinError: A file is missing or malformed, or no links are within the tolerance.
    """
    options = _parser().parse_args(arguments)
    if not 0.0 < options.tolerance < 1.0:
        raise ScenarioError(f"--tolerance {options.tolerance:g}: must lie between 0 and 1, such as 0.06 for 6 %")
    if options.points < 0 or options.seed < 0:
        raise ScenarioError("--points and --seed must be 0 or more")
    study = _study(options)
    from twin.reproduction.study import to_json  # noqa: PLC0415 - keeps --help quick

    text = json.dumps(to_json(study), indent=2, allow_nan=False) + "\n"
    if options.out is not None:
        _write(options.out / "paper.json", text)
    if options.json:
        sys.stdout.write(text)
        return 0
    from rich.console import Console  # noqa: PLC0415 - likewise

    from twin.reproduction.table import show  # noqa: PLC0415 - likewise

    show(study, Console())
    if options.out is not None:
        sys.stdout.write(f"written: {options.out / 'paper.json'}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m twin.paper",
        description="Hold the seed paper's published figures against the twin, cell by cell.",
    )
    parser.add_argument(
        "--scenarios", type=Path, default=Path("scenarios/paper"), metavar="DIR", help="folder of the scenarios"
    )
    parser.add_argument(
        "--published",
        type=Path,
        default=Path("data/published/deng-2026.yaml"),
        metavar="FILE",
        help="published figures (default: data/published/deng-2026.yaml)",
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        default=0.06,
        metavar="SHARE",
        help="largest error of the links on a static row, as a share of its latency (default: 0.06)",
    )
    parser.add_argument(
        "--points", type=int, default=16, metavar="N", help="points played inside the feasible set (default: 16)"
    )
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="seed of those points (default: 1)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder to write paper.json to")
    parser.add_argument("--json", action="store_true", help="print JSON in place of the tables")
    return parser


def _study(options: argparse.Namespace) -> Reproduction:
    """Read the files and work everything out, with a progress bar on a terminal."""
    from rich.console import Console  # noqa: PLC0415 - keeps --help quick
    from rich.progress import Progress  # noqa: PLC0415 - likewise

    from twin.reproduction.published import read_published  # noqa: PLC0415 - likewise
    from twin.reproduction.study import reproduce, steps  # noqa: PLC0415 - likewise
    from twin.reproduction.worlds import load_cases  # noqa: PLC0415 - likewise

    published = read_published(options.published)
    cases = load_cases(options.scenarios, published)
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("playing", total=steps(cases, options.tolerance, options.points))
        return reproduce(
            published,
            cases,
            tolerance=options.tolerance,
            inside=options.points,
            seed=options.seed,
            advance=lambda: progress.advance(task),
        )


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise ScenarioError(
            f"{path}: cannot be written ({error.strerror}); choose another folder with --out"
        ) from error


if __name__ == "__main__":
    sys.exit(guarded(main))
