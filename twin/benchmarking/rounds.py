"""Times that are taken in rounds: what is compared is played in turn, so that a slow moment meets all of it."""

from __future__ import annotations

import gc
import math
from statistics import median
from time import perf_counter, process_time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

STEADY = 0.25
"""Spread of the repeats, (largest - least) / median, above which a figure is called unstable."""


class Entrant(NamedTuple):
    """Something that is played in each round.

    Attributes:
        name: What it is called.
        requests: How many requests it plays.
        prepare: Returns the play, a call of which is timed.
    """

    name: str
    requests: int
    prepare: Callable[[], Callable[[], object]]


class Repeats(NamedTuple):
    """The same figure, measured several times.

    Attributes:
        values: One value per repeat.
    """

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median."""
        return median(self.values)

    @property
    def spread(self) -> float:
        """(Largest - least) / median; 0 for a single value."""
        return (max(self.values) - min(self.values)) / self.median if self.median else math.inf

    def to_json(self) -> dict[str, float | int]:
        """Median, least, largest and number of the values."""
        return {"median": self.median, "least": min(self.values), "largest": max(self.values), "n": len(self.values)}

    def over(self, other: Repeats) -> Repeats:
        """The ratios, round by round."""
        return Repeats(tuple(a / b for a, b in zip(self.values, other.values, strict=True)))


def rates_rps(entrants: Sequence[Entrant], rounds: int, tick: Callable[[str], object]) -> dict[str, Repeats]:
    """Requests per second of processor time of each entrant, by name.

    Args:
        entrants: What to play.
        rounds: How often each is played; a short one before is not counted.
        tick: Called with the name of what is played next.
    """
    found: dict[str, list[float]] = {entrant.name: [] for entrant in entrants}
    for _ in range(rounds):
        for entrant in entrants:
            tick(entrant.name)
            found[entrant.name].append(entrant.requests / played_s(entrant.prepare()))
    return {name: Repeats(tuple(values)) for name, values in found.items()}


def played_s(play: Callable[[], object]) -> float:
    """Processor time of one call, what others left behind cleared away before."""
    gc.collect()
    start_s = process_time()
    play()
    return process_time() - start_s


def calls_s(work: Callable[[], object], repeats: int) -> Repeats:
    """Time of each of some calls, by the wall clock."""
    return Repeats(tuple(_calls_s(work, repeats)))


def least_s(work: Callable[[], object], repeats: int = 30) -> float:
    """Least time of some calls."""
    return min(_calls_s(work, repeats))


def _calls_s(work: Callable[[], object], repeats: int) -> Iterator[float]:
    for _ in range(repeats):
        start_s = perf_counter()
        work()
        yield perf_counter() - start_s
