"""The figures of a run by policy: per replication, over replications, and against the first policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twin.metrics.intervals import CONFIDENCE, Interval, Paired, interval, paired
from twin.metrics.meters import half_width_j, over_replications
from twin.problem import BOUNDARIES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from twin.energy import Window
    from twin.metering import MeteredEnergy
    from twin.problem import Boundary, Objective

COUNTS = ("arrived", "ok", "late", "dropped", "failed")
LATENCIES = ("mean", "p50", "p95", "p99")
REFERENCES = ("clairvoyant", "oracle-static")
"""Kinds that see the truth: they show what would be possible, and nobody can run them."""
PERCENTILE_RULE = "mean over the replications of each replication's own percentile"


@dataclass(frozen=True, slots=True)
class Figures:
    """What one replication of one policy came to; None where nothing was completed or a power is unknown.

    Attributes:
        replication: Its number.
        requests: Counted requests by how they ended, and `arrived`.
        latency_s: Mean and percentiles of the end-to-end latency of counted requests that were answered.
        window: Accounting window of energy and throughput, or None.
        completed: Answers in that window, also to requests that arrived in warm-up.
        throughput_rps: Answers per second of the window.
        offered_rps: Counted arrivals per second while requests arrive; None in a closed loop.
        energy_j: Joules per answer by device, for each accounting boundary.
        states_j: Joules per answer by device and `energy.State`.
        switches: Changes of the partition in the whole run.
        score: The scenario's objective for the mean latency and the energy per answer.
        metered: What the meter of each device says of the window; None where joules come from power states.
    """

    replication: int
    requests: Mapping[str, int]
    latency_s: Mapping[str, float | None]
    window: Window | None
    completed: int
    throughput_rps: float | None
    offered_rps: float | None
    energy_j: Mapping[Boundary, tuple[float | None, ...]]
    states_j: tuple[tuple[float | None, ...], ...]
    switches: int
    score: float | None
    metered: tuple[MeteredEnergy, ...] | None = None

    def total_j(self, boundary: Boundary) -> float | None:
        """Joules per answer of all devices; None if that of any device is unknown."""
        return added(self.energy_j[boundary])

    def to_json(self) -> dict[str, Any]:
        """Return the figures as plain data."""
        return {
            "replication": self.replication,
            "requests": dict(self.requests),
            "latency_s": dict(self.latency_s),
            "energy_j": {boundary: self.total_j(boundary) for boundary in BOUNDARIES},
            "devices_j": {boundary: list(self.energy_j[boundary]) for boundary in BOUNDARIES},
            "throughput_rps": self.throughput_rps,
            "offered_rps": self.offered_rps,
            "completed_in_window": self.completed,
            "window_s": list(self.window) if self.window else None,
            "switches": self.switches,
            "score": self.score,
            **({} if self.metered is None else {"meters": [entry.to_json() for entry in self.metered]}),
        }


@dataclass(frozen=True, slots=True)
class PolicySummary:
    """One policy over all its replications.

    Attributes:
        label: Its name in the scenario.
        kind: Which policy it is.
        figures: Its replications, in order.
    """

    label: str
    kind: str
    figures: tuple[Figures, ...]

    @property
    def is_reference(self) -> bool:
        """Whether it sees the truth, so that nobody can run it."""
        return self.kind in REFERENCES

    @property
    def requests(self) -> dict[str, int]:
        """Counted requests by how they ended, all replications together."""
        return {name: sum(x.requests[name] for x in self.figures) for name in COUNTS}

    @property
    def answered(self) -> int:
        """Counted requests that were answered, all replications together: the n of the latencies."""
        return self.requests["ok"] + self.requests["late"]

    @property
    def switches(self) -> int:
        """Changes of the partition, all replications together."""
        return sum(x.switches for x in self.figures)

    def latency_s(self, name: str) -> Interval:
        """`mean`, `p50`, `p95` or `p99` of the latency, over replications."""
        return interval([x.latency_s[name] for x in self.figures], floor=0.0)

    def energy_j(self, boundary: Boundary, device: int | None = None) -> Interval:
        """Joules per answer of one device, or of all of them, over replications."""
        totals = [x.total_j(boundary) if device is None else x.energy_j[boundary][device] for x in self.figures]
        return interval(totals, floor=0.0)

    @property
    def metered(self) -> bool:
        """Whether its joules come from meters and not from power states."""
        return any(x.metered is not None for x in self.figures)

    def energy_half_width_j(self, boundary: Boundary, device: int | None = None) -> float | None:
        """Half-width of the joules per answer, meters and repeats together; None where they are not from meters."""
        halves_j = [half_width_j(x, boundary, device) for x in self.figures]
        return over_replications(self.energy_j(boundary, device), halves_j)

    def state_j(self, device: int, state: int) -> float | None:
        """Joules per answer that a device spends in a state, mean over replications."""
        return interval([x.states_j[device][state] for x in self.figures]).mean

    @property
    def throughput_rps(self) -> Interval:
        """Answers per second, over replications."""
        return interval([x.throughput_rps for x in self.figures], floor=0.0)

    @property
    def offered_rps(self) -> Interval:
        """Arrivals per second, over replications."""
        return interval([x.offered_rps for x in self.figures], floor=0.0)

    @property
    def score(self) -> Interval:
        """The scenario's objective, over replications."""
        return interval([x.score for x in self.figures], floor=0.0)

    def quantity(self, name: str, boundary: Boundary) -> list[float | None]:
        """One value per replication: `latency`, `p95`, `energy` at a boundary, or `score`."""
        if name == "energy":
            return [x.total_j(boundary) for x in self.figures]
        if name == "score":
            return [x.score for x in self.figures]
        return [x.latency_s["mean" if name == "latency" else name] for x in self.figures]


