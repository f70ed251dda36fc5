"""What the live twin takes for true: conditions of links as followed, and factors that it has fitted itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from twin.route import route_of
from twin.units import BITS_PER_BYTE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from twin.partition import Partition
    from twin.problem import Conditions, Problem
    from twin.world import World

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

END_TO_END = -1
"""Stands for the place of a whole request."""
_LEAST_FACTOR = 0.02
"""Factors are not fitted below this: no part is fifty times as fast as was thought."""


@dataclass(frozen=True, slots=True)
class Corrections:
    """What was fitted.

    Attributes:
        device: Time of a stage / its profiled time, by device.
        rate: Factor of the goodput, by link direction (2 link + direction).
        message_s: Time that a message takes beside what is known, by link direction; may be negative.
        request_s: Time that a request takes beside all of that.
        version: How often something was fitted.
    """

    device: tuple[float, ...]
    rate: tuple[float, ...]
    message_s: tuple[float, ...]
    request_s: float = 0.0
    version: int = 0

    @classmethod
    def none(cls, problem: Problem) -> Corrections:
        """Nothing was fitted: devices are as slow as the scenario says for the start."""
        n = 2 * len(problem.continuum.links)
        return cls(tuple(problem.initial.slowdown.tolist()), (1.0,) * n, (0.0,) * n)


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """What the twin predicts with.

    Attributes:
        problem: The scenario's problem; a message overhead is what the check of the links found.
        conditions: Goodput and round-trip time of the links as last estimated; the slowdowns are not used.
        corrections: What was fitted.
    """

    problem: Problem
    conditions: Conditions
    corrections: Corrections

    def stage_s(self, device: Ints, nominal_s: Floats) -> Floats:
        """Time of stage visits by their profiled times, shape [n]."""
        return np.asarray(np.array(self.corrections.device)[device] * nominal_s)

    def sending_s(self, way: Ints, size_bytes: Floats) -> Floats:
        """Time of the transmission of messages by their link directions, shape [n]; infinite where nothing moves."""
        rate_bps = self.conditions.rate_bps.reshape(-1) * np.array(self.corrections.rate)
        with np.errstate(divide="ignore"):
            return np.asarray(size_bytes * BITS_PER_BYTE / rate_bps[way])

    def delay_s(self, way: Ints) -> Floats:
        """Time of messages until the receipt is back beside the transmission, shape [n]."""
        overhead_s = np.array([link.message_overhead_s for link in self.problem.continuum.links])
        fitted_s = np.array(self.corrections.message_s)[way]
        return np.asarray(np.maximum(overhead_s[way // 2] + self.conditions.rtt_s[way // 2] + fitted_s, 0.0))

    def parts_s(self, partition: Partition) -> dict[int, float]:
        """Mean time of one visit of each place that a plan passes, messages to their receipt.

        Returns:
            By place: device k is k, direction d of link l is n_devices + 2 l + d.
        """
        times_s: dict[int, list[float]] = {}
        route = route_of(self.problem, partition)
        for work in route.work:
            time_s = self.stage_s(np.array([work.device]), np.array([work.nominal_s]))
            times_s.setdefault(work.device, []).append(float(time_s[0]))
        for hop, size_bytes in route.messages:
            way = np.array([2 * hop.link + hop.direction])
            time_s = self.delay_s(way) + self.sending_s(way, np.array([size_bytes]))
            times_s.setdefault(self.problem.n_devices + int(way[0]), []).append(float(time_s[0]))
        return {place: sum(all_s) / len(all_s) for place, all_s in times_s.items()}


def with_overheads(world: World, overhead_s: Sequence[float]) -> World:
    """The scenario with a message overhead by link, and without slow start, which estimates of goodput contain."""
    continuum = world.problem.continuum
    links = tuple(
        replace(link, message_overhead_s=x, slow_start_s=0.0)
        for link, x in zip(continuum.links, overhead_s, strict=True)
    )
    return replace(world, problem=replace(world.problem, continuum=replace(continuum, links=links)))


def slower_device(corrections: Corrections, device: int, factor: float) -> Corrections:
    """A device takes `factor` times as long as was thought."""
    values = list(corrections.device)
    values[device] *= max(factor, _LEAST_FACTOR)
    return replace(corrections, device=tuple(values), version=corrections.version + 1)


def slower_way(corrections: Corrections, way: int, sending_s: float, more_s: float) -> Corrections:
    """Messages of a link direction take `more_s` longer than was thought, because of its goodput.

    Args:
        corrections: What was fitted so far.
        way: The link direction.
        sending_s: Mean time of their transmission as was thought.
        more_s: What they take longer; negative if they are faster.
    """
    values = list(corrections.rate)
    values[way] /= max(1 + more_s / sending_s, _LEAST_FACTOR)
    return replace(corrections, rate=tuple(values), version=corrections.version + 1)


def later_way(corrections: Corrections, way: int, more_s: float) -> Corrections:
    """Messages of a link direction take `more_s` longer than was thought, whatever their size."""
    values = list(corrections.message_s)
    values[way] += more_s
    return replace(corrections, message_s=tuple(values), version=corrections.version + 1)


def later_request(corrections: Corrections, more_s: float) -> Corrections:
    """Requests take `more_s` longer than was thought."""
    return replace(corrections, request_s=corrections.request_s + more_s, version=corrections.version + 1)
