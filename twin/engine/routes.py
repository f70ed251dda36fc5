"""The legs of all plans of a run, numbered, and the order in which stations can be worked off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from twin.engine.plan import Plan, Visit

LAST = -1
"""Stands for the leg after the last one of a request."""
ALONE = -2
"""Stands for the leg after that of a probe, which has no answer."""


class Leg(NamedTuple):
    """One visit of a plan.

    Attributes:
        visit: The visit.
        epoch: Plan epoch.
        after: Number of the next leg, `LAST` or `ALONE`.
    """

    visit: Visit
    epoch: int
    after: int


class Group(NamedTuple):
    """Stations that must be worked off together.

    Attributes:
        stations: The stations.
        is_cycle: Whether a request may come back to one of them, or one of them serves at two rates.
    """

    stations: tuple[int, ...]
    is_cycle: bool


class Routes:
    """Numbers the legs of plans and probes, and keeps their properties as columns.

    Attributes:
        legs: The legs by number.
        order: The stations that any plan so far visits, in groups; requests only move on to later groups, or to other
            stations of the same group.

    Args:
        n_stations: Number of stations.
    """

    def __init__(self, n_stations: int) -> None:
        self.legs: list[Leg] = []
        self.order: tuple[Group, ...] = ()
        self._follows = np.zeros((n_stations, n_stations), dtype=bool)
        self._places: list[set[int]] = [set() for _ in range(n_stations)]
        self._alone: dict[tuple[Visit, int], int] = {}
        self._epoch, self._place, self._direction = (_Column(np.int64) for _ in range(3))
        self._amount, self._size_bytes = (_Column(np.float64) for _ in range(2))

    def add(self, plan: Plan) -> int:
        """Number the legs of a plan and return the first."""
        first = len(self.legs)
        last = first + len(plan.visits) - 1
        for number, visit in enumerate(plan.visits, first):
            self._append(Leg(visit, plan.epoch, number + 1 if number < last else LAST))
        if self._learns(plan):
            self.order = _grouped(self._follows, self._places)
        return first

    def alone(self, visit: Visit, epoch: int) -> int:
        """Number a leg that belongs to no plan."""
        key = (visit, epoch)
        if key not in self._alone:
            self._alone[key] = len(self.legs)
            self._append(Leg(visit, epoch, ALONE))
        return self._alone[key]

    @property
    def epoch(self) -> NDArray[np.int64]:
        """Plan epoch of each leg."""
        return self._epoch.values

    @property
    def place(self) -> NDArray[np.int64]:
        """Place of each leg."""
        return self._place.values

    @property
    def direction(self) -> NDArray[np.int64]:
        """Direction of each leg; 0 for work."""
        return self._direction.values

    @property
    def amount(self) -> NDArray[np.float64]:
        """Seconds of nominal work, or bits, of each leg."""
        return self._amount.values

    @property
    def size_bytes(self) -> NDArray[np.float64]:
        """Bytes of each leg; 0 for work."""
        return self._size_bytes.values

    def _append(self, leg: Leg) -> None:
        self.legs.append(leg)
        self._epoch.append(leg.epoch)
        self._place.append(leg.visit.place)
        self._direction.append(leg.visit.direction)
        self._amount.append(leg.visit.amount)
        self._size_bytes.append(leg.visit.size_bytes)

    def _learns(self, plan: Plan) -> bool:
        """Note the stations of a plan; whether any of it is new."""
        before = (int(self._follows.sum()), sum(map(len, self._places)))
        for visit in plan.visits:
            self._places[visit.station].add(visit.place)
        for visit, after in zip(plan.visits, plan.visits[1:], strict=False):
            self._follows[visit.station, after.station] = True
        return before != (int(self._follows.sum()), sum(map(len, self._places)))


class _Column:
    """Numbers in an array that doubles when it is full."""

    def __init__(self, dtype: type) -> None:
        self._data: NDArray[Any] = np.empty(64, dtype=dtype)
        self._n = 0

    @property
    def values(self) -> NDArray[Any]:
        return self._data[: self._n]

    def append(self, value: float) -> None:
        if self._n == len(self._data):
            self._data = np.concatenate([self._data, np.empty_like(self._data)])
        self._data[self._n] = value
        self._n += 1


def _grouped(follows: NDArray[np.bool_], places: list[set[int]]) -> tuple[Group, ...]:
    """The strongly connected components of the stations in topological order."""
    reaches = follows.copy()
    for middle in range(len(reaches)):
        reaches |= reaches[:, middle, None] & reaches[None, middle]
    together = (reaches & reaches.T) | np.eye(len(reaches), dtype=bool)
    n_before = (reaches & ~together).sum(axis=0)
    groups = {tuple(np.flatnonzero(row).tolist()) for row, seen in zip(together, places, strict=True) if seen}
    in_order = sorted(groups, key=lambda group: (n_before[group[0]], group))
    return tuple(Group(x, bool(reaches[x[0], x[0]]) or len(places[x[0]]) > 1) for x in in_order)
