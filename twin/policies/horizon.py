"""A model-predictive policy: the best sequence of partitions over a forecast, of which the first is taken.

Goodputs and slowdowns are forecast for the next few steps (`twin.policies.forecast`), and partitions priced in each of
them (`twin.policies.outlook`). Dynamic programming finds the sequence with the least sum of scores and costs of
switching; its first partition is taken, and all is done anew at the next decision (receding horizon: Rawlings, Mayne
and Diehl 2017, Model Predictive Control, chapter 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from twin.policies.adaptive import Adaptive, AdaptiveState
from twin.policies.forecast import Series
from twin.policies.options import Count, NonNegative, Positive  # noqa: TC001 - pydantic reads them at run time
from twin.policies.outlook import look_ahead
from twin.policies.reach import usable
from twin.policies.sequence import least_totals
from twin.problem import Conditions, Decision

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twin.partition import Partition
    from twin.policies.outlook import Outlook
    from twin.problem import Observation, Problem

_LOGGED = 8
"""Partitions that a decision records."""


@dataclass(frozen=True, slots=True, eq=False)
class HorizonState:
    """What the policy remembers.

    Attributes:
        problem: The problem.
        adaptive: State of the adaptive policy, whose probes are made.
        t_s: Time of the last decision.
        links: Goodput of each link direction as a series: link by link, up before down.
        devices: Slowdown of each device as a series.
    """

    problem: Problem
    adaptive: AdaptiveState
    t_s: float
    links: tuple[Series, ...]
    devices: tuple[Series, ...]


@dataclass(frozen=True, slots=True)
class Horizon:
    """Takes the first partition of the best sequence over the next steps.

    Attributes:
        steps: Number of steps to look ahead.
        step_s: Length of a step; a forecast goes from decision to decision, so this should be the control interval.
        margin: Share of a step's score that it must gain to switch now instead of one step later.
        stale_s: Age after which a link or device counts as not known; None: never probe.
    """

    steps: Count = 5
    step_s: Positive = 1.0
    margin: NonNegative = 0.03
    stale_s: NonNegative | None = 3.0

    def init(self, problem: Problem) -> HorizonState:
        """Return the first state."""
        series = (Series(),)
        links = series * (2 * len(problem.continuum.links))
        return HorizonState(problem, self._adaptive.init(problem), 0.0, links, series * problem.n_devices)

    def decide(self, observation: Observation, state: HorizonState) -> tuple[Decision, HorizonState]:
        """Forecast, price, and find the best sequence; the adaptive policy says what to probe."""
        known, passed_s = observation.conditions, observation.t_s - state.t_s
        rates, slowdowns = (
            np.where(age_s < passed_s, values, 0.0).ravel()
            for values, age_s in ((known.rate_bps, observation.age_s), (known.slowdown, observation.device_age_s))
        )
        links = self._follow(state.links, rates, observation.age_s.ravel())
        devices = self._follow(state.devices, slowdowns, observation.device_age_s)
        asked, adaptive = self._adaptive.decide(observation, state.adaptive)
        now = usable(state.problem, observation)
        ahead = self._ahead(now, self._factors(links, rates), self._factors(devices, slowdowns))
        outlook = look_ahead(state.problem, ahead, observation, step_s=self.step_s, margin=self.margin)
        chosen, reason = self._choose(outlook, observation.partition)
        decision = Decision(chosen, reason, outlook.candidates[:_LOGGED], asked.probes)
        return decision, HorizonState(state.problem, adaptive, observation.t_s, links, devices)

    @property
    def _adaptive(self) -> Adaptive:
        return Adaptive(margin=self.margin, dwell_s=0.0, stale_s=self.stale_s)

    def _follow(self, series: Sequence[Series], values: np.ndarray, age_s: np.ndarray) -> tuple[Series, ...]:
        """The series with the newest estimates (0: none came); what was not heard of for long begins anew."""
        followed = []
        for each, value, since_s in zip(series, values.tolist(), age_s.tolist(), strict=True):
            if value > 0:
                followed.append(each.add(value, self.steps))
            else:
                is_stale = self.stale_s is not None and since_s >= self.stale_s
                followed.append(each.pause() if is_stale else each)
        return tuple(followed)

    def _factors(self, series: Sequence[Series], values: np.ndarray) -> np.ndarray:
        """What each estimate is multiplied by in each step, shape [series, steps]; 1 where none came."""
        flat = np.ones(self.steps)
        return np.array([x.factors(self.steps) if value > 0 else flat for x, value in zip(series, values, strict=True)])

    def _ahead(self, now: Conditions, rates: np.ndarray, slowdowns: np.ndarray) -> list[Conditions]:
        """The conditions of each step; the same object where nothing is expected to change."""
        if np.all(rates == 1) and np.all(slowdowns == 1):
            return [now] * self.steps
        return [
            Conditions(
                now.rate_bps * rates[:, step].reshape(now.rate_bps.shape), now.rtt_s, now.slowdown * slowdowns[:, step]
            )
            for step in range(self.steps)
        ]

    def _choose(self, outlook: Outlook, running: Partition | None) -> tuple[Partition, str]:
        """The first partition of the cheapest sequence, unless to switch later costs hardly more."""
        if running is None:
            totals = least_totals(outlook.prices, outlook.change(self.step_s))
            return outlook.candidates[totals.index(min(totals))].partition, "best under the first conditions"
        change, here = outlook.change(self.step_s), outlook.position(running)
        totals = [
            total if change is None else total.plus_score(change(0, here, at))
            for at, total in enumerate(least_totals(outlook.prices, change))
        ]
        best = totals.index(min(totals))
        chosen, stay = outlook.candidates[best].partition, totals[here]
        if totals[best] == stay:
            return running, f"first of the best {self.steps} steps"
        if stay[:3] != totals[best][:3]:
            return chosen, f"the running partition fails, or is late, in more of {self.steps} steps"
        gain = (stay.score - totals[best].score) / abs(outlook.prices[0][here].score or 1.0)
        if gain <= self.margin:
            return running, "within the margin of the best sequence"
        return chosen, f"switching now gains {gain:.1%} of a step's score"
