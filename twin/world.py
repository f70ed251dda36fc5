"""The world of a scenario: what a backend plays and a policy cannot see."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from twin.problem import Conditions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from twin.problem import Problem
    from twin.profiles import Profile
    from twin.steps import Steps
    from twin.traces import LinkTrace, LoadTrace
    from twin.workload import Workload

FaultKind = Literal["link_down", "device_down", "device_slow", "meter_gone"]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that breaks for a while.

    Attributes:
        kind: What breaks.
        target: Position of the link or device.
        start_s: When it breaks.
        end_s: When it is whole again.
        slowdown: For `device_slow`, the factor by which work takes longer.
    """

    kind: FaultKind
    target: int
    start_s: float
    end_s: float
    slowdown: float = 1.0


@dataclass(frozen=True, slots=True)
class Control:
    """When the controller decides: every so many seconds, or before every so many arrivals.

    Attributes:
        every_s: Control interval in seconds, or None.
        every_requests: Control interval in arriving requests, or None.
    """

    every_s: float | None = 1.0
    every_requests: int | None = None


@dataclass(frozen=True, slots=True)
class PolicySpec:
    """A policy as a scenario names it.

    Attributes:
        label: Name of the policy in this scenario.
        kind: Which policy it is.
        options: Its parameters.
    """

    label: str
    kind: str
    options: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class World:
    """Everything that a scenario resolves to.

    Attributes:
        name: Name of the scenario.
        question: The question that the scenario asks, or an empty string.
        problem: What policies are given.
        links: Trace of each link.
        loads: Load of each device.
        dispersion: Standard deviation of the logarithm of a stage's time by device, shape [n_devices]; 0 for none.
        workload: How requests arrive and when the run ends.
        control: When the controller decides.
        policies: The policies to compare.
        profiles: Profile of each device.
        faults: What breaks, and when.
        detect_s: Time until a lost device or link is noticed.
        drain_s: Time that requests under way have to finish once arrivals end.
        replications: How often each policy is played, each time with its own luck.
        seed: Seed of everything random.
        resolved: The scenario with every default filled in, as plain data.
    """

    name: str
    problem: Problem
    links: tuple[LinkTrace, ...]
    loads: tuple[LoadTrace, ...]
    dispersion: np.ndarray
    workload: Workload
    control: Control
    policies: tuple[PolicySpec, ...]
    profiles: tuple[Profile, ...]
    faults: tuple[Fault, ...] = ()
    detect_s: float = 2.0
    drain_s: float = 60.0
    replications: int = 1
    seed: int = 0
    question: str = ""
    resolved: Mapping[str, Any] = field(default_factory=dict)

    @property
    def without_dispersion(self) -> tuple[str, ...]:
        """Names of the devices whose profile holds no measured spread of stage times, so that none is simulated."""
        named = zip(self.problem.continuum.names, self.profiles, strict=True)
        return tuple(name for name, profile in named if profile.dispersion is None)

    def conditions_at(self, t_s: float) -> Conditions:
        """The true conditions at a time, faults left out."""
        return conditions_at(self.links, self.loads, t_s)


def conditions_at(links: Sequence[LinkTrace], loads: Sequence[LoadTrace], t_s: float) -> Conditions:
    """The conditions that the traces of links and devices hold at a time."""
    rate_bps = np.array([[trace.up.at(t_s), trace.down.at(t_s)] for trace in links], dtype=float).reshape(-1, 2)
    rtt_s = np.array([trace.rtt.at(t_s) for trace in links], dtype=float)
    slowdown = np.array([load.slowdown.at(t_s) for load in loads], dtype=float)
    return Conditions(rate_bps, rtt_s, slowdown)


def faulted_rates(world: World) -> list[Steps]:
    """The rate at which each place delivers work, with the scenario's faults in it."""
    rates = [_device_rate(world, device) for device in range(len(world.loads))]
    for link in range(len(world.links)):
        trace = world.links[link]
        rates += [_link_rate(world, link, trace.up), _link_rate(world, link, trace.down)]
    return rates


def link_outages_s(world: World, position: int) -> list[tuple[float, float]]:
    """When a link carries nothing because it, or the device at one of its ends, is down: (start, end) of each fault."""
    link = world.problem.continuum.links[position]
    return [
        (fault.start_s, fault.end_s)
        for fault in world.faults
        if (fault.kind == "link_down" and fault.target == position)
        or (fault.kind == "device_down" and fault.target in (link.a, link.b))
    ]


def _device_rate(world: World, device: int) -> Steps:
    rate = world.loads[device].work
    for fault in world.faults:
        if fault.kind == "device_down" and fault.target == device:
            rate = rate.masked(fault.start_s, fault.end_s)
        elif fault.kind == "device_slow" and fault.target == device:
            rate = rate.scaled(1 / fault.slowdown, fault.start_s, fault.end_s)
    return rate


def _link_rate(world: World, position: int, rate: Steps) -> Steps:
    for start_s, end_s in link_outages_s(world, position):
        rate = rate.masked(start_s, end_s)
    return rate
