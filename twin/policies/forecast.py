"""What the next control intervals may bring: short forecasts of a quantity that is estimated at every decision.

Three ways of looking ahead work on the logarithm of the estimates, each of which counts as one step:

- `stay`: it stays as it is;
- `trend`: it goes on as it went, by the median of its newest changes, damped (Gardner and McKenzie 1985, Forecasting
  Trends in Time Series, Management Science 31; the median in place of their smoothing: a single jump is no trend);
- `return`: an autoregression of second order, fitted online by least squares with fading weights (Ljung 1999, System
  Identification, section 11.2), which learns of swings that come back.

The way that was wrong least in the last steps is followed, and `stay` unless another was clearly better: a forecast has
to earn its place.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

import numpy as np

WAYS = ("stay", "trend", "return")
_STEPS = 4
"""Newest steps that a trend rests on; an even number, so that to and fro is no trend."""
_DAMPING = 0.8
"""How much of a trend is left after each step."""
_FADE = 0.98
"""How much a sample of the autoregression counts after each later one."""
_RIDGE = 1.0
"""Weight of the belief that nothing changes, in samples."""
_RECENT = 0.85
"""How much an error counts after each later one."""
_CLEARLY = 0.8
"""A way is followed where its error is below this share of that of `stay`."""
_REACH = 1.5
"""How far a forecast may leave the range of the newest values, as a difference of logarithms."""
_KEPT = 30
"""Newest values that this range rests on."""


class Regression(NamedTuple):
    """Change of the value = a + b * (value - first value) + c * its change before.

    Attributes:
        first: Value that others are relative to.
        gram: Matrix of the normal equations, shape [3, 3].
        moment: Their right side, shape [3].
    """

    first: float
    gram: np.ndarray
    moment: np.ndarray

    @classmethod
    def of(cls, first: float) -> Regression:
        """Nothing learned: no change is expected."""
        return cls(first, np.eye(3) * _RIDGE, np.zeros(3))

    def learn(self, before: float, change: float, next_change: float) -> Regression:
        """Take in a value, the change that led to it and the one that followed."""
        x = np.array([1.0, before - self.first, change])
        gram = self.gram * _FADE + np.outer(x, x) + np.eye(3) * (_RIDGE * (1 - _FADE))
        return Regression(self.first, gram, self.moment * _FADE + x * next_change)

    def ahead(self, value: float, change: float, steps: int) -> list[float]:
        """The next values."""
        a, b, c = np.linalg.solve(self.gram, self.moment).tolist()
        values = []
        for _ in range(steps):
            change = a + b * (value - self.first) + c * change
            value += change
            values.append(value)
        return values


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """One quantity, as it was estimated step by step.

    Attributes:
        recent: Logarithms of the newest estimates, the newest last.
        regression: What was learned of it; None before the first estimate.
        expected: Forecasts of the newest steps, by way, the newest last: each of shape [steps].
        errors: Fading sum of the errors of each way.
    """

    recent: tuple[float, ...] = ()
    regression: Regression | None = None
    expected: tuple[tuple[tuple[float, ...], ...], ...] = ()
    errors: tuple[float, ...] = field(default=(0.0,) * len(WAYS))

    def add(self, value: float, steps: int) -> Series:
        """Take in the next estimate.

        Args:
            value: The estimate, above zero.
            steps: How far ahead to look.
        """
        now = float(np.log(value))
        regression = self.regression or Regression.of(now)
        if len(self.recent) > 1:
            last = self.recent[-1]
            regression = regression.learn(last, last - self.recent[-2], now - last)
        recent = (*self.recent, now)[-_KEPT:]
        ways = _all_ways(recent, regression, steps)
        return Series(recent, regression, (*self.expected, ways)[-steps:], self._judge(now))

    def pause(self) -> Series:
        """Say that a step passed without an estimate: what came before has no step to what comes next."""
        return Series((), self.regression, (), self.errors)

    @property
    def way(self) -> str:
        """The way that is followed."""
        best = min(range(len(WAYS)), key=lambda way: self.errors[way])
        return WAYS[best] if self.errors[best] < _CLEARLY * self.errors[0] else WAYS[0]

    def factors(self, steps: int) -> np.ndarray:
        """By what the newest estimate is to be multiplied at each of the next steps, shape [steps]."""
        if not self.expected or self.way == WAYS[0]:
            return np.ones(steps)
        ahead = self.expected[-1][WAYS.index(self.way)]
        return np.exp(np.array(ahead[:steps]) - self.recent[-1])

    def _judge(self, now: float) -> tuple[float, ...]:
        """The errors, with those of the forecasts that were made of this step."""
        made = list(enumerate(reversed(self.expected)))
        if not made:
            return self.errors
        new = [sum(abs(ways[way][ago] - now) for ago, ways in made) / len(made) for way in range(len(WAYS))]
        return tuple(_RECENT * old + error for old, error in zip(self.errors, new, strict=True))


def _all_ways(recent: tuple[float, ...], regression: Regression, steps: int) -> tuple[tuple[float, ...], ...]:
    now = recent[-1]
    changes = np.diff(recent[-_STEPS - 1 :]).tolist()
    slope = median(changes) if len(changes) == _STEPS else 0.0
    trend = now + slope * np.cumsum(_DAMPING ** np.arange(1, steps + 1))
    returns = regression.ahead(now, changes[-1] if changes else 0.0, steps)
    low, high = min(recent) - _REACH, max(recent) + _REACH
    rows = ([now] * steps, trend.tolist(), returns)
    return tuple(tuple(min(max(value, low), high) for value in row) for row in rows)
