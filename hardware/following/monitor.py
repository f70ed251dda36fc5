"""Watches every part of the twin for drift, says which has gone wrong, and fits that part anew."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hardware.following.drift import Cusum, Tuning
from hardware.following.model import (
    END_TO_END,
    Corrections,
    later_request,
    later_way,
    slower_device,
    slower_way,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hardware.following.history import Floats, Ints, News
    from hardware.following.model import Model
    from twin.topology import Continuum

_KEPT = 64
"""Newest intervals that a fit may rest on."""
_MEMORY = 0.9
"""Share of what is known of a part's scatter that lasts to the next interval: about the last ten count."""
_ESTIMATED_FROM = 6
"""Messages that the estimate of a link rests on, which scatters like their mean; see `twin.conditions`."""
_MOSTLY = 0.5
"""Share of a message's time from which on its transmission is what takes long, and not its delay."""
ENOUGH = 3
"""Messages or stage visits below which an interval says too little of a part's scatter."""


@dataclass(frozen=True, slots=True)
class Residual:
    """How far a part was from what was predicted, in one interval.

    Attributes:
        place: The device or link direction; `END_TO_END` for whole requests.
        n: Visits, messages or answered requests.
        expected_s: Mean time that the twin expected of them.
        measured_s: Mean time that they took.
        deviation: Relative standard deviation of that mean if nothing is wrong.
        sending_s: Of messages, the part of `expected_s` that depends on the goodput.
    """

    place: int
    n: int
    expected_s: float
    measured_s: float
    deviation: float = 0.0
    sending_s: float = 0.0

    @property
    def relative(self) -> float:
        """Measured / expected - 1."""
        return self.measured_s / self.expected_s - 1


@dataclass(frozen=True, slots=True)
class Flag:
    """The twin had gone wrong, and was fitted anew.

    Attributes:
        t_s: When it was noticed.
        place: Which part.
        name: Its name, such as `compute.pi`.
        bias: Median of the relative residuals since it went wrong.
        intervals: How many these are.
        quantity: What was fitted.
        before: Its value until then.
        after: Its value from then on.
    """

    t_s: float
    place: int
    name: str
    bias: float
    intervals: int
    quantity: str
    before: float
    after: float

    def to_json(self) -> dict[str, Any]:
        """The flag as plain data."""
        return {
            "t_s": self.t_s,
            "part": self.name,
            "bias": self.bias,
            "intervals": self.intervals,
            "fitted": {"quantity": self.quantity, "before": self.before, "after": self.after},
        }

    def __str__(self) -> str:
        change = "slower" if self.bias > 0 else "faster"
        return (
            f"{self.t_s:.1f} s: {self.name} is {abs(self.bias):.0%} {change} than the twin says; "
            f"{self.quantity} {self.before:.4g} -> {self.after:.4g}"
        )


