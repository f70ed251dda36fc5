"""`python -m twin.simulate scenario.yaml`: play the policies of a scenario and compare them."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from twin.calibration.options import add_options, check_options, replayed, with_calibration
from twin.cli import guarded
from twin.errors import ScenarioError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import Console

    from twin.backend import Backend
    from twin.metrics import Summary
    from twin.playing import Play
    from twin.records import RunResult
    from twin.world import PolicySpec, World


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    if options.jobs is not None and options.jobs < 1:
        raise ScenarioError(f"--jobs {options.jobs}: give the number of processes, 1 or more")
    if options.json and len(options.scenario) > 1:
        raise ScenarioError("--json prints one summary; give one scenario, or read DIR/<scenario>/summary.json")
    check_options(options)
    if options.replay is not None:
        world, results, out = replayed(options)
        _finish(world, results, Path(options.out or out), options)
        return 0
    if options.out is not None and len(options.scenario) > 1:
        outs = [Path(options.out) / path.stem for path in options.scenario]
    else:
        outs = [Path(options.out or Path("runs") / path.stem) for path in options.scenario]
    for scenario, out in zip(options.scenario, outs, strict=True):
        _one(scenario, out, options)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m twin.simulate",
        description="Play the policies of a scenario in the twin and compare them.",
    )
    parser.add_argument("scenario", nargs="*", type=Path, help="scenario file (YAML); several are played in turn")
    parser.add_argument(
        "--out",
        metavar="DIR",
        help="folder for the results (default: runs/<scenario>); of several scenarios, DIR/<scenario> each",
    )
    parser.add_argument("--policy", nargs="+", metavar="LABEL", help="play only these policies")
    parser.add_argument("--seed", type=int, metavar="N", help="seed in place of the scenario's")
    parser.add_argument(
        "--set", action="append", default=[], metavar="PATH=VALUE", help="change a place, such as devices.pi.load=2"
    )
    parser.add_argument(
        "--engine",
        choices=("auto", "events", "arrays"),
        default="auto",
        help="events plays every scenario, arrays many of them faster; the records are the same (default: auto)",
    )
    parser.add_argument(
        "--no-references", action="store_true", help="leave out clairvoyant and oracle-static, which see the truth"
    )
    add_options(parser)
    parser.add_argument("--jobs", type=int, metavar="N", help="processes for what takes long (default: all cores)")
    parser.add_argument("--no-report", action="store_true", help="write no report.html")
    parser.add_argument("--json", action="store_true", help="print summary.json in place of the table")
    return parser


def _one(path: Path, out: Path, options: argparse.Namespace) -> None:
    """Play one scenario, write its results and print the comparison."""
    from rich.console import Console  # noqa: PLC0415 - keeps --help quick

    from twin.engine.choose import choose_engine  # noqa: PLC0415 - likewise
    from twin.scenario import load_world  # noqa: PLC0415 - likewise

    overrides = [*options.set, *([] if options.seed is None else [f"seed={options.seed}"])]
    world, note = with_calibration(load_world(path, overrides), options.calibration)
    specs = select(world, options.policy)
    backend, console = choose_engine(world, options.engine), Console(stderr=True)
    results = play(world, specs, backend, console, options.jobs)
    if not options.no_references:
        results += play_references(world, results, backend, console, options.jobs)
    _finish(world, [note(result) for result in results], out, options)


def _finish(world: World, results: Sequence[RunResult], out: Path, options: argparse.Namespace) -> None:
    """Write the results and print the comparison."""
    from rich.console import Console  # noqa: PLC0415 - keeps --help quick

    summary = write(world, results, out, report=not options.no_report)
    if options.json:
        sys.stdout.write(json.dumps(summary.to_json(), indent=2) + "\n")
        return
    from twin.report.table import show  # noqa: PLC0415 - likewise

    console = Console()
    show(summary, console)
    console.print(
        f"results: {out}" + ("" if options.no_report else f"   report: {out / 'report.html'}"), soft_wrap=True
    )


def select(world: World, labels: Sequence[str] | None) -> tuple[PolicySpec, ...]:
    """The policies with the given labels, in the scenario's order; all of them for None.

    Raises:
        ScenarioError: A label is not in the scenario.
    """
    known = [spec.label for spec in world.policies]
    for label in labels or ():
        if label not in known:
            raise ScenarioError(f"--policy {label}: the scenario has no such policy; it has {', '.join(known)}")
    return tuple(spec for spec in world.policies if labels is None or spec.label in labels)


def play(
    world: World, specs: Sequence[PolicySpec], backend: Backend, console: Console, jobs: int | None = 1
) -> list[RunResult]:
    """Play policies, every replication of each, with a progress bar on a terminal.

    Returns:
        One result per policy, its replications joined.
    """
    from twin.playing import Play, play_all  # noqa: PLC0415 - keeps --help quick
    from twin.policies import POLICIES  # noqa: PLC0415 - likewise

    plays = [
        Play(POLICIES[spec.kind](**spec.options), spec.label, replication)
        for spec in specs
        for replication in range(world.replications)
    ]
    with _progress(world, len(plays), console) as tick:
        return joined(play_all(world, plays, backend, tick, jobs))


def play_references(
    world: World, results: Sequence[RunResult], backend: Backend, console: Console, jobs: int | None = 1
) -> list[RunResult]:
    """Play what sees the truth: a policy that is shown the traces, and the best fixed partition in hindsight.

    Args:
        world: The scenario.
        results: The policies that were played; partitions that one of them kept are tried, too.
        backend: Plays them.
        console: Shows the progress.
        jobs: Processes; None for one per core.

    Raises:
        ScenarioError: A policy has the name of a reference.
    """
    from twin.metrics.summary import REFERENCES  # noqa: PLC0415 - keeps --help quick
    from twin.partition import Partition  # noqa: PLC0415 - likewise
    from twin.playing import Play, play_all  # noqa: PLC0415 - likewise
    from twin.references.clairvoyant import Clairvoyant  # noqa: PLC0415 - likewise
    from twin.references.oracle import best_fixed, n_plays  # noqa: PLC0415 - likewise

    for label in REFERENCES:
        if any(result.label == label for result in results):
            raise ScenarioError(
                f"policies.{label}: that is the name of a reference; choose another, or --no-references"
            )
    kept = []
    for result in results:
        chosen = {tuple(entry["partition"]["placement"]) for entry in result.decisions}
        if len(chosen) == 1:
            kept.append(Partition.from_json(result.decisions[0]["partition"]))
    length_s = max(float(result.requests.arrival_s.max(initial=0.0)) for result in results)
    seeing = [Play(Clairvoyant(world), REFERENCES[0], replication) for replication in range(world.replications)]
    with _progress(world, len(seeing) + n_plays(world), console) as tick:
        clairvoyant = joined(play_all(world, seeing, backend, tick, jobs))
        return [
            *clairvoyant,
            best_fixed(world, lambda plays: play_all(world, plays, backend, tick, jobs), length_s, kept),
        ]


def joined(results: Sequence[RunResult]) -> list[RunResult]:
    """Join the replications of each policy, in the order of their labels."""
    from twin.records import RunResult  # noqa: PLC0415 - keeps --help quick

    labels = dict.fromkeys(result.label for result in results)
    return [RunResult.concatenate([x for x in results if x.label == label]) for label in labels]


@contextmanager
def _progress(world: World, total: int, console: Console) -> Iterator[Callable[[Play], None]]:
    """A progress bar that names what was played last."""
    from rich.progress import Progress  # noqa: PLC0415 - keeps --help quick

    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(world.name, total=total)

        def tick(play: Play) -> None:
            progress.update(task, advance=1, description=f"{world.name}: {play.label}")

        yield tick


def write(world: World, results: Sequence[RunResult], out: Path, *, report: bool, complete: bool = True) -> Summary:
    """Write a run folder per policy, `summary.json` and `report.html`.

    Args:
        world: The scenario.
        results: What was played, its replications joined.
        out: The folder.
        report: Whether `report.html` is wanted.
        complete: False for what an interrupted run left behind; its folders are marked incomplete.
    """
    from twin.metrics import summarise  # noqa: PLC0415 - keeps --help quick
    from twin.runs.folder import write_run, write_text  # noqa: PLC0415 - likewise

    summary = summarise(world, results)
    figures = summary.to_json()
    for result in results:
        own = {**figures, "policies": {result.label: figures["policies"][result.label]}}
        write_run(out / result.label, result, world, complete=complete)
        write_text(out / result.label / "summary.json", json.dumps(own, indent=2) + "\n")
    write_text(out / "summary.json", json.dumps(figures, indent=2) + "\n")
    if report:
        from twin.report import write_report  # noqa: PLC0415 - likewise

        write_report(out / "report.html", world, results, summary)
    return summary


if __name__ == "__main__":
    sys.exit(guarded(main))
