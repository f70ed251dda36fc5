"""Whether a comparison holds what is required of it.

An error passes when it is at most the bound or its interval reaches the bound. What passes with an interval wider than
± 5 % is inconclusive: it might as well be far off, and more repeats are due. An error whose interval lies wholly beyond
the bound falls short, however wide the interval is. Without an interval nothing passes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from twin.comparison.require import AGREEMENT, COST, GROUPS, RANKING, check_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from twin.comparison.estimate import Estimate
    from twin.comparison.outcome import Comparison, PolicyPair
    from twin.comparison.quantities import Quantity
    from twin.comparison.require import Requirement

State = Literal["holds", "falls short", "inconclusive"]

WIDEST = 0.05
"""Half-width of an interval, as a share, above which nothing is said to hold."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a requirement for one quantity of one policy.

    Attributes:
        requirement: The requirement.
        policy: Label of the policy; empty for the ranking.
        name: The quantity.
        state: Whether it holds.
        why: Why, in words.
    """

    requirement: Requirement
    policy: str
    name: str
    state: State
    why: str

    def to_json(self) -> dict[str, Any]:
        """The verdict as plain data."""
        return {
            "requirement": self.requirement.text,
            "policy": self.policy,
            "quantity": self.name,
            "verdict": self.state,
            "why": self.why,
        }


def judge(comparison: Comparison, requirements: Sequence[Requirement]) -> tuple[Verdict, ...]:
    """Judge each requirement for each quantity and policy that it names.

    Raises:
        ComparisonError: A requirement names a quantity or a policy that there cannot be.
    """
    check_names(requirements, comparison)
    return tuple(verdict for x in requirements for verdict in _verdicts(comparison, x))


def judge_error(error: Estimate, bound: float) -> tuple[State, str]:
    """Judge an error, or a cost, that should be at most a bound in size."""
    value, half, least = error.value, error.half_width, error.nearest_zero
    if value is None:
        return "inconclusive", "not known"
    if half is None or least is None:
        return "inconclusive", f"{_signed(value)} without an interval: two or more repeats are due"
    text = f"{_signed(value)} ± {_share(half)}"
    if abs(value) > bound and least > bound:
        return "falls short", f"{text} is beyond {_share(bound)}"
    if half > WIDEST:
        return "inconclusive", f"{text} is wider than ± {_share(WIDEST)}: more repeats are due"
    if abs(value) <= bound:
        return "holds", f"{text}, at most {_share(bound)}"
    return "holds", f"{text} reaches {_share(bound)}"


def judge_least(value: Estimate, bound: float, *, widest: float | None) -> tuple[State, str]:
    """Judge something that should be at least a bound.

    Args:
        value: The value with its interval.
        bound: The bound.
        widest: Half-width above which nothing is said to hold; None where all of the interval must reach the bound.
    """
    if value.value is None:
        return "inconclusive", "not known"
    half, low, high = value.half_width, value.low, value.high
    if half is None or low is None or high is None:
        return "inconclusive", f"{value.value:.4g} without an interval: two or more repeats are due"
    text = f"{value.value:.4g} [{low:.4g}, {high:.4g}]"
    if value.value < bound and high < bound:
        return "falls short", f"{text} is below {bound:.4g}"
    if low < bound if widest is None else half > widest:
        return "inconclusive", f"{text} is too wide to tell: more repeats are due"
    return "holds", f"{text}, at least {bound:.4g}"


def _verdicts(comparison: Comparison, requirement: Requirement) -> Iterator[Verdict]:
    if requirement.name == RANKING:
        order = comparison.ranking
        if order is None:
            yield Verdict(requirement, "", RANKING, "inconclusive", "not known: fewer than two policies with figures")
        else:
            yield Verdict(requirement, "", RANKING, *judge_least(order.tau, requirement.bound, widest=None))
        return
    for pair in comparison.policies:
        if requirement.policy in (None, pair.label):
            yield from _of_policy(pair, requirement)


def _of_policy(pair: PolicyPair, requirement: Requirement) -> Iterator[Verdict]:
    name, bound, made = requirement.name, requirement.bound, pair.decisions
    if name in (COST, AGREEMENT):
        if made is None:
            judged: tuple[State, str] = "inconclusive", "not known: no decisions were recorded"
        elif name == COST:
            judged = judge_error(made.cost, bound)
        else:
            judged = judge_least(made.agreement, bound, widest=WIDEST)
        yield Verdict(requirement, pair.label, name, *judged)
        return
    chosen = _chosen(pair, name)
    for quantity in chosen:
        state, why = judge_error(quantity.error, bound)
        yield Verdict(requirement, pair.label, quantity.name, state, f"{why}{_noise(quantity, bound)}")
    if not chosen:
        timed = name.partition(".")[0] in (*GROUPS, "hold", "other") and pair.quantity("latency_mean") is not None
        judged = ("holds", "0 on both sides") if timed else ("inconclusive", "not known on both sides")
        yield Verdict(requirement, pair.label, name, *judged)


def _chosen(pair: PolicyPair, name: str) -> list[Quantity]:
    """The quantities that a name stands for."""
    if name in GROUPS or name.endswith(".*"):
        return [x for x in pair.quantities if x.name.startswith(f"{name.removesuffix('.*')}.")]
    return [x for x in pair.quantities if x.name == name]


def _noise(quantity: Quantity, bound: float) -> str:
    """A word of warning where less is asked for than single runs scatter by."""
    noise = quantity.repeatability if quantity.scatter is None else quantity.scatter
    return f"; single runs scatter by {_share(noise)}" if noise is not None and noise > bound else ""


def _share(value: float) -> str:
    return f"{100 * value:.3g} %"


def _signed(value: float) -> str:
    return f"{100 * value:+.3g} %"
