"""Markov-modulated models of links and loads: states, how long each lasts, what follows, and where that is from."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np

DECIMALS: dict[str, int] = {"up_bps": -3, "down_bps": -3, "rtt_s": 5, "slowdown": 3}
"""Decimals to which each column is rounded, so that a last digit of the machine cannot change a file."""


@dataclass(frozen=True, slots=True)
class State:
    """One state of a chain.

    Attributes:
        name: Name of the state.
        values: Mean value of each column while the state lasts.
        dwell_s: Mean time that the state lasts. Unused where the chain follows a route.
        shortest_s: Shortest time that it lasts.
        longest_s: Longest time that it lasts.
        follow: Probability of each state that may follow; empty where the chain follows a route.
    """

    name: str
    values: Mapping[str, float]
    dwell_s: float = 0.0
    shortest_s: float = 0.0
    longest_s: float = math.inf
    follow: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Route:
    """A walk along the states: a chain that is drawn towards a moving target, one state per step at most.

    Attributes:
        points: Pairs of a time in seconds and the position of the target state then; straight lines between them.
        towards: Probability per step of moving one state towards the target.
        astray: Probability per step of moving one state away from it.
    """

    points: tuple[tuple[float, float], ...]
    towards: float
    astray: float


@dataclass(frozen=True, slots=True)
class TraceModel:
    """A trace as a seeded random process.

    Attributes:
        name: Name of the trace and of its files.
        description: What it stands for.
        seed: Seed of its random generator.
        duration_s: Length of the trace.
        step_s: Length of a step.
        columns: Columns of the file, the time left out.
        states: The states; the first is the initial one.
        spread: Largest relative deviation of a value from its state's mean, by column; each step draws its own,
            with a triangular density around 0.
        sources: Where each parameter is from; `chosen` for a modelling choice.
        route: How the states follow each other, where it is not by their dwell times.
    """

    name: str
    description: str
    seed: int
    duration_s: float
    step_s: float
    columns: tuple[str, ...]
    states: tuple[State, ...]
    spread: Mapping[str, float]
    sources: Mapping[str, str]
    route: Route | None = None


def generate(model: TraceModel) -> list[tuple[float, ...]]:
    """Play a model with its own seed.

    Only uniform numbers are drawn, whose stream numpy keeps the same across versions and machines.

    Returns:
        Rows of a time in seconds and the value of each column, one per step at which a value changes.
    """
    import numpy as np  # noqa: PLC0415 - the models can be listed without it

    rng = np.random.default_rng(model.seed)
    path = _by_dwell_times(model, rng) if model.route is None else _along_route(model, model.route, rng)
    rows: list[tuple[float, ...]] = []
    for step, state in enumerate(path):
        values = tuple(
            round(state.values[column] * (1.0 + _deviation(model.spread.get(column, 0.0), rng)), DECIMALS[column])
            for column in model.columns
        )
        if not rows or rows[-1][1:] != values:
            rows.append((step * model.step_s, *values))
    return rows


def _deviation(spread: float, rng: np.random.Generator) -> float:
    return spread * (rng.random() + rng.random() - 1.0) if spread else 0.0


def _steps(model: TraceModel) -> int:
    return round(model.duration_s / model.step_s)


def _by_dwell_times(model: TraceModel, rng: np.random.Generator) -> Iterator[State]:
    """The state of each step: each lasts for its shortest time and an exponential one, up to its longest."""
    by_name = {state.name: state for state in model.states}
    state, left = model.states[0], 0
    for step in range(_steps(model)):
        if left == 0:
            if step:
                state = by_name[_choice(state.follow, rng)]
            extra_s = -(state.dwell_s - state.shortest_s) * math.log(1.0 - rng.random())
            left = max(1, round(min(state.shortest_s + extra_s, state.longest_s) / model.step_s))
        left -= 1
        yield state


def _choice(probabilities: Mapping[str, float], rng: np.random.Generator) -> str:
    drawn, total = rng.random(), 0.0
    for name, probability in probabilities.items():
        total += probability
        if drawn < total:
            return name
    return name


def _along_route(model: TraceModel, route: Route, rng: np.random.Generator) -> Iterator[State]:
    """The state of each step: drawn towards the target of the route."""
    last = len(model.states) - 1
    position = round(route.points[0][1])
    for step in range(_steps(model)):
        target = round(_target(route, step * model.step_s))
        direction = (target > position) - (target < position)
        drawn = rng.random()
        if drawn < route.astray:
            position -= direction or (1 if drawn < route.astray / 2 else -1)
        elif drawn < route.astray + route.towards:
            position += direction
        position = min(max(position, 0), last)
        yield model.states[position]


def _target(route: Route, time_s: float) -> float:
    """Position of the target at a time."""
    (before_s, before), *rest = route.points
    for after_s, after in rest:
        if time_s < after_s:
            return before + (after - before) * (time_s - before_s) / (after_s - before_s)
        before_s, before = after_s, after
    return before
