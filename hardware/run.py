"""`python -m hardware.run scenario.yaml`: play the policies of a scenario on machines, and compare them."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from twin.cli import INTERRUPTED, guarded
from twin.errors import ScenarioError, TwinError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import Console

    from hardware.coordinator.answers import Answers
    from hardware.coordinator.collect import Collected
    from hardware.coordinator.rig import Rig
    from hardware.inputs import Pool
    from hardware.inventory import Inventory
    from hardware.testbed import TestbedBackend
    from twin.records import RunResult
    from twin.world import PolicySpec, World


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    if options.repeats < 1:
        raise ScenarioError(f"--repeats {options.repeats}: give a number of runs of each policy, 1 or more")
    from rich.console import Console  # noqa: PLC0415 - keeps --help quick

    console = Console(stderr=True)
    testbed = _testbed(options.testbed)
    world = _world(options, testbed)
    out = Path(options.out or Path("runs") / f"{options.scenario.stem}-testbed")
    with tempfile.TemporaryDirectory(prefix="continuum-twin-keys-") as keys:
        results, is_whole = _play(world, testbed, out, Path(keys), console, options)
    if not results:
        return INTERRUPTED
    _finish(world, results, out, options, complete=is_whole)
    return 0 if is_whole else INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m hardware.run",
        description="Play the policies of a scenario on the machines of a testbed. Without --testbed, agents on this "
        "machine stand in for the devices, with the scenario's links between them.",
    )
    parser.add_argument("scenario", type=Path, help="scenario file (YAML)")
    parser.add_argument("--testbed", type=Path, metavar="FILE", help="the machines (default: this one)")
    parser.add_argument("--out", metavar="DIR", help="folder for the results (default: runs/<scenario>-testbed)")
    parser.add_argument("--policy", nargs="+", metavar="LABEL", help="play only these policies")
    parser.add_argument(
        "--repeats", type=int, default=1, metavar="N", help="runs of each policy, interleaved (default: 1)"
    )
    parser.add_argument("--seed", type=int, metavar="N", help="seed in place of the scenario's")
    parser.add_argument(
        "--set", action="append", default=[], metavar="PATH=VALUE", help="change a place, such as devices.pi.load=2"
    )
    parser.add_argument(
        "--switch",
        choices=("epoch", "pause"),
        default="epoch",
        help="how the partition changes: at once, or holding requests back until all is drained (default: epoch)",
    )
    parser.add_argument(
        "--devices",
        choices=("auto", "profile", "sleep", "factor"),
        default="auto",
        help="on one machine, how agents stand in for devices: compute and wait for the profiled time, only sleep, or "
        "compute and sleep by the load (default: profile where this machine is fast enough, else sleep)",
    )
    parser.add_argument(
        "--emulate",
        choices=("proxy", "netns"),
        default="proxy",
        help="on one machine, what makes the links: a process that hands bytes on, or, as root, the kernel "
        "(default: proxy)",
    )
    parser.add_argument(
        "--idle",
        type=float,
        default=5.0,
        metavar="S",
        help="seconds before and after each run in which power meters show the idle baseline (default: 5)",
    )
    parser.add_argument("--images", type=Path, metavar="DIR", help="pictures as inputs (default: random tensors)")
    parser.add_argument("--no-check", action="store_true", help="do not hold answers against the whole model")
    parser.add_argument("--no-report", action="store_true", help="write no report.html")
    parser.add_argument("--json", action="store_true", help="print summary.json in place of the table")
    return parser


def _testbed(path: Path | None) -> Inventory | None:
    if path is None:
        return None
    from hardware.inventory import read_inventory  # noqa: PLC0415 - keeps --help quick

    return read_inventory(path)


def _world(options: argparse.Namespace, testbed: Inventory | None) -> World:
    from twin.scenario import load_world  # noqa: PLC0415 - keeps --help quick

    overrides = [*options.set, f"replications={options.repeats}"]
    if options.seed is not None:
        overrides.append(f"seed={options.seed}")
    if testbed is not None and testbed.detect_s is not None:
        overrides.append(f"detect_s={testbed.detect_s}")
    world = load_world(options.scenario, overrides)
    if testbed is not None and world.faults:
        raise ScenarioError(
            f"{options.scenario}: faults: can be played on one machine only; leave out --testbed, or remove them and "
            "break a machine or link yourself"
        )
    return world


def _play(
    world: World, testbed: Inventory | None, out: Path, keys: Path, console: Console, options: argparse.Namespace
) -> tuple[list[RunResult], bool]:
    """Set up the machines and play; says too whether everything was played."""
    from hardware.coordinator.rig import reach, start_here  # noqa: PLC0415 - keeps --help quick

    specs = _select(world, options.policy)
    pool = _inputs(world, options.images, testbed)
    if testbed is not None:
        return _play_on(reach(world, testbed), world, specs, pool, out, console, options, testbed)
    logs = out / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    console.print(f"starting {world.problem.n_devices} agents on this machine")
    rig = start_here(world, logs, keys, options.devices, options.emulate)
    assert rig.local is not None  # noqa: S101 - it was just started
    with closing(rig.local):
        return _play_on(rig, world, specs, pool, out, console, options)


def _play_on(
    rig: Rig,
    world: World,
    specs: Sequence[PolicySpec],
    pool: Pool,
    out: Path,
    console: Console,
    options: argparse.Namespace,
    testbed: Inventory | None = None,
) -> tuple[list[RunResult], bool]:
    from hardware.coordinator.answers import Answers  # noqa: PLC0415 - keeps --help quick
    from hardware.coordinator.labels import show_labels, weights_beside, weights_of  # noqa: PLC0415 - as above
    from hardware.node.bundle import pack  # noqa: PLC0415 - as above
    from hardware.testbed import Plan, TestbedBackend  # noqa: PLC0415 - as above

    wanted = weights_of(world, testbed)
    weights = None if options.no_check else weights_beside(options.testbed, wanted)
    plan = Plan(
        world,
        pack(world, options.scenario),
        tuple(tensor.numpy().tobytes() for tensor in pool.tensors),
        rig.orders,
        rig.source,
        options.switch,
        one_by_one=rig.local is not None,
        check=not options.no_check,
        idle_s=options.idle,
        facts={"inputs": pool.source, "played_by": "one machine" if rig.local is not None else "testbed"},
    )
    with _progress(world, specs, console) as progress:
        backend = TestbedBackend(plan, rig.remotes, rig.local, progress)
        try:
            backend.set_up()
            backend.measure_links()
            _tell(world, backend, console)
            answers = Answers(world, pool, backend.machines, weights) if plan.check else None
            played = _play_all(world, specs, backend, answers, out, console)
        finally:
            backend.close()
    if options.images is not None:
        right = None if answers is None else answers.right
        show_labels(right, pool, world.problem.graph.model, wanted, console)
    return played


def _play_all(
    world: World,
    specs: Sequence[PolicySpec],
    backend: TestbedBackend,
    answers: Answers | None,
    out: Path,
    console: Console,
) -> tuple[list[RunResult], bool]:
    """Play each policy once, then each once more, so that a drift meets all of them alike."""
    from twin.policies import POLICIES  # noqa: PLC0415 - keeps --help quick

    results: list[RunResult] = []
    for replication in range(world.replications):
        for spec in specs:
            try:
                result = backend.run(world, POLICIES[spec.kind](**spec.options), spec.label, replication)
            except KeyboardInterrupt:
                console.print("interrupted: collecting what there is")
                partial = backend.rescue(spec.label, replication)
                return [*results, *([partial] if partial is not None else [])], False
            except TwinError as error:
                if not results:
                    raise
                console.print(f"[red]error:[/] {error}\nwhat was played until then is kept")
                return results, False
            if backend.collected is not None:
                _keep_frames(out, spec.label, replication, backend.collected)
                result = result if answers is None else answers.check(backend.collected)
            results.append(result)
    return results, True


def _keep_frames(out: Path, label: str, replication: int, collected: Collected) -> None:
    """Keep what power meters sent, so that it can be decoded again (`python -m hardware.power replay`)."""
    for name, frames in collected.frames.items():
        path = out / label / f"meter-{name}-{replication}.frames.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(frames)


def _tell(world: World, backend: TestbedBackend, console: Console) -> None:
    """Say how machines are emulated, and which links differ from the scenario."""
    for machine in backend.machines:
        if machine["emulate"] != "none":
            console.print(
                f"{machine['name']}: {machine['emulate']}" + (f" ({machine['why']})" if "why" in machine else "")
            )
    for note in backend.notes:
        console.print(f"[yellow]note:[/] {note}")
    names = world.problem.continuum.names
    for entry in backend.links:
        link = world.problem.continuum.links[entry.link]
        ends = (names[link.a], names[link.b])
        warning = entry.warning(ends if entry.direction == 0 else ends[::-1])
        if warning is not None:
            console.print(f"[yellow]warning:[/] {warning}")
    if world.problem.switch.weights_from is not None:
        console.print(
            "[yellow]warning:[/] switch.weights_from is not played: every machine of a testbed holds all weights"
        )


def _inputs(world: World, images: Path | None, testbed: Inventory | None) -> Pool:
    from hardware.coordinator.labels import trained_as, weights_of  # noqa: PLC0415 - imports torch
    from hardware.inputs import picture_pool, random_pool  # noqa: PLC0415 - imports torch

    graph = world.problem.graph
    if images is None:
        return random_pool(graph.input_shape, world.seed, 8)
    return picture_pool(images, graph.model, graph.input_shape, trained_as(graph.model, weights_of(world, testbed)))


def _select(world: World, labels: Sequence[str] | None) -> tuple[PolicySpec, ...]:
    from twin.simulate import select  # noqa: PLC0415 - keeps --help quick

    return select(world, labels)


@contextmanager
def _progress(
    world: World, specs: Sequence[PolicySpec], console: Console
) -> Iterator[Callable[[str, int, float, int], None]]:
    """A progress bar over the expected length of all runs; of requests where the length is not known."""
    from rich.progress import Progress, TimeRemainingColumn  # noqa: PLC0415 - keeps --help quick

    duration_s, requests = world.workload.duration_s, world.workload.requests
    one = duration_s if duration_s is not None else float(requests or 1)
    done = {"runs": -1, "key": ("", -1)}
    with Progress(
        *Progress.get_default_columns()[:-1],
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task(f"{world.name}: setting up", total=one * len(specs) * world.replications)

        def progress(label: str, replication: int, t_s: float, ended: int) -> None:
            if done["key"] != (label, replication):
                done["key"], done["runs"] = (label, replication), int(str(done["runs"])) + 1
            part = min(t_s if duration_s is not None else float(ended), one)
            text = f"{world.name}: {label}" + (f" #{replication + 1}" if world.replications > 1 else "")
            bar.update(task, completed=int(str(done["runs"])) * one + part, description=f"{text}, {ended} requests")

        yield progress


def _finish(
    world: World, results: Sequence[RunResult], out: Path, options: argparse.Namespace, *, complete: bool
) -> None:
    """Write the results and print the comparison."""
    from rich.console import Console  # noqa: PLC0415 - keeps --help quick

    from twin.report.table import show  # noqa: PLC0415 - as above
    from twin.simulate import joined, write  # noqa: PLC0415 - as above

    summary = write(world, joined(results), out, report=not options.no_report, complete=complete)
    if options.json:
        sys.stdout.write(json.dumps(summary.to_json(), indent=2) + "\n")
        return
    console = Console()
    show(summary, console)
    report = "" if options.no_report else f"   report: {out / 'report.html'}"
    console.print(f"results: {out}{report}", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(guarded(main))
