"""`python -m hardware.run scenario.yaml`: play the policies of a scenario on machines, and compare them."""

from __future__ import annotations

import json
import sys
import tempfile
from contextlib import closing
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from hardware.coordinator.options import parser
from twin.cli import INTERRUPTED, guarded
from twin.errors import ScenarioError, TwinError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence
    from typing import Any

    from rich.console import Console

    from hardware.coordinator.answers import Answers
    from hardware.coordinator.collect import Collected
    from hardware.coordinator.rig import Rig
    from hardware.inputs import Pool
    from hardware.inventory import Inventory
    from hardware.live import LiveTwin
    from hardware.testbed import TestbedBackend
    from twin.comparison import Requirement
    from twin.metrics import Summary
    from twin.records import RunResult
    from twin.world import PolicySpec, World

_LEAST_DETECT_S = 0.1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = parser().parse_args(arguments)
    if options.repeats < 1:
        raise ScenarioError(f"--repeats {options.repeats}: give a number of runs of each policy, 1 or more")
    requirements = _requirements(options)
    from rich.console import Console  # noqa: PLC0415 - keeps --help quick

    console = Console(stderr=True)
    testbed = _testbed(options.testbed)
    world = _world(options, testbed)
    out = Path(options.out or Path("runs") / f"{options.scenario.stem}-testbed")
    live = _live(world, out, console) if options.live else None
    with tempfile.TemporaryDirectory(prefix="continuum-twin-keys-") as keys:
        results, is_whole = _play(world, testbed, out, Path(keys), console, options, live)
    if not results:
        return INTERRUPTED
    summary = _finish(world, results, out, options, live, complete=is_whole)
    if not is_whole:
        _print(summary, options, out, live)
        return INTERRUPTED
    if not options.compare:
        _print(summary, options, out, live)
        return 0
    from hardware.coordinator.compared import compare_all, tell, to_json  # noqa: PLC0415 - keeps --help quick
    from twin.compare import FALLS_SHORT  # noqa: PLC0415 - likewise

    _replay(world, results, out, options)
    found = compare_all(out, requirements)
    _print(summary, options, out, live, to_json(found))
    if not options.json:
        tell(found, Console())
    return 0 if found[0].holds else FALLS_SHORT


def _requirements(options: argparse.Namespace) -> tuple[Requirement, ...]:
    """What must hold; read before anything is played, so that a slip of the pen is told at once."""
    if not options.require:
        return ()
    if not options.compare:
        raise ScenarioError("--require says what must hold of a comparison; give --compare with it")
    from twin.comparison import parse  # noqa: PLC0415 - keeps --help quick

    return tuple(parse(text) for text in options.require)


def _live(world: World, out: Path, console: Console) -> LiveTwin:
    from hardware.live import LiveTwin  # noqa: PLC0415 - keeps --help quick

    return LiveTwin(world, out, lambda text: console.print(f"live twin: {text}", markup=False))


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
    if world.detect_s < _LEAST_DETECT_S:
        raise ScenarioError(
            f"{options.scenario}: detect_s: {world.detect_s:g} s is too short for machines, which notice a loss by "
            f"silence; give {_LEAST_DETECT_S:g} or more, such as `--set detect_s=0.5`"
        )
    return world


def _play(
    world: World,
    testbed: Inventory | None,
    out: Path,
    keys: Path,
    console: Console,
    options: argparse.Namespace,
    live: LiveTwin | None,
) -> tuple[list[RunResult], bool]:
    """Set up the machines and play; says too whether everything was played."""
    from hardware.coordinator.rig import reach, start_here  # noqa: PLC0415 - keeps --help quick

    specs = _select(world, options.policy)
    pool = _inputs(world, options.images, testbed)
    if testbed is not None:
        return _play_on(reach(world, testbed), world, specs, pool, out, console, options, live, testbed)
    logs = out / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    console.print(f"starting {world.problem.n_devices} agents on this machine")
    rig = start_here(world, logs, keys, options.devices, options.emulate, curve=options.curve == "on")
    assert rig.local is not None  # noqa: S101 - it was just started
    with closing(rig.local):
        return _play_on(rig, world, specs, pool, out, console, options, live)


