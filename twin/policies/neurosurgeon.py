"""The two-tier chain cut of Neurosurgeon.

Kang et al. 2017, Neurosurgeon: Collaborative Intelligence Between the Cloud and Mobile Edge, ASPLOS,
doi:10.1145/3037697.3037698. The layers up to a cut of the topological order run on the edge, all others on one other
device; the cut with the least predicted end-to-end latency, or with the least energy of the edge, is taken anew at
each decision. The time of the remote layers grows with the load of the remote device, as in the paper, and the
transmission follows the goodput as it is measured. Nothing holds the policy back from switching, and it knows of no
waiting.

What differs: layer times come from profiles in place of regressions, the edge's own slowdown counts too, and so does
the way back of the answer. The paper asks the server for its load now and then and reads the bandwidth off the phone;
here what was not sampled for a while is probed, at the cost of a probe.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from twin.errors import ScenarioError
from twin.policies.options import NonNegative  # noqa: TC001 - pydantic reads them at run time
from twin.policies.reach import usable
from twin.policies.weighing import TwoTier
from twin.problem import Decision

if TYPE_CHECKING:
    from twin.cost import Prediction
    from twin.problem import Observation, Problem


@dataclass(frozen=True, slots=True)
class Neurosurgeon:
    """Cuts the topological order in two where the prediction is least.

    Attributes:
        target: Name of the device that shares the layers with the edge; None: the last one.
        objective: `latency` of a request, or `energy` of the edge, at the scenario's boundary.
        stale_s: Age after which the way to that device, or its load, is probed; None: never probe.
    """

    target: str | None = None
    objective: Literal["latency", "energy"] = "latency"
    stale_s: NonNegative | None = 3.0

    def init(self, problem: Problem) -> TwoTier:
        """Return all cuts that the memory limits and pinned layers allow.

        Raises:
            ScenarioError: There is no such device, or the power of the edge is needed and not known.
        """
        edge = problem.continuum.devices[0]
        if self.objective == "energy" and edge.power is None:
            raise ScenarioError(
                f"neurosurgeon: the power of `{edge.name}` is not known; give devices.*.power, or set the policy's "
                "objective to latency"
            )
        return TwoTier.of(problem, self.target)

    def decide(self, observation: Observation, state: TwoTier) -> tuple[Decision, TwoTier]:
        """Take the best cut under the estimated conditions."""
        conditions = usable(state.problem, observation)
        weighed = state.weigh(state.chains, conditions, observation, lambda x: self._cost(x, state.problem))
        if not weighed:
            return Decision(state.otherwise(observation), "no cut in two can be carried out"), state
        chosen = weighed[0]
        unit = "s" if self.objective == "latency" else "J"
        reason = f"least {self.objective} of the cuts in two: {chosen.score:.4g} {unit}"
        probes = state.probes(observation, self.stale_s)
        return Decision(chosen.partition, reason, tuple(weighed), probes), state

    def _cost(self, prediction: Prediction, problem: Problem) -> float:
        """Seconds of a request, or joules of the edge per request."""
        if self.objective == "latency":
            return prediction.latency_s
        return float(prediction.energy_by_device_j(problem.objective.boundary)[0])
