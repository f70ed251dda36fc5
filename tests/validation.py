"""How far the twin is from the committed runs of `data/runs`: `python tests/validation.py`; `--measure` makes them anew.

The first 40 % of the repeats are fitted, the others are predicted: the twin plays the scenario with the same arrivals,
its policies decide for themselves.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from twin.calibration.apply import calibrated
from twin.calibration.fit import SplitFolder, fit
from twin.calibration.folder import read_folder
from twin.comparison import compare, judge, parse
from twin.comparison.table import show
from twin.engine.events import EventsEngine
from twin.policies import POLICIES
from twin.records import RunResult
from twin.simulate import write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twin.comparison import Comparison
    from twin.comparison.require import Verdict
    from twin.world import World

ROOT = Path(__file__).parents[1]
RUNS = ROOT / "data" / "runs"
SCENARIOS = ROOT / "scenarios" / "validation"
SHARE = 0.4
REQUIREMENTS = ("latency_mean<=3%", "latency_p95<=7%", "compute<=3%", "transfer<=5%", "ranking>=1", "decision_cost<=1%")
KEPT = ("run.json", "requests.parquet", "spans.parquet", "power.parquet", "observations.parquet", "decisions.jsonl")


@dataclass(frozen=True)
class Validation:
    """One scenario: the comparison with the scenario's parameters, and with fitted ones, each with its verdicts."""

    name: str
    before: Comparison
    after: Comparison
    verdicts: tuple[Verdict, ...]


def names() -> list[str]:
    """Scenarios with committed runs."""
    return sorted(path.stem for path in SCENARIOS.glob("*.yaml") if (RUNS / path.stem).is_dir())


def validate(name: str, folder: Path) -> Validation:
    """Fit a part of the runs of a scenario and predict the rest; results go into `folder`."""
    split = SplitFolder.of(read_folder(RUNS / name), SHARE)
    calibration = fit([split])
    world = split.held_out[0].world
    write(world, [part.result for part in split.held_out], folder / "measured", report=False)
    before = _predicted(world, split, folder / "measured", folder / "before")
    after = _predicted(calibrated(world, calibration), split, folder / "measured", folder / "after")
    return Validation(name, before, after, judge(after, [parse(text) for text in REQUIREMENTS]))


def _predicted(world: World, split: SplitFolder, measured: Path, out: Path) -> Comparison:
    """Play the replications that were held out in the twin and compare."""
    results = []
    for part in split.held_out:
        spec = next(spec for spec in world.policies if spec.label == part.result.label)
        policy = POLICIES[spec.kind](**spec.options)
        played = [EventsEngine().run(world, policy, spec.label, number) for number in part.replications]
        results.append(RunResult.concatenate(played))
    write(world, results, out, report=False)
    return compare(out, measured)


def measure(only: Sequence[str]) -> None:
    """Play the scenarios on the one-machine testbed; takes some twenty minutes in which nothing else should run."""
    for path in sorted(SCENARIOS.glob("*.yaml")):
        if only and path.stem not in only:
            continue
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "hardware.run", str(path), "--devices", "factor", "--repeats", "5"]
            options = ["--curve", "off", "--idle", "0", "--no-report", "--out", folder]
            subprocess.run([*command, *options], check=True, cwd=ROOT)
            keep(Path(folder), RUNS / path.stem)


def keep(source: Path, target: Path) -> None:
    """Keep of a result folder what comparisons need."""
    shutil.rmtree(target, ignore_errors=True)
    for run in sorted(entry.parent for entry in source.glob("*/run.json")):
        (target / run.name).mkdir(parents=True)
        for name in KEPT:
            shutil.copy(run / name, target / run.name / name)
    shutil.copy(source / "summary.json", target / "summary.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", nargs="*", metavar="NAME", help="measure anew, all scenarios or some")
    options = parser.parse_args()
    if options.measure is not None:
        measure(options.measure)
    console = Console()
    for name in names():
        with tempfile.TemporaryDirectory() as folder:
            found = validate(name, Path(folder))
            console.rule(f"{name}: with the scenario's parameters")
            show(found.before, (), console)
            console.rule(f"{name}: calibrated")
            show(found.after, found.verdicts, console)


if __name__ == "__main__":
    main()
