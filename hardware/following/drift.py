"""A two-sided CUSUM of standardised residuals: notices a lasting bias, whatever the single residuals are like.

With z the residual in units of its own standard deviation, k the allowance and h the threshold,

    high = max(0, high + z - k),   low = max(0, low - z - k),   flag when one of them exceeds h

(Page 1954). It notices a lasting bias of 2 k standard deviations soonest of all tests that raise false flags as rarely
(Lorden 1971). z is clipped, so that a single residual, however large, is never enough.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tuning:
    """When a detector raises a flag.

    Attributes:
        allowance: k, in standard deviations: half the bias that is to be noticed soonest.
        threshold: h, in standard deviations. 10 with k = 0.5: normal noise alone raises a flag once in 70 000
            residuals, a lasting bias of 1, 2 or 4 standard deviations is noticed after about 20, 7 or 3.
        clip: Largest |z| that counts. 4: three residuals at least make a flag, and what was one odd message or a
            standstill of one interval makes none.
        floor: Least standard deviation of a relative residual. 0.05: a bias of 2.5 % is never noticed, one of 5 % is
            after about 20 residuals, however little noise there is. A twin that is closer than that is not wrong.
        floor_s: Likewise in seconds: 1 ms, what threads, timers and receipts of a message scatter by. Half a
            millisecond of lasting bias is never noticed.
    """

    allowance: float = 0.5
    threshold: float = 10.0
    clip: float = 4.0
    floor: float = 0.05
    floor_s: float = 0.001

    @property
    def least_bias(self) -> float:
        """Relative bias below which nothing is wrong, whatever the noise."""
        return self.allowance * self.floor


@dataclass(frozen=True, slots=True)
class Alarm:
    """A detector has noticed something.

    Attributes:
        sign: 1 where the measured value lies above the predicted one, -1 where below.
        since: How many of the newest residuals the change goes back: those since the sum last was 0.
        statistic: The sum that exceeded the threshold.
    """

    sign: int
    since: int
    statistic: float


@dataclass(slots=True)
class Cusum:
    """The detector of one part.

    Attributes:
        tuning: When it raises a flag.
        high: Sum of residuals above 0.
        low: Sum of residuals below 0.
    """

    tuning: Tuning = Tuning()
    high: float = 0.0
    low: float = 0.0
    _high_since: int = 0
    _low_since: int = 0

    def add(self, residual: float, deviation: float = 0.0) -> Alarm | None:
        """Take in one residual.

        Args:
            residual: Measured / predicted - 1.
            deviation: Standard deviation that it would have if nothing were wrong; at least `tuning.floor` counts.

        Returns:
            An alarm, after which the detector has started anew; None else.
        """
        tuning = self.tuning
        z = residual / max(deviation, tuning.floor)
        z = min(max(z, -tuning.clip), tuning.clip)
        self.high = max(0.0, self.high + z - tuning.allowance)
        self.low = max(0.0, self.low - z - tuning.allowance)
        self._high_since = self._high_since + 1 if self.high > 0 else 0
        self._low_since = self._low_since + 1 if self.low > 0 else 0
        if max(self.high, self.low) <= tuning.threshold:
            return None
        above = self.high > self.low
        alarm = Alarm(1, self._high_since, self.high) if above else Alarm(-1, self._low_since, self.low)
        self.restart()
        return alarm

    def restart(self) -> None:
        """Forget all residuals."""
        self.high = self.low = 0.0
        self._high_since = self._low_since = 0


def run_length(tuning: Tuning, bias: float = 0.0) -> float:
    """Mean number of residuals until a flag, for independent normal ones of standard deviation 1.

    Siegmund's approximation (Sequential Analysis, 1985, section 2.6) with the correction 1.166 for the overshoot, and
    1 / ARL = 1 / ARL(bias) + 1 / ARL(-bias) for two sides. Clipping is not in it: it changes some per mille.

    Args:
        tuning: The detector.
        bias: Mean of the residuals, in standard deviations.
    """
    return 1 / (1 / _one_sided(tuning, bias) + 1 / _one_sided(tuning, -bias))


def _one_sided(tuning: Tuning, bias: float) -> float:
    drift, b = bias - tuning.allowance, tuning.threshold + 1.166
    if drift == 0:
        return b * b
    exponent = min(-2 * drift * b, 700.0)
    return (math.exp(exponent) - 1 - exponent) / (2 * drift * drift)
