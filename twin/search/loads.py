"""How long a plan holds each station, stage by stage and message by message."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from twin.cost import station_of
from twin.search.space import Space, space_of
from twin.units import BITS_PER_BYTE

if TYPE_CHECKING:
    from twin.problem import Problem
    from twin.search.space import Situation

Way = tuple[tuple[int, float], ...]
"""Stations on a way, each with the time per byte for which a message holds it."""


@dataclass(frozen=True, slots=True, eq=False)
class Loads:
    """Loads of the stations under given conditions; K is the number of devices.

    Attributes:
        space: The down-sets.
        per_work: Time that a slot of each device is held per second of nominal work, shape [K].
        overhead_s: Nominal overhead of a stage, shape [K].
        codec_s_per_byte: Nominal time to encode or decode a byte, shape [K].
        moves: Way from device j to k, for all j < k.
        answers: Way of the answer from each device.
        shared: Stations that two messages of one request may use; the others are used once at most.
    """

    space: Space
    per_work: np.ndarray
    overhead_s: np.ndarray
    codec_s_per_byte: np.ndarray
    moves: dict[tuple[int, int], Way]
    answers: tuple[Way, ...]
    shared: tuple[int, ...]

    def arrive_s(self, device: int, before: np.ndarray, size_bytes: np.ndarray | float) -> np.ndarray:
        """The part of a stage's hold that is known once its input is: overhead, decoding, less what has run before."""
        nominal_s = self.overhead_s[device] - self.space.work_s[device, before]
        return np.asarray((nominal_s + size_bytes * self.codec_s_per_byte[device]) * self.per_work[device])

    def leave_s(self, device: int, after: int) -> float:
        """The rest of a stage's hold: the layers of the down-set after it, and encoding what leaves it."""
        lattice = self.space.lattice
        encoded_bytes = lattice.cut_bytes[after] if after < len(lattice) - 1 else 0.0
        nominal_s = self.space.work_s[device, after] + encoded_bytes * self.codec_s_per_byte[device]
        return float(nominal_s * self.per_work[device])

    def carry(self, loads_s: np.ndarray, way: Way, size_bytes: np.ndarray | float) -> None:
        """Add messages to loads, in place.

        Args:
            loads_s: Largest load so far, then the load of each shared station, shape [m, 1 + number of shared].
            way: Stations on the messages' way.
            size_bytes: Size of each message, shape [m] or one for all.
        """
        for station, per_byte_s in way:
            held_s = per_byte_s * size_bytes
            if station in self.shared:
                column = 1 + self.shared.index(station)
                loads_s[:, column] += held_s
                held_s = loads_s[:, column]
            np.maximum(loads_s[:, 0], held_s, out=loads_s[:, 0])


def loads_of(problem: Problem, situation: Situation) -> Loads:
    """Work out the loads per unit of work and per byte; links without rate hold nothing (nothing may use them)."""
    rate_bps = situation.conditions.rate_bps
    per_byte_s = np.divide(BITS_PER_BYTE, rate_bps, out=np.zeros_like(rate_bps), where=rate_bps > 0)

    def way(source: int, target: int) -> Way:
        hops = problem.continuum.path(source, target)
        return tuple((station_of(problem, x.link, x.direction), float(per_byte_s[x.link, x.direction])) for x in hops)

    n = problem.n_devices
    slots = np.array([device.slots for device in problem.continuum.devices])
    return Loads(
        space=space_of(problem),
        per_work=situation.conditions.slowdown / slots,
        overhead_s=problem.stage_overhead_s,
        codec_s_per_byte=problem.codec_s_per_byte,
        moves={(j, k): way(j, k) for j, k in combinations(range(n), 2)},
        answers=tuple(way(device, 0) for device in range(n)),
        shared=_shared(problem),
    )


def _shared(problem: Problem) -> tuple[int, ...]:
    """Stations that two messages of one request may use: of moves onwards, and of the answer from the last device."""
    n = problem.n_devices
    legs = [(j, k) for j, k in combinations(range(n), 2)] + [(k, n) for k in range(1, n)]
    stations = [
        {station_of(problem, x.link, x.direction) for x in problem.continuum.path(j, k if k < n else 0)}
        for j, k in legs
    ]
    twice: set[int] = set()
    for a, b in combinations(range(len(legs)), 2):
        if legs[a][1] <= legs[b][0] or legs[b][1] <= legs[a][0]:
            twice |= stations[a] & stations[b]
    return tuple(sorted(twice))
