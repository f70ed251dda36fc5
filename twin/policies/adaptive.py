"""The default policy: exact search on estimated conditions, with an eye on what may happen next."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from twin.policies.appraisal import Appraisal, is_late
from twin.policies.changeover import changeover
from twin.policies.experience import Experience
from twin.policies.options import NonNegative, Positive  # noqa: TC001 - pydantic reads them at run time
from twin.policies.probing import Hopes
from twin.policies.reach import usable
from twin.problem import Decision

if TYPE_CHECKING:
    from twin.partition import Partition
    from twin.problem import Candidate, Observation, Probe, Problem

_LOGGED = 8
"""Plans that a decision records."""
_LONGEST_STAY_S = 30.0
"""Longest time for which a partition is expected to stay, however rarely it has changed."""
_MOMENT_S = 1.0
"""Time for which plans are not weighed again if nothing was measured, nor what is worth a probe."""
_URGENT = 0.5
"""Gain that does not wait for the end of the dwell time."""


@dataclass(frozen=True, slots=True, eq=False)
class AdaptiveState:
    """What the policy remembers.

    Attributes:
        problem: The problem.
        weighed_s: When plans were last weighed.
        hoped_s: When it was last weighed what might be worth a probe.
        switched_s: When the partition last changed.
        switches: How often it has changed.
        experience: What links and devices have done before.
        hopes: What may be worth a probe.
    """

    problem: Problem
    weighed_s: float
    hoped_s: float
    switched_s: float
    switches: int
    experience: Experience
    hopes: Hopes


@dataclass(frozen=True, slots=True)
class Adaptive:
    """Chooses the partition with the least score under what is known and what may happen next.

    It leaves the running partition only for one whose score is lower by the margin, that repays the cost of the switch
    in the time that partitions have lasted so far, and not before the dwell time is over (unless the gain is large).
    What was not sampled for a while is probed, but only where a better value could change the decision. While the
    plan uses something that has fallen before, or that seems to be falling, it asks to decide again soon.

    Attributes:
        margin: Relative improvement below which it stays.
        dwell_s: Least time between two switches.
        stale_s: Age after which a link or device counts as not known; None: never probe.
        probe_time_s: Time that a probe of a link may take, at the last known goodput.
        watch_s: Time to the next decision while something may fall; None: the scenario's control interval.
    """

    margin: NonNegative = 0.03
    dwell_s: NonNegative = 2.0
    stale_s: NonNegative | None = 3.0
    probe_time_s: Positive = 0.05
    watch_s: Positive | None = 0.25

    def init(self, problem: Problem) -> AdaptiveState:
        """Return the first state."""
        return AdaptiveState(problem, *(-math.inf,) * 3, 0, Experience.none(problem), Hopes.first(problem))

    def decide(self, observation: Observation, state: AdaptiveState) -> tuple[Decision, AdaptiveState]:
        """Weigh, compare with the running partition, and ask for the probes that could change the answer."""
        problem = state.problem
        conditions = usable(problem, observation)
        experience, hopes = state.experience.look(observation), state.hopes.look(conditions)
        if observation.partition is not None and _is_nothing_new(observation, state.weighed_s):
            kept = replace(state, experience=experience, hopes=hopes)
            return Decision(observation.partition, "nothing new", next_s=self.watch_s), kept
        conditions = experience.foreseen(problem, observation, conditions)
        appraisal = Appraisal(problem, conditions, observation, experience)
        weighed = appraisal.weigh()
        chosen, reason = self._choose(appraisal, weighed, state)
        is_time = observation.t_s - state.hoped_s >= _MOMENT_S
        probes = self._probes(appraisal, hopes, chosen) if is_time else ()
        hoped_s = observation.t_s if is_time else state.hoped_s
        is_switch = observation.partition is not None and chosen != observation.partition
        switched_s = observation.t_s if is_switch else state.switched_s
        switches = state.switches + is_switch
        next_s = self.watch_s if appraisal.is_exposed(chosen) or experience.falling(problem, observation) else None
        decision = Decision(chosen, reason, tuple(weighed[:_LOGGED]), probes, next_s)
        hopes = hopes.asked(observation.t_s, probes)
        return decision, AdaptiveState(problem, observation.t_s, hoped_s, switched_s, switches, experience, hopes)

    def _choose(self, appraisal: Appraisal, weighed: list[Candidate], state: AdaptiveState) -> tuple[Partition, str]:
        best, running = weighed[0], appraisal.observation.partition
        if running is None:
            return best.partition, "best under the first conditions"
        if best.partition == running:
            return running, "still the best"
        now = next(x for x in weighed if x.partition == running)
        if math.isinf(now.score):
            return best.partition, "the running partition can no longer serve"
        if is_late(state.problem, now, self.margin) and not is_late(state.problem, best):
            return best.partition, f"the running partition would miss the deadline ({now.latency_s:.3f} s)"
        veto = self._veto(appraisal, now, best, state)
        return (running, veto) if veto else (best.partition, f"{_gain(now, best):.1%} lower score")

    def _veto(self, appraisal: Appraisal, now: Candidate, best: Candidate, state: AdaptiveState) -> str:
        """Why not to switch, or an empty string."""
        gain, problem, t_s = _gain(now, best), appraisal.problem, appraisal.observation.t_s
        if gain <= self.margin:
            return "within the margin of the best"
        if t_s - state.switched_s < self.dwell_s and gain < _URGENT:
            return f"{gain:.1%} better is known, but the dwell time is not over"
        change = changeover(problem, now.partition, best.partition, appraisal.conditions)
        stay_s = max(self.dwell_s, min(t_s / (state.switches + 1), _LONGEST_STAY_S))
        requests = max(_rate_rps(problem, now.latency_s) * (stay_s - change.loading_s), 0.0)
        if change.score + change.loading_s and (now.score - best.score) * requests <= change.score:
            return f"{gain:.1%} better does not repay the switch"
        return ""

    def _probes(self, appraisal: Appraisal, hopes: Hopes, chosen: Partition) -> tuple[Probe, ...]:
        """Probe what is stale, if the best that can be hoped of it would lead to another partition."""
        problem, observation, conditions = appraisal.problem, appraisal.observation, appraisal.conditions
        if self.stale_s is None:
            return ()
        stale = hopes.stale(problem, observation, self.stale_s)
        if not (stale[0].any() or stale[1].any()):
            return ()
        hopeful = hopes.hopeful(observation, conditions, stale, self.stale_s)
        wish = appraisal.under(hopeful).weigh()[0].partition
        return () if wish == chosen else hopes.probes(problem, conditions, wish, stale, self.probe_time_s)


def _is_nothing_new(observation: Observation, weighed_s: float) -> bool:
    """Whether nothing was measured or is under way since plans were weighed a moment ago."""
    now = observation.samples
    columns = (now.link, now.device, now.open_link, now.open_device)
    all_up = observation.available.all() and observation.link_up.all()
    return bool(observation.t_s - weighed_s < _MOMENT_S and all_up and not any(map(len, columns)))


def _gain(now: Candidate, best: Candidate) -> float:
    return (now.score - best.score) / abs(now.score) if now.score else 0.0


def _rate_rps(problem: Problem, latency_s: float) -> float:
    demand = problem.demand
    if demand.rate_rps is not None:
        return demand.rate_rps
    return demand.clients / (latency_s + demand.think_time_s)
