"""The algorithm of Deng et al. (arXiv 2605.09623): a profile of the edge, probe splits, and windows of requests."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from twin.errors import ScenarioError
from twin.partition import thirds
from twin.policies.options import Count, NonNegative, Positive  # noqa: TC001 - pydantic reads them at run time
from twin.policies.reap_model import Chain, Estimate, Yardstick, estimate, make_chain, probe_splits, yardstick
from twin.policies.reap_samples import Echoes, Tally, fit
from twin.problem import Decision, LinkProbe

if TYPE_CHECKING:
    from twin.policies.reap_model import LinkModel, Split
    from twin.problem import Candidate, Observation, Problem


@dataclass(frozen=True, slots=True, eq=False)
class ReapState:
    """What the policy remembers.

    Attributes:
        chain: The problem.
        schedule: The first split and the probe splits.
        running: The split that it wants to run.
        links: Model of each link direction of the chain.
        step: Position in the schedule; its length once phase 1 is over.
        arrived: Requests that arrived in this phase, or since probes were asked for.
        epoch: Plan epoch, counted as the controller counts it.
        away: Whether a device is lost and all runs on the edge.
        tally: Samples of this phase.
        known: Samples of the phases on the first split and on the probe splits.
        echoes: Receipts of the probes under way; None where none are.
        measure: What scores are measured by; None before the end of phase 1.
        limit: The score that the first split had at the end of phase 1.
    """

    chain: Chain
    schedule: tuple[Split, ...]
    running: Split
    links: tuple[LinkModel, ...]
    step: int = 0
    arrived: int = 0
    epoch: int = -1
    away: bool = False
    tally: Tally = field(default_factory=Tally)
    known: tuple[Tally, ...] = ()
    echoes: Echoes | None = None
    measure: Yardstick | None = None
    limit: float = np.inf


class _Choice(NamedTuple):
    """A split that is chosen, why, and what was weighed."""

    split: Split
    reason: str
    weighed: tuple[Candidate, ...] = ()


@dataclass(frozen=True, slots=True)
class Reap:
    """The algorithm of the seed paper: every device runs a part, chosen by a score of energy and latency.

    Runs all on the edge while a device is lost. Where the paper is silent, docs/policies.md says what it does.

    Attributes:
        initial: The first split: `thirds`, or the last layer of each device but the last, in topological order; a
            module stands for its last layer.
        cuts: Layers or modules after which it may cut, in topological order; None for any layer.
        edge_weight: Weight of the edge's energy.
        total_weight: Weight of the energy of all devices.
        latency_weight: Weight of the latency.
        improvement: Relative improvement of the score from which on it switches.
        window: Requests of a window.
        first_requests: Requests on the first split.
        probe_requests: Requests on each probe split.
        skip: Runs at the start of each phase that are not counted.
        small_bytes: Bytes of the small message of a link probe.
        large_bytes: Bytes of the large message of a link probe.
        repeats: How often each message is sent.
        probe_wait: Requests after which a link probe without a receipt is given up.
        poll_s: Longest time between two looks at the samples; None for the scenario's control interval.
        deadline_s: Latency that a split may not exceed; None for the deadline of the scenario, if it has one.
        watts: Power of edge, fog and cloud while computing; None for the devices' own.
    """

    initial: Literal["thirds"] | tuple[str, ...] = "thirds"
    cuts: tuple[str, ...] | None = None
    edge_weight: NonNegative = 0.6
    total_weight: NonNegative = 0.3
    latency_weight: NonNegative = 0.1
    improvement: NonNegative = 0.03
    window: Count = 100
    first_requests: Count = 50
    probe_requests: Count = 15
    skip: int = 5
    small_bytes: Positive = 1_000.0
    large_bytes: Positive = 1_000_000.0
    repeats: Count = 1
    probe_wait: Count = 20
    poll_s: float | None = 1.0
    deadline_s: float | None = None
    watts: tuple[float, ...] | None = None

    def init(self, problem: Problem) -> ReapState:
        """Return the first state.

        Raises:
            ScenarioError: There are not three devices, or an option or the first split does not fit.
            GraphError: A layer of the first split does not exist.
        """
        if min(self.window, self.first_requests, self.probe_requests) <= self.skip or self.skip < 0:
            raise ScenarioError("reap: each phase needs more requests than `skip`, which may not be negative")
        if not 0 < self.small_bytes < self.large_bytes or self.repeats < 1:
            raise ScenarioError("reap: `small_bytes` lies between 0 and `large_bytes`, and `repeats` is 1 at least")
        chain = make_chain(problem, self.watts, self.cuts)
        first = self._first(chain)
        return ReapState(chain, (first, *probe_splits(chain)), first, chain.first_links())

    def decide(self, observation: Observation, state: ReapState) -> tuple[Decision, ReapState]:
        """Take in the samples; at the end of a phase go on to the next, probe the links or choose a split."""
        state = self._taken(observation, state)
        waited = state.echoes is not None
        state = replace(state, away=not observation.available.all())
        if state.away:
            choice = _Choice(state.running, "a device is lost: all on the edge")
            partition = state.chain.problem.on_device(0)
        else:
            state, choice = self._advanced(observation, state)
            partition = state.chain.partition(choice.split)
        probes = self._probes(state.chain) if state.echoes is not None and not waited else ()
        if partition != observation.partition:
            state = replace(state, epoch=state.epoch + 1)
        left = None if state.away else max(self._target(state) - state.arrived, 1)
        decision = Decision(partition, choice.reason, choice.weighed, probes, self.poll_s, left)
        return decision, replace(state, running=choice.split)

    def _first(self, chain: Chain) -> Split:
        """The first split."""
        problem = chain.problem
        if self.initial == "thirds":
            partition = thirds(problem.n_layers, problem.n_devices)
            split = partition.placement.count(0), problem.n_layers - partition.placement.count(2)
        elif len(self.initial) == 2:
            split = problem.graph.within(self.initial[0])[-1] + 1, problem.graph.within(self.initial[1])[-1] + 1
        else:
            raise ScenarioError("reap: `initial` is `thirds` or two layers, the last of the edge and of the fog")
        if not 0 < split[0] < split[1] < problem.n_layers:
            raise ScenarioError("reap: `initial` leaves a device without a layer; each needs one at least")
        if split not in chain:
            raise ScenarioError("reap: the first split does not lie at two of the `cuts`; give another with `initial`")
        if not problem.allows(chain.partition(split)):
            raise ScenarioError(
                "reap: the first split breaks a memory limit or moves a pinned layer; give another with `initial`"
            )
        return split

    def _target(self, state: ReapState) -> int:
        """Requests of the present phase; while probes are under way, every request is looked at."""
        if state.echoes is not None:
            return 0
        if state.step == len(state.schedule):
            return self.window
        return self.probe_requests if state.step else self.first_requests

    def _taken(self, observation: Observation, state: ReapState) -> ReapState:
        """Count the arrivals and keep the samples of the running split, or the receipts of probes."""
        if state.away or observation.partition is None:
            return state
        state = replace(state, arrived=state.arrived + observation.arrived)
        samples, chain = observation.samples, state.chain
        if state.echoes is not None:
            return replace(state, echoes=state.echoes.take(samples, chain.stations, self._sizes_bytes))
        shares = chain.shares(np.array([state.running]))[0]
        tally = state.tally.take(samples, chain.nominal_s(state.running), shares, state.epoch, self.skip)
        return replace(state, tally=tally)

    def _advanced(self, observation: Observation, state: ReapState) -> tuple[ReapState, _Choice]:
        """Go on to the next phase if the present one is over."""
        if state.echoes is not None:
            if not state.echoes.complete(self.repeats) and state.arrived < self.probe_wait:
                return state, _Choice(state.running, "waits for link probes")
            return self._probed(state, state.echoes)
        if state.arrived < self._target(state):
            name = "a window" if state.step == len(state.schedule) else f"phase 1, split {state.step + 1}"
            return state, _Choice(state.running, f"{name} of {self._target(state)} requests")
        if state.step < len(state.schedule):
            state = replace(state, known=(*state.known, state.tally), step=state.step + 1, arrived=0, tally=Tally())
            if state.step < len(state.schedule):
                return state, _Choice(state.schedule[state.step], f"phase 1, split {state.step + 1}")
            state = replace(state, running=state.schedule[0])
        echoes = Echoes.none(observation.t_s, len(state.chain.stations))
        return replace(state, arrived=0, echoes=echoes), _Choice(state.running, "probes the links")

    def _probes(self, chain: Chain) -> tuple[LinkProbe, ...]:
        """A small and a large message over each link direction that the hops use, as often as is asked."""
        pairs = [LinkProbe(link, direction, size) for link, direction in chain.stations for size in self._sizes_bytes]
        return tuple(pairs * self.repeats)

    @property
    def _sizes_bytes(self) -> tuple[float, float]:
        return self.small_bytes, self.large_bytes

    def _probed(self, state: ReapState, echoes: Echoes) -> tuple[ReapState, _Choice]:
        """Take over the link models, refit, choose, and begin a window."""
        links = echoes.links(state.links, self._sizes_bytes)
        per_share_s = fit((*state.known, state.tally), state.chain.profiled_s)
        weighed = estimate(state.chain, state.chain.splits, per_share_s, links)
        measure, limit, forced, margin = state.measure, state.limit, False, -np.inf
        if measure is None:
            probed = np.array(state.schedule[1:] or state.schedule)
            weights = (self.edge_weight, self.total_weight, self.latency_weight)
            measure = yardstick(estimate(state.chain, probed, per_share_s, links), weights)
            limit = float(measure.score(weighed)[state.chain.row(state.schedule[0])])
        else:
            mean_s = state.tally.mean_latency_s
            forced = mean_s is not None and mean_s > self._deadline_s(state.chain)
            margin = -np.inf if forced else self.improvement
        state = replace(state, links=links, measure=measure, limit=limit)
        choice = self._choice(state, weighed, measure.score(weighed), margin, forced=forced)
        return replace(state, echoes=None, arrived=0, tally=Tally()), choice

    def _choice(
        self, state: ReapState, weighed: Estimate, scores: np.ndarray, margin: float, *, forced: bool
    ) -> _Choice:
        """The candidate of the least score, if it improves by the margin; the first split if a switch is forced."""
        chain, running = state.chain, state.chain.row(state.running)
        good = (weighed.latency_s <= self._deadline_s(chain)) & (scores <= state.limit)
        good[running] = False
        rows = np.flatnonzero(good)
        ordered = rows[np.argsort(scores[rows], kind="stable")].tolist()
        best = next((row for row in ordered if chain.problem.allows(chain.partition(chain.split(row)))), None)
        late = "the window passed the deadline: " if forced else ""
        shown = tuple(chain.candidate(weighed, scores, row) for row in (best, running) if row is not None)
        if best is None:
            if forced:
                return _Choice(state.schedule[0], f"{late}no candidate, back to the first split", shown)
            return _Choice(state.running, "no candidate", shown)
        gain = float((scores[running] - scores[best]) / scores[running])
        if gain < margin:
            return _Choice(state.running, f"stays, the best candidate has a {_difference(gain)}", shown)
        return _Choice(chain.split(best), f"{late}{_difference(gain)}", shown)

    def _deadline_s(self, chain: Chain) -> float:
        deadline_s = chain.problem.objective.deadline_s if self.deadline_s is None else self.deadline_s
        return np.inf if deadline_s is None else deadline_s


def _difference(gain: float) -> str:
    return f"{abs(gain):.1%} {'lower' if gain >= 0 else 'higher'} score"
