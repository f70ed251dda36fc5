"""What a search minimises: the scenario's objective turned into coefficients, and the plan that comes out of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeVar

import numpy as np

from twin.cost import IDLE
from twin.errors import ScenarioError
from twin.problem import Candidate, Objective

if TYPE_CHECKING:
    from twin.cost import Prediction
    from twin.partition import Partition
    from twin.problem import Boundary, Problem

Aim = Objective | Literal["latency", "energy", "throughput"] | None
"""An objective, one quantity alone, or None for the problem's own objective."""

Number = TypeVar("Number", float, np.ndarray)

ROUNDING = 1e-12
"""Relative difference below which two scores, or a latency and a deadline, count as equal."""

ENDLESS_S = 1e20
"""A latency above this stands for one that is infinite."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A partition with what is predicted of it for requests that meet no other.

    Attributes:
        partition: Which device runs what.
        score: Value of the goal, without a unit; the lower the better.
        latency_s: End-to-end latency; infinite where a link without rate or a lost device is needed.
        energy_j: Joules per request of all devices at the objective's boundary; None where a power is unknown.
        bottleneck_s: Largest time that any device slot or link direction is held per request.
        feasible: Whether it can be carried out and meets the deadline, the memory limits and the pinned layers.
    """

    partition: Partition
    score: float
    latency_s: float
    energy_j: float | None
    bottleneck_s: float
    feasible: bool = True

    def candidate(self) -> Candidate:
        """The plan as a decision records it."""
        return Candidate(self.partition, self.score, self.latency_s, self.energy_j)


class References(NamedTuple):
    """What scores are relative to: the values of one plan under the first conditions.

    Attributes:
        latency_s: Latency that counts as 1.
        energy_j: Energy that counts as 1; NaN where a power is unknown.
        bottleneck_s: Bottleneck that counts as 1.
    """

    latency_s: float
    energy_j: float
    bottleneck_s: float


@dataclass(frozen=True, slots=True)
class Goal:
    """An objective as coefficients.

    The energy of a plan is `active_j + idle_w * max(idle_s + idle_per_latency * latency, bottleneck)`: its own joules
    and the idle power of all devices for one request's share of the time, 1 / throughput (`cost.throughput_rps`).

    Attributes:
        latency_per_s: Weight of the latency / its reference.
        energy_per_j: Weight of the energy / its reference.
        bottleneck_per_s: 1 / reference of the bottleneck if the throughput is the goal, else 0.
        boundary: Which joules count.
        deadline_s: Latency that a plan may not exceed; infinite for none.
        idle_w: Idle power of all devices; 0 if the boundary leaves it out, NaN if it is unknown.
        idle_s: Share of the time of one request: its constant part.
        idle_per_latency: The same: its part per second of latency.
    """

    latency_per_s: float
    energy_per_j: float
    bottleneck_per_s: float
    boundary: Boundary
    deadline_s: float
    idle_w: float
    idle_s: float
    idle_per_latency: float

    @property
    def needs_bottleneck(self) -> bool:
        """Whether the score depends on the bottleneck."""
        return self.bottleneck_per_s > 0 or (self.energy_per_j > 0 and self.idle_w > 0)

    @property
    def limit_s(self) -> float:
        """Largest latency that counts: that of the deadline, rounding allowed for, or else any that is finite."""
        return min(self.deadline_s * (1 + ROUNDING), ENDLESS_S)

    def least_latency(self) -> Goal:
        """The goal of the least latency, with no deadline; the energy is counted as before."""
        return replace(self, latency_per_s=1.0, energy_per_j=0.0, bottleneck_per_s=0.0, deadline_s=math.inf)

    def most_throughput(self) -> Goal:
        """The goal of the least bottleneck under the same constraints."""
        return replace(self, latency_per_s=0.0, energy_per_j=0.0, bottleneck_per_s=1.0)

    def energy_j(self, latency_s: Number, active_j: Number, bottleneck_s: Number) -> Number:
        """Joules per request at the boundary; of one plan, or of many as arrays."""
        if self.idle_w == 0:
            return active_j
        share_s = np.maximum(self.idle_s + self.idle_per_latency * latency_s, bottleneck_s)
        return active_j + self.idle_w * share_s  # type: ignore[no-any-return]

    def score(self, latency_s: Number, energy_j: Number, bottleneck_s: Number) -> Number:
        """Score of one plan, or of many as arrays; a quantity without weight may be anything."""
        if self.bottleneck_per_s:
            return self.bottleneck_per_s * bottleneck_s
        total = self.latency_per_s * latency_s
        return total + self.energy_per_j * energy_j if self.energy_per_j else total


