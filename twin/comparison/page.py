"""A comparison as files: `compare.json`, one self-contained HTML page, and its figures as SVG files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from twin.comparison import words
from twin.comparison.figures import pictures
from twin.runs import provenance
from twin.runs.folder import write_text
from twin.wording import LEVEL

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from twin.comparison.judge import Verdict
    from twin.comparison.outcome import Comparison, PolicyPair
    from twin.report.drawing import Picture

QUANTITY_HEADER = (
    "quantity",
    "unit",
    "{first}",
    "{second}",
    f"error, % [{LEVEL}]",
    "MAPE, %",
    "W1",
    "repeats, %",
    "scatter, %",
    "n",
)
STEP_HEADER = ("part of the latency", "{first}, ms", "{second}, ms", f"difference, ms [{LEVEL}]")


def as_json(comparison: Comparison, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """The content of `compare.json`."""
    return {**comparison.to_json(), "verdicts": [verdict.to_json() for verdict in verdicts]}


def write_comparison(folder: Path, comparison: Comparison, verdicts: Sequence[Verdict] = ()) -> None:
    """Write `compare.json`, `compare.html` and the figures.

    Args:
        folder: The folder; made if need be.
        comparison: The comparison.
        verdicts: What became of the requirements.

    Raises:
        RunFolderError: A file cannot be written.
    """
    drawn = pictures(comparison)
    data = as_json(comparison, verdicts)
    write_text(folder / "compare.json", json.dumps(data, indent=2, allow_nan=False) + "\n")
    for picture in drawn:
        write_text(folder / "figures" / f"compare-{picture.name}.svg", picture.alone())
    write_text(folder / "compare.html", render(comparison, verdicts, drawn))


def render(comparison: Comparison, verdicts: Sequence[Verdict], drawn: Sequence[Picture]) -> str:
    """Return the page."""
    import jinja2  # noqa: PLC0415 - not needed without a page

    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(x, "templates") for x in ("twin.comparison", "twin.report")]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    first, second = words.heads(comparison)
    return environment.get_template("compare.html.j2").render(
        title=words.title(comparison),
        setting=words.setting(comparison),
        sources=(comparison.sim.source, comparison.measured.source),
        verdicts=verdicts,
        policies=[(pair.label, pair.pairing.describe(), _sentences(pair)) for pair in comparison.policies],
        quantity_header=[text.format(first=first, second=second) for text in QUANTITY_HEADER],
        quantities=[(pair.label, _quantity_rows(pair)) for pair in comparison.policies],
        step_header=[text.format(first=first, second=second) for text in STEP_HEADER],
        steps=[(pair.label, _step_rows(pair)) for pair in comparison.policies],
        legend=words.LEGEND,
        order=words.order(comparison),
        difference_header=("parameter", first, second),
        differences=words.difference_rows(comparison),
        notes=comparison.notes,
        pictures=drawn,
        versions={name: version for name, version in provenance.versions().items() if version},
        code=provenance.code(),
    )


def _sentences(pair: PolicyPair) -> list[str]:
    return [words.where(pair), words.agreement(pair.decisions)]


def _quantity_rows(pair: PolicyPair) -> list[list[str]]:
    return [
        [
            x.name,
            words.unit(x),
            words.amount(x, x.sim),
            words.amount(x, x.measured),
            words.error(x.error).replace(" %", ""),
            words.in_percent(x.mape),
            words.amount(x, x.wasserstein),
            words.in_percent(x.repeatability, "unknown"),
            words.in_percent(x.scatter, "unknown"),
            str(x.n_measured) if x.n_sim == x.n_measured else f"{x.n_sim} / {x.n_measured}",
        ]
        for x in pair.quantities
    ]


def _step_rows(pair: PolicyPair) -> list[list[str]]:
    rows = []
    for step in pair.steps:
        low, high = step.difference_s.low, step.difference_s.high
        span = "" if low is None or high is None else f" [{words.signed_ms(low)}, {words.signed_ms(high)}]"
        delta = f"{words.change_ms(step.delta_s)}{span}"
        rows.append([words.step_name(step), words.signed_ms(step.sim_s), words.signed_ms(step.measured_s), delta])
    return rows
