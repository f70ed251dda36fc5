"""The adaptive policy on a low estimate of goodput, as in RobustMPC.

Yin, Jindal, Sekar and Sinopoli 2015, A Control-Theoretic Approach for Dynamic Adaptive Video Streaming over HTTP,
SIGCOMM, doi:10.1145/2785956.2787486. The goodput of a link direction is predicted as the harmonic mean of its newest
samples; the decision rests on that prediction divided by 1 + the largest of the newest relative errors
|predicted - sampled| / sampled. On a link whose samples agree, this is the plain prediction; on one whose samples
scatter, it is low, and the link is left earlier.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import harmonic_mean
from typing import TYPE_CHECKING

from twin.conditions import BULK_BYTES
from twin.errors import ScenarioError
from twin.policies.adaptive import Adaptive, AdaptiveState
from twin.policies.options import Count, NonNegative  # noqa: TC001 - pydantic reads them at run time
from twin.problem import Conditions, Decision
from twin.units import BITS_PER_BYTE

if TYPE_CHECKING:
    from twin.problem import Observation, Problem

_MOST_DELAY = 0.5
"""Share of a message's time that may be delay."""


@dataclass(frozen=True, slots=True)
class History:
    """What is remembered of one link direction, the newest last.

    Attributes:
        rates_bps: Goodput of the newest messages.
        errors: Relative error of the prediction of each of the newest messages but the very first.
    """

    rates_bps: tuple[float, ...] = ()
    errors: tuple[float, ...] = ()

    def add(self, rate_bps: float, window: int) -> History:
        """Take in one message."""
        errors = self.errors
        if self.rates_bps:
            errors = (*errors, abs(harmonic_mean(self.rates_bps) - rate_bps) / rate_bps)
        return History((*self.rates_bps, rate_bps)[-window:], errors[-window:])

    @property
    def low_bps(self) -> float:
        """The low estimate; NaN where there are no messages."""
        return harmonic_mean(self.rates_bps) / (1 + max(self.errors, default=0.0)) if self.rates_bps else math.nan


@dataclass(frozen=True, slots=True, eq=False)
class RobustState:
    """What the policy remembers.

    Attributes:
        adaptive: State of the adaptive policy.
        links: History of each link by direction (up, down).
    """

    adaptive: AdaptiveState
    links: tuple[tuple[History, History], ...]


@dataclass(frozen=True, slots=True)
class Robust:
    """Decides as the adaptive policy does, on a low estimate of goodput.

    The estimate is never above the controller's, which also knows of messages that are under way for too long. A
    direction that no message tells of keeps the controller's estimate.

    Attributes:
        window: Newest messages, and newest errors, that the estimate rests on.
        margin: Relative improvement below which it stays.
        dwell_s: Least time between two switches.
        stale_s: Age after which a link or device counts as not known; None: never probe.
    """

    window: Count = 5
    margin: NonNegative = 0.03
    dwell_s: NonNegative = 2.0
    stale_s: NonNegative | None = 3.0

    def init(self, problem: Problem) -> RobustState:
        """Return the first state.

        Raises:
            ScenarioError: The window is empty.
        """
        if self.window < 1:
            raise ScenarioError(f"robust: window is {self.window}; it must be at least 1")
        return RobustState(self._adaptive.init(problem), ((History(), History()),) * len(problem.continuum.links))

    def decide(self, observation: Observation, state: RobustState) -> tuple[Decision, RobustState]:
        """Take the new samples in and decide on the low estimate."""
        links = self._remember(observation, state)
        rate_bps = observation.conditions.rate_bps.copy()
        for link, ways in enumerate(links):
            for way, history in enumerate(ways):
                if history.rates_bps:
                    rate_bps[link, way] = min(rate_bps[link, way], history.low_bps)
        known = observation.conditions
        lowered = replace(observation, conditions=Conditions(rate_bps, known.rtt_s, known.slowdown))
        decision, adaptive = self._adaptive.decide(lowered, state.adaptive)
        return decision, RobustState(adaptive, links)

    @property
    def _adaptive(self) -> Adaptive:
        return Adaptive(self.margin, self.dwell_s, self.stale_s)

    def _remember(self, observation: Observation, state: RobustState) -> tuple[tuple[History, History], ...]:
        """The histories with the messages since the last decision that are large enough to tell the goodput."""
        overhead_s = [link.message_overhead_s for link in state.adaptive.problem.continuum.links]
        rtt_s = observation.conditions.rtt_s.tolist()
        links = [list(ways) for ways in state.links]
        now = observation.samples
        columns = (now.link, now.direction, now.size_bytes, now.transfer_s)
        for link, way, size_bytes, transfer_s in zip(*(x.tolist() for x in columns), strict=True):
            whole_s = transfer_s - overhead_s[link]
            if size_bytes > BULK_BYTES and whole_s > 0:
                sending_s = whole_s - min(rtt_s[link], _MOST_DELAY * whole_s)
                links[link][way] = links[link][way].add(size_bytes * BITS_PER_BYTE / sending_s, self.window)
        return tuple((up, down) for up, down in links)
