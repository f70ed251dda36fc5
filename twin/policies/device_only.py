"""Everything on one device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from twin.problem import Decision

if TYPE_CHECKING:
    from twin.partition import Partition
    from twin.problem import Observation, Problem


@dataclass(frozen=True, slots=True)
class DeviceOnly:
    """Runs the whole model on one device; on the edge while that device is lost.

    Attributes:
        device: Name of the device.
    """

    device: str

    def init(self, problem: Problem) -> tuple[int, Partition, Partition]:
        """Return the device's position, its partition and the edge's.

        Raises:
            ScenarioError: There is no such device.
        """
        position = problem.continuum.position(self.device)
        return position, problem.on_device(position), problem.on_device(0)

    def decide(
        self, observation: Observation, state: tuple[int, Partition, Partition]
    ) -> tuple[Decision, tuple[int, Partition, Partition]]:
        """Always the same, unless the device is lost."""
        position, partition, edge_only = state
        if observation.available[position]:
            return Decision(partition, f"always all on {self.device}"), state
        return Decision(edge_only, f"{self.device} is lost: all on the edge"), state