def _play_on(
    rig: Rig,
    world: World,
    specs: Sequence[PolicySpec],
    pool: Pool,
    out: Path,
    console: Console,
    options: argparse.Namespace,
    live: LiveTwin | None,
    testbed: Inventory | None = None,
) -> tuple[list[RunResult], bool]:
    from hardware.coordinator.answers import Answers  # noqa: PLC0415 - keeps --help quick
    from hardware.coordinator.labels import show_labels, weights_beside, weights_of  # noqa: PLC0415 - as above
    from hardware.coordinator.plan import Plan  # noqa: PLC0415 - as above
    from hardware.coordinator.progress import progress_bar  # noqa: PLC0415 - as above
    from hardware.node.bundle import pack  # noqa: PLC0415 - as above
    from hardware.testbed import TestbedBackend  # noqa: PLC0415 - as above

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
    with progress_bar(world, specs, console, str if live is None else lambda: live.line) as progress:
        backend = TestbedBackend(plan, rig.remotes, rig.local, progress, live)
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


def _finish(
    world: World,
    results: Sequence[RunResult],
    out: Path,
    options: argparse.Namespace,
    live: LiveTwin | None,
    *,
    complete: bool,
) -> Summary:
    """Write the results."""
    from twin.report import write_report  # noqa: PLC0415 - keeps --help quick
    from twin.simulate import joined, write  # noqa: PLC0415 - as above

    whole = joined(results)
    if live is not None:
        told = live.summaries()
        whole = [replace(x, facts={**x.facts, "live": told[x.label]}) if x.label in told else x for x in whole]
        live.write()
    else:
        for result, name in product(whole, ("live.jsonl", "live.json")):
            # What an earlier run has left there is not of this one.
            (out / result.label / name).unlink(missing_ok=True)
    summary = write(world, whole, out, report=False, complete=complete)
    if not options.no_report:
        drawn = None if live is None else live.picture(whole[0].source)
        write_report(out / "report.html", world, whole, summary, [] if drawn is None else [drawn])
    return summary


def _replay(world: World, results: Sequence[RunResult], out: Path, options: argparse.Namespace) -> None:
    """Play the runs in the twin, from their own inputs and then with their own decisions, and write the results."""
    from hardware.coordinator.compared import DECIDED, REPLAYED  # noqa: PLC0415 - keeps --help quick
    from twin.calibration.replay import Inputs, replay_all  # noqa: PLC0415 - as above
    from twin.simulate import joined, write  # noqa: PLC0415 - as above

    measured = joined(results)
    for name, decisions in ((REPLAYED, False), (DECIDED, True)):
        replayed = replay_all(world, measured, Inputs(decisions=decisions))
        write(world, replayed, out / name, report=not options.no_report)


def _print(
    summary: Summary,
    options: argparse.Namespace,
    out: Path,
    live: LiveTwin | None,
    comparison: Mapping[str, Any] | None = None,
) -> None:
    """Print how the policies compare, and how well the live twin has predicted."""
    if options.json:
        data = summary.to_json()
        data |= {} if live is None else {"live": live.summaries()}
        data |= {} if comparison is None else {"comparison": comparison}
        sys.stdout.write(json.dumps(data, indent=2) + "\n")
        return
    from rich.console import Console  # noqa: PLC0415 - keeps --help quick

    from twin.report.table import show  # noqa: PLC0415 - as above

    console = Console()
    show(summary, console)
    if live is not None:
        live.show(console)
    report = "" if options.no_report else f"   report: {out / 'report.html'}"
    console.print(f"results: {out}{report}", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(guarded(main))
