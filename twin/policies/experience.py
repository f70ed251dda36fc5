"""What links and devices have done in this run so far: how they vary, how often they fell, and how low.

The speed of a link direction is its goodput, that of a device 1 / slowdown. Places are numbered devices first, then
both directions of each link.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from twin.problem import Conditions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twin.problem import Observation, Problem

_DEEP = 0.5
"""A speed below this share of the last one is a fall."""
_ALIKE = 2.0
"""Speeds within this factor of each other are the same level."""
_ONE_FALL_S = 3.0
"""Time in which a fall may go deeper before another is counted: what is stuck shows by and by how slow it is."""
_GRACE_S = 10.0
"""Time without falls that is taken to have been before the first look, so that one fall is not all there is."""
_LEAST = 1e-4
"""Share of the speed before that is left after the deepest fall that is reckoned with."""
_MANY = 64
"""Falls from which on they are kept as columns, too."""
_MEMORY = 0.3
"""Weight of the newest change in the usual change."""


class Fall(NamedTuple):
    """A fall that was seen: when, the speed before, and the least speed after."""

    t_s: float
    before: float
    after: float


class Risk(NamedTuple):
    """A fall that may come: where, how often per second, and the time per unit of work then."""

    place: int
    rate_per_s: float
    slowness: float

    def within(self, time_s: float) -> float:
        """Probability that it comes within a time."""
        return 1 - math.exp(-self.rate_per_s * time_s)


@dataclass(frozen=True, slots=True, eq=False)
class Experience:
    """What is remembered of each place.

    Attributes:
        t_s: Time of the last look, or NaN.
        interval_s: Time between the last two looks.
        speed: Speed at the last look, shape [n_places].
        change: Usual change of the logarithm of the speed from one look with a new sample to the next, falls left out,
            shape [n_places].
        seen_s: For each place, time that was spent at each level (rounded binary logarithm of the speed).
        falls: For each place, the falls that were seen.
    """

    t_s: float
    interval_s: float
    speed: np.ndarray
    change: np.ndarray
    seen_s: tuple[Mapping[int, float], ...]
    falls: tuple[tuple[Fall, ...], ...]

    @classmethod
    def none(cls, problem: Problem) -> Experience:
        """Nothing has been seen yet."""
        speed = speeds(problem.initial)
        return cls(math.nan, 0.0, speed, np.zeros(len(speed)), ({},) * len(speed), ((),) * len(speed))

    def look(self, observation: Observation) -> Experience:
        """Take in the estimates of one observation."""
        speed, t_s = speeds(observation.conditions), observation.t_s
        if not t_s > self.t_s:
            return replace(self, t_s=t_s, speed=speed)
        past_s = t_s - self.t_s
        age_s = np.concatenate([observation.device_age_s, observation.age_s.reshape(-1)])
        columns = (self.speed, speed, self.change, age_s)
        places = zip(*(x.tolist() for x in columns), self.seen_s, self.falls, strict=True)
        change, seen_s, falls = [], [], []
        for before, now, usual, since_s, seen, fallen in places:
            is_seen = before > 0 and since_s < 2 * past_s
            level = _level(before) if is_seen else 0
            seen_s.append({**seen, level: seen.get(level, 0.0) + past_s} if is_seen else seen)
            falls.append(_with_fall(fallen, t_s, before, now))
            is_new = since_s <= past_s and before > 0 and now >= before * _DEEP
            change.append(usual + _MEMORY * (abs(math.log(now / before)) - usual) if is_new else usual)
        return Experience(t_s, past_s, speed, np.array(change), tuple(seen_s), tuple(falls))

    def risks(self, conditions: Conditions) -> list[Risk]:
        """The falls that may come, as often and as deep as before from the present level."""
        risks = []
        for place, now in enumerate(speeds(conditions).tolist()):
            n, slowness = _usual(self.falls[place], now)
            if now > 0 and n:
                level = _level(now)
                seen_s = sum(self.seen_s[place].get(level + k, 0.0) for k in (-1, 0, 1))
                risks.append(Risk(place, n / (seen_s + _GRACE_S), slowness))
        return risks

    def falling(self, problem: Problem, observation: Observation) -> list[int]:
        """Places where something has been stuck since a fall a moment ago, so that it is not known how deep it is."""
        n, now = problem.n_devices, observation.samples
        links = zip(now.open_link.tolist(), now.open_direction.tolist(), strict=True)
        places = {*now.open_device.tolist(), *(n + 2 * link + direction for link, direction in links)}
        return [x for x in sorted(places) if self.falls[x] and observation.t_s - self.falls[x][-1].t_s <= _ONE_FALL_S]

    def foreseen(self, problem: Problem, observation: Observation, conditions: Conditions) -> Conditions:
        """The conditions, with what is falling as low as it fell before.

        What is stuck tells only how fast it is not.
        """
        slowness: dict[int, float] = {}
        now = speeds(conditions)
        for place in self.falling(problem, observation):
            newest = self.falls[place][-1]
            before = [x for x in _alike(self.falls[place], newest.before) if x is not newest]
            if before and now[place] > 0:
                slowness[place] = max(_slowness(before, newest.before), 1 / float(now[place]))
        return slower(problem, conditions, slowness)


def speeds(conditions: Conditions) -> np.ndarray:
    """Speed of each place, shape [n_devices + 2 * n_links]."""
    return np.concatenate([1 / conditions.slowdown, conditions.rate_bps.reshape(-1)])


def slower(problem: Problem, conditions: Conditions, slowness: Mapping[int, float]) -> Conditions:
    """The conditions with another time per unit of work at some places."""
    slowdown, rate_bps = conditions.slowdown.copy(), conditions.rate_bps.copy()
    for place, value in slowness.items():
        if place < problem.n_devices:
            slowdown[place] = value
        else:
            rate_bps[divmod(place - problem.n_devices, 2)] = 1 / value
    return Conditions(rate_bps, conditions.rtt_s, slowdown)


def _with_fall(falls: tuple[Fall, ...], t_s: float, before: float, now: float) -> tuple[Fall, ...]:
    if falls and t_s - falls[-1].t_s <= _ONE_FALL_S and now < before:
        return Falls.grown(falls[:-1], falls[-1]._replace(after=min(falls[-1].after, now)), _columns(falls))
    return Falls.grown(falls, Fall(t_s, before, now), _columns(falls)) if now < before * _DEEP else falls


class Falls(tuple[Fall, ...]):  # noqa: SLOT001 - a tuple has no room for slots
    """Many falls of a place, with their speeds as columns, for to look through them one by one takes long.

    Attributes:
        columns: Speed before and after each, shape [n, 2]; None where they are few.
    """

    columns: np.ndarray | None = None

    @classmethod
    def grown(cls, falls: tuple[Fall, ...], newest: Fall, columns: np.ndarray | None) -> Falls:
        """The falls and one more; `columns` may hold more rows than there are falls."""
        grown = cls((*falls, newest))
        if columns is not None:
            grown.columns = np.vstack([columns[: len(falls)], newest[1:]])
        elif len(grown) >= _MANY:
            grown.columns = np.array([fall[1:] for fall in grown])
        return grown


def _columns(falls: tuple[Fall, ...]) -> np.ndarray | None:
    return falls.columns if isinstance(falls, Falls) else None


def _usual(falls: tuple[Fall, ...], speed: float) -> tuple[int, float]:
    """How many falls there were from the level of a speed, and the mean time per unit of work after them."""
    columns = _columns(falls)
    if columns is None:
        alike = _alike(falls, speed)
        return len(alike), _slowness(alike, speed) if alike and speed > 0 else 0.0
    before, after = columns.T
    after = after[(before >= speed / _ALIKE) & (before <= speed * _ALIKE) & (after < speed)]
    if not len(after) or not speed > 0:
        return len(after), 0.0
    # Added up one after the other, as `sum` does.
    return len(after), float(np.add.accumulate(1 / np.maximum(after, speed * _LEAST))[-1]) / len(after)


def _alike(falls: tuple[Fall, ...], speed: float) -> list[Fall]:
    """Falls from the level of a speed."""
    low, high = speed / _ALIKE, speed * _ALIKE
    return [x for x in falls if low <= x.before <= high and x.after < speed]


def _slowness(falls: list[Fall], speed: float) -> float:
    """Mean time per unit of work after falls: times add up, speeds do not."""
    return sum(1 / max(x.after, speed * _LEAST) for x in falls) / len(falls)


def _level(speed: float) -> int:
    return round(math.log2(speed))
