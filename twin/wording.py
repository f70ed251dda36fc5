"""Figures as text: three digits, signs and intervals the same way in the terminal and in the report."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from twin.metrics.intervals import CONFIDENCE
from twin.units import ms_from_s

if TYPE_CHECKING:
    from twin.metrics.intervals import Interval, Paired
    from twin.metrics.summary import PolicySummary, Summary
    from twin.problem import Boundary

UNKNOWN = "–"  # noqa: RUF001 - a dash, not a minus
LEVEL = f"{CONFIDENCE:.0%}".replace("%", " %")
METER_LEGEND = f"about {LEVEL} uncertainty of meters (resolution, sampling, idle baseline) and repeats"


def number(value: float | None, digits: int = 3) -> str:
    """A number with so many significant digits and no exponent; a dash for None."""
    if value is None:
        return UNKNOWN
    if value == 0 or not math.isfinite(value):
        return f"{value:.0f}"
    # The exponent after rounding: 9.996 has one digit before the point, 10.0 has two.
    exponent = int(f"{value:.{digits - 1}e}".partition("e")[2])
    return f"{value:.{max(0, digits - 1 - exponent)}f}"


def given(value: float | None) -> str:
    """A number that somebody chose, with no more digits than it needs; a dash for None."""
    return UNKNOWN if value is None else f"{value:.4g}"


def milliseconds(value_s: float | None) -> str:
    """A time in ms, without its unit."""
    return number(None if value_s is None else ms_from_s(value_s))


def with_interval(x: Interval, *, as_ms: bool = False) -> str:
    """Mean and interval, such as `84.5 [82.1, 86.9]`; the mean alone where there is no interval."""
    show = milliseconds if as_ms else number
    if x.low is None or x.high is None:
        return show(x.mean)
    return f"{show(x.mean)} [{show(x.low)}, {show(x.high)}]"


def with_half_width(value: float, half: float) -> str:
    """A figure and its uncertainty, such as `84.5 ± 2.4`: two digits of the one, as many decimals of the other.

    No more than four digits of the figure are shown, however sure it is.
    """
    if half <= 0 or not math.isfinite(half):
        return number(value, 4)
    decimals = len(number(half, 2).partition(".")[2])
    digits = len(number(value, 4).partition(".")[2]) if abs(value) > half / 100 else decimals
    text = f"{value:.{min(decimals, digits)}f}"
    return f"{text if float(text) else '0'} ± {number(half, 2)}"


def joules(policy: PolicySummary, boundary: Boundary, device: int | None = None) -> str:
    """Energy per answer of a device or of all: with its uncertainty where meters read it, else as a mean.

    The interval over replications stands beside the total of joules that come from power states only.
    """
    mean, half_j = policy.energy_j(boundary, device), policy.energy_half_width_j(boundary, device)
    if policy.metered:
        return number(mean.mean) if half_j is None or mean.mean is None else with_half_width(mean.mean, half_j)
    return with_interval(mean) if device is None else number(mean.mean)


def share(part: int, whole: int) -> str:
    """A share of a count in percent, without the sign; a dash where the whole is 0."""
    return f"{100 * part / whole:.1f}" if whole else UNKNOWN


def per_run(policy: PolicySummary, replications: int) -> str:
    """Switches per replication."""
    return f"{policy.switches / replications:.1f}".removesuffix(".0") if replications else UNKNOWN


def percent(value: float) -> str:
    """A signed share in percent without the sign %, with one decimal up to 100 %."""
    return f"{100 * value:+.1f}" if abs(value) < 1 else f"{100 * value:+.0f}"


def change(x: Paired) -> str:
    """A paired difference, such as `-12.3 % [-15.0, -9.1], better in 5 of 5`; a dash where there is none."""
    if x.relative.mean is None:
        return UNKNOWN
    if x.equal == x.n:
        return f"the same in {x.n} of {x.n}"
    return f"{relative(x.relative)}, better in {x.better} of {x.n}"


def comparison(summary: Summary, policy: PolicySummary) -> list[tuple[str, Paired]]:
    """A policy against the first one: the quantities that are known of both, and how they differ."""
    names = {"latency": "latency", "energy": f"energy ({summary.objective.boundary})", "score": "score"}
    pairs = [(label, summary.against_first(policy, name)) for name, label in names.items()]
    return [(label, difference) for label, difference in pairs if difference.relative.mean is not None]


def regrets(summary: Summary) -> list[tuple[str, list[str]]]:
    """For each policy, how far its score lies above that of each reference; empty where nothing is to be compared.

    Returns:
        The policy and one text per reference, such as `+12.3 % [+9.1, +15.0]`.
    """
    rows = []
    for policy in summary.policies:
        if not policy.is_reference:
            found = [summary.regret(policy, reference).relative for reference in summary.references]
            rows.append((policy.label, [relative(x) for x in found]))
    return rows if any(text != UNKNOWN for _, texts in rows for text in texts) else []


def relative(x: Interval) -> str:
    """A relative difference with its interval, such as `+12.3 % [+9.1, +15.0]`; a dash where there is none."""
    if x.mean is None:
        return UNKNOWN
    text = f"{percent(x.mean)} %"
    if x.low is not None and x.high is not None:
        text += f" [{percent(x.low)}, {percent(x.high)}]"
    return text


def setting(summary: Summary) -> str:
    """What the figures are of, in one line."""
    runs = f"{summary.replications} replication{'s' if summary.replications != 1 else ''}"
    return f"{summary.model} · source: {summary.source} · {runs} · seed {summary.seed}"


def layer_times(summary: Summary) -> str:
    """Where the layer times of each device are known from, in one line."""
    pairs = zip(summary.devices, summary.profile_sources, strict=True)
    return "layer times: " + ", ".join(f"{device} {source}" for device, source in pairs)
