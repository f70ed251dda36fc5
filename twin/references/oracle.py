"""The best fixed partition in hindsight: a search over a run that has been, not a policy that could decide.

A shortlist is played, not every partition: the best few under the true conditions at many times of the run, under
their mean, and every single device. Queues and luck are those of the run, for each is played by the same engine.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from twin.cost import predict
from twin.metrics import summarise
from twin.playing import Play
from twin.policies.reach import or_edge_only
from twin.problem import Conditions, Decision
from twin.records import RunResult
from twin.search import candidates, score_of
from twin.waiting import growth_s, luck_s

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from twin.partition import Partition
    from twin.problem import Observation, Problem
    from twin.world import World

LABEL = "oracle-static"
_LOOKS = 48
"""Times of the run whose conditions are searched."""
_FEW = 3
"""Partitions that each of them adds."""
_FIRST, _SECOND = 16, 4
"""Partitions that are played in the first replication, and in all others."""
_LEAST_SHARE = 1e-3
"""Share of a link's mean goodput that stands for none at all where a mean of times is taken."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """Keeps one partition; runs on the edge alone while something on its way is lost.

    Attributes:
        partition: The partition.
    """

    looks: ClassVar[bool] = False
    partition: Partition

    def init(self, problem: Problem) -> Problem:
        """Return the problem; nothing else is remembered."""
        return problem

    def decide(self, observation: Observation, state: Problem) -> tuple[Decision, Problem]:
        """Always the same."""
        partition, is_fallback = or_edge_only(state, self.partition, observation)
        return Decision(partition, "something on its way is lost" if is_fallback else "best in hindsight"), state


def best_fixed(
    world: World, play: Callable[[Sequence[Play]], list[RunResult]], length_s: float, played: Iterable[Partition] = ()
) -> RunResult:
    """Play the partitions of a shortlist and return the run of the one with the least mean score.

    Args:
        world: The scenario.
        play: Plays them.
        length_s: Length of the run, in which the true conditions are looked at.
        played: Other partitions to try, such as those of the scenario's own fixed policies.

    Returns:
        All replications of the best, under the label `oracle-static`.
    """
    short = shortlist(world, length_s, played)
    first = play([Play(Fixed(partition), LABEL, 0) for partition in short])
    order = sorted(range(len(short)), key=lambda k: _score(world, first[k]))[:_SECOND]
    numbers = range(1, world.replications)
    rest = iter(play([Play(Fixed(short[k]), LABEL, number) for k in order for number in numbers]))
    whole = [RunResult.concatenate([first[k], *itertools.islice(rest, len(numbers))]) for k in order]
    return min(whole, key=lambda result: _score(world, result))


def n_plays(world: World) -> int:
    """Most plays that `best_fixed` takes."""
    return _FIRST + _SECOND * (world.replications - 1)


def shortlist(world: World, length_s: float, played: Iterable[Partition] = ()) -> list[Partition]:
    """Partitions that may be the best fixed one, the most promising first.

    Args:
        world: The scenario.
        length_s: Length of the run.
        played: Others to try, which are never left out.
    """
    problem = world.problem
    seen = [world.conditions_at((k + 0.5) * length_s / _LOOKS) for k in range(_LOOKS)]
    given = [x for x in dict.fromkeys(played) if problem.allows(x)]
    given += [x for x in map(problem.on_device, range(problem.n_devices)) if problem.allows(x) and x not in given]
    found = {plan.partition: None for plan in candidates(problem, _mean(seen), _FIRST)}
    for conditions in {_key(x): x for x in seen}.values():
        found.update({plan.partition: None for plan in candidates(problem, conditions, _FEW)})
    others = sorted((x for x in found if x not in given), key=lambda x: _promise(problem, x, seen, length_s))
    return [*given, *others[: max(_FIRST - len(given), 1)]]


def _promise(problem: Problem, partition: Partition, seen: Sequence[Conditions], length_s: float) -> float:
    """Mean score over the run as predicted; queues grow for as long as conditions last."""
    total = 0.0
    for conditions in seen:
        prediction = predict(problem, partition, conditions)
        waits_s = (f(problem, prediction, length_s / len(seen)) for f in (luck_s, growth_s))
        latency_s = prediction.latency_s + sum(waits_s) if math.isfinite(prediction.latency_s) else length_s
        energy_j = prediction.energy_j(problem.objective.boundary)
        total += score_of(problem, latency_s, energy_j if math.isfinite(energy_j) else 0.0)
    return total / len(seen)


def _mean(seen: Sequence[Conditions]) -> Conditions:
    """Conditions whose times are the mean over the run."""
    rates_bps = np.array([x.rate_bps for x in seen])
    least_bps = rates_bps.mean(axis=0) * _LEAST_SHARE
    with np.errstate(divide="ignore"):
        rate_bps = 1 / (1 / np.maximum(rates_bps, least_bps)).mean(axis=0)
    rtt_s = np.mean([x.rtt_s for x in seen], axis=0)
    return Conditions(rate_bps, rtt_s, np.mean([x.slowdown for x in seen], axis=0))


def _key(conditions: Conditions) -> tuple[bytes, bytes]:
    return conditions.rate_bps.tobytes(), conditions.slowdown.tobytes()


def _score(world: World, result: RunResult) -> float:
    """Mean score; one that is not known, or where requests were never answered, comes last."""
    policy = summarise(world, [result]).policies[0]
    mean = policy.score.mean
    lost = policy.requests["failed"] + policy.requests["dropped"]
    return math.inf if mean is None or lost else mean
