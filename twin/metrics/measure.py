"""Records of a run -> the figures of each policy.

Latency and counts are of the requests that arrived after warm-up. Energy and throughput are of the window from the
end of warm-up to the last completion: joules spent and answers given in it, whenever the request had arrived. A
percentile over replications is the mean of each replication's own percentile, so that figure and interval belong
together.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from twin.energy import State, account, accounting_window
from twin.metrics.summary import COUNTS, LATENCIES, Figures, PolicySummary, Summary, added
from twin.problem import BOUNDARIES
from twin.records import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twin.energy import Energy, Window
    from twin.problem import Objective, Problem
    from twin.profiles import Profile
    from twin.records import Requests, RunResult
    from twin.world import World

__all__ = ["Summary", "profile_source", "replication_of", "summarise"]

_PERCENTILES = (50, 95, 99)
_P99_NEEDS = 100
"""Answers below which the 99th percentile is hardly more than the largest value."""
_UNSTEADY = 0.3
"""Standard deviation of the logarithm of a stage's time above which one time in ten is off by a factor of 1.6."""
_KEEPS_UP = 0.9
"""Share of the offered rate below which a policy is said not to keep up: a backlog of a tenth of the run."""


def summarise(world: World, results: Sequence[RunResult]) -> Summary:
    """Return the figures of several policies, each result holding all replications of one of them.

    Args:
        world: The scenario that was played.
        results: The policies; the others are compared with the first.

    Raises:
        InfeasibleError: The references of the score cannot be found because no partition is feasible.
    """
    problem = world.problem
    objective = _with_references(problem)
    kinds = {spec.label: spec.kind for spec in world.policies}
    numbers = sorted({int(r) for result in results for r in np.unique(result.requests.replication)})
    policies = tuple(
        PolicySummary(
            result.label,
            kinds.get(result.label, result.label),
            tuple(_figures(world, replication_of(result, number), number, objective) for number in numbers),
        )
        for result in results
    )
    return Summary(
        scenario=world.name,
        question=world.question,
        source=results[0].source,
        model=problem.graph.model,
        seed=world.seed,
        devices=problem.continuum.names,
        profile_sources=tuple(profile_source(profile) for profile in world.profiles),
        objective=objective,
        policies=policies,
        notes=(*_notes(world, policies), *_engine_notes(results)),
    )


def replication_of(result: RunResult, number: int) -> RunResult:
    """The records of one replication; the row ranges of decisions still refer to all samples."""
    requests, spans = result.requests.only(number), result.spans.only(number)
    if requests is result.requests and spans is result.spans:
        return result
    return replace(
        result,
        requests=requests,
        spans=spans,
        decisions=tuple(entry for entry in result.decisions if entry["replication"] == number),
    )


def profile_source(profile: Profile) -> str:
    """Where layer times are known from: `measured`, `derived` or `extrapolated`."""
    return "extrapolated" if profile.extrapolated else profile.source


def _with_references(problem: Problem) -> Objective:
    """The objective with its references filled in; that of the energy stays None where a power is unknown."""
    from twin.search import references  # noqa: PLC0415 - the search is not needed to read figures

    found = references(problem)
    return replace(problem.objective, latency_ref_s=_known(found.latency_s), energy_ref_j=_known(found.energy_j))


def _figures(world: World, run: RunResult, number: int, objective: Objective) -> Figures:
    """The figures of one replication."""
    n_devices = world.problem.n_devices
    window = accounting_window(world.workload, run.requests)
    completed = _completed_in(window, run.requests)
    latency_s = _latency_s(run.requests)
    energy = account(world.problem, run.spans, run.decisions, window) if window and completed else None
    energy_j = {
        boundary: _shares(energy.by_device_j(boundary), completed) if energy else (None,) * n_devices
        for boundary in BOUNDARIES
    }
    return Figures(
        replication=number,
        requests=_counts(run.requests),
        latency_s=latency_s,
        window=window,
        completed=completed,
        throughput_rps=completed / window.length_s if window else None,
        offered_rps=_offered_rps(world, window, run.requests),
        energy_j=energy_j,
        states_j=_states_j(energy, completed, n_devices),
        switches=sum(bool(entry["switched"]) for entry in run.decisions),
        score=_score(objective, latency_s["mean"], added(energy_j[objective.boundary])),
    )


def _completed_in(window: Window | None, requests: Requests) -> int:
    if window is None:
        return 0
    done_s = requests.done_s[requests.completed]
    return int(((done_s > window.start_s) & (done_s <= window.end_s)).sum())


