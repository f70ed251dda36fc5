"""The answer of a run in a sentence or two, no stronger than its figures allow."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from twin.wording import change, milliseconds, number

if TYPE_CHECKING:
    from twin.metrics.intervals import Paired
    from twin.metrics.summary import PolicySummary, Summary

_NOTICEABLE = 0.01
"""Relative difference in one quantity that is worth a word."""


def headline(summary: Summary) -> str:
    """Say which policy does best by the scenario's objective, and by how much against the first."""
    contenders = [policy for policy in summary.policies if not policy.is_reference and policy.answered]
    if not contenders:
        return "No policy answered a single request."
    first = summary.policies[0]
    best = min(contenders, key=lambda policy: _merit(policy, contenders))
    if best is first or not first.answered:
        return _first_is_best(summary, contenders) if best is first else _alone(summary, best)
    how = "does best by the score" if _all_scored(contenders) else "does best"
    text = f"`{best.label}` {how}: {_amounts(summary, best, first)}. {_judgement(summary, best, contenders)}"
    return f"{text}{_but(summary, best, contenders)}"


def _first_is_best(summary: Summary, contenders: list[PolicySummary]) -> str:
    first = summary.policies[0]
    others = [policy for policy in contenders if policy is not first]
    if not others:
        return f"{_alone(summary, first)} There is no other policy to compare it with."
    nearest = min(others, key=lambda policy: _merit(policy, contenders))
    return (
        f"No policy does better than `{first.label}`: {_amounts(summary, first, nearest)}, the nearest. "
        f"{_judgement(summary, nearest, contenders)}"
    )


def _but(summary: Summary, best: PolicySummary, contenders: list[PolicySummary]) -> str:
    """Who does better than the best in one quantity alone: what the score hides."""
    boundary = summary.objective.boundary
    texts = []
    for what, own, known, shown, unit in (
        (
            "mean latency",
            best.latency_s("mean").mean,
            [(policy.latency_s("mean").mean, policy.label) for policy in contenders],
            milliseconds,
            "ms",
        ),
        (
            f"{boundary} energy",
            best.energy_j(boundary).mean,
            [(policy.energy_j(boundary).mean, policy.label) for policy in contenders],
            number,
            "J",
        ),
    ):
        least, label = min(((value, name) for value, name in known if value is not None), default=(math.inf, ""))
        if own is not None and least < own * (1 - _NOTICEABLE):
            texts.append(f"the least {what} is that of `{label}`, {shown(least)} {unit} against {shown(own)} {unit}")
    return f" But {', and '.join(texts)}." if texts else ""


def _all_scored(contenders: list[PolicySummary]) -> bool:
    return all(policy.score.mean is not None for policy in contenders)


def _merit(policy: PolicySummary, contenders: list[PolicySummary]) -> float:
    """What is compared: the score, or the latency where scores are not known."""
    value = policy.score.mean if _all_scored(contenders) else policy.latency_s("mean").mean
    return float("inf") if value is None else value


def _alone(summary: Summary, policy: PolicySummary) -> str:
    """What one policy takes."""
    text = f"`{policy.label}` answers in {milliseconds(policy.latency_s('mean').mean)} ms on average"
    joules = policy.energy_j(summary.objective.boundary).mean
    return (
        f"{text}." if joules is None else f"{text}, for {number(joules)} J per request ({summary.objective.boundary})."
    )


def _amounts(summary: Summary, policy: PolicySummary, other: PolicySummary) -> str:
    """What one policy takes against what another does; energy where it is known and counts."""
    ours, theirs = (milliseconds(x.latency_s("mean").mean) for x in (policy, other))
    text = f"{ours} ms on average against {theirs} ms with `{other.label}`"
    boundary = summary.objective.boundary
    joules = [x.energy_j(boundary).mean for x in (policy, other)]
    if summary.objective.energy and None not in joules:
        text += f", {number(joules[0])} J per request against {number(joules[1])} J ({boundary} energy)"
    return text


def _judgement(summary: Summary, policy: PolicySummary, contenders: list[PolicySummary]) -> str:
    """A policy against the first by what was judged."""
    scored = _all_scored(contenders)
    difference = summary.against_first(policy, "score" if scored else "latency")
    what = "the scenario's score" if scored else "mean latency"
    pair = f"`{policy.label}` - `{summary.policies[0].label}`"
    return f"By {what}, {pair} is {change(difference)}{_doubt(difference, summary)}"


def _doubt(difference: Paired, summary: Summary) -> str:
    """What the replications leave open."""
    if difference.equal == difference.n:
        return "."
    if summary.replications < 2:
        return "; one replication cannot tell this from luck."
    if not difference.relative.excludes_zero:
        return f"; {summary.replications} replications cannot tell this from luck."
    return "."
