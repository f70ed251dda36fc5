"""What fog and cloud cost in the chain against what they cost by themselves, and which simple law could say so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from twin.derivation.roofline import nonnegative_least_squares, work
from twin.reproduction.polytope import vertices

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twin.reproduction.worlds import Case

FOG, CLOUD = 1, 2


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of the static split: its published time (energy / power) and the derived one."""

    model: str
    published_s: float
    derived_s: float

    @property
    def factor(self) -> float:
        """Published time / derived time."""
        return self.published_s / self.derived_s


@dataclass(frozen=True, slots=True)
class Law:
    """A formula for the published stage times of all models.

    Attributes:
        text: The formula in words.
        values: Its numbers, in SI units; as many as there are models would always fit.
        worst: Largest relative error over the models, after non-negative least squares on relative errors.
    """

    text: str
    values: tuple[float, ...]
    worst: float


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """A device whose stages in the chain do not take what its profile says.

    Attributes:
        name: What to call it.
        stages: The stages by model.
        laws: What was tried to explain them.
    """

    name: str
    stages: tuple[Stage, ...]
    laws: tuple[Law, ...]

    def explained(self, tolerance: float) -> Law | None:
        """The law that meets every stage, or None."""
        good = [law for law in self.laws if law.worst <= tolerance and len(law.values) < len(self.stages)]
        return min(good, key=lambda law: law.worst, default=None)


def fog_in_the_chain(cases: Sequence[Case]) -> Discrepancy:
    """The fog: does it work slower, start late, or count the messages in?"""
    stages = _stages(cases, FOG)
    derived_s = np.array([[x.derived_s] for x in stages])
    one = np.ones_like(derived_s)
    moved = np.array([[_cut_bytes(case, device) for device in (0, 1)] for case in cases])
    laws = (
        _law("one factor", stages, derived_s),
        _law("one fixed time per visit", stages, one, known_s=derived_s[:, 0]),
        _law("one factor and one fixed time", stages, np.hstack([derived_s, one])),
        _law("one time per byte received or sent", stages, moved.sum(axis=1, keepdims=True), known_s=derived_s[:, 0]),
        _law("one time per byte received and another per byte sent", stages, moved, known_s=derived_s[:, 0]),
    )
    return Discrepancy("the fog in the chain", stages, laws)


def cloud_in_the_chain(cases: Sequence[Case]) -> Discrepancy:
    """The cloud: does it work slower, start late, or read its weights anew?"""
    stages = _stages(cases, CLOUD)
    derived_s = np.array([[x.derived_s] for x in stages])
    one = np.ones_like(derived_s)
    weights = np.array([[_weight_bytes(case, CLOUD)] for case in cases])
    laws = (
        _law("one factor", stages, derived_s),
        _law("one fixed time per visit", stages, one, known_s=derived_s[:, 0]),
        _law("one factor and one fixed time", stages, np.hstack([derived_s, one])),
        _law("one time per byte of weights and one fixed time", stages, np.hstack([weights, one])),
    )
    return Discrepancy("the cloud in the chain", stages, laws)


def best_roofline_error(cases: Sequence[Case], device: int) -> float:
    """The least error that any non-negative roofline can have on the worst of a device's whole-model times.

    A linear programme in the costs of a flop, a byte and a kernel and in the error, solved by its vertices.
    """
    shares = np.array([work(x.world.problem.graph).sum(axis=0) / x.figures.whole[device].latency_s for x in cases])
    slack = np.ones((len(shares), 1))
    upper, lower = np.hstack([shares, -slack]), np.hstack([-shares, -slack])
    normals = np.concatenate([upper, lower, -np.eye(4), [[0.0, 0.0, 0.0, 1.0]]])
    limits = np.concatenate([slack[:, 0], -slack[:, 0], np.zeros(4), [1.0]])
    return float(vertices(normals, limits)[:, -1].min())


def _stages(cases: Sequence[Case], device: int) -> tuple[Stage, ...]:
    return tuple(Stage(case.model, case.published_s[device], case.derived_s[device]) for case in cases)


def _law(text: str, stages: Sequence[Stage], columns: np.ndarray, known_s: np.ndarray | float = 0.0) -> Law:
    """Fit `known_s + columns @ parameters` to the published times; columns of shape [n, parameters]."""
    published_s = np.array([x.published_s for x in stages])
    found = nonnegative_least_squares(columns / published_s[:, None], (published_s - known_s) / published_s)
    errors = (known_s + columns @ found) / published_s - 1.0
    return Law(text, tuple(found.tolist()), float(np.abs(errors).max()))


def _cut_bytes(case: Case, device: int) -> float:
    return float(case.world.problem.graph.cut_bytes(case.static.down_set(device)))


def _weight_bytes(case: Case, device: int) -> float:
    layers = case.world.problem.graph.layers
    return float(sum(layers[position].parameter_bytes for position in case.static.stages[device].layers))