class Monitor:
    """A detector for each device, each link direction and whole requests.

    Attributes:
        corrections: What was fitted so far.

    Args:
        continuum: Names of the parts.
        corrections: What to begin with.
        tuning: When a detector raises a flag.
    """

    def __init__(self, continuum: Continuum, corrections: Corrections, tuning: Tuning | None = None) -> None:
        self.corrections = corrections
        self._names, self._n_devices = part_names(continuum), len(continuum)
        places = (*range(len(self._names) - 1), END_TO_END)
        self._tuning = tuning or Tuning()
        self._detectors = {place: Cusum(self._tuning) for place in places}
        self._recent: dict[int, deque[Residual]] = {place: deque(maxlen=_KEPT) for place in places}
        self._scatter: dict[int, float] = {}

    def parts(self, news: News, model: Model) -> list[Residual]:
        """How far each part that was at work is from what a model expects of that work."""
        expected_s = model.stage_s(news.device, news.nominal_s)
        useful = expected_s > 0
        rows = list(self._by_place(news.device[useful], expected_s[useful], news.service_s[useful]))
        sending_s = model.sending_s(news.way, news.size_bytes)
        all_s = sending_s + model.delay_s(news.way)
        moving = np.isfinite(all_s) & (all_s > 0)
        place = self._n_devices + news.way[moving]
        rows += self._by_place(place, all_s[moving], news.transfer_s[moving], sending_s[moving])
        return rows

    def watch(self, residuals: Sequence[Residual], t_s: float) -> list[Flag]:
        """Take in residuals; what has gone wrong is fitted anew, and its detector starts anew.

        An alarm that rests on some odd residuals, while most of them are as they should be, is no flag.
        """
        flags = []
        for residual in residuals:
            if not (residual.expected_s > 0 and math.isfinite(residual.measured_s)):
                continue
            recent = self._recent[residual.place]
            recent.append(residual)
            deviation = max(residual.deviation, self._tuning.floor_s / residual.expected_s)
            alarm = self._detectors[residual.place].add(residual.relative, deviation)
            if alarm is not None:
                since = list(recent)[-alarm.since :]
                recent.clear()
                bias = float(np.median([x.relative for x in since]))
                if alarm.sign * bias >= self._tuning.least_bias:
                    flags.append(self._refit(residual.place, since, bias, t_s))
        if any(flag.place != END_TO_END for flag in flags):
            # What whole requests took too long is explained.
            self._detectors[END_TO_END].restart()
            self._recent[END_TO_END].clear()
        return flags

    def name(self, place: int) -> str:
        """Name of a part."""
        return self._names[place]

    def _by_place(
        self, place: Ints, expected_s: Floats, measured_s: Floats, sending_s: Floats | None = None
    ) -> Iterator[Residual]:
        for number in np.unique(place).tolist():
            own = place == number
            n = int(own.sum())
            spread = self._spread(number, measured_s[own] / expected_s[own])
            known_from = _ESTIMATED_FROM if number >= self._n_devices else math.inf
            deviation = spread * math.sqrt(1 / n + 1 / known_from)
            moving_s = 0.0 if sending_s is None else float(sending_s[own].mean())
            yield Residual(number, n, float(expected_s[own].mean()), float(measured_s[own].mean()), deviation, moving_s)

    def _spread(self, place: int, ratios: Floats) -> float:
        """Standard deviation of a single ratio, learnt from interval to interval."""
        if len(ratios) >= ENOUGH:
            # Of the ratio to its own mean, so that a part that has gone wrong does not look as if it scattered.
            now = float(ratios.var(ddof=1) / ratios.mean() ** 2)
            before = self._scatter.get(place, now)
            self._scatter[place] = _MEMORY * before + (1 - _MEMORY) * now
        return math.sqrt(self._scatter.get(place, 0.0))

    def _refit(self, place: int, recent: Sequence[Residual], bias: float, t_s: float) -> Flag:
        """Fit a part to what it took since it went wrong."""
        old = self.corrections
        if place == END_TO_END:
            self.corrections = later_request(old, float(np.median([x.measured_s - x.expected_s for x in recent])))
            what, before, after = "request overhead, s", old.request_s, self.corrections.request_s
        elif place < self._n_devices:
            self.corrections = slower_device(old, place, 1 + bias)
            what, before, after = "factor of layer times", old.device[place], self.corrections.device[place]
        else:
            what, before, after = self._refit_way(place - self._n_devices, recent[-1], bias)
        return Flag(t_s, place, self._names[place], bias, len(recent), what, before, after)

    def _refit_way(self, way: int, last: Residual, bias: float) -> tuple[str, float, float]:
        """A link direction: its goodput where transmissions take most of the time, else its delay."""
        old, more_s = self.corrections, bias * last.expected_s
        if last.sending_s >= _MOSTLY * last.expected_s:
            self.corrections = slower_way(old, way, last.sending_s, more_s)
            return "factor of goodput", old.rate[way], self.corrections.rate[way]
        self.corrections = later_way(old, way, more_s)
        return "message overhead, s", old.message_s[way], self.corrections.message_s[way]


def part_names(continuum: Continuum) -> list[str]:
    """Names of all parts: devices, both directions of each link, and last the whole."""
    names = [f"compute.{name}" for name in continuum.names]
    for link in continuum.links:
        a, b = continuum.names[link.a], continuum.names[link.b]
        names += [f"transfer.{a}-{b}", f"transfer.{b}-{a}"]
    return [*names, "latency"]
