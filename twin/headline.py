"""The answer of a run in a sentence or two, no stronger than its figures allow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twin.wording import change, milliseconds, number

if TYPE_CHECKING:
    from twin.intervals import Paired
    from twin.summary import PolicySummary, Summary

_SEES_THE_TRUTH = ("clairvoyant", "oracle-static")
"""Kinds of policies that show what would be possible, and that nobody can run."""


def headline(summary: Summary) -> str:
    """Say which policy does best by the scenario's objective, and by how much against the first."""
    contenders = [policy for policy in summary.policies if policy.kind not in _SEES_THE_TRUTH and policy.answered]
    if not contenders:
        return "No policy answered a single request."
    first = summary.policies[0]
    best = min(contenders, key=lambda policy: _merit(policy, contenders))
    if best is first or not first.answered:
        return _first_is_best(summary, contenders) if best is first else f"Only {_facts(summary, best)}"
    judged = "score" if _all_scored(contenders) else "latency"
    difference = summary.against_first(best, judged)
    return (
        f"{_facts(summary, best)}, against {_amounts(summary, first)} of `{first.label}`: "
        f"{_quantity(judged)} {change(difference)}{_doubt(difference, summary)}"
    )


def _first_is_best(summary: Summary, contenders: list[PolicySummary]) -> str:
    first = summary.policies[0]
    others = [policy for policy in contenders if policy is not first]
    if not others:
        return f"{_facts(summary, first)}; there is no other policy to compare it with."
    judged = "score" if _all_scored(contenders) else "latency"
    nearest = min(others, key=lambda policy: _merit(policy, contenders))
    difference = summary.against_first(nearest, judged)
    return (
        f"{_facts(summary, first)}, and no other policy does better; "
        f"the nearest is `{nearest.label}`: {_quantity(judged)} {change(difference)}{_doubt(difference, summary)}"
    )


def _all_scored(contenders: list[PolicySummary]) -> bool:
    return all(policy.score.mean is not None for policy in contenders)


def _merit(policy: PolicySummary, contenders: list[PolicySummary]) -> float:
    """What is compared: the score, or the latency where scores are not known."""
    value = policy.score.mean if _all_scored(contenders) else policy.latency_s("mean").mean
    return float("inf") if value is None else value


def _quantity(judged: str) -> str:
    return "score" if judged == "score" else "mean latency"


def _facts(summary: Summary, policy: PolicySummary) -> str:
    return f"`{policy.label}` answers in {_amounts(summary, policy)}"


def _amounts(summary: Summary, policy: PolicySummary) -> str:
    text = f"{milliseconds(policy.latency_s('mean').mean)} ms on average"
    joules = policy.energy_j(summary.objective.boundary).mean
    if joules is not None:
        text += f" for {number(joules)} J per request ({summary.objective.boundary})"
    return text


def _doubt(difference: Paired, summary: Summary) -> str:
    """What the replications leave open."""
    if difference.equal == difference.n:
        return "."
    if summary.replications < 2:
        return "; one replication cannot tell this from luck."
    if not difference.relative.excludes_zero:
        return f"; {summary.replications} replications cannot tell this from luck."
    return "."
