"""What meters say of one replication: joules of each device at each boundary, how sure, and what to bear in mind."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from twin.energy import INTERVAL_S, interval_edges_s, last_s, power_table
from twin.errors import MeasurementError
from twin.metering import caveats
from twin.metering.baseline import Baseline, idle_baseline
from twin.metering.computing import compute_only
from twin.metering.course import counter_course, power_course, without
from twin.metering.facts import MeterFacts
from twin.metering.uncertainty import half_width_j

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from twin.energy import Window
    from twin.metering.caveats import Caveat
    from twin.metering.course import Course
    from twin.problem import Boundary
    from twin.records import Power, RunResult
    from twin.world import World


class Joules(NamedTuple):
    """An energy and the half-width of its uncertainty; both None where it is not known."""

    value_j: float | None
    half_width_j: float | None


UNKNOWN = Joules(None, None)
_FINE = 0.02
"""Step of a counter, relative to what it usually counts between readings, up to which it resolves these."""


@dataclass(frozen=True, slots=True)
class MeteredEnergy:
    """What the meter of one device says of a window.

    Attributes:
        facts: What the meter is; None where there is none.
        covered: Share of the window that readings cover.
        joules: Energy at each accounting boundary.
        counter: Energy of the window by the meter's own counter.
        baseline: Idle power around the run, or None.
        caveats: What to bear in mind.
    """

    facts: MeterFacts | None
    covered: float
    joules: Mapping[Boundary, Joules]
    counter: Joules
    baseline: Baseline | None
    caveats: tuple[Caveat, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the energy as plain data; joules are of the whole window."""
        return {
            "meter": None if self.facts is None else self.facts.to_json(),
            "covered": self.covered,
            "window_j": {
                boundary: {"value": x.value_j, "half_width": x.half_width_j} for boundary, x in self.joules.items()
            },
            "counter_j": {"value": self.counter.value_j, "half_width": self.counter.half_width_j},
            "idle": None if self.baseline is None else self.baseline.to_json(),
            "caveats": [caveat.text for caveat in self.caveats],
        }


def metered(world: World, run: RunResult, window: Window) -> tuple[MeteredEnergy, ...]:
    """What the meter of each device says of a window of one replication.

    Args:
        world: Names the devices and the faults of meters.
        run: The records of one replication.
        window: The window.

    Returns:
        One entry per device, also where there is no meter.

    Raises:
        MeasurementError: The run holds readings of a meter that it does not describe.
    """
    end_s = last_s(run.requests, run.spans.end_s)
    return tuple(_device(world, run, window, device, end_s) for device in range(world.problem.n_devices))


class Courses(NamedTuple):
    """What one meter showed over one replication.

    Attributes:
        facts: What the meter is.
        power: The course of its power, or None.
        counter: The course of its counter, or None.
    """

    facts: MeterFacts
    power: Course | None
    counter: Course | None

    @property
    def best(self) -> Course | None:
        """The course that energy is taken from: power, unless a counter resolves each reading and so misses nothing."""
        if self.power is None or self.counter is None:
            return self.power or self.counter
        usual_j = float(np.median(np.abs(np.diff(self.counter.energy_j))))
        return self.counter if 0 < self.counter.counter_step_j <= _FINE * usual_j else self.power


def courses(run: RunResult, device: int, name: str, gone_s: Sequence[tuple[float, float]]) -> Courses | None:
    """What the meter of one device showed over one replication; None without readings.

    Args:
        run: The records of one replication.
        device: Position of the device.
        name: Its name.
        gone_s: Stretches in which a scenario takes the meter away.

    Raises:
        MeasurementError: The run holds readings of a meter that it does not describe.
    """
    readings = run.meters.where(run.meters.device == device)
    if len(readings) == 0:
        return None
    facts = _facts(run, name)
    readings = without(readings, gone_s)
    return Courses(facts, power_course(readings, facts), counter_course(readings, facts))