def _offered_rps(world: World, window: Window | None, requests: Requests) -> float | None:
    arrival_s = requests.arrival_s[requests.counted]
    if world.workload.kind == "closed" or window is None or len(arrival_s) < 2:
        return None
    span_s = float(arrival_s.max()) - window.start_s
    return len(arrival_s) / span_s if span_s > 0 else None


def _counts(requests: Requests) -> dict[str, int]:
    by_outcome = np.bincount(requests.outcome[requests.counted], minlength=len(Outcome))
    return dict(zip(COUNTS, [int(by_outcome.sum()), *by_outcome.tolist()], strict=True))


def _latency_s(requests: Requests) -> dict[str, float | None]:
    latency_s = requests.latency_s[requests.counted & requests.completed]
    if len(latency_s) == 0:
        return dict.fromkeys(LATENCIES)
    values = [latency_s.mean(), *np.percentile(latency_s, _PERCENTILES)]
    return {name: float(value) for name, value in zip(LATENCIES, values, strict=True)}


def _shares(joules: np.ndarray, completed: int) -> tuple[float | None, ...]:
    return tuple(_known(value / completed) for value in joules.tolist())


def _states_j(energy: Energy | None, completed: int, n_devices: int) -> tuple[tuple[float | None, ...], ...]:
    if energy is None:
        return ((None,) * len(State),) * n_devices
    return tuple(_shares(row, completed) for row in energy.by_state_j)


def _score(objective: Objective, latency_s: float | None, energy_j: float | None) -> float | None:
    """The scenario's objective; None where a quantity that has a weight is not known."""
    score = 0.0
    for weight, value, reference in (
        (objective.latency, latency_s, objective.latency_ref_s),
        (objective.energy, energy_j, objective.energy_ref_j),
    ):
        if weight and (value is None or not reference):
            return None
        if weight and value is not None and reference:
            score += weight * value / reference
    return score


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _notes(world: World, policies: Sequence[PolicySummary]) -> list[str]:
    """What a reader should bear in mind, most important first."""
    notes = [note for policy in policies for note in _policy_notes(policy)]
    answers = min((x.requests["ok"] + x.requests["late"] for policy in policies for x in policy.figures), default=0)
    if 0 < answers < _P99_NEEDS:
        notes.append(f"p99 rests on as few as {answers} answers per replication, so it is close to the maximum.")
    names = world.problem.continuum.names
    for source in ("extrapolated", "derived"):
        devices = [n for n, x in zip(names, world.profiles, strict=True) if profile_source(x) == source]
        if devices:
            how = "published figures" if source == "derived" else "published figures of other models"
            notes.append(f"The layer times of {_listed(devices)} are {source} from {how}, not measured.")
    drifting = [n for n, x in zip(names, world.profiles, strict=True) if x.provenance.get("unsteady")]
    if drifting:
        notes.append(
            f"The layer times of {_listed(drifting)} were measured while the machine drifted by some percent; "
            "`steadiness` in the profile says how much."
        )
    unknown = [device.name for device in world.problem.continuum.devices if device.power is None]
    if unknown:
        notes.append(f"The power of {_listed(unknown)} is not known, so no total energy is given.")
    if world.without_dispersion:
        notes.append(
            f"No spread of stage times was measured for {_listed(world.without_dispersion)}: none is simulated."
        )
    unsteady = [n for n, sigma in zip(names, world.dispersion.tolist(), strict=True) if sigma > _UNSTEADY]
    if unsteady:
        notes.append(f"The stage times of {_listed(unsteady)} were measured on an unsteady machine; so they vary here.")
    if len(policies[0].figures) < 2:
        notes.append("There is one replication, so no interval can be given; set `replications: 5` or more.")
    return notes


def _engine_notes(results: Sequence[RunResult]) -> list[str]:
    """Which simulated backend played, where it was chosen rather than given."""
    chosen = {(str(x.facts["engine"]), str(x.facts["engine_why"])) for x in results if "engine_why" in x.facts}
    return [f"Played by the {engine} engine: {why}." for engine, why in sorted(chosen)]


def _policy_notes(policy: PolicySummary) -> list[str]:
    notes = []
    requests = policy.requests
    lost = requests["dropped"] + requests["failed"]
    if lost:
        notes.append(
            f"{policy.label}: {lost} of {requests['arrived']} requests were never answered; "
            "its latency is that of the others."
        )
    offered_rps, served_rps = policy.offered_rps.mean, policy.throughput_rps.mean
    if offered_rps and served_rps is not None and served_rps < _KEEPS_UP * offered_rps and not lost:
        notes.append(
            f"{policy.label}: answers {served_rps:.3g} of {offered_rps:.3g} requests per second; it may not keep up, "
            "and its latency then grows with the length of the run."
        )
    return notes


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
