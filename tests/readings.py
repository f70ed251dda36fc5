"""Readings as a power meter would give them, made from a power that is known: what is assumed of meters is here.

A meter refreshes every `refresh_s`, give or take some percent, at a phase of its own. What it shows is either the mean
since the refresh before (`averages`) or the power at that moment, rounded to its step. It is polled more often than
that, at times that jitter; a poll that shows the same refresh as the one before is left out. Its counter adds up the
true power and shows whole steps, rounded down.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from twin.energy import activities, last_s, served
from twin.metering import MeterFacts
from twin.records import MeterReadings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from twin.records import RunResult, Spans
    from twin.world import World


@dataclass(frozen=True)
class Meter:
    """How an emulated meter behaves."""

    refresh_s: float = 0.5
    averages: bool = True
    power_step_w: float = 1e-4
    counter_step_j: float | None = 3.6
    noise_w: float = 0.0
    poll_every_s: float = 0.2
    jitter: float = 0.02

    def facts(self, device: str = "pi") -> MeterFacts:
        return MeterFacts(
            device,
            "tc66c:///dev/ttyACM0",
            "tc66c",
            "TC66C",
            "1.14",
            "42",
            self.power_step_w,
            self.counter_step_j,
            self.refresh_s,
            "emulated",
            "between the power supply and the board",
        )

    def read(
        self,
        energy_j: Callable[[np.ndarray], np.ndarray],
        start_s: float,
        end_s: float,
        random: np.random.Generator,
        *,
        device: int = 0,
        replication: int = 0,
    ) -> MeterReadings:
        """Readings from a time to another of a signal, given its joules from any fixed time on."""
        n = int(np.ceil((end_s - start_s) / self.refresh_s)) + 4
        steps_s = self.refresh_s * (1 + self.jitter * random.uniform(-1, 1, n))
        fresh_s = start_s - 2 * self.refresh_s + random.uniform(0, self.refresh_s) + np.cumsum(steps_s)
        if self.averages:
            power_w = np.diff(energy_j(fresh_s)) / np.diff(fresh_s)
        else:
            tiny_s = 1e-6
            power_w = ((energy_j(fresh_s) - energy_j(fresh_s - tiny_s)) / tiny_s)[1:]
        fresh_s = fresh_s[1:]
        power_w += random.normal(0, self.noise_w, len(power_w)) if self.noise_w else 0.0
        if self.power_step_w:
            power_w = np.round(power_w / self.power_step_w) * self.power_step_w
        polls_s = np.arange(start_s, end_s, self.poll_every_s)
        polls_s += self.poll_every_s * random.uniform(-0.3, 0.3, len(polls_s))
        shown = np.searchsorted(fresh_s, polls_s, side="right") - 1
        first = np.flatnonzero(np.diff(shown, prepend=-1) > 0)
        counter_j = energy_j(fresh_s)[shown[first]]
        if self.counter_step_j:
            counter_j = np.floor(counter_j / self.counter_step_j) * self.counter_step_j
        else:
            counter_j = np.full(len(first), np.nan)
        power_w = power_w[shown[first]]
        m = len(first)
        return MeterReadings(
            np.full(m, replication, dtype=np.int32),
            np.full(m, device, dtype=np.int32),
            polls_s[first],
            np.full(m, 0.004),
            np.full(m, 5.0),
            power_w / 5.0,
            power_w,
            counter_j,
        )


def square(low_w: float, high_w: float, period_s: float, duty: float, phase_s: float) -> Callable[..., np.ndarray]:
    """Joules of a square wave since a time long ago."""

    def energy_j(t_s: np.ndarray) -> np.ndarray:
        cycles, past_s = np.divmod(np.asarray(t_s) - phase_s + 1000 * period_s, period_s)
        return (high_w - low_w) * (cycles * duty * period_s + np.minimum(past_s, duty * period_s)) + low_w * t_s

    return energy_j


def pieces(edges_s: np.ndarray, power_w: np.ndarray, before_w: float) -> Callable[..., np.ndarray]:
    """Joules of a power that is constant between edges, and `before_w` before the first and after the last.

    Args:
        edges_s: Shape [n + 1].
        power_w: Shape [n].
        before_w: Power outside.
    """
    far_s = 1e6
    t_s = np.concatenate([[edges_s[0] - far_s], edges_s, [edges_s[-1] + far_s]])
    joules = np.concatenate([[0.0], np.cumsum(np.concatenate([[before_w], power_w, [before_w]]) * np.diff(t_s))])
    return lambda at_s: np.interp(at_s, t_s, joules)


def power_of(world: World, spans: Spans, device: int) -> Callable[..., np.ndarray]:
    """Joules of one device by the power states of a world and the spans of one replication."""
    states_w = world.problem.power_w[device]
    spans = spans.where(served(spans))
    series, rows = activities(world.problem.continuum, spans.place)
    own = series // 3 == device
    above_w = states_w[1 + series[own] % 3] - states_w[0]
    times_s = np.concatenate([spans.start_s[rows[own]], spans.end_s[rows[own]]])
    steps_w = np.concatenate([above_w, -above_w])
    order = np.argsort(times_s, kind="stable")
    edges_s, power_w = times_s[order], states_w[0] + np.cumsum(steps_w[order])[:-1]
    if len(edges_s) == 0:
        return pieces(np.array([0.0, 1.0]), states_w[:1], float(states_w[0]))
    return pieces(edges_s, power_w, float(states_w[0]))


def with_meters(world: World, result: RunResult, meters: Mapping[int, Meter], idle_s: float = 30.0) -> RunResult:
    """A simulated result as if it had been measured with meters at some devices, idle before and after included."""
    random = np.random.default_rng(7)
    tables = [MeterReadings.none()]
    for replication in sorted({int(number) for number in result.requests.replication}):
        spans, requests = result.spans.only(replication), result.requests.only(replication)
        end_s = last_s(requests, spans.end_s)
        tables += [
            meter.read(
                power_of(world, spans, device),
                -idle_s,
                end_s + idle_s,
                random,
                device=device,
                replication=replication,
            )
            for device, meter in meters.items()
        ]
    names = world.problem.continuum.names
    facts = {**result.facts, "meters": [meter.facts(names[device]).to_json() for device, meter in meters.items()]}
    return replace(result, source="measured", meters=MeterReadings.concatenate(tables), facts=facts)
