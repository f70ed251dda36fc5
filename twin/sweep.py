"""`python -m twin.sweep sweep.yaml`: play a scenario at many points and say which policy is the best where."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from twin.cli import guarded
from twin.errors import SweepError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from twin.sweeping.campaign import Campaign, Outcome


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    if options.jobs is not None and options.jobs < 1:
        raise SweepError(f"--jobs {options.jobs}: must be at least 1")
    if options.jobs is not None and options.scheduler is not None:
        raise SweepError("--jobs and --scheduler exclude each other: the cluster settles the number of its workers")
    from rich.console import Console  # noqa: PLC0415 - keeps --help quick

    from twin.runs.provenance import now  # noqa: PLC0415 - likewise
    from twin.sweeping.cache import Cache  # noqa: PLC0415 - likewise
    from twin.sweeping.campaign import Campaign  # noqa: PLC0415 - likewise
    from twin.sweeping.folder import write  # noqa: PLC0415 - likewise
    from twin.sweeping.sweepfile import read_sweep  # noqa: PLC0415 - likewise
    from twin.sweeping.view import show  # noqa: PLC0415 - likewise

    sweep, scenario = read_sweep(options.sweep, options.set)
    out = Path(options.out or Path("runs") / "sweeps" / options.sweep.stem)
    cache = Cache(out / "results.jsonl")
    campaign = Campaign(sweep, scenario, cache, options.engine)
    started = now()
    outcome = _run(campaign, options, out, Console(stderr=True))
    files = write(out, outcome, campaign.engine, started)
    console = Console()
    show(outcome, console)
    if cache.damaged:
        console.print(f"! {cache.damaged} kept results were damaged; what is missing has been played again")
    for name, path in files.items():
        console.print(f"{name}: {path}", soft_wrap=True, highlight=False)
    if len(outcome.failed) == len(outcome.rows):
        raise SweepError(f"{options.sweep}: no point could be played; {out / 'table.csv'} says why")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m twin.sweep",
        description="Play a scenario at many points and say which policy is the best where.",
    )
    parser.add_argument("sweep", type=Path, help="sweep file (YAML)")
    parser.add_argument("--out", metavar="DIR", help="folder for the results (default: runs/sweeps/<sweep>)")
    parser.add_argument(
        "--jobs", type=int, metavar="N", help="workers on this machine (default: its cores; 1 plays in this process)"
    )
    parser.add_argument("--scheduler", metavar="ADDRESS", help="Dask scheduler to play on, such as tcp://host:8786")
    parser.add_argument(
        "--engine",
        choices=("auto", "events", "arrays"),
        default="auto",
        help="events plays every scenario, arrays many of them faster; the records are the same (default: auto)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="PATH=VALUE",
        help="change a place of the scenario for all points, such as devices.pi.load=2",
    )
    parser.add_argument("--fresh", action="store_true", help="play again what an earlier sweep left in the folder")
    return parser


def _run(campaign: Campaign, options: argparse.Namespace, out: Path, console: Console) -> Outcome:
    """Play, with a progress bar on a terminal; an interrupt says what is kept."""
    import joblib  # noqa: PLC0415 - keeps --help quick
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    total = sum(1 for _ in campaign.sweep.points()) * len(campaign.sweep.labels)
    done = 0
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(campaign.sweep.name, total=total)

        def progress(rows: int, reused: int) -> None:
            nonlocal done
            done = rows
            bar.update(task, completed=rows, description=f"{campaign.sweep.name} ({reused} reused)")

        try:
            return campaign.run(
                jobs=options.jobs or joblib.cpu_count(),
                scheduler=options.scheduler,
                fresh=options.fresh,
                progress=progress,
            )
        except KeyboardInterrupt:
            bar.stop()
            console.print(
                f"{done} of {total} results are kept in {out}; the same command goes on from there", soft_wrap=True
            )
            raise


if __name__ == "__main__":
    sys.exit(guarded(main))