def objective_of(problem: Problem, aim: Aim) -> Objective:
    """The objective that an aim stands for; the throughput weighs neither latency nor energy."""
    if isinstance(aim, Objective):
        return aim
    if aim is None:
        return problem.objective
    weights = {"latency": (1.0, 0.0), "energy": (0.0, 1.0), "throughput": (0.0, 0.0)}
    if aim not in weights:
        raise ScenarioError(f"objective: `{aim}` is unknown; choose latency, energy or throughput")
    latency, energy = weights[aim]
    return replace(problem.objective, latency=latency, energy=energy)


def goal_of(problem: Problem, aim: Aim, references: References) -> Goal:
    """Turn an aim into coefficients.

    Raises:
        ScenarioError: Energy has a weight, and the power of a device or the demand is not known.
    """
    objective = objective_of(problem, aim)
    counts_idle = objective.boundary == "node"
    idle_s, idle_per_latency = _share(problem)
    if objective.energy > 0:
        check_energy(problem, objective.boundary)
    return Goal(
        latency_per_s=objective.latency / _nonzero(references.latency_s),
        energy_per_j=objective.energy / _nonzero(references.energy_j) if objective.energy else 0.0,
        bottleneck_per_s=1 / _nonzero(references.bottleneck_s) if aim == "throughput" else 0.0,
        boundary=objective.boundary,
        deadline_s=math.inf if objective.deadline_s is None else objective.deadline_s,
        idle_w=float(problem.power_w[:, IDLE].sum()) if counts_idle else 0.0,
        idle_s=idle_s,
        idle_per_latency=idle_per_latency,
    )


def plan_of(problem: Problem, goal: Goal, partition: Partition, prediction: Prediction) -> Plan:
    """Score a partition that has been predicted."""
    energy_j = prediction.energy_j(goal.boundary)
    latency_s = prediction.latency_s
    finite = math.isfinite(latency_s)
    return Plan(
        partition,
        goal.score(latency_s, energy_j, prediction.bottleneck_s) if finite else math.inf,
        latency_s,
        None if math.isnan(energy_j) else energy_j,
        prediction.bottleneck_s,
        finite and latency_s <= goal.limit_s and problem.allows(partition),
    )


def _share(problem: Problem) -> tuple[float, float]:
    """One request's share of the time where no bottleneck caps it, constant and per second of latency."""
    demand = problem.demand
    if demand.rate_rps is not None:
        return (1 / demand.rate_rps if demand.rate_rps > 0 else math.inf), 0.0
    if demand.clients > 0:
        return demand.think_time_s / demand.clients, 1 / demand.clients
    return math.inf, 0.0


def check_energy(problem: Problem, boundary: Boundary) -> None:
    """Check that the energy of plans can be predicted at a boundary.

    Raises:
        ScenarioError: The power of a device is not known, or the demand is not and the boundary needs it.
    """
    unknown = [device.name for device in problem.continuum.devices if device.power is None]
    if unknown:
        raise ScenarioError(
            f"objective.energy: the power of {', '.join(f'`{name}`' for name in unknown)} is not known; "
            "give devices.*.power, or set objective.energy to 0"
        )
    if boundary == "node" and math.isinf(_share(problem)[0]):
        raise ScenarioError(
            "objective.boundary: `node` needs to know how often requests come; give the workload a rate or clients, "
            "or choose the boundary `marginal`"
        )


def _nonzero(reference: float) -> float:
    """A reference that is zero, unknown or infinite gives no scale: count in plain units then."""
    return reference if math.isfinite(reference) and reference > 0 else 1.0
