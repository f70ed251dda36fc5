"""The live twin without its engine, clock and connection: answers of the edge in, predictions and flags out."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from hardware.following.forecast import Forecast, read
from hardware.following.history import History
from hardware.following.ledger import Interval, Ledger
from hardware.following.model import Corrections, Model, with_overheads
from hardware.following.monitor import Monitor, part_names
from hardware.following.window import window

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from hardware.following.drift import Tuning
    from hardware.following.history import Floats
    from hardware.following.monitor import Flag, Residual
    from hardware.following.window import AsObserved, Window
    from twin.records import Requests
    from twin.world import World

    Play = Callable[[World, AsObserved, int], Requests]

DRAWS = 8
"""Draws of arrivals and service times for a prediction: their mean is known to a third of its scatter."""
KNOWN_DRAWS = 4
"""Draws of service times once the arrivals are known."""
_SHORTEST_S = 0.5
_LAG = 0.25
_MOST_LAG_S = 0.3


class Beat(NamedTuple):
    """When predictions are made.

    Attributes:
        every_s: Length of an interval.
        lag_s: Time from a tick of the controller to the interval that is predicted after it.
    """

    every_s: float
    lag_s: float

    @classmethod
    def of(cls, world: World) -> Beat:
        """The control interval, or so many that there are at most two predictions per second."""
        every_s = world.control.every_s or 1.0
        every_s *= math.ceil(_SHORTEST_S / every_s - 1e-9)
        return cls(every_s, min(_LAG * every_s, _MOST_LAG_S))

    def span_s(self, number: int) -> tuple[float, float]:
        """Where an interval begins and ends."""
        return number * self.every_s + self.lag_s, (number + 1) * self.every_s + self.lag_s


@dataclass(frozen=True, slots=True)
class Who:
    """Which run is followed.

    Attributes:
        label: Name of the policy.
        replication: Number of the replication.
    """

    label: str
    replication: int


class Core:
    """Follows one run.

    Attributes:
        who: Which run it is.
        history: The run so far.
        flags: What was noticed so far.
        monitor: Notices when the twin has gone wrong.
        names: Names of the parts.

    Args:
        world: The scenario.
        who: Which run it is.
        overhead_s: Message overhead by link, as the check of the links found it.
        play: Plays a scenario with a policy and a number for its luck, and returns the requests.
        tuning: When a detector raises a flag.
    """

    def __init__(
        self,
        world: World,
        who: Who,
        overhead_s: Sequence[float],
        play: Play,
        tuning: Tuning | None = None,
    ) -> None:
        self._world, self.who, self._play = with_overheads(world, overhead_s), who, play
        self._warm_up_s = world.workload.warm_up_s
        self.history = History(self._world.problem)
        self.monitor = Monitor(world.problem.continuum, Corrections.none(world.problem), tuning)
        self.names = part_names(world.problem.continuum)
        self._ledger = Ledger()
        self._before: Model | None = None
        self._windows: dict[int, Window] = {}
        self.flags: list[Flag] = []

    def hear(self, answer: Mapping[str, Any], rows: Floats) -> list[Interval]:
        """Take in an answer of the edge.

        What has ended since the last one is held against what the twin expected then.

        Args:
            answer: What `hardware.edge.feed.told` says.
            rows: Its rows.

        Returns:
            Intervals of which all is known now, in order.
        """
        news = self.history.take(answer, rows)
        newest = self._ledger.newest
        if self._before is not None and newest is not None:
            found = self.monitor.parts(news, self._before)
            newest.lost |= bool(news.lost)
            if not newest.parts:
                newest.parts = found
                if newest.counted and not news.lost:
                    newest.flags += self._watch(found)
        return self._settle(at_end=bool(answer["over"]))

    def predict(self, number: int, span_s: tuple[float, float]) -> Forecast:
        """Predict an interval from all that is known, and wait for what comes of it.

        Args:
            number: Number of the interval.
            span_s: Where it begins and ends, in run time.
        """
        history, corrections = self.history, self.monitor.corrections
        self._before = model = Model(self._world.problem, history.conditions, corrections)
        plan = history.plan_at(math.inf)
        empty = Forecast(*span_s, history.t_s, -1, math.nan, math.nan, 0.0, math.nan, math.nan)
        forecast = replace(empty, version=corrections.version)
        if plan is not None:
            forecast = replace(forecast, epoch=plan.epoch, parts_s=model.parts_s(plan.partition))
        to_play = window(self._world, history, corrections, span_s, self._draws, number)
        if to_play is not None:
            self._windows[number] = to_play
            reading = read(self._played(to_play, number), to_play, corrections.request_s)
            forecast = replace(
                forecast,
                mean_s=reading.mean_s,
                p95_s=reading.p95_s,
                deviation=reading.deviation,
                throughput_rps=reading.throughput_rps,
                expected=to_play.expected,
            )
        counted = span_s[0] >= self._warm_up_s
        self._ledger.add(Interval(self.who.label, self.who.replication, number, forecast, counted))
        return forecast

    def done(self, made_s: float, cpu_s: float) -> Forecast | None:
        """Note when the newest prediction was done and what it took."""
        newest = self._ledger.newest
        if newest is None:
            return None
        newest.forecast = replace(newest.forecast, made_s=made_s, cpu_s=cpu_s)
        return newest.forecast

    @property
    def _draws(self) -> int:
        """One is enough where nothing is left to luck."""
        is_sure = self._world.workload.kind in ("closed", "periodic") and not self._world.dispersion.any()
        return 1 if is_sure else DRAWS

    def _watch(self, residuals: list[Residual]) -> list[Flag]:
        flags = self.monitor.watch(residuals, self.history.t_s)
        self.flags += flags
        return flags

    def _played(self, to_play: Window, number: int) -> list[Requests]:
        return [self._play(world, to_play.policy, number * DRAWS + draw) for draw, world in enumerate(to_play.worlds)]

    def _settle(self, *, at_end: bool) -> list[Interval]:
        closed = []
        for interval in self._ledger.closed(self.history, at_end=at_end):
            to_play = self._windows.pop(interval.number, None)
            is_current = interval.forecast.version == self.monitor.corrections.version
            if to_play is not None and interval.whole is not None and is_current:
                interval.explained = self._explained(interval.whole, to_play, interval.number)
                if interval.explained is not None and interval.is_watched:
                    interval.flags += self._watch([interval.explained])
            closed.append(interval)
        return closed

    def _explained(self, whole: Residual, to_play: Window, number: int) -> Residual | None:
        """An outcome against what the twin says of the very requests that came: none of their luck is in it."""
        draws = KNOWN_DRAWS if self._world.dispersion.any() else 1
        known = to_play.with_arrivals(self.history, draws)
        reading = read(self._played(known, number), known, self.monitor.corrections.request_s, is_known=True)
        if not math.isfinite(reading.mean_s):
            return None
        return replace(whole, expected_s=reading.mean_s, deviation=reading.deviation)
