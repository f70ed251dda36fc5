"""Power states of devices from a measured run, each with its interval, or the reason why it cannot be told.

A state is given a figure if the device was in it for long enough, if its share is not nearly the same as that of
others or always the same, and if its interval is narrow against the figure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from twin.metering.activity import Activity
from twin.metering.measured import courses
from twin.metering.regression import Regression, regress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from twin.metering.course import Course
    from twin.metering.facts import MeterFacts
    from twin.metering.regression import Stretch
    from twin.records import RunResult
    from twin.topology import Continuum

STATES = ("idle", "compute", "transmit", "receive")
_LEAST_SHARE = 0.01
"""Share of the time below which a device is hardly ever in a state."""
_LEAST_S = 5.0
"""Time below which it is likewise."""
_ALIKE = 0.95
"""Share of the variance of an activity that others explain, from which on the data cannot tell them apart."""
_STEADY = 0.01
"""Standard deviation of a busy share below which it never changes."""
_WIDE = 0.05
"""Half-width of an interval, relative to the figure, above which there is no figure."""
_SEED = 0


@dataclass(frozen=True, slots=True)
class StateFit:
    """Power of one state.

    Attributes:
        power_w: The power; None where the data cannot tell.
        low_w: Lower end of its interval; None likewise.
        high_w: Upper end.
        busy_s: Time in the state that readings cover; of idle, all the time.
        reason: Why there is no figure, or an empty string.
    """

    power_w: float | None
    low_w: float | None
    high_w: float | None
    busy_s: float
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Return the state as plain data."""
        return {
            "power_w": self.power_w,
            "ci_w": None if self.low_w is None else [self.low_w, self.high_w],
            "busy_s": self.busy_s,
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class DeviceFit:
    """Power states of one device.

    Attributes:
        device: Its name.
        meter: What read its power.
        states: Each of `STATES`.
        readings: Number of readings.
        residual_w: Root mean square of what the states leave unexplained.
        stretch: Which stretch before its stamp a reading stands for.
    """

    device: str
    meter: MeterFacts
    states: Mapping[str, StateFit]
    readings: int
    residual_w: float
    stretch: Stretch

    def power(self) -> dict[str, float] | None:
        """The content of `power` in a scenario; None where idle or compute is not known.

        A transmit or receive state that is not known is left out: a scenario takes it to be like idle.
        """
        known = {f"{name}_w": x.power_w for name, x in self.states.items() if x.power_w is not None}
        return known if "idle_w" in known and "compute_w" in known else None

    def to_json(self) -> dict[str, Any]:
        """Return the fit as plain data."""
        return {
            "device": self.device,
            "power": self.power(),
            "states": {name: state.to_json() for name, state in self.states.items()},
            "readings": self.readings,
            "residual_w": self.residual_w,
            "stretch": {"lag_s": self.stretch.lag_s, "length_s": self.stretch.length_s, "blur_s": self.stretch.blur_s},
            "meter": self.meter.to_json(),
        }


def fit_device(
    continuum: Continuum, runs: Sequence[RunResult], device: int, gone_s: Sequence[tuple[float, float]] = ()
) -> DeviceFit | None:
    """Fit the power states of one device; None where it has no meter or too few readings.

    Args:
        continuum: Names the devices and says who sits at the ends of each link.
        runs: Replications, each with the records of its own.
        device: Position of the device.
        gone_s: Stretches in which a scenario takes its meter away.

    Raises:
        MeasurementError: A run holds readings of a meter that it does not describe.
    """
    name = continuum.names[device]
    pairs: list[tuple[Course, Activity]] = []
    meter = None
    for run in runs:
        found = courses(run, device, name, gone_s)
        if found is not None and found.best is not None:
            pairs.append((found.best, Activity.of(continuum, run.spans, device)))
            meter = found.facts
    fitted = regress(pairs, meter.refresh_s, _SEED) if meter is not None else None
    if fitted is None or meter is None:
        return None
    states = {state: _state(fitted, position) for position, state in enumerate(STATES)}
    return DeviceFit(name, meter, states, len(fitted.shares), fitted.residual_w, fitted.stretch)


def _state(fitted: Regression, state: int) -> StateFit:
    busy_s = float((fitted.shares[:, state - 1] * fitted.seconds).sum() if state else fitted.seconds.sum())
    reason = _reason(fitted, state, busy_s)
    if reason:
        return StateFit(None, None, None, busy_s, reason)
    power_w, low_w, high_w = (float(x[state]) for x in (fitted.power_w, fitted.low_w, fitted.high_w))
    return StateFit(power_w, low_w, high_w, busy_s, "")


def _reason(fitted: Regression, state: int, busy_s: float) -> str:
    """Why the data cannot tell the power of a state; empty if they can."""
    reason = _idle_reason(fitted) if state == 0 else _activity_reason(fitted, state - 1, busy_s)
    if reason:
        return reason
    power_w, low_w, high_w = (float(x[state]) for x in (fitted.power_w, fitted.low_w, fitted.high_w))
    if (high_w - low_w) / 2 > _WIDE * power_w:
        return f"the interval is wide: {low_w:.3g} to {high_w:.3g} W"
    return ""


def _idle_reason(fitted: Regression) -> str:
    steady = [STATES[k + 1] for k in _present(fitted) if _never_changes(fitted, k)]
    if steady:
        return f"the device {' and '.join(steady)}s all the time at the same share; add idle time before and after"
    return ""


def _activity_reason(fitted: Regression, activity: int, busy_s: float) -> str:
    total_s = float(fitted.seconds.sum())
    if busy_s < max(_LEAST_S, _LEAST_SHARE * total_s):
        return f"hardly ever busy: {busy_s:.3g} s of {total_s:.3g} s"
    if _never_changes(fitted, activity):
        return "its share never changes, so it cannot be told from idle; add idle time before and after"
    others = [k for k in _present(fitted) if k != activity and not _never_changes(fitted, k)]
    explained = _explained(fitted.shares, activity, others)
    if explained > _ALIKE:
        names = " and ".join(STATES[k + 1] for k in others if _explained(fitted.shares, activity, [k]) > _ALIKE / 2)
        return f"cannot be told from {names}: {100 * explained:.1f} % of its changes go with these"
    return ""


def _present(fitted: Regression) -> list[int]:
    """Activities that there were."""
    return [k for k in range(fitted.shares.shape[1]) if fitted.shares[:, k].any()]


def _never_changes(fitted: Regression, activity: int) -> bool:
    return bool(fitted.shares[:, activity].std() < _STEADY)


def _explained(shares: np.ndarray, activity: int, others: Sequence[int]) -> float:
    """Share of the variance of an activity that a line in others explains."""
    centred = shares - shares.mean(axis=0)
    total = float((centred[:, activity] ** 2).sum())
    if not others or total == 0.0:
        return 0.0
    coefficients, *_ = np.linalg.lstsq(centred[:, others], centred[:, activity], rcond=None)
    rest = centred[:, activity] - centred[:, others] @ coefficients
    return 1.0 - float((rest**2).sum()) / total
