"""Everything on one device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from twin.policies.reach import or_edge_only
from twin.problem import Decision

if TYPE_CHECKING:
    from twin.partition import Partition
    from twin.problem import Observation, Problem

DeviceState = tuple["Problem", "Partition"]


@dataclass(frozen=True, slots=True)
class DeviceOnly:
    """Runs the whole model on one device; on the edge while that device cannot be reached.

    Attributes:
        device: Name of the device.
    """

    looks: ClassVar[bool] = False
    device: str

    def init(self, problem: Problem) -> DeviceState:
        """Return the problem and the partition.

        Raises:
            ScenarioError: There is no such device.
        """
        return problem, problem.on_device(problem.continuum.position(self.device))

    def decide(self, observation: Observation, state: DeviceState) -> tuple[Decision, DeviceState]:
        """Always the same, unless the device is lost."""
        partition, is_fallback = or_edge_only(*state, observation)
        reason = f"{self.device} cannot be reached: all on the edge" if is_fallback else f"always all on {self.device}"
        return Decision(partition, reason), state
