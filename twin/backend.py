"""The seam between the twin and the testbed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from twin.control import Policy
    from twin.records import RunResult
    from twin.world import World


class Backend(Protocol):
    """Finds out when each thing happened: by simulating it, or by measuring it."""

    def run(self, world: World, policy: Policy[Any], label: str, replication: int) -> RunResult:
        """Play one policy once.

        Args:
            world: The scenario, resolved.
            policy: The policy.
            label: Its name in the scenario.
            replication: Number of the replication, which selects the luck.
        """
        ...
