"""The partition in force while nothing has to be loaded: what a change holds back and costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twin.engine.plan import Plan, make_plan

if TYPE_CHECKING:
    from twin.control import Controller
    from twin.partition import Partition
    from twin.problem import Problem


class Changes:
    """Brings a plan into force at once; new requests wait for the downtime.

    Attributes:
        plan: The plan in force.
        held_until_s: Until when new requests are held back.

    Args:
        problem: The problem.
        controller: Its log is charged for changes.
    """

    plan: Plan

    def __init__(self, problem: Problem, controller: Controller) -> None:
        self._problem = problem
        self._controller = controller
        self._is_first = True
        self.held_until_s = 0.0

    def to(self, partition: Partition, epoch: int, now_s: float) -> bool:
        """Put a partition in force, unless it is; whether the plan is a new one."""
        if not self._is_first and epoch == self.plan.epoch:
            return False
        plan = make_plan(self._problem, partition, epoch)
        if not self._is_first:
            self._charge(plan.partition)
            self.held_until_s = max(self.held_until_s, now_s + self._problem.switch.downtime_s)
        self.plan, self._is_first = plan, False
        return True

    def _charge(self, partition: Partition) -> None:
        energy_j = self._problem.switch.energy_j
        if energy_j > 0:
            gaining = self._problem.gained_bytes(self.plan.partition, partition)
            self._controller.log[-1]["charged_j"] = dict.fromkeys(gaining, energy_j)
