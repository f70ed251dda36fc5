"""One partition for the whole run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from twin.errors import ScenarioError
from twin.partition import Partition, thirds
from twin.policies.reach import or_edge_only
from twin.problem import Decision
from twin.search import best

if TYPE_CHECKING:
    from twin.problem import Observation, Problem

StaticState = tuple["Problem", "Partition"]


@dataclass(frozen=True, slots=True)
class Static:
    """Keeps its partition, whatever happens; runs on the edge alone while it cannot be carried out.

    Attributes:
        split: `thirds` cuts nearest to equal layer counts; `best` is the best under the first conditions.
        after: Instead of `split`: the last layer of each device but the last, in topological order; a module stands
            for its last layer.
    """

    looks: ClassVar[bool] = False
    split: Literal["thirds", "best"] = "thirds"
    after: tuple[str, ...] | None = None

    def init(self, problem: Problem) -> StaticState:
        """Return the problem and the partition.

        Raises:
            ScenarioError: The number of cuts does not fit the devices, or the cut breaks a constraint.
            GraphError: A layer does not exist.
            InfeasibleError: No partition is possible.
        """
        partition = self._partition(problem)
        if not problem.allows(partition):
            raise ScenarioError(
                f"the static partition `{partition.describe(problem.continuum.names)}` breaks a memory limit or moves "
                "a pinned layer; give other cuts with `after`"
            )
        return problem, partition

    def decide(self, observation: Observation, state: StaticState) -> tuple[Decision, StaticState]:
        """Always the same, unless something on its way is lost."""
        partition, is_fallback = or_edge_only(*state, observation)
        return Decision(partition, "something on its way is lost: all on the edge" if is_fallback else "static"), state

    def _partition(self, problem: Problem) -> Partition:
        if self.after is None:
            if self.split == "best":
                return best(problem, problem.initial).partition
            return thirds(problem.n_layers, problem.n_devices)
        if len(self.after) != problem.n_devices - 1:
            raise ScenarioError(
                f"static: `after` names {len(self.after)} layers, but {problem.n_devices} devices need "
                f"{problem.n_devices - 1}: the last layer of each device but the last"
            )
        cuts = [problem.graph.within(name)[-1] + 1 for name in self.after]
        return Partition.from_cuts(cuts, problem.n_layers)
