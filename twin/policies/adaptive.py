"""The default policy: exact search on estimated conditions, slow to switch for little."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from twin.conditions import BULK_BYTES
from twin.cost import predict
from twin.policies.options import NonNegative, Positive  # noqa: TC001 - pydantic reads them at run time
from twin.policies.reach import SMALL_PROBE_BYTES, large_probe_bytes, usable
from twin.problem import Candidate, Conditions, Decision, LinkProbe, StageProbe
from twin.search import candidates, score_of
from twin.search.space import usable_links
from twin.waiting import sojourn_s

if TYPE_CHECKING:
    from twin.partition import Partition
    from twin.problem import Observation, Probe, Problem

_FEW = 12
"""Plans of the exact search that are scored again with the waiting that they would meet."""
_URGENT = 0.5
"""Gain that does not wait for the end of the dwell time."""
_RECOVERED = 1.2
"""Factor by which a device must once have been faster to be worth a probe."""


@dataclass(frozen=True, slots=True, eq=False)
class AdaptiveState:
    """What the policy remembers.

    Attributes:
        problem: The problem.
        switched_s: When the partition last changed.
        best_rate_bps: Highest goodput seen per link and direction, shape [n_links, 2].
        least_slowdown: Least slowdown seen per device, shape [n_devices].
        probed_s: When each link direction was last probed, shape [n_links, 2].
        tested_s: When each device was last probed, shape [n_devices].
    """

    problem: Problem
    switched_s: float
    best_rate_bps: np.ndarray
    least_slowdown: np.ndarray
    probed_s: np.ndarray
    tested_s: np.ndarray


@dataclass(frozen=True, slots=True)
class Adaptive:
    """Chooses the partition with the least score under the estimated conditions.

    It leaves the running partition only for one whose score, waiting included, is lower by the margin, that repays
    the cost of the switch within the dwell time, and not before the dwell time is over (unless the running partition
    can no longer serve). What was not sampled for a while is probed, but only where a better value could change the
    decision.

    Attributes:
        margin: Relative improvement below which it stays.
        dwell_s: Least time between two switches.
        stale_s: Age after which a link or device counts as not known; None: never probe.
        probe_time_s: Time that a probe of a link may take, at the last known goodput.
    """

    margin: NonNegative = 0.03
    dwell_s: NonNegative = 2.0
    stale_s: NonNegative | None = 3.0
    probe_time_s: Positive = 0.05

    def init(self, problem: Problem) -> AdaptiveState:
        """Return the first state."""
        return AdaptiveState(
            problem,
            -math.inf,
            problem.initial.rate_bps.copy(),
            problem.initial.slowdown.copy(),
            np.zeros((len(problem.continuum.links), 2)),
            np.zeros(problem.n_devices),
        )

    def decide(self, observation: Observation, state: AdaptiveState) -> tuple[Decision, AdaptiveState]:
        """Search, compare with the running partition, and ask for the probes that could change the answer."""
        conditions = usable(state.problem, observation)
        state = replace(
            state,
            best_rate_bps=np.maximum(state.best_rate_bps, conditions.rate_bps),
            least_slowdown=np.minimum(state.least_slowdown, conditions.slowdown),
        )
        weighed = _weigh(state.problem, conditions, observation)
        chosen, reason = self._choose(weighed, observation, state)
        if observation.partition is not None and chosen != observation.partition:
            state = replace(state, switched_s=observation.t_s)
        probes, state = self._probes(observation, conditions, chosen, state)
        return Decision(chosen, reason, tuple(weighed[:8]), probes), state

    def _choose(
        self, weighed: list[Candidate], observation: Observation, state: AdaptiveState
    ) -> tuple[Partition, str]:
        best, running = weighed[0], observation.partition
        if running is None:
            return best.partition, "best under the first conditions"
        if best.partition == running:
            return running, "still the best"
        now = next(x for x in weighed if x.partition == running)
        if math.isinf(now.score):
            return best.partition, "the running partition can no longer serve"
        if _is_late(state.problem, now, self.margin) and not _is_late(state.problem, best):
            return best.partition, f"the running partition would miss the deadline ({now.latency_s:.3f} s)"
        gain = (now.score - best.score) / abs(now.score)
        veto = self._veto(gain, now, best, observation.t_s, state)
        return (running, veto) if veto else (best.partition, f"{gain:.1%} lower score")

    def _veto(self, gain: float, now: Candidate, best: Candidate, t_s: float, state: AdaptiveState) -> str:
        """Why not to switch, or an empty string."""
        if gain <= self.margin:
            return "within the margin of the best"
        if t_s - state.switched_s < self.dwell_s and gain < _URGENT:
            return f"{gain:.1%} better is known, but the dwell time is not over"
        requests = max(_rate_rps(state.problem, now.latency_s) * max(self.dwell_s, 1.0), 1.0)
        if (now.score - best.score) * requests <= _switch_score(state.problem, now.partition, best.partition):
            return f"{gain:.1%} better does not repay the switch"
        return ""

    def _probes(
        self, observation: Observation, conditions: Conditions, chosen: Partition, state: AdaptiveState
    ) -> tuple[tuple[Probe, ...], AdaptiveState]:
        """Probe what is stale, if the best that was ever seen of it would lead to another partition."""
        if self.stale_s is None:
            return (), state
        t_s, problem = observation.t_s, state.problem
        stale = np.minimum(observation.age_s, t_s - state.probed_s) >= self.stale_s
        idle = np.minimum(observation.device_age_s, t_s - state.tested_s) >= self.stale_s
        idle &= observation.available
        stale &= usable_links(problem, observation.available, observation.link_up)[:, None]
        if not (stale.any() or idle.any()):
            return (), state
        hopeful = Conditions(
            np.where(stale, state.best_rate_bps, conditions.rate_bps),
            conditions.rtt_s,
            np.where(idle, state.least_slowdown, conditions.slowdown),
        )
        wish = _weigh(problem, hopeful, observation)[0]
        if wish.partition == chosen:
            return (), state
        probes = self._link_probes(problem, wish.partition, stale, conditions)
        tested = state.tested_s.copy()
        for stage in wish.partition.visited:
            slower = conditions.slowdown[stage.device] / state.least_slowdown[stage.device]
            if idle[stage.device] and slower > _RECOVERED:
                probes.append(StageProbe(stage.device, stage.layers))
                tested[stage.device] = t_s
        probed = state.probed_s.copy()
        for probe in probes:
            if isinstance(probe, LinkProbe):
                probed[probe.link, probe.direction] = t_s
        return tuple(probes), replace(state, probed_s=probed, tested_s=tested)

    def _link_probes(self, problem: Problem, wish: Partition, stale: np.ndarray, conditions: Conditions) -> list[Probe]:
        """A small and a large message over each stale link direction that the wished partition would use.

        The large one is no larger than what the partition sends there, and left out where that is little.
        """
        probes: list[Probe] = []
        for message in predict(problem, wish, conditions).transfers:
            if stale[message.link, message.direction]:
                rate_bps = float(conditions.rate_bps[message.link, message.direction])
                size_bytes = min(large_probe_bytes(rate_bps, self.probe_time_s), message.size_bytes)
                probes.append(LinkProbe(message.link, message.direction, SMALL_PROBE_BYTES))
                if size_bytes > BULK_BYTES:
                    probes.append(LinkProbe(message.link, message.direction, size_bytes))
        return probes


def _weigh(problem: Problem, conditions: Conditions, observation: Observation) -> list[Candidate]:
    """The best few plans and the running one, with the waiting that each would meet, the best first.

    Plans that miss the deadline come after those that meet it; where every plan is overloaded, the one with the
    least bottleneck lets the queues grow least.
    """
    few = [x.partition for x in candidates(problem, conditions, _FEW, available=observation.available)]
    if observation.partition is not None and observation.partition not in few:
        few.append(observation.partition)
    gone = set(np.flatnonzero(~observation.available).tolist())
    weighed: list[tuple[bool, float, float, Candidate]] = []
    for partition in few:
        prediction = predict(problem, partition, conditions)
        latency_s = sojourn_s(problem, prediction)
        energy_j = prediction.energy_j(problem.objective.boundary)
        lost = not gone.isdisjoint(partition.placement)
        score = math.inf if lost else score_of(problem, latency_s, energy_j)
        candidate = Candidate(partition, score, latency_s, None if math.isnan(energy_j) else energy_j)
        weighed.append((_is_late(problem, candidate), score, prediction.bottleneck_s, candidate))
    weighed.sort(key=lambda entry: entry[:3])
    return [candidate for *_, candidate in weighed]


def _is_late(problem: Problem, candidate: Candidate, margin: float = 0.0) -> bool:
    deadline_s = problem.objective.deadline_s
    return deadline_s is not None and candidate.latency_s > deadline_s * (1 + margin)


def _rate_rps(problem: Problem, latency_s: float) -> float:
    demand = problem.demand
    if demand.rate_rps is not None:
        return demand.rate_rps
    return demand.clients / (latency_s + demand.think_time_s)


def _switch_score(problem: Problem, running: Partition, wanted: Partition) -> float:
    """What a switch costs, in the units of the score: requests held back, and joules of loading."""
    switch = problem.switch
    gaining = {after for before, after in zip(running.placement, wanted.placement, strict=True) if before != after}
    rate_rps = problem.demand.rate_rps or 0.0
    held_s = switch.downtime_s + rate_rps * switch.downtime_s**2 / 2
    energy_j = switch.energy_j * len(gaining) if switch.energy_j else 0.0
    return score_of(problem, held_s, energy_j)
