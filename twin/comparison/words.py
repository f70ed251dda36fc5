"""What tables, figures and the page say of a comparison, in words and numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twin.comparison.waterfall import largest
from twin.units import ms_from_s
from twin.wording import LEVEL, UNKNOWN, number, percent

if TYPE_CHECKING:
    from twin.comparison.decisions import Decisions
    from twin.comparison.estimate import Estimate
    from twin.comparison.outcome import Comparison, PolicyPair
    from twin.comparison.quantities import Quantity
    from twin.comparison.waterfall import Step

SMALL = 0.01
"""Share of the mean latency below which a part of it is left out of tables; pages and compare.json have them all."""
_TINY = 0.02
"""Share of all steps' sizes below which steps are told together."""
LEGEND = (
    f"[ ]: {LEVEL} interval; repeats: standard deviation between replications of the reference / mean; scatter: of "
    "the paired error, without the luck of arrivals; MAPE: mean absolute error of single requests where they are "
    "paired, else of replications; W1: Wasserstein distance of the distributions over requests"
)


def title(comparison: Comparison) -> str:
    """What is compared, in one line."""
    sim, measured = comparison.sim, comparison.measured
    return f"{comparison.scenario}: {sim.source} ({sim.folder}) against {measured.source} ({measured.folder})"


def heads(comparison: Comparison) -> tuple[str, str]:
    """What the two sides are called: their sources, or first and second where these are the same."""
    sources = comparison.sim.source, comparison.measured.source
    return sources if sources[0] != sources[1] else ("first", "second")


def setting(comparison: Comparison) -> str:
    """Model, replications and seeds, in one line."""
    sim, measured = comparison.sim, comparison.measured
    seeds = f"seed {sim.seed}" if sim.seed == measured.seed else f"seeds {sim.seed} and {measured.seed}"
    return f"{comparison.model} · replications: {sim.replications} against {measured.replications} · {seeds}"


def shown(comparison: Comparison, pair: PolicyPair) -> list[Quantity]:
    """The quantities for a table: without small parts of the latency, and energy at the scenario's boundary only."""
    mean = pair.quantity("latency_mean")
    least_s = SMALL * max(mean.sim, mean.measured) if mean is not None else 0.0
    own = f"energy_{comparison.boundary}"
    return [
        x
        for x in pair.quantities
        if (x.unit != "J" or x.name == own or x.name.startswith(f"{own}."))
        and not (x.name.startswith(("waiting", "hold", "other")) and max(abs(x.sim), abs(x.measured)) < least_s)
    ]


def unit(quantity: Quantity) -> str:
    """Unit in which a quantity is shown."""
    return {"s": "ms", "1/s": "req/s"}.get(quantity.unit, quantity.unit)


def amount(quantity: Quantity, value: float | None) -> str:
    """A value of a quantity in the unit of `unit`, without it."""
    return signed_ms(value) if quantity.unit == "s" else number(value)


def signed_ms(value_s: float | None) -> str:
    """A time in ms that may be negative."""
    if value_s is None:
        return UNKNOWN
    text = number(abs(ms_from_s(value_s)))
    return f"-{text}" if value_s < 0 and text.strip("0.") else text


def error(estimate: Estimate) -> str:
    """A relative error with its interval, such as `-2.1 % [-3.0, -1.2]`."""
    if estimate.value is None:
        return UNKNOWN
    text = f"{percent(estimate.value)} %"
    if estimate.low is None or estimate.high is None:
        return f"{text} [unknown]"
    return f"{text} [{percent(estimate.low)}, {percent(estimate.high)}]"


def in_percent(value: float | None, unknown: str = UNKNOWN) -> str:
    """A share in percent, without the sign."""
    return unknown if value is None else f"{100 * value:.1f}"


def step_name(step: Step) -> str:
    """A step in words, such as `compute on pi`."""
    if step.what == "hold":
        return "held back while the plan changes"
    if step.what == "other":
        return "in no span"
    if step.what == "waiting":
        return f"waiting at {step.place}"
    return f"{step.what} {'on' if step.what == 'compute' else 'over'} {step.place}"


def told_steps(pair: PolicyPair) -> list[tuple[str, float]]:
    """Steps of the waterfall by name, the largest first; the small ones as one."""
    whole_s = sum(abs(step.delta_s) for step in pair.steps)
    ordered = sorted(pair.steps, key=lambda step: -abs(step.delta_s))
    large = [step for step in ordered if abs(step.delta_s) > _TINY * whole_s]
    rest_s = sum(step.delta_s for step in ordered[len(large) :])
    rows = [(step_name(step), step.delta_s) for step in large]
    return [*rows, (f"{len(ordered) - len(large)} smaller parts", rest_s)] if len(large) < len(ordered) else rows


def where(pair: PolicyPair) -> str:
    """Where the difference of the mean latencies arises, in a sentence."""
    mean = pair.quantity("latency_mean")
    if mean is None:
        return "no latency is known on both sides"
    step = largest(pair.steps)
    if step is None:
        return "no part of the latency differs"
    return (
        f"mean latency {change_ms(mean.bias)} ms; its largest part is {step_name(step)}: {change_ms(step.delta_s)} ms "
        f"({signed_ms(step.sim_s)} against {signed_ms(step.measured_s)})"
    )


def change_ms(value_s: float) -> str:
    """A difference of times in ms, with its sign."""
    text = signed_ms(value_s)
    return text if text.startswith("-") else f"+{text}"


def agreement(decisions: Decisions | None) -> str:
    """How the decisions agree and what the others cost, in a sentence."""
    if decisions is None:
        return "no decisions to compare"
    text = f"same partition in {in_percent(decisions.agreement.value)} % of the time"
    text += f" and at {decisions.same_intervals} of {decisions.intervals} decisions"
    if decisions.cost.value is None:
        return f"{text}; cost of the others not known"
    if decisions.agreement.value == 1:
        return text
    interval = ""
    if decisions.cost.low is not None and decisions.cost.high is not None:
        interval = f" [{100 * decisions.cost.low:.2f}, {100 * decisions.cost.high:.2f}]"
    return f"{text}; the others cost {100 * decisions.cost.value:.2f} %{interval} of the predicted {decisions.measure}"


def order(comparison: Comparison) -> str | None:
    """The ranking in a sentence; None where there is none."""
    found = comparison.ranking
    if found is None or found.tau.value is None:
        return None
    tau = found.tau
    span = "" if tau.low is None or tau.high is None else f" [{tau.low:.2f}, {tau.high:.2f}]"
    same = found.sim == found.measured
    orders = " < ".join(found.measured) if same else f"{' < '.join(found.sim)} against {' < '.join(found.measured)}"
    return f"ranking by {found.measure}: {orders}; Kendall's tau {tau.value:.2f}{span}"


def difference_rows(comparison: Comparison) -> list[tuple[str, str, str]]:
    """Parameters that differ: place, first side, second side."""
    return [(x.place, value(x.sim), value(x.measured)) for x in comparison.differences]


def value(found: Any) -> str:  # noqa: ANN401 - any plain data
    """A value of a scenario, as short as it can be."""
    return "not set" if found is None else f"{found:.6g}" if isinstance(found, float) else str(found)
