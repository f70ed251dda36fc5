"""`python -m twin.calibrate MEASURED...`: fit the parameters of the twin to measured runs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from twin.cli import guarded
from twin.errors import CalibrationError

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    if options.out.suffix not in (".yaml", ".yml"):
        raise CalibrationError(f"-o {options.out}: the name must end in .yaml or .yml")
    if options.scenario is not None and len(options.measured) > 1:
        raise CalibrationError("--scenario: is the scenario of one folder; give one, or leave it out")
    from dataclasses import replace  # noqa: PLC0415 - keeps --help quick

    from rich.console import Console  # noqa: PLC0415 - likewise

    from twin.calibration.fit import SplitFolder, fit  # noqa: PLC0415 - likewise
    from twin.calibration.folder import read_folder  # noqa: PLC0415 - likewise
    from twin.calibration.held_out import held_out_errors  # noqa: PLC0415 - likewise
    from twin.calibration.view import show  # noqa: PLC0415 - likewise
    from twin.runs.folder import write_text  # noqa: PLC0415 - likewise

    folders = [
        SplitFolder.of(read_folder(path, options.scenario, labels=options.policy), options.split)
        for path in options.measured
    ]
    calibration = fit(folders, is_robust=not options.all_rows)
    calibration = replace(calibration, validation=held_out_errors(folders, calibration))
    write_text(options.out, calibration.to_yaml())
    console = Console()
    show(calibration, console)
    console.print(f"written: {options.out}", soft_wrap=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m twin.calibrate",
        description="Fit the parameters of the twin to measured runs, and say how wrong it is on runs that were held "
        "out, before and after.",
    )
    parser.add_argument(
        "measured", nargs="+", type=Path, metavar="MEASURED", help="result folder of `python -m hardware.run`"
    )
    parser.add_argument("-o", "--out", type=Path, default=Path("calibration.yaml"), metavar="FILE", help="the file")
    parser.add_argument(
        "--split",
        type=float,
        default=0.5,
        metavar="SHARE",
        help="share that is fitted: whole repeats where there are several, else the first part in time (default: 0.5)",
    )
    parser.add_argument(
        "--all-rows",
        action="store_true",
        help="count wild rows, too: stalls that belong to the machines then are in the means (default: left out)",
    )
    parser.add_argument("--policy", nargs="+", metavar="LABEL", help="only the runs of these policies")
    parser.add_argument(
        "--scenario", type=Path, metavar="FILE", help="scenario of the runs, if the recorded one cannot be resolved"
    )
    return parser


if __name__ == "__main__":
    sys.exit(guarded(main))
