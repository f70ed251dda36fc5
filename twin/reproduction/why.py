"""Why a cell does not match: hypotheses that were tested, and `unexplained` for the rest."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from twin.reproduction.cells import (
    ADAPTIVE_ROW,
    ENERGY_TOLERANCE,
    POINTS_TOLERANCE,
    REDUCTION_ROW,
    TIME_TOLERANCE,
    Cell,
)
from twin.reproduction.worlds import CHAIN, PLAIN
from twin.units import megabytes_from_bytes, ms_from_s

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from twin.reproduction.discrepancy import Discrepancy
    from twin.reproduction.nearest import Nearest
    from twin.reproduction.predict import Outcome, Prediction

UNEXPLAINED = "unexplained"
STAGES = ("fog", "cloud")
"""The devices whose stages in the chain do not take what their profiles say."""

_NO_LAW = "no simple law meets the three static stages."

Figures = set[tuple[str, str, str]]
"""Model, row and quantity of cells."""


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What may explain a cell.

    Attributes:
        key: Letter that stands in the table.
        text: What is supposed, and the figure that it was tested by.
        holds: Whether the test supports it.
    """

    key: str
    text: str
    holds: bool


@dataclass(frozen=True, slots=True)
class Tests:
    """What the explanations rest on.

    Attributes:
        gpu_error: Least error of any roofline on the worst of the GPU's whole-model times.
        fog: The fog in the chain.
        fog_elsewhere: For the law that fits the fog best: error of the split nearest to each adaptive row.
        cloud: The cloud in the chain.
        nearest: By model the fixed split nearest to the adaptive row, under the variant `chain`.
        found: Predictions by model and variant.
    """

    gpu_error: float
    fog: Discrepancy
    fog_elsewhere: Mapping[str, float]
    cloud: Discrepancy
    nearest: Mapping[str, Nearest]
    found: Mapping[str, Mapping[str, Prediction]]


def hypotheses(tests: Tests, cells: Sequence[Cell]) -> tuple[Hypothesis, ...]:
    """The hypotheses, each with the outcome of its test on these cells."""
    return _gpu(tests), _fog(tests), _cloud(tests), _stages(cells), _one_split(tests)


def _gpu(tests: Tests) -> Hypothesis:
    text = (
        "GPU: its three times fit no costs per flop, byte and kernel. The best possible roofline is still "
        f"{_percent(tests.gpu_error)} off the worst of them, the one by least squares more."
    )
    return Hypothesis("a", text, tests.gpu_error > TIME_TOLERANCE)


def _fog(tests: Tests) -> Hypothesis:
    law = tests.fog.explained(ENERGY_TOLERANCE)
    if law is None:
        return Hypothesis("b", f"Fog in the chain: {_NO_LAW}", holds=False)
    met = [model for model, near in tests.nearest.items() if near.worst <= TIME_TOLERANCE]
    elsewhere = max((tests.fog_elsewhere[model] for model in met), default=0.0)
    text = (
        f"Fog in the chain: {law.text} meets the three static stages within {_percent(law.worst)}, but on the adaptive "
        f"rows it is {_percent(elsewhere)} off where the variant `chain` is not."
    )
    return Hypothesis("b", text, bool(met) and elsewhere <= ENERGY_TOLERANCE)


def _cloud(tests: Tests) -> Hypothesis:
    law = tests.cloud.explained(ENERGY_TOLERANCE)
    if law is None:
        return Hypothesis("c", f"Cloud in the chain: {_NO_LAW}", holds=False)
    text = (
        f"Cloud in the chain: {law.text} meets the three static stages within {_percent(law.worst)} (two numbers, "
        f"three stages): {_rate(law.values[0])}, as if the head's weights came from main memory or over the bus."
    )
    return Hypothesis("c", text, holds=True)


def _stages(cells: Sequence[Cell]) -> Hypothesis:
    matching = _matching_in_chain(cells)
    follow = sum(_follows(cell, matching) for cell in cells)
    text = (
        "Follows from the fog's and the cloud's stages in the chain: with the published times of these two in the "
        f"static row (variant `chain`) the cell matches; so do {follow} cells."
    )
    return Hypothesis("d", text, follow > 0)


