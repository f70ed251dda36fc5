"""Exact search: the best partition, the best few, and all that trade latency against energy."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from twin.cost import predict
from twin.errors import InfeasibleError
from twin.problem import Objective
from twin.search.enumeration import Weighed, best_plans
from twin.search.fronts import front_plans
from twin.search.goals import Aim, Goal, Plan, References, check_energy, goal_of, objective_of, plan_of
from twin.search.labels import least_partition
from twin.search.plans import MAX_DEVICES, is_small
from twin.search.relaxed import least_latency, relax, row_bounds
from twin.search.space import nominal, situation_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from twin.partition import Partition
    from twin.problem import Boundary, Conditions, Problem
    from twin.search.space import Situation

__all__ = ["Aim", "Plan", "References", "best", "candidates", "evaluate", "pareto", "references", "score_of", "scorer"]


_TRIED = 4
"""Plans of a relaxed search that are looked at for one that meets every constraint."""

_SLACK = 1e-9
"""Relative difference within which a relaxed score counts as reached."""


class _Memory:
    """What was worked out of one problem: references by boundary, goals by aim."""

    def __init__(self) -> None:
        self.references: dict[Boundary, References] = {}
        self.goals: dict[Aim, Goal] = {}


_MEMORIES: WeakKeyDictionary[Problem, _Memory] = WeakKeyDictionary()


def best(
    problem: Problem,
    conditions: Conditions,
    *,
    objective: Aim = None,
    or_nearest: bool = False,
    available: np.ndarray | None = None,
    link_up: np.ndarray | None = None,
) -> Plan:
    """Return the plan with the lowest score; of equal ones that with the lexicographically lowest placement.

    Args:
        problem: The problem.
        conditions: State of links and devices.
        objective: What to minimise instead of the problem's objective; `throughput` minimises the bottleneck and,
            of equal ones, the latency.
        or_nearest: Where no plan meets the deadline, return the one with the least latency instead of raising.
        available: Whether each device is up, shape [n_devices]; the edge device always counts as up.
        link_up: Whether each link is up, shape [n_links].

    Raises:
        InfeasibleError: No plan meets the constraints; with `or_nearest` only if the memory limits and pinned layers
            exclude every plan.
        ScenarioError: Energy has a weight, and the power of a device is not known.
    """
    goal = _goal(problem, objective)
    situation = situation_of(problem, conditions, available, link_up)
    plans = _solve(problem, situation, goal, 1)
    if plans:
        return plans[0]
    nearest = _nearest(problem, situation, goal, 1)[0]
    if not or_nearest:
        raise InfeasibleError(_why(nearest, goal))
    return nearest


def candidates(
    problem: Problem,
    conditions: Conditions,
    n: int,
    *,
    objective: Aim = None,
    available: np.ndarray | None = None,
    link_up: np.ndarray | None = None,
) -> list[Plan]:
    """Return the best few plans by score and the one with the least bottleneck, the best first, each once.

    For up to three devices and a few hundred down-sets these are exactly the n best. Beyond, the first is the best
    and the others are the best completions of different first cuts. Where no plan meets the deadline, they are those
    with the least latency, marked as not feasible.

    Args:
        problem: The problem.
        conditions: State of links and devices.
        n: How many plans by score.
        objective: What to minimise instead of the problem's objective.
        available: Whether each device is up, shape [n_devices].
        link_up: Whether each link is up, shape [n_links].

    Raises:
        InfeasibleError: The memory limits and pinned layers exclude every plan.
        ScenarioError: Energy has a weight, and the power of a device is not known.
    """
    goal = _goal(problem, objective)
    situation = situation_of(problem, conditions, available, link_up)
    weighed = Weighed(problem, situation, goal) if is_small(problem) else None
    found = _solve(problem, situation, goal, n) if weighed is None else best_plans(weighed, n)
    if not found:
        return _nearest(problem, situation, goal, n)
    plans = {plan.partition: plan for plan in found}
    if goal.bottleneck_per_s == 0:
        widest = goal.most_throughput()
        most = _solve(problem, situation, widest, 1) if weighed is None else best_plans(weighed.aimed_at(widest), 1)
        for plan in most:
            plans.setdefault(plan.partition, _plan(problem, situation, goal, plan.partition))
    return sorted(plans.values(), key=lambda plan: max(plan.score, found[0].score))


def pareto(
    problem: Problem,
    conditions: Conditions,
    *,
    objective: Aim = None,
    available: np.ndarray | None = None,
    link_up: np.ndarray | None = None,
) -> list[Plan]:
    """Return every trade-off of latency and energy: the plans that no other beats in both, by rising latency.

    Args:
        problem: The problem.
        conditions: State of links and devices.
        objective: Says at which boundary energy counts, the deadline, and how the plans are scored.
        available: Whether each device is up, shape [n_devices].
        link_up: Whether each link is up, shape [n_links].

    Raises:
        InfeasibleError: No plan meets the constraints.
        ScenarioError: The power of a device or the demand is not known.
    """
    check_energy(problem, objective_of(problem, objective).boundary)
    goal = _goal(problem, objective)
    situation = situation_of(problem, conditions, available, link_up)
    plans = front_plans(problem, situation, goal, small=is_small(problem))
    if not plans:
        raise InfeasibleError(_why(_nearest(problem, situation, goal, 1)[0], goal))
    return plans


def evaluate(
    problem: Problem,
    partition: Partition,
    conditions: Conditions,
    *,
    objective: Aim = None,
    available: np.ndarray | None = None,
    link_up: np.ndarray | None = None,
) -> Plan:
    """Score one partition; its latency and score are infinite if it needs a link without rate or a lost device.

    Args:
        problem: The problem.
        partition: The partition, feasible or not.
        conditions: State of links and devices.
        objective: What counts instead of the problem's objective.
        available: Whether each device is up, shape [n_devices].
        link_up: Whether each link is up, shape [n_links].

    Raises:
        ScenarioError: Energy has a weight, and the power of a device is not known.
    """
    situation = situation_of(problem, conditions, available, link_up)
    return _plan(problem, situation, _goal(problem, objective), partition)


def score_of(problem: Problem, latency_s: float, energy_j: float, *, objective: Aim = None) -> float:
    """Score of a latency and an energy that come from elsewhere; a quantity without weight may be NaN.

    Raises:
        ScenarioError: Energy has a weight, and the power of a device is not known.
    """
    goal = _goal(problem, objective)
    return goal.score(latency_s, energy_j, math.nan) if math.isfinite(latency_s) else math.inf


def scorer(problem: Problem) -> Callable[[float, float], float]:
    """What `score_of` gives for the problem's own objective, as a function of a latency and an energy.

    Raises:
        ScenarioError: Energy has a weight, and the power of a device is not known.
    """
    goal = _goal(problem, None)

    def score(latency_s: float, energy_j: float) -> float:
        return goal.score(latency_s, energy_j, math.nan) if math.isfinite(latency_s) else math.inf

    return score


def references(problem: Problem, *, objective: Aim = None) -> References:
    """Return what scores are relative to: fixed for a problem, whatever the conditions become.

    They are the values of the edge-only plan under the problem's first conditions or, where that plan breaks a
    constraint, of the feasible plan with the least latency; the objective can set them instead.
    """
    wanted = objective_of(problem, objective)
    memory = _MEMORIES.setdefault(problem, _Memory())
    known = memory.references.get(wanted.boundary)
    if known is None:
        known = memory.references[wanted.boundary] = _references(problem, wanted.boundary)
    return References(
        known.latency_s if wanted.latency_ref_s is None else wanted.latency_ref_s,
        known.energy_j if wanted.energy_ref_j is None else wanted.energy_ref_j,
        known.bottleneck_s,
    )


def _references(problem: Problem, boundary: Boundary) -> References:
    edge_only = problem.on_device(0)
    prediction = predict(problem, edge_only, problem.initial)
    if not (problem.allows(edge_only) and math.isfinite(prediction.latency_s)):
        plain = Objective(latency=1.0, energy=0.0, boundary=boundary)
        goal = goal_of(problem, plain, References(1.0, 1.0, 1.0))
        situation = situation_of(problem, problem.initial, None, None)
        plans = _solve(problem, situation, goal, 1) or _nearest(problem, situation, goal, 1)
        prediction = predict(problem, plans[0].partition, problem.initial)
    return References(prediction.latency_s, prediction.energy_j(boundary), prediction.bottleneck_s)


def _goal(problem: Problem, aim: Aim) -> Goal:
    memory = _MEMORIES.setdefault(problem, _Memory())
    goal = memory.goals.get(aim)
    if goal is None:
        goal = memory.goals[aim] = goal_of(problem, aim, references(problem, objective=aim))
    return goal


def _solve(problem: Problem, situation: Situation, goal: Goal, n: int) -> list[Plan]:
    """The n best plans that meet every constraint, the best first; empty if none does.

    Few plans are all weighed. Of many, dynamic programming finds the best as if no bottleneck capped the throughput,
    and without the deadline and the memory limits of middle stages. If its plan meets them all the same, it is the
    best. If not, its costs are bounds for a search of all pairs of down-sets (three devices) or by labels (more).
    """
    if is_small(problem):
        return best_plans(Weighed(problem, situation, goal), n)
    relaxed = relax(problem, situation, goal)
    tried = [_plan(problem, situation, goal, x) for x in relaxed.partitions(max(n, _TRIED))]
    known = sorted((plan for plan in tried if plan.feasible), key=lambda plan: plan.score)[:n]
    if not tried or (
        known and not goal.bottleneck_per_s and known[0].score <= relaxed.least + abs(relaxed.least) * _SLACK
    ):
        return known
    if problem.n_devices <= MAX_DEVICES:
        weighed = Weighed(problem, situation, goal)
        return best_plans(weighed, n, *row_bounds(weighed, least_latency(problem, situation), relaxed))
    partition = least_partition(problem, situation, goal, known=known[0].score if known else math.inf)
    if partition is None:
        return []
    exact = _plan(problem, situation, goal, partition)
    return [exact, *(plan for plan in known if plan.partition != partition)][:n]


def _plan(problem: Problem, situation: Situation, goal: Goal, partition: Partition) -> Plan:
    """Score one partition; it cannot be carried out if it visits a device that is down."""
    plan = plan_of(problem, goal, partition, predict(problem, partition, situation.conditions))
    if all(situation.device_up[stage.device] for stage in partition.visited):
        return plan
    return replace(plan, score=math.inf, latency_s=math.inf, feasible=False)


def _nearest(problem: Problem, situation: Situation, goal: Goal, n: int) -> list[Plan]:
    """The plans with the least latency; any that keeps the constraints that always stand if none can be carried out."""
    found = _solve(problem, situation, goal.least_latency(), n) or _solve(
        problem, nominal(problem), goal.least_latency(), 1
    )
    if not found:
        raise InfeasibleError(
            f"{problem.graph.model}: no partition keeps every stage within its device's memory and every pinned layer "
            "in its place; raise devices.*.memory_bytes or pin fewer layers"
        )
    return [replace(_plan(problem, situation, goal, plan.partition), feasible=False) for plan in found]


def _why(nearest: Plan, goal: Goal) -> str:
    """Say why nothing is feasible, and what would help."""
    if math.isinf(nearest.latency_s):
        return (
            "no partition can be carried out: each needs a link without rate or a device that is down; "
            "unpin layers, give the edge device more memory, or restore the link"
        )
    return (
        f"no partition answers within the deadline of {goal.deadline_s:g} s: the least possible latency is "
        f"{nearest.latency_s:.6g} s; raise objective.deadline_s to at least that"
    )