def measured_power(world: World, run: RunResult, interval_s: float = INTERVAL_S) -> Power:
    """Mean power of each device in each interval from 0 to the end of one replication, as meters showed it.

    Args:
        world: Names the devices and the faults of meters.
        run: The records of one replication; its `power` is not looked at.
        interval_s: Length of an interval; the last one may be shorter.

    Returns:
        The samples by device, then by time; NaN where readings do not cover a whole interval.

    Raises:
        MeasurementError: The run holds readings of a meter that it does not describe.
    """
    edges_s = interval_edges_s(last_s(run.requests, run.spans.end_s), interval_s)
    mean_w = np.full((world.problem.n_devices, len(edges_s) - 1), math.nan)
    for device in range(world.problem.n_devices):
        found = _courses(world, run, device)
        if found is not None and found.best is not None:
            mean_w[device] = found.best.joules(edges_s) / np.diff(edges_s)
    return power_table(int(run.requests.replication[0]) if len(run.requests) else 0, edges_s, mean_w)


def _device(world: World, run: RunResult, window: Window, device: int, end_s: float) -> MeteredEnergy:
    found = _courses(world, run, device)
    nothing: dict[Boundary, Joules] = dict.fromkeys(("node", "marginal", "compute_only"), UNKNOWN)
    if found is None:
        return MeteredEnergy(None, 0.0, nothing, UNKNOWN, None, (caveats.NO_METER,))
    facts, power, counter = found
    course = found.best
    if course is None:
        return MeteredEnergy(facts, 0.0, nothing, UNKNOWN, None, (caveats.incomplete(0.0),))
    node, shown, counted = (_joules(x, window) for x in (course, power, counter))
    covered = 1.0 if node.value_j is not None else float(course.covered_s(np.array(window))[0]) / window.length_s
    disagree = _disagree(shown, counted)
    if disagree and shown.value_j is not None and counted.value_j is not None:
        # One of the two is wrong, and nothing tells which: the half-width reaches from one to the other.
        other = shown if course is counter else counted
        node = Joules(node.value_j, abs(shown.value_j - counted.value_j) + (other.half_width_j or 0.0))
    baseline = idle_baseline(course, end_s)
    joules: dict[Boundary, Joules] = {
        "node": node,
        "marginal": _marginal(node, baseline, window),
        "compute_only": _compute_only(run, power, window, device) if node.value_j is not None else UNKNOWN,
    }
    said = caveats.of(facts, covered, window, (node, shown if disagree else None, counted), baseline)
    return MeteredEnergy(facts, covered, joules, counted, baseline, said)


def _joules(course: Course | None, window: Window) -> Joules:
    """Energy of a window; unknown where the readings do not cover it all."""
    value_j = math.nan if course is None else float(course.joules(np.array(window))[0])
    return UNKNOWN if course is None or math.isnan(value_j) else Joules(value_j, half_width_j(course, *window))


def _disagree(shown: Joules, counted: Joules) -> bool:
    """Whether readings and counter differ by more than both half-widths."""
    if shown.value_j is None or counted.value_j is None:
        return False
    return abs(shown.value_j - counted.value_j) > (shown.half_width_j or 0.0) + (counted.half_width_j or 0.0)


def _marginal(node: Joules, baseline: Baseline | None, window: Window) -> Joules:
    if node.value_j is None or node.half_width_j is None or baseline is None:
        return UNKNOWN
    return Joules(
        node.value_j - baseline.mean_w * window.length_s,
        math.hypot(node.half_width_j, baseline.half_width_w * window.length_s),
    )


def _compute_only(run: RunResult, power: Course | None, window: Window, device: int) -> Joules:
    found = None if power is None else compute_only(power, run.spans, device, window)
    return UNKNOWN if found is None else Joules(*found)


def _facts(run: RunResult, name: str) -> MeterFacts:
    for entry in run.facts.get("meters", ()):
        if entry.get("device") == name:
            return MeterFacts.from_json(entry, f"meter of `{name}`")
    raise MeasurementError(f"{run.label}: there are readings of `{name}`, but no facts of its meter; measure it again")


def _courses(world: World, run: RunResult, device: int) -> Courses | None:
    gone_s = [(x.start_s, x.end_s) for x in world.faults if x.kind == "meter_gone" and x.target == device]
    return courses(run, device, world.problem.continuum.names[device], gone_s)
