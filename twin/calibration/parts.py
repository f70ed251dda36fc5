"""Which part of measured runs is fitted, and which is kept to hold the fit against."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from twin.calibration.messages import Messages, messages
from twin.calibration.tables import StageVisits, stage_visits
from twin.errors import CalibrationError
from twin.metrics import replication_of
from twin.records import RunResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twin.world import World


class Window(NamedTuple):
    """A stretch of run time: requests and messages that begin in it count."""

    start_s: float
    end_s: float


EVERYTHING = Window(-math.inf, math.inf)


@dataclass(frozen=True)
class Part:
    """Some replications of one policy, or a stretch of time of them.

    Attributes:
        world: The scenario that was played.
        result: The records of these replications.
        window: The stretch of time.
    """

    world: World
    result: RunResult
    window: Window = EVERYTHING

    @cached_property
    def stages(self) -> StageVisits:
        """The stage visits in the window."""
        table = stage_visits(self.world, self.result)
        return table.where(self._inside(table.start_s))

    @cached_property
    def messages(self) -> Messages:
        """The messages in the window."""
        table = messages(self.world, self.result)
        return table.where(self._inside(table.start_s))

    @property
    def replications(self) -> tuple[int, ...]:
        """Numbers of its replications."""
        return tuple(int(number) for number in np.unique(self.result.requests.replication))

    def counted(self, arrival_s: np.ndarray) -> np.ndarray:
        """Which of the requests that arrived at these times lie in the window."""
        return self._inside(arrival_s)

    def _inside(self, times_s: np.ndarray) -> np.ndarray:
        return np.asarray((times_s >= self.window.start_s) & (times_s < self.window.end_s))


def split(world: World, results: Sequence[RunResult], share: float) -> tuple[list[Part], list[Part]]:
    """Split measured runs: whole replications where there are several, else in time.

    Args:
        world: The scenario.
        results: One result per policy.
        share: Share that is fitted; 1: all of it, and nothing is kept.

    Returns:
        The parts to be fitted, and those that are kept.

    Raises:
        CalibrationError: The share is not above 0 and at most 1, or no request was recorded.
    """
    if not 0 < share <= 1:
        raise CalibrationError(f"--split {share:g}: give the share that is fitted, above 0 and at most 1")
    numbers = sorted({int(x) for result in results for x in np.unique(result.requests.replication)})
    if not numbers:
        raise CalibrationError(f"{world.name}: there is no request in the measured runs; measure them again")
    if share == 1:
        return [Part(world, result) for result in results], []
    if len(numbers) == 1:
        cuts = [_cut_s(result, share) for result in results]
        pairs = list(zip(results, cuts, strict=True))
        fitted = [Part(world, result, Window(-math.inf, cut_s)) for result, cut_s in pairs]
        return fitted, [Part(world, result, Window(cut_s, math.inf)) for result, cut_s in pairs]
    n_fitted = min(max(round(share * len(numbers)), 1), len(numbers) - 1)
    chosen = (numbers[:n_fitted], numbers[n_fitted:])
    both = [[Part(world, _only(result, own)) for result in results if _has(result, own)] for own in chosen]
    return both[0], both[1]


def _cut_s(result: RunResult, share: float) -> float:
    """Where a run is cut: so that the share of its requests lies before."""
    arrival_s = np.sort(result.requests.arrival_s)
    return float(arrival_s[min(int(share * len(arrival_s)), len(arrival_s) - 1)]) if len(arrival_s) else 0.0


def _has(result: RunResult, numbers: Sequence[int]) -> bool:
    return bool(np.isin(result.requests.replication, numbers).any())


def _only(result: RunResult, numbers: Sequence[int]) -> RunResult:
    there = [number for number in numbers if _has(result, [number])]
    return RunResult.concatenate([replication_of(result, number) for number in there])