@dataclass(frozen=True, slots=True)
class Summary:
    """All policies of a run.

    Attributes:
        scenario: Name of the scenario.
        question: The question that it asks, or an empty string.
        source: `simulated`, `measured` or `emulated`.
        model: Name of the model.
        seed: The scenario's seed.
        devices: Names of the devices.
        profile_sources: For each device where its layer times are known from: `measured`, `derived` or
            `extrapolated`.
        objective: The objective with its references filled in.
        policies: The policies; the others are compared with the first.
        notes: What to bear in mind with these figures, in sentences.
    """

    scenario: str
    question: str
    source: str
    model: str
    seed: int
    devices: tuple[str, ...]
    profile_sources: tuple[str, ...]
    objective: Objective
    policies: tuple[PolicySummary, ...]
    notes: tuple[str, ...]

    @property
    def replications(self) -> int:
        """Number of replications."""
        return max((len(policy.figures) for policy in self.policies), default=0)

    def against_first(self, policy: PolicySummary, name: str) -> Paired:
        """A policy against the first one in a quantity (see `PolicySummary.quantity`)."""
        boundary = self.objective.boundary
        return paired(policy.quantity(name, boundary), self.policies[0].quantity(name, boundary))

    @property
    def references(self) -> tuple[PolicySummary, ...]:
        """The policies that see the truth."""
        return tuple(policy for policy in self.policies if policy.is_reference)

    def regret(self, policy: PolicySummary, reference: PolicySummary) -> Paired:
        """How far the score of a policy lies above that of a reference, replication by replication."""
        boundary = self.objective.boundary
        return paired(policy.quantity("score", boundary), reference.quantity("score", boundary))

    def to_json(self) -> dict[str, Any]:
        """Return the content of `summary.json`."""
        objective = self.objective
        return {
            "schema": 1,
            "scenario": self.scenario,
            "source": self.source,
            "question": self.question,
            "model": self.model,
            "seed": self.seed,
            "replications": self.replications,
            "confidence": CONFIDENCE,
            "percentiles": PERCENTILE_RULE,
            "objective": {
                "latency": objective.latency,
                "energy": objective.energy,
                "boundary": objective.boundary,
                "deadline_s": objective.deadline_s,
                "latency_ref_s": objective.latency_ref_s,
                "energy_ref_j": objective.energy_ref_j,
            },
            "layer_times": dict(zip(self.devices, self.profile_sources, strict=True)),
            "notes": list(self.notes),
            "policies": {policy.label: self._policy_json(policy) for policy in self.policies},
        }

    def _policy_json(self, policy: PolicySummary) -> dict[str, Any]:
        latency = {name: policy.latency_s(name) for name in LATENCIES}
        return {
            "kind": policy.kind,
            "n": policy.answered,
            "requests": policy.requests,
            "latency_s": {**{name: x.mean for name, x in latency.items()}, "ci": _bounds(latency)},
            "energy_j": {boundary: self._energy_json(policy, boundary) for boundary in BOUNDARIES},
            "throughput_rps": policy.throughput_rps.mean,
            "throughput_ci_rps": _bound(policy.throughput_rps),
            "switches": policy.switches,
            "score": policy.score.to_json(),
            "against_first": {
                "policy": self.policies[0].label,
                **{name: self.against_first(policy, name).to_json() for name in ("latency", "p95", "energy", "score")},
            }
            if policy is not self.policies[0]
            else None,
            "regret": {x.label: self.regret(policy, x).to_json() for x in self.references if x is not policy},
            "replications": [x.to_json() for x in policy.figures],
        }

    def _energy_json(self, policy: PolicySummary, boundary: Boundary) -> dict[str, Any]:
        by_device = {name: policy.energy_j(boundary, device) for device, name in enumerate(self.devices)}
        total = policy.energy_j(boundary)
        energy: dict[str, Any] = {
            "total": total.mean,
            "devices": {name: x.mean for name, x in by_device.items()},
            "ci": {"total": _bound(total), "devices": _bounds(by_device)},
        }
        if policy.metered:
            energy["half_width"] = {
                "total": policy.energy_half_width_j(boundary),
                "devices": {name: policy.energy_half_width_j(boundary, d) for d, name in enumerate(self.devices)},
            }
        return energy


def added(values: Sequence[float | None]) -> float | None:
    """Sum of the values; None if any of them is unknown."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _bound(x: Interval) -> list[float] | None:
    return None if x.low is None or x.high is None else [x.low, x.high]


def _bounds(intervals: Mapping[str, Interval]) -> dict[str, list[float] | None]:
    return {name: _bound(x) for name, x in intervals.items()}
