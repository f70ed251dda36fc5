"""Makes the derived traces again: `python -m twin.tracegen --out data/traces [--only NAME]`."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twin.cli import guarded
from twin.errors import TraceError
from twin.tracemodels.catalog import CATALOG
from twin.tracemodels.markov import DECIMALS, generate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twin.tracemodels.markov import State, TraceModel


def csv_text(model: TraceModel) -> str:
    """The trace as the text of its CSV file."""
    lines = [",".join(("time_s", *model.columns))]
    for time_s, *values in generate(model):
        cells = (f"{value:.{max(DECIMALS[c], 0)}f}" for c, value in zip(model.columns, values, strict=True))
        lines.append(",".join((f"{time_s:g}", *cells)))
    return "\n".join(lines) + "\n"


def meta_text(model: TraceModel) -> str:
    """What stands beside the trace: its source, its model and where each parameter is from."""
    import yaml  # noqa: PLC0415 - slow to import, and `--help` needs none

    meta: dict[str, Any] = {
        "source": "derived",
        "description": model.description,
        "duration_s": model.duration_s,
        "generator": f"python -m twin.tracegen --only {model.name}",
        "seed": model.seed,
        "step_s": model.step_s,
        "model": _model_in_words(model),
        "states": [_state(state) for state in model.states],
    }
    if model.route is not None:
        meta["route"] = {
            "points": [{"time_s": time_s, "state": position} for time_s, position in model.route.points],
            "towards": model.route.towards,
            "astray": model.route.astray,
        }
    meta["spread"] = dict(model.spread)
    meta["parameter_sources"] = dict(model.sources)
    return str(yaml.safe_dump(meta, sort_keys=False, allow_unicode=True, width=110))


def _model_in_words(model: TraceModel) -> str:
    noise = "Each step deviates from the state's value by at most the spread of its column, triangularly distributed."
    if model.route is not None:
        return (
            "A Markov chain in steps of step_s along the states, drawn towards a target that moves along the route: "
            f"one state towards it with probability `towards`, away from it with probability `astray`. {noise}"
        )
    return (
        "A semi-Markov chain: a state lasts for its shortest time and an exponential time beyond it (mean_dwell_s in "
        f"all), up to its longest time, rounded to steps of step_s; then another follows as `follow` says. {noise}"
    )


def _state(state: State) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": state.name, **{key: round(x, 6) for key, x in state.values.items()}}
    if state.follow:
        entry |= {"mean_dwell_s": state.dwell_s, "shortest_s": state.shortest_s}
        if math.isfinite(state.longest_s):
            entry["longest_s"] = state.longest_s
        entry["follow"] = dict(state.follow)
    return entry


def write_trace(model: TraceModel, folder: Path) -> tuple[Path, Path]:
    """Write `<name>.csv` and `<name>.meta.yaml`.

    Returns:
        Their paths.

    Raises:
        TraceError: The folder cannot be written.
    """
    table, meta = folder / f"{model.name}.csv", folder / f"{model.name}.meta.yaml"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        table.write_text(csv_text(model), encoding="utf-8", newline="\n")
        meta.write_text(meta_text(model), encoding="utf-8", newline="\n")
    except OSError as error:
        raise TraceError(f"{folder}: cannot be written ({error.strerror}); choose another folder with --out") from error
    return table, meta


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line.

    Args:
        arguments: The arguments, or None for those of the process.

    Returns:
        The exit status.

    Raises:
        TraceError: A name is unknown, or the folder cannot be written.
    """
    parser = argparse.ArgumentParser(prog="python -m twin.tracegen", description="Make the derived traces again.")
    parser.add_argument("--out", type=Path, default=Path("data/traces"), help="folder to write to (data/traces)")
    parser.add_argument("--only", metavar="NAME", help=f"one of {', '.join(CATALOG)}")
    options = parser.parse_args(arguments)
    if options.only is not None and options.only not in CATALOG:
        raise TraceError(f"--only {options.only}: no such trace; use one of {', '.join(CATALOG)}")
    for model in CATALOG.values():
        if options.only in (None, model.name):
            for path in write_trace(model, options.out):
                sys.stdout.write(f"wrote {path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main))
