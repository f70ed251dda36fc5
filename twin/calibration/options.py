"""Options of `python -m twin.simulate` that use measured runs: a calibration, and a replay."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from twin.errors import ScenarioError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from twin.records import RunResult
    from twin.world import World

_INPUTS = ("arrivals", "links", "loads")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "--calibration", type=Path, metavar="FILE", help="use the parameters that `python -m twin.calibrate` found"
    )
    parser.add_argument(
        "--replay",
        type=Path,
        metavar="MEASURED",
        help="predict measured runs from their own inputs: arrivals, goodput and round trips of links, stage times; "
        "without a scenario file, in the scenario that they recorded",
    )
    parser.add_argument(
        "--replay-decisions", action="store_true", help="play the measured decisions, too, in place of the policies'"
    )
    parser.add_argument(
        "--replay-only",
        nargs="+",
        choices=_INPUTS,
        metavar="INPUT",
        help=f"take only these inputs from the measured runs: {', '.join(_INPUTS)}",
    )
    parser.add_argument(
        "--window", type=float, metavar="S", help="window of measured goodput; 0: message by message (default: 0.1)"
    )


def check_options(options: argparse.Namespace) -> None:
    """Refuse what does not go together.

    Raises:
        ScenarioError: It does not.
    """
    if options.replay is None:
        if not options.scenario:
            raise ScenarioError("give a scenario file, or measured runs with --replay")
        if options.replay_decisions or options.replay_only or options.window is not None:
            raise ScenarioError(
                "--replay-decisions, --replay-only and --window: say with --replay which measured runs to replay"
            )
        return
    if len(options.scenario) > 1:
        raise ScenarioError("--replay: give one scenario file, or none for the scenario that was recorded")
    if options.engine == "arrays":
        raise ScenarioError("--replay: is played by the events engine; leave out `--engine arrays`")


class Replayed(NamedTuple):
    """What a replay gave.

    Attributes:
        world: The scenario.
        results: One result per policy.
        out: Where results go if nothing else is said.
    """

    world: World
    results: list[RunResult]
    out: Path


def replayed(options: argparse.Namespace) -> Replayed:
    """Replay the measured runs that the options name.

    Raises:
        TwinError: The runs or the scenario cannot be read, or do not fit together.
    """
    from twin.calibration.folder import read_folder  # noqa: PLC0415 - keeps --help quick
    from twin.calibration.replay import Inputs, replay_all  # noqa: PLC0415 - likewise

    overrides = [*options.set, *([] if options.seed is None else [f"seed={options.seed}"])]
    scenario = options.scenario[0] if options.scenario else None
    folder = read_folder(options.replay, scenario, overrides, options.policy)
    taken = options.replay_only or _INPUTS
    inputs = Inputs(
        **{name: name in taken for name in _INPUTS},
        decisions=options.replay_decisions,
        **({} if options.window is None else {"window_s": options.window}),
    )
    world, note = with_calibration(folder.world, options.calibration)
    results = [
        _with_facts(note(result), replay={**result.facts["replay"], "sha256": folder.sha256[result.label]})
        for result in replay_all(world, folder.results, inputs)
    ]
    return Replayed(world, results, Path("runs") / f"{options.replay.resolve().name}-replay")


def with_calibration(world: World, path: Path | None) -> tuple[World, Callable[[RunResult], RunResult]]:
    """The scenario with a calibration, if one is asked for, and what notes that in a result.

    Raises:
        CalibrationError: The calibration cannot be read, or is of other machines.
    """
    if path is None:
        return world, lambda result: result
    from twin.calibration.apply import calibrated  # noqa: PLC0415 - keeps --help quick
    from twin.calibration.calibration import read_calibration  # noqa: PLC0415 - likewise

    calibration = read_calibration(path)
    said = {
        "file": path.name,
        "sha256": calibration.sha256,
        "source": calibration.source,
        "made": calibration.made,
        "models": sorted({folder.model for folder in calibration.folders}),
    }
    return calibrated(world, calibration), lambda result: _with_facts(result, calibration=said)


def _with_facts(result: RunResult, **facts: object) -> RunResult:
    from dataclasses import replace  # noqa: PLC0415 - keeps --help quick

    return replace(result, facts={**result.facts, **facts})
