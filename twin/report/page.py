"""A run as one HTML page that needs nothing else: the answer, the table, the figures, and what it all rests on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from twin.partition import Partition
from twin.report import facts
from twin.report.figures import pictures
from twin.report.headline import headline
from twin.report.meters import METER_HEADER, meter_rows
from twin.runs import provenance
from twin.runs.folder import write_text
from twin.wording import (
    LEVEL,
    METER_LEGEND,
    change,
    comparison,
    joules,
    milliseconds,
    number,
    per_run,
    regrets,
    share,
    with_interval,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from twin.metrics.intervals import Interval
    from twin.metrics.summary import PolicySummary, Summary
    from twin.records import RunResult
    from twin.report.drawing import Picture
    from twin.world import World

_ENTRIES_SHOWN = 50


class Decisions(NamedTuple):
    """The plans that a policy chose, for the page.

    Attributes:
        label: The policy.
        title: How many there are and how many are shown.
        rows: Replication, time, plan and reason of each.
    """

    label: str
    title: str
    rows: list[list[str]]


def write_report(
    path: Path, world: World, results: Sequence[RunResult], summary: Summary, more: Sequence[Picture] = ()
) -> None:
    """Write a self-contained HTML page, and its figures as SVG files in the folder `figures` beside it.

    Args:
        path: The file of the page.
        world: The scenario that was played.
        results: The policies, each with all its replications.
        summary: Their figures.
        more: Figures that are to follow those of every report.

    Raises:
        RunFolderError: The file cannot be written.
    """
    drawn = [*_drawn(world, results, summary), *more]
    for picture in drawn:
        write_text(path.parent / "figures" / f"{picture.name}.svg", picture.alone())
    write_text(path, render(world, results, summary, drawn))


def render(world: World, results: Sequence[RunResult], summary: Summary, drawn: Sequence[Picture] | None = None) -> str:
    """Return the page; its figures are drawn here unless they are given."""
    import jinja2  # noqa: PLC0415 - not needed without a report

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("twin.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(
        summary=summary,
        headline=headline(summary).split("`"),
        level=LEVEL,
        header=_header(summary),
        rows=[_row(summary, policy) for policy in summary.policies],
        differences=_differences(summary),
        references=[policy.label for policy in summary.references],
        regrets=regrets(summary),
        pictures=_drawn(world, results, summary) if drawn is None else drawn,
        device_header=facts.DEVICE_HEADER,
        devices=facts.device_rows(world),
        meter_header=METER_HEADER,
        meters=meter_rows(results),
        meter_legend=METER_LEGEND if any(policy.metered for policy in summary.policies) else "",
        link_header=facts.LINK_HEADER,
        links=facts.link_rows(world),
        scenario=facts.scenario_rows(world, results, summary),
        decisions=[_decisions(world, result) for result in results],
        versions={name: version for name, version in provenance.versions().items() if version},
        code=provenance.code(),
    )


def _drawn(world: World, results: Sequence[RunResult], summary: Summary) -> list[Picture]:
    """The figures of the policies that can be run; references would hide them."""
    shown = tuple(policy for policy in summary.policies if not policy.is_reference)
    labels = {policy.label for policy in shown}
    return pictures(world, [x for x in results if x.label in labels], replace(summary, policies=shown))


def _header(summary: Summary) -> list[list[tuple[str, int]]]:
    """Two rows of column heads, each with the number of columns that it spans."""
    latency = ["n", "mean", "p50", "p95", "p99", *(f"{name}, %" for name in _misses(summary))]
    energy = ["total", *summary.devices]
    rest = ["req/s", "switches per run", "score"]
    groups = [
        ("", 1),
        ("end-to-end latency, ms", len(latency)),
        (f"{summary.objective.boundary} energy, J per completed request", len(energy)),
        ("", len(rest)),
    ]
    return [groups, [(name, 1) for name in ("policy", *latency, *energy, *rest)]]


def _misses(summary: Summary) -> dict[str, tuple[str, ...]]:
    """Columns of requests that missed, and the ends that count in each; those that cannot occur are left out."""
    misses: dict[str, tuple[str, ...]] = {}
    if summary.objective.deadline_s is not None:
        misses["late"] = ("late",)
    if any(policy.requests["arrived"] > policy.answered for policy in summary.policies):
        misses["lost"] = ("dropped", "failed")
    return misses


def _row(summary: Summary, policy: PolicySummary) -> list[str]:
    boundary, requests = summary.objective.boundary, policy.requests
    return [
        policy.label,
        str(policy.answered),
        with_interval(policy.latency_s("mean"), as_ms=True),
        milliseconds(policy.latency_s("p50").mean),
        with_interval(policy.latency_s("p95"), as_ms=True),
        milliseconds(policy.latency_s("p99").mean),
        *(share(sum(requests[end] for end in ends), requests["arrived"]) for ends in _misses(summary).values()),
        joules(policy, boundary),
        *(joules(policy, boundary, device) for device in range(len(summary.devices))),
        number(policy.throughput_rps.mean),
        per_run(policy, summary.replications),
        with_interval(policy.score),
    ]


def _differences(summary: Summary) -> list[tuple[str, list[tuple[str, str, str]]]]:
    """For each policy after the first: quantity, difference and verdict."""
    return [
        (
            f"{policy.label} - {summary.policies[0].label}",
            [(name, change(x), _verdict(x.relative)) for name, x in comparison(summary, policy)],
        )
        for policy in summary.policies[1:]
        if not policy.is_reference
    ]


def _verdict(relative: Interval) -> str:
    if not relative.excludes_zero or relative.mean is None:
        return "open"
    return "better" if relative.mean < 0 else "worse"


def _decisions(world: World, result: RunResult) -> Decisions:
    """The plan that a policy began with and the changes; the first and last ones where there are many."""
    chosen = [entry for entry in result.decisions if entry["switched"] or entry["tick"] == 0]
    switches = sum(bool(entry["switched"]) for entry in chosen)
    if switches == 0 and all(entry["partition"] == chosen[0]["partition"] for entry in chosen):
        chosen = [{**entry, "replication": "all"} for entry in chosen[:1]]
    half = _ENTRIES_SHOWN // 2
    shown = chosen if len(chosen) <= _ENTRIES_SHOWN else [*chosen[:half], *chosen[-half:]]
    names = world.problem.continuum.names
    rows = [
        [
            str(entry["replication"]),
            f"{entry['t_s']:.2f}",
            Partition.from_json(entry["partition"]).describe(names),
            str(entry["reason"]),
        ]
        for entry in shown
    ]
    title = f"{switches} switch{'es' if switches != 1 else ''} in {len(result.decisions)} decisions"
    if len(shown) < len(chosen):
        title += f"; the first and last {half} of {len(chosen)} plans are shown"
    return Decisions(result.label, title, rows)
