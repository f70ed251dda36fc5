"""Published against simulated, cell by cell, with what each cell was used for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from twin.cost import COMPUTE, IDLE
from twin.reproduction.predict import DEVICE_ONLY, REAP, STATIC, Spread
from twin.reproduction.published import TIERS
from twin.reproduction.worlds import CHAIN, PLAIN
from twin.units import ms_from_s

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from twin.reproduction.predict import Outcome, Prediction
    from twin.reproduction.worlds import Case

TIME_TOLERANCE = 0.10
ENERGY_TOLERANCE = 0.15
POINTS_TOLERANCE = 5.0
"""Largest error of a cell that matches: of times and energies relative, of reductions in percentage points."""

Use = Literal["derived-from", "fitted", "predicted"]
Unit = Literal["ms", "J", "%"]

ADAPTIVE_ROW = "adaptive"
REDUCTION_ROW = "reduction"


@dataclass(frozen=True, slots=True)
class Cell:
    """One figure: published, and simulated.

    Attributes:
        model: Name of the model.
        row: Row of the table, such as `static`.
        quantity: What it is of the row, such as `fog`.
        unit: Unit of all figures of the cell.
        published: Published figure.
        source: `published`, or `derived` from published and assumed figures.
        variant: Stage times of the simulation.
        simulated: Simulated figure at the centre of the feasible set and its range over it.
        use: `derived-from`: the profiles rest on it; `fitted`: links or stage times rest on it; `predicted`: neither.
        why: If the cell does not match: a key of the hypotheses that were tested, or `unexplained`.
    """

    model: str
    row: str
    quantity: str
    unit: Unit
    published: float
    source: Literal["published", "derived"]
    variant: str
    simulated: Spread
    use: Use
    why: str | None = None

    @property
    def error(self) -> float:
        """Relative error at the centre; of a reduction the difference in percentage points."""
        if self.unit == "%":
            return self.simulated.centre - self.published
        return self.simulated.centre / self.published - 1.0

    @property
    def matches(self) -> bool:
        """Whether the error is within the tolerance."""
        limits = {"ms": TIME_TOLERANCE, "J": ENERGY_TOLERANCE, "%": POINTS_TOLERANCE}
        return abs(self.error) <= limits[self.unit]

    @property
    def contains(self) -> bool:
        """Whether the published figure lies in the range over the feasible set."""
        return self.simulated.low <= self.published <= self.simulated.high

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "model": self.model,
            "row": self.row,
            "quantity": self.quantity,
            "unit": self.unit,
            "published": {"value": self.published, "source": self.source},
            "simulated": {
                "value": self.simulated.centre,
                "low": self.simulated.low,
                "high": self.simulated.high,
                "source": "simulated",
                "stage_times": self.variant,
            },
            "error": self.error,
            "error_unit": "percentage points" if self.unit == "%" else "relative",
            "matches": self.matches,
            "in_range": self.contains,
            "use": self.use,
            "why": self.why,
        }


def cells_of(case: Case, found: Mapping[str, Prediction]) -> tuple[Cell, ...]:
    """All cells of a model: single devices once, splits and reductions for each variant.

    Args:
        case: The model.
        found: Its predictions by variant.
    """
    rows = [*_single(case, found[PLAIN.name])]
    for prediction in (found[PLAIN.name], found[CHAIN.name]):
        rows += _static(case, prediction)
        rows += _adaptive(case, prediction)
        rows += _reductions(case, prediction)
    return tuple(rows)


def _single(case: Case, prediction: Prediction) -> Iterator[Cell]:
    """Whole models on one device by itself: nothing is sent, so the time is that of the stage."""
    for device, (plan, row) in enumerate(zip(DEVICE_ONLY, case.figures.whole, strict=True)):
        joules = prediction.spread(plan, _joules(device))
        power_w = float(case.world.problem.power_w[device, COMPUTE])
        time_ms = Spread(*(ms_from_s(x / power_w) for x in joules))
        name = PLAIN.name
        yield Cell(case.model, plan, "time", "ms", row.latency_ms, "published", name, time_ms, "derived-from")
        yield Cell(case.model, plan, "energy", "J", row.energy_j, "published", name, joules, "derived-from")


def _static(case: Case, prediction: Prediction) -> Iterator[Cell]:
    uses: dict[str, Use] = {"latency": "fitted", "edge": "predicted"}
    rest: Use = "fitted" if prediction.variant is CHAIN else "predicted"
    for cell in _row(case, prediction, "static", STATIC):
        yield replace(cell, use=uses.get(cell.quantity, rest))


def _adaptive(case: Case, prediction: Prediction) -> Iterator[Cell]:
    yield from _row(case, prediction, ADAPTIVE_ROW, REAP)


def _row(case: Case, prediction: Prediction, row: str, plan: str) -> Iterator[Cell]:
    """Latency, the joules of each device and their sum."""
    published = case.figures.static if row == "static" else case.figures.adaptive
    name, latency = prediction.variant.name, prediction.spread(plan, lambda x: ms_from_s(x.latency_s))
    yield Cell(case.model, row, "latency", "ms", published.latency_ms, "published", name, latency, "predicted")
    for device, tier in enumerate(TIERS):
        spread = prediction.spread(plan, _joules(device))
        value = published.by_device_j[device]
        yield Cell(case.model, row, tier, "J", value, "published", name, spread, "predicted")
    total = prediction.spread(plan, lambda x: x.total_j)
    yield Cell(case.model, row, "total", "J", published.total_j, "published", name, total, "predicted")


def _reductions(case: Case, prediction: Prediction) -> Iterator[Cell]:
    """What adapting saves, as the paper counts and with the waiting."""
    figures = case.figures
    idle_w = tuple(case.world.problem.power_w[:, IDLE].tolist())
    node = [row.node_j(case.power_w, idle_w) for row in (figures.adaptive, figures.static)]
    rows: list[tuple[str, float, Literal["published", "derived"], Callable[[Outcome], float]]] = [
        ("latency", figures.reductions.latency_percent, "published", lambda x: x.latency_s),
        ("energy", figures.reductions.energy_percent, "published", lambda x: x.total_j),
        ("node", 100.0 * (1.0 - node[0] / node[1]), "derived", lambda x: x.node_j),
    ]
    for quantity, value, source, figure in rows:
        saving = Spread(*(100.0 * x for x in prediction.saving(figure)))
        name = prediction.variant.name
        yield Cell(case.model, REDUCTION_ROW, quantity, "%", value, source, name, saving, "predicted")


def _joules(device: int) -> Callable[[Outcome], float]:
    return lambda outcome: outcome.stages_j[device]
