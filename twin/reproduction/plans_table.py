"""The rest of the reproduction for the terminal: discrepancies, nearest splits, and plans the paper leaves out."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rich.text import Text

from twin.reproduction.predict import ADAPTIVE, DEVICE_ONLY, FASTEST, LEAST_J, LEAST_NODE_J, REAP, STATIC
from twin.reproduction.table import between, table
from twin.units import ms_from_s
from twin.wording import number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console
    from rich.table import Table

    from twin.partition import Partition
    from twin.reproduction.discrepancy import Discrepancy
    from twin.reproduction.nearest import Nearest
    from twin.reproduction.predict import Prediction, Spread
    from twin.reproduction.study import Reproduction
    from twin.reproduction.worlds import Case

_PLANS = (STATIC, REAP, *DEVICE_ONLY, ADAPTIVE, FASTEST, LEAST_J, LEAST_NODE_J)
_WIDE = 108
"""Columns from which on a table of plans also shows the partitions."""

_NEVER = (
    "reap never considers the edge alone, the cloud alone or two devices: with it every device runs a part. The plans "
    "below the line are such, simulated end to end from the edge on the same links; adaptive is this project's policy, "
    "and `least` are the exact best fixed plans."
)
_RANK = "split: layers of edge | fog | cloud. rank: its best place by the paper's score over the published weights."


def show_plans(study: Reproduction, console: Console) -> None:
    """Print the discrepancies, the nearest splits and the plans."""
    for discrepancy in study.discrepancies:
        console.print(_stages(discrepancy))
        console.print(_laws(discrepancy))
    console.print(_nearest(study.nearest))
    console.print(Text(_RANK, "dim"))
    for case in study.cases:
        console.print(_plans(case, study.found[case.model], wide=console.width >= _WIDE))
    console.print(Text(_NEVER, "dim"))


def _stages(discrepancy: Discrepancy) -> Table:
    columns = [("stage of the static split", False), ("published, ms", True), ("derived, ms", True), ("factor", True)]
    made = table(f"Discrepancy: {discrepancy.name}", columns)
    for x in discrepancy.stages:
        made.add_row(x.model, *(f"{ms_from_s(t):.2f}" for t in (x.published_s, x.derived_s)), f"{x.factor:.1f}")
    return made


def _laws(discrepancy: Discrepancy) -> Table:
    columns = [("what could say so for all three", False), ("numbers", True), ("worst error", True)]
    made = table(f"{discrepancy.name}: laws that were tried", columns)
    for law in discrepancy.laws:
        made.add_row(law.text, str(len(law.values)), f"{100 * law.worst:.1f} %")
    return made


def _nearest(found: Mapping[str, tuple[Nearest, ...]]) -> Table:
    columns = [("stage times", False), ("split", False)]
    columns += [(heading, True) for heading in ("latency", "edge", "fog", "cloud", "rank")]
    made = table("One fixed split in place of the adaptive row (chosen to fit: no prediction)", columns)
    for model, rows in found.items():
        made.add_row(Text(model, "bold"))
        for x in rows:
            errors = (f"{100 * error:+.0f} %" for error in x.errors)
            made.add_row(x.variant.name, _ranges(x.outcome.plan), *errors, f"{x.rank}/{x.candidates}")
        made.add_section()
    return made


def _ranges(plan: Partition) -> str:
    """The layers of each device, such as `0-3 | 4-7 | 8-21`."""
    return re.sub(r"\w+ (\d)", r"\1", plan.describe(["x"] * plan.n_devices))


def _plans(case: Case, found: Mapping[str, Prediction], *, wide: bool) -> Table:
    columns = [("plan", False), ("times", False), ("latency, ms", True), ("compute, J", True), ("node, J", True)]
    made = table(f"{case.model}: plans, simulated", [*columns, *([("partition", False)] if wide else [])])
    names = case.world.problem.continuum.names
    for plan in _PLANS:
        if plan == DEVICE_ONLY[0]:
            made.add_section()
        for name, prediction in found.items():
            cells = (
                _with_range(prediction.spread(plan, figure))
                for figure in (lambda x: ms_from_s(x.latency_s), lambda x: x.total_j, lambda x: x.node_j)
            )
            where = prediction.outcomes[plan][0].plan.describe(names)
            made.add_row(plan, name, *cells, *([where] if wide else []))
    return made


def _with_range(spread: Spread) -> str:
    text = between(spread)
    return f"{number(spread.centre)} {text}" if text else number(spread.centre)
