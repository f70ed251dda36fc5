"""How long stages take on a device: overhead, additivity, slowdown, codec rate and spread.

    work = slowdown * (additivity * sum of layer times + overhead + codec time per byte * bytes) * noise

`work` is what the device delivered while the stage ran, by the load that the scenario says. Overhead and additivity are
told apart by stages of different length. Slowdown and additivity are never told apart within a model, for both stretch
its layers: where lengths differ, the factor on layer times is given as additivity, which belongs to the model, and the
slowdown stays as it was; where they do not, the whole stage has one factor, the slowdown, which belongs to the device.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from twin.calibration.terms import LEAST_ROWS, Answer, Estimate, Term, fit_terms
from twin.world import faulted_rates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twin.calibration.parts import Part
    from twin.calibration.regression import Fitted, Floats
    from twin.calibration.tables import StageVisits

BLOCK_S = 5.0
"""Length of the stretches of time within which rows count as alike."""
_NO_SPREAD = 1e-6
"""Spread of stage times up to which they are the same."""
_IN_ADDITIVITY = "cannot be told from additivity, which holds it: stages of different length were measured"
_IN_SLOWDOWN = "stages of different length are needed; the slowdown holds the factor on the whole stage"


@dataclass(frozen=True, slots=True)
class DeviceEstimates:
    """What was found of a device.

    Attributes:
        name: Its name.
        profile: Name of its profile.
        stage_overhead_s: Fixed time of each stage visit.
        slowdown: Factor on the load that the scenario says.
        codec_s_per_byte: Time to serialise or deserialise one byte.
        dispersion: Standard deviation of the logarithm of a stage's time.
        additivity: Time of a stage / sum of its layers' times, by model.
        wild: Share of the visits that the fit does not count.
    """

    name: str
    profile: str
    stage_overhead_s: Estimate
    slowdown: Estimate
    codec_s_per_byte: Estimate
    dispersion: Estimate
    additivity: dict[str, Estimate]
    wild: float


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Visits of one device in all parts, shape [n] each."""

    work_s: Floats
    layers_s: Floats
    codec_bytes: Floats
    model: np.ndarray
    block: np.ndarray

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.work_s)


def fit_device(parts: Sequence[Part], name: str, *, is_robust: bool = True) -> DeviceEstimates:
    """Fit one device.

    Args:
        parts: Runs; each has the device.
        name: Its name.
        is_robust: Whether rows that are wild do not count.
    """
    world = parts[0].world
    device = world.problem.continuum.position(name)
    rows = _rows(parts, name)
    additivity = {part.world.problem.graph.model: part.world.profiles[device].additivity for part in parts}
    terms = [
        *(Term(f"additivity of {model}", rows.layers_s * (rows.model == model), 1.0, "factor") for model in additivity),
        Term("stage_overhead_s", np.ones(rows.n), float(world.problem.stage_overhead_s[device]), "part"),
        Term("codec_s_per_byte", rows.codec_bytes, float(world.problem.codec_s_per_byte[device]), "part"),
    ]
    answer, slowdown = _fit(terms, rows, is_robust=is_robust)
    return DeviceEstimates(
        name,
        world.profiles[device].device,
        answer.estimates["stage_overhead_s"],
        slowdown,
        answer.estimates["codec_s_per_byte"],
        _dispersion(answer.fitted, rows.n, float(world.dispersion[device])),
        {model: answer.estimates[f"additivity of {model}"].mapped(was) for model, was in additivity.items()},
        float(answer.fitted.wild.mean()) if answer.fitted is not None else 0.0,
    )


def _fit(terms: Sequence[Term], rows: _Rows, *, is_robust: bool) -> tuple[Answer, Estimate]:
    """All terms but the slowdown, and the slowdown; of these the one or the other is determined."""
    if rows.n < LEAST_ROWS:
        why = f"{rows.n} stage visits; {LEAST_ROWS} are needed"
        kept = {term.name: Estimate.kept(term.was, why, rows.n) for term in terms}
        return Answer(kept, None, rows.n), Estimate.kept(1.0, why, rows.n)
    data = (rows.work_s, np.ones(rows.n), rows.block)
    answer = fit_terms(terms, *data, is_log=True, is_robust=is_robust)
    if answer.estimates["stage_overhead_s"].determined:
        return answer, Estimate.kept(1.0, _IN_ADDITIVITY)
    nominal_s = sum((term.column * term.was for term in terms), np.zeros(rows.n))
    term = Term("slowdown", nominal_s, 1.0, "factor")
    whole = fit_terms([term], *data, is_log=True, is_robust=is_robust)
    kept = {term.name: Estimate.kept(term.was, _IN_SLOWDOWN) for term in terms}
    return Answer(kept, whole.fitted, rows.n), whole.estimates["slowdown"]


def _dispersion(fitted: Fitted | None, n: int, was: float) -> Estimate:
    if fitted is None:
        return Estimate.kept(was, "nothing could be fitted")
    scale = fitted.scale if fitted.scale > _NO_SPREAD else 0.0
    low = max(scale - fitted.scale_half, 0.0)
    return Estimate(scale, low, scale + fitted.scale_half, n, determined=True, was=was)


def _rows(parts: Sequence[Part], name: str) -> _Rows:
    found = [_rows_of(part, name, number) for number, part in enumerate(parts)]
    columns = zip(*((x.work_s, x.layers_s, x.codec_bytes, x.model, x.block) for x in found), strict=True)
    return _Rows(*(np.concatenate(column) for column in columns))


def _rows_of(part: Part, name: str, number: int) -> _Rows:
    device = part.world.problem.continuum.position(name)
    visits: StageVisits = part.stages.where(part.stages.device == device)
    rate = faulted_rates(part.world)[device]
    work_s = rate.delivered_many(visits.start_s + visits.time_s) - rate.delivered_many(visits.start_s)
    visits, work_s = visits.where(work_s > 0), work_s[work_s > 0]
    model = np.full(len(work_s), part.world.problem.graph.model, dtype=object)
    block = blocks(number, visits.replication, visits.start_s)
    return _Rows(work_s, visits.layers_s, visits.codec_bytes, model, block)


def blocks(part: int, replication: np.ndarray, start_s: Floats) -> np.ndarray:
    """Number of the stretch of time of each row: those of different parts and replications differ."""
    stretch = np.floor(start_s / BLOCK_S).astype(np.int64)
    return np.asarray((part << 48) + (replication.astype(np.int64) << 32) + stretch)
