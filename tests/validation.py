"""How far the twin is from the committed runs of `data/runs`: `python tests/validation.py`.

`--measure` makes the runs anew, `--write` puts the tables into docs/validation.md.

The first 40 % of the repeats are fitted, the others are predicted: the twin plays the scenario with the same arrivals,
its policies decide for themselves.
"""

from __future__ import annotations

import argparse
import re
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
from twin.calibration.inputs import Inputs
from twin.calibration.replay import replay
from twin.comparison import compare, judge, parse
from twin.comparison.table import show
from twin.engine.events import EventsEngine
from twin.policies import POLICIES
from twin.records import RunResult
from twin.simulate import write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twin.comparison import Comparison
    from twin.comparison.judge import Verdict
    from twin.world import World

ROOT = Path(__file__).parents[1]
RUNS = ROOT / "data" / "runs"
SCENARIOS = ROOT / "scenarios" / "validation"
SHARE = 0.4
REQUIREMENTS = ("latency_mean<=3%", "latency_p95<=7%", "compute<=3%", "transfer<=5%", "ranking>=1", "decision_cost<=1%")
KEPT = ("run.json", "requests.parquet", "spans.parquet", "power.parquet", "observations.parquet", "decisions.jsonl")


PAGE = ROOT / "docs" / "validation.md"


@dataclass(frozen=True)
class Validation:
    """One scenario: the twin with the scenario's parameters, with fitted ones, and then with the measured decisions."""

    name: str
    before: Comparison
    after: Comparison
    replayed: Comparison

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        return verdicts_of(self.after)


def verdicts_of(comparison: Comparison) -> tuple[Verdict, ...]:
    return judge(comparison, [parse(text) for text in REQUIREMENTS])


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
    fitted = calibrated(world, calibration)
    after = _predicted(fitted, split, folder / "measured", folder / "after")
    inputs = Inputs(arrivals=True, links=False, loads=False, decisions=True)
    replayed = [replay(fitted, part.result, inputs) for part in split.held_out]
    write(fitted, replayed, folder / "replayed", report=False)
    return Validation(name, before, after, compare(folder / "replayed", folder / "measured"))


def table(validation: Validation) -> str:
    """Errors before and after the fit, and verdicts, as Markdown."""
    before, replayed = (
        {(verdict.policy, verdict.name): verdict for verdict in verdicts_of(comparison)}
        for comparison in (validation.before, validation.replayed)
    )
    rows = [
        "| policy | quantity | required | before | calibrated | verdict | with the measured decisions | verdict |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for verdict in validation.verdicts:
        was, with_decisions = (x.get((verdict.policy, verdict.name)) for x in (before, replayed))
        wanted = verdict.requirement.text.replace(verdict.requirement.name, "").replace("<=", "≤ ").replace(">=", "≥ ")
        policy = verdict.policy or "all"
        rows.append(
            f"| {policy} | {verdict.name} | {wanted} | {_figure(was)} | {_figure(verdict)} | {verdict.state} | "
            f"{_figure(with_decisions)} | {with_decisions.state if with_decisions else '-'} |"
        )
    return "\n".join(rows)


def _figure(verdict: Verdict | None) -> str:
    """The figure at the beginning of the words of a verdict."""
    found = (
        re.match(r"[+-]?[\d.]+(?:e[+-]?\d+)?(?: %)?(?: ± [\d.]+(?:e[+-]?\d+)? %)?", verdict.why) if verdict else None
    )
    return found.group() if found else "-"


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


def _write(validation: Validation) -> None:
    text = PAGE.read_text(encoding="utf-8")
    form = rf"<!-- {validation.name} -->\n.*?<!-- end -->"
    new = f"<!-- {validation.name} -->\n{table(validation)}\n<!-- end -->"
    PAGE.write_text(re.sub(form, lambda _: new, text, flags=re.DOTALL), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", nargs="*", metavar="NAME", help="measure anew, all scenarios or some")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/validation.md")
    options = parser.parse_args()
    if options.measure is not None:
        measure(options.measure)
    console = Console()
    for name in names():
        with tempfile.TemporaryDirectory() as folder:
            found = validate(name, Path(folder))
            if options.write:
                _write(found)
            console.rule(f"{name}: with the scenario's parameters")
            show(found.before, (), console)
            console.rule(f"{name}: calibrated")
            show(found.after, found.verdicts, console)


if __name__ == "__main__":
    main()
