"""From polls to readings: duplicates dropped, failures counted, gaps found.

A meter refreshes its reading twice a second, say, and is asked more often. An answer that equals the one before in
all that it says, counters included, is a duplicate *while that reading can still be the same one*: within one refresh
of it. Later it is a new reading that happens to be equal, as under a constant load. A meter that hangs looks the same,
but for its energy counter, which stands still though power flows: once nothing has changed for `_FROZEN_REFRESHES`
refreshes, in which the counter should have made `_FROZEN_STEPS` steps, the answers no longer count as readings, and
the time is a gap.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from hardware.meters.errors import DecodeError, WrongMeterError
from twin.metering.course import GAP_PERIODS, STAMP_SLACK_PERIODS
from twin.records import MeterReadings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hardware.meters.protocol import MeterKind, PowerSample, Reading
    from twin.metering.facts import MeterFacts, MeterSource

_FROZEN_STEPS = 3
_FROZEN_REFRESHES = 10
_LIVE_ROWS = 64
_JITTER = 0.25
"""Share of the time between polls by which one may come early."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch of time without readings.

    Attributes:
        start_s: Last reading before it, or the start, in run time.
        end_s: First reading after it, or the end.
        reason: What went wrong first in it.
    """

    start_s: float
    end_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class Recording:
    """What one meter gave in a run.

    Attributes:
        readings: Its readings.
        facts: What it is.
        counts: How often what happened: `polls`, `readings`, `duplicates`, `frozen`, `resets` of the counter,
            `reconnects`, `warnings`, and failures by the name of their error, such as `DecodeError`.
        failures: The first message of each error.
        gaps: Stretches without readings.
    """

    readings: MeterReadings
    facts: MeterFacts
    counts: Mapping[str, int]
    failures: Mapping[str, str]
    gaps: tuple[Gap, ...]

    @property
    def complete(self) -> bool:
        """Whether readings cover the whole time."""
        return not self.gaps

    def shifted(self, by_s: float) -> Recording:
        """The same on another clock: `by_s` is added to every time."""
        moved = tuple(Gap(gap.start_s + by_s, gap.end_s + by_s, gap.reason) for gap in self.gaps)
        return replace(self, readings=replace(self.readings, t_s=self.readings.t_s + by_s), gaps=moved)

    def to_json(self) -> dict[str, Any]:
        """Return what stands beside the table of readings, as plain data."""
        return {
            "facts": self.facts.to_json(),
            "complete": self.complete,
            "counts": dict(self.counts),
            "failures": dict(self.failures),
            "gaps": [asdict(gap) for gap in self.gaps],
        }

    def complaints(self) -> list[str]:
        """What a user must know of it, in words."""
        texts = [f"{error} {self.counts[error]} times, first: {text}" for error, text in self.failures.items()]
        texts += [
            f"no readings from {gap.start_s:.2f} to {gap.end_s:.2f} s ({gap.reason}): the energy is incomplete"
            for gap in self.gaps
        ]
        if self.counts["frozen"]:
            texts.append(f"{self.counts['frozen']} answers were the same for too long: the meter hung; restart it")
        if self.counts["resets"]:
            texts.append(f"the energy counter was set back {self.counts['resets']} times; leave its buttons alone")
        device, url = self.facts.device, self.facts.url
        return [f"{device if device == url else f'{device} ({url})'}: {text}" for text in texts]


class Collector:
    """Takes what a meter gives, poll by poll, in order of time.

    Args:
        kind: What kind of meter it is.
        url: How it was opened.
        source: Whether it is a meter or a program.
        device: Name of the device that it feeds.
        period_s: Time between polls.
        start_s: When sampling began, in run time.
    """

    def __init__(
        self, kind: MeterKind, url: str, source: MeterSource, device: str, period_s: float, start_s: float
    ) -> None:
        self._kind = kind
        self._url = url
        self._source: MeterSource = source
        self._device = device
        self._period_s = period_s
        self._start_s = start_s
        self._rows: list[tuple[float, float, float, float, float, float]] = []
        self._counts: Counter[str] = Counter()
        self._failures: dict[str, str] = {}
        self._troubles: list[tuple[float, str]] = []
        self._first: Reading | None = None
        self._last: Reading | None = None
        self._last_s = math.nan
        self._same_since_s = math.nan
        self._offset_j = 0.0
        self._away = False

    @property
    def latest(self) -> tuple[Reading | None, Mapping[str, int]]:
        """The newest reading and the counts up to now, for a live display."""
        return self._last, Counter(self._counts)

    @property
    def latest_w(self) -> float | None:
        """The newest power, of a meter that only counts the mean over its last second; None if there is none yet."""
        rows = self._rows[-_LIVE_ROWS:]
        recent = [row for row in rows if row[0] >= rows[-1][0] - 1.0]
        if not recent or not math.isnan(recent[-1][4]):
            return recent[-1][4] if recent else None
        passed_s, counted_j = recent[-1][0] - recent[0][0], recent[-1][5] - recent[0][5]
        return counted_j / passed_s if passed_s > 0 else None

    def sample(self, sample: PowerSample) -> bool:
        """Take an answer, its time in run time; returns whether it is a new reading."""
        self._counts["polls"] += 1
        reading = sample.reading
        self._first = self._first or reading
        if reading.device != self._first.device:
            self._fail(sample.t_s, self._other(reading, sample.frame))
            return False
        self._counts["reconnects"] += self._away
        self._away = False
        self._counts["warnings"] += len(reading.warnings)
        if reading == self._last:
            if sample.t_s - self._last_s < self._kind.refresh_s - _JITTER * self._period_s:
                self._counts["duplicates"] += 1
                return False
            if self._hangs(reading, sample.t_s):
                self._counts["frozen"] += 1
                self._troubles.append((sample.t_s, "the meter hung"))
                return False
        else:
            self._same_since_s = sample.t_s
        self._keep(sample)
        return True

    def failure(self, t_s: float, error: Exception) -> None:
        """Take a poll that failed, at a time in run time."""
        self._counts["polls"] += 1
        self._fail(t_s, error)

    def finish(self, end_s: float, replication: int = 0, device: int = 0) -> Recording:
        """Close the books.

        Args:
            end_s: When sampling ended, in run time.
            replication: Number of the replication, for the table.
            device: Position of the device, for the table.
        """
        columns = np.array(self._rows, dtype=np.float64).reshape(-1, 6).T
        codes = (np.full(len(self._rows), code, dtype=np.int32) for code in (replication, device))
        facts = self._kind.facts(self._device, self._url, self._source, self._first)
        counts = Counter(self._counts)
        for name in ("polls", "readings", "duplicates", "frozen", "resets", "reconnects", "warnings"):
            counts.setdefault(name, 0)
        return Recording(MeterReadings(*codes, *columns), facts, counts, dict(self._failures), self._gaps(end_s))

    def _keep(self, sample: PowerSample) -> None:
        reading = sample.reading
        volts, amps, watts = (
            math.nan if number is None else number for number in (reading.voltage_v, reading.current_a, reading.power_w)
        )
        self._rows.append((sample.t_s, sample.poll_s, volts, amps, watts, self._counter(reading)))
        self._counts["readings"] += 1
        self._last, self._last_s = reading, sample.t_s

    def _counter(self, reading: Reading) -> float:
        """The counter, going on where it was when somebody sets it back."""
        if reading.counter_j is None:
            return math.nan
        before = self._last.counter_j if self._last else None
        if before is not None and reading.counter_j < before:
            self._offset_j += before
            self._counts["resets"] += 1
        return reading.counter_j + self._offset_j

    def _hangs(self, reading: Reading, t_s: float) -> bool:
        step_j = self._kind.counter_step_j
        if step_j is None or reading.counter_j is None or reading.power_w is None:
            return False
        same_s = t_s - self._same_since_s
        return same_s > _FROZEN_REFRESHES * self._kind.refresh_s and abs(reading.power_w) * same_s > (
            _FROZEN_STEPS * step_j
        )

    def _fail(self, t_s: float, error: Exception) -> None:
        name = type(error).__name__
        self._counts[name] += 1
        self._failures.setdefault(name, str(error))
        self._troubles.append((t_s, str(error)))
        # A noisy cable is no reconnect.
        self._away |= name in ("UnpluggedError", "AccessError")

    def _other(self, reading: Reading, frame: bytes) -> DecodeError:
        assert self._first is not None  # noqa: S101 - for the type checker: `sample` has set it
        was, found = (" ".join(filter(None, (x.device.model, x.device.serial))) for x in (self._first, reading))
        return WrongMeterError(f"another meter is on the port: {found}, it was {was}; plug the first in again", frame)

    def _gaps(self, end_s: float) -> tuple[Gap, ...]:
        times_s = [self._start_s, *(row[0] for row in self._rows), end_s]
        usual_s = float(np.median(np.diff([row[0] for row in self._rows]))) if len(self._rows) > 1 else self._period_s
        # The same rule by which the energy is computed.
        longest_s = (GAP_PERIODS + STAMP_SLACK_PERIODS) * max(self._kind.refresh_s, usual_s)
        return tuple(
            Gap(start_s, stop_s, self._reason(start_s, stop_s))
            for start_s, stop_s in pairwise(times_s)
            if stop_s - start_s > longest_s
        )

    def _reason(self, start_s: float, stop_s: float) -> str:
        within = (text for t_s, text in self._troubles if start_s <= t_s <= stop_s)
        return next(within, "the meter was not asked in time; the machine was busy")


def in_run_time(sample: PowerSample, origin_s: float) -> PowerSample:
    """The sample with its time counted from the start of the run."""
    return replace(sample, t_s=sample.t_s - origin_s)
