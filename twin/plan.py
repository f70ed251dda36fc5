"""`python -m twin.plan scenario.yaml`: where to split now, what it costs, and what changes the answer."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from twin.cli import guarded
from twin.errors import InfeasibleError, ScenarioError

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    if not 0 <= options.at < math.inf:
        raise ScenarioError(
            f"--at {options.at:g}: must be a time in seconds from the start of the scenario, 0 or later"
        )
    from twin.planning.advice import advise  # noqa: PLC0415 - keeps --help quick
    from twin.planning.breakeven import parse_axis  # noqa: PLC0415 - likewise
    from twin.planning.view import as_text  # noqa: PLC0415 - likewise
    from twin.scenario import load_world  # noqa: PLC0415 - likewise

    world = load_world(options.scenario, options.set)
    axis = None if options.vary is None else parse_axis(options.vary, world.problem)
    try:
        advice = advise(world, t_s=options.at, aim=options.objective, axis=axis)
    except InfeasibleError as error:
        raise InfeasibleError(f"{options.scenario}: at {options.at:g} s {error}") from error
    if options.json:
        sys.stdout.write(json.dumps(advice.to_json(), indent=2, allow_nan=False) + "\n")
    else:
        sys.stdout.write(as_text(advice))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m twin.plan",
        description="Say where to split the model of a scenario now, what that costs, and what changes the answer.",
    )
    parser.add_argument("scenario", type=Path, help="scenario file (YAML)")
    parser.add_argument(
        "--at", type=float, default=0.0, metavar="SECONDS", help="time at which the traces are read (default: 0)"
    )
    parser.add_argument(
        "--objective",
        choices=("latency", "energy", "throughput"),
        help="what to minimise or maximise instead of the scenario's objective; its deadline stays",
    )
    parser.add_argument(
        "--vary",
        metavar="PATH=LOW:HIGH",
        help="find where the best partition changes, such as links.0.rate_bps=1e6:1e8; also up_bps, down_bps and "
        "rtt_s of a link, and devices.I.slowdown (SI units)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON in place of text")
    parser.add_argument(
        "--set", action="append", default=[], metavar="PATH=VALUE", help="change a place, such as devices.pi.load=2"
    )
    return parser


if __name__ == "__main__":
    sys.exit(guarded(main))
