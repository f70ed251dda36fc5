"""Break-even points: which partition is the best as one condition varies, and where it changes.

Between two values at which the same partition is the best, another one can be the best only if the scores are not
straight lines in the condition (or, for a rate, in its reciprocal): a least of straight lines is concave. So with
latency, marginal energy or a weighted sum of them no change is missed. A deadline and a throughput that a bottleneck
caps bend the scores; there a range narrower than a step of the grid can be missed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from twin.errors import ScenarioError
from twin.problem import Conditions
from twin.search import best
from twin.topology import DOWN, UP

if TYPE_CHECKING:
    from collections.abc import Callable

    from twin.problem import Problem
    from twin.search.goals import Aim, Plan

Kind = Literal["rate_bps", "up_bps", "down_bps", "rtt_s", "slowdown"]

GRID = 41
"""Values that are tried before the changes between them are located."""
PRECISION = 1e-5
"""Relative width to which a change is located."""

_DIRECTIONS: dict[str, list[int]] = {"rate_bps": [UP, DOWN], "up_bps": [UP], "down_bps": [DOWN]}
_EXAMPLE = "write it as links.0.rate_bps=1e6:1e8"
_FORMS = "links.I.rate_bps, links.I.up_bps, links.I.down_bps, links.I.rtt_s and devices.I.load"


@dataclass(frozen=True, slots=True)
class Axis:
    """A condition that varies.

    Attributes:
        path: Its name as it was given, such as `links.0.rate_bps`.
        kind: What varies.
        index: Position of the link or device.
        low: First value, above 0; SI units.
        high: Last value.
    """

    path: str
    kind: Kind
    index: int
    low: float
    high: float

    def at(self, conditions: Conditions, value: float) -> Conditions:
        """The conditions with this one set; `rate_bps` sets both directions."""
        rate_bps, rtt_s, slowdown = conditions.rate_bps.copy(), conditions.rtt_s.copy(), conditions.slowdown.copy()
        if self.kind == "rtt_s":
            rtt_s[self.index] = value
        elif self.kind == "slowdown":
            slowdown[self.index] = value
        else:
            rate_bps[self.index, _DIRECTIONS[self.kind]] = value
        return Conditions(rate_bps, rtt_s, slowdown)


@dataclass(frozen=True, slots=True)
class Range:
    """Neighbouring values at which one partition is the best.

    Attributes:
        low: Least value.
        high: Greatest value.
        first: The best plan at the least value.
        last: The same partition at the greatest value.
    """

    low: float
    high: float
    first: Plan
    last: Plan

    @property
    def is_split(self) -> bool:
        """Whether more than one device runs layers."""
        return len(self.first.partition.visited) > 1

    @property
    def is_edge_only(self) -> bool:
        """Whether the edge device runs everything."""
        return not any(self.first.partition.placement)

    def to_json(self) -> dict[str, Any]:
        """Return the range as plain data."""
        return {
            "from": self.low,
            "to": self.high,
            "partition": self.first.partition.to_json(),
            "split": self.is_split,
            "feasible": self.first.feasible,
            "latency_s": [_finite(self.first.latency_s), _finite(self.last.latency_s)],
        }


def parse_axis(text: str, problem: Problem) -> Axis:
    """Read what is to vary, such as `links.0.rate_bps=1e6:1e8`.

    Args:
        text: Path, least and greatest value, in SI units. A device may be given by its name, a link by those of its
            devices (`pi-laptop`).
        problem: Says which links and devices there are.

    Raises:
        ScenarioError: The path leads nowhere, or the values are not numbers with 0 < least < greatest.
    """
    path, _, values = text.partition("=")
    group, _, rest = path.partition(".")
    name, _, kind = rest.rpartition(".")
    if group == "devices" and kind == "load":
        kind = "slowdown"  # what a scenario calls the load is a constant slowdown here
    kinds = {"links": ("rate_bps", "up_bps", "down_bps", "rtt_s"), "devices": ("slowdown",)}.get(group, ())
    if kind not in kinds:
        raise ScenarioError(f"--vary {text}: `{path}` cannot vary; what can: {_FORMS}")
    continuum = problem.continuum
    links = [continuum.link_name(link) for link in range(len(continuum.links))]
    index = _index(name, links if group == "links" else list(continuum.names), text)
    low, high = _values(values, text)
    return Axis(path, kind, index, low, high)  # type: ignore[arg-type]


def ranges_of(problem: Problem, conditions: Conditions, axis: Axis, aim: Aim = None) -> list[Range]:
    """The best partitions from the least to the greatest value: a grid in equal ratios, then bisection of each change.

    Where nothing meets the deadline, the partition with the least latency stands in, marked as not feasible.

    Args:
        problem: The problem.
        conditions: All other conditions.
        axis: What varies.
        aim: What to minimise; None for the problem's objective.

    Raises:
        InfeasibleError: The memory limits and pinned layers exclude every partition.
        ScenarioError: Energy has a weight, and the power of a device is not known.
    """

    def plan_at(value: float) -> Plan:
        return best(problem, axis.at(conditions, value), objective=aim, or_nearest=True)

    values = [float(value) for value in np.geomspace(axis.low, axis.high, GRID)]
    points = [(value, plan_at(value)) for value in values]
    located = points[:1]
    for point in points[1:]:
        located += _locate(plan_at, located[-1], point)
    ranges: list[Range] = []
    for value, plan in located:
        if ranges and _same(ranges[-1].first, plan):
            ranges[-1] = Range(ranges[-1].low, value, ranges[-1].first, plan)
        else:
            ranges.append(Range(value, value, plan, plan))
    return ranges


Point = tuple[float, "Plan"]


def _locate(plan_at: Callable[[float], Plan], low: Point, high: Point) -> list[Point]:
    """Points between two values, the higher among them, such that every change lies within the precision."""
    if _same(low[1], high[1]) or high[0] <= low[0] * (1 + PRECISION):
        return [high]
    value = math.sqrt(low[0] * high[0])
    middle = (value, plan_at(value))
    return [*_locate(plan_at, low, middle), *_locate(plan_at, middle, high)]


def _same(one: Plan, other: Plan) -> bool:
    return one.partition == other.partition and one.feasible == other.feasible


def _index(name: str, known: list[str], text: str) -> int:
    if name in known:
        return known.index(name)
    if name.isdecimal() and int(name) < len(known):
        return int(name)
    choices = ", ".join(f"{position} ({label})" for position, label in enumerate(known)) or "none"
    raise ScenarioError(f"--vary {text}: there is no `{name}`; there are {choices}")


def _values(values: str, text: str) -> tuple[float, float]:
    parts = values.split(":")
    try:
        low, high = (float(part) for part in parts)
    except ValueError as error:
        raise ScenarioError(f"--vary {text}: `{values}` is not two numbers; {_EXAMPLE}") from error
    if not 0 < low < high < math.inf:
        raise ScenarioError(f"--vary {text}: the values must be finite with 0 < first < second; {_EXAMPLE}")
    return low, high


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
