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
from twin.metering import metered
from twin.metrics.notes import backend_notes, notes, profile_source
from twin.metrics.summary import COUNTS, LATENCIES, Figures, PolicySummary, Summary, added
from twin.problem import BOUNDARIES
from twin.records import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twin.energy import Energy, Window
    from twin.metering import MeteredEnergy
    from twin.problem import Boundary, Objective, Problem
    from twin.records import Requests, RunResult
    from twin.world import World

__all__ = ["Summary", "replication_of", "summarise"]

_PERCENTILES = (50, 95, 99)


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
        notes=(*notes(world, policies, results[0].source), *backend_notes(results)),
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
        meters=result.meters.only(number),
        decisions=tuple(entry for entry in result.decisions if entry["replication"] == number),
    )


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
    simulated = run.source == "simulated"
    energy = account(world.problem, run.spans, run.decisions, window) if simulated and window and completed else None
    meters = metered(world, run, window) if not simulated and window else None
    energy_j = {
        boundary: _shares(_by_device_j(energy, meters, boundary, n_devices), completed) for boundary in BOUNDARIES
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
        metered=meters,
    )


def _by_device_j(
    energy: Energy | None, meters: Sequence[MeteredEnergy] | None, boundary: Boundary, n_devices: int
) -> np.ndarray:
    """Joules by device from power states or from meters, NaN where they are not known."""
    if energy is not None:
        return energy.by_device_j(boundary)
    if meters is not None:
        return np.array([x.joules[boundary].value_j for x in meters], dtype=float)
    return np.full(n_devices, math.nan)


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
    return tuple(_known(value / completed) if completed else None for value in joules.tolist())


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