def _one_split(tests: Tests) -> Hypothesis:
    errors = ", ".join(f"{model} {_percent(x.worst)}" for model, x in tests.nearest.items())
    text = (
        "The adaptive row is that of another split than the algorithm chooses here: one fixed split meets its "
        f"latency and its joules of edge, fog and cloud. Largest of the four errors: {errors}. The split is "
        "chosen to fit, so this is no prediction, and why it was chosen stays unexplained (rank, below)."
    )
    return Hypothesis("e", text, any(x.worst <= TIME_TOLERANCE for x in tests.nearest.values()))


def explained(cells: Sequence[Cell], tests: Tests) -> tuple[Cell, ...]:
    """The cells, with a reason for each that does not match."""
    holding = {x.key for x in hypotheses(tests, cells) if x.holds}
    matching = _matching_in_chain(cells)
    return tuple(x if x.matches else replace(x, why=_reason(x, tests, holding, matching)) for x in cells)


def _reason(cell: Cell, tests: Tests, holding: set[str], matching: Figures) -> str:
    key = None
    if cell.row == "cloud-only":
        key = "a"
    elif cell.row == "static" and cell.quantity in STAGES and cell.variant == PLAIN.name:
        key = {"fog": "b", "cloud": "c"}[cell.quantity]
    elif _follows(cell, matching):
        key = "d"
    elif cell.row in {ADAPTIVE_ROW, REDUCTION_ROW} and _is_one_split(cell, tests):
        key = "e"
    return key if key is not None and key in holding else UNEXPLAINED


def _matching_in_chain(cells: Sequence[Cell]) -> Figures:
    """The figures that match under the variant `chain`."""
    return {(x.model, x.row, x.quantity) for x in cells if x.variant == CHAIN.name and x.matches}


def _follows(cell: Cell, matching: Figures) -> bool:
    """Whether a cell is off with the plain profiles only: of the static row, or of one device in the adaptive row.

    Sums and reductions of the adaptive row may match by errors that cancel, so they do not count.
    """
    if cell.variant != PLAIN.name or cell.matches or (cell.model, cell.row, cell.quantity) not in matching:
        return False
    wanted = {"static": ("latency", "total"), ADAPTIVE_ROW: STAGES}
    return cell.quantity in wanted.get(cell.row, ())


def _is_one_split(cell: Cell, tests: Tests) -> bool:
    """Whether one fixed split meets the whole adaptive row of the model, and this cell."""
    near = tests.nearest[cell.model]
    if near.worst > TIME_TOLERANCE:
        return False
    value = _value(cell, near.outcome, tests.found[cell.model][CHAIN.name].outcomes["static"][0])
    if cell.unit == "%":
        return abs(value - cell.published) <= POINTS_TOLERANCE
    return abs(value / cell.published - 1.0) <= (TIME_TOLERANCE if cell.unit == "ms" else ENERGY_TOLERANCE)


def _value(cell: Cell, outcome: Outcome, static: Outcome) -> float:
    """What an outcome gives for a cell of the adaptive row or of the reductions."""
    edge, fog, cloud = outcome.stages_j
    if cell.row == ADAPTIVE_ROW:
        values = {
            "latency": ms_from_s(outcome.latency_s),
            "edge": edge,
            "fog": fog,
            "cloud": cloud,
            "total": outcome.total_j,
        }
        return values[cell.quantity]
    pairs = {
        "latency": (outcome.latency_s, static.latency_s),
        "energy": (outcome.total_j, static.total_j),
        "node": (outcome.node_j, static.node_j),
    }
    after, before = pairs[cell.quantity]
    return 100.0 * (1.0 - after / before)


def _rate(s_per_byte: float) -> str:
    return f"{megabytes_from_bytes(1.0 / s_per_byte) / 1e3:.0f} GB/s"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
