"""The points of a sweep: every combination of the values on its axes, for every seed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Axis:
    """What varies: one place of the scenario, or several that vary together.

    Attributes:
        paths: The places, as in `--set`.
        rows: For each position on the axis the value of each place.
    """

    paths: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def path(self) -> str:
        """The first place, which stands for all."""
        return self.paths[0]

    @property
    def values(self) -> tuple[Any, ...]:
        """The value of the first place at each position."""
        return tuple(row[0] for row in self.rows)

    @property
    def is_numeric(self) -> bool:
        """Whether the values of the first place are numbers."""
        return all(isinstance(value, int | float) and not isinstance(value, bool) for value in self.values)


@dataclass(frozen=True, slots=True)
class Point:
    """One combination.

    Attributes:
        index: Its number.
        positions: Position on each axis.
        seed: Its seed.
        overrides: What makes it out of the scenario, as in `--set`.
    """

    index: int
    positions: tuple[int, ...]
    seed: int
    overrides: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sweep:
    """A scenario and what varies in it.

    Attributes:
        path: The sweep file.
        name: Name of the sweep.
        question: The question that it asks, or an empty string.
        scenario: The scenario file.
        fixed: What is changed for all points, as in `--set`.
        axes: What varies.
        seeds: Seeds with which every point is played.
        labels: The policies to play.
        minimise: Quantity by which the best policy is found.
    """

    path: Path
    name: str
    question: str
    scenario: Path
    fixed: tuple[str, ...]
    axes: tuple[Axis, ...]
    seeds: tuple[int, ...]
    labels: tuple[str, ...]
    minimise: str

    def points(self) -> Iterator[Point]:
        """All points; the seed changes fastest, then the last axis."""
        places = product(*(range(len(axis)) for axis in self.axes), self.seeds)
        for index, (*positions, seed) in enumerate(places):
            pairs = [
                override(path, value)
                for axis, position in zip(self.axes, positions, strict=True)
                for path, value in zip(axis.paths, axis.rows[position], strict=True)
            ]
            yield Point(index, tuple(positions), seed, (*self.fixed, *pairs, override("seed", seed)))


def override(path: str, value: Any) -> str:  # noqa: ANN401 - any plain data
    """A place and its value in the form of `--set`; JSON is YAML."""
    return f"{path}={json.dumps(value)}"
