"""A change of the partition on the testbed: prepared by every machine that takes part, then in force at once.

`epoch`: requests go on under the old plan until all machines have the new one ready, and those under way finish on
the old one; nothing is held back. `pause`: new requests are held back from the decision on, until those under way
have ended and every machine is ready. This is what a system does that holds one plan only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from hardware.edge.plan import EdgePlan, edge_plan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hardware.edge.presence import Place
    from twin.partition import Partition
    from twin.problem import Problem

SwitchMode = Literal["epoch", "pause"]

_AGAIN_S = 1.0
"""Time after which a machine that does not know a plan is told of it again."""


class Switch:
    """Brings plans into force.

    Attributes:
        plan: The plan in force; None before the first is ready.
        log: One entry per change: epoch, when it was decided, ready and in force, and its downtime.

    Args:
        problem: The problem.
        announce: Tells machines to prepare a plan: (plan, devices).
        on_active: Called when a plan comes into force, with the time until which new requests are held back.
        mode: How a change is made.
        downtime_s: Time for which new requests are held back at every change beside what it really takes; a
            scenario's downtime is played like this on one machine.
    """

    def __init__(
        self,
        problem: Problem,
        announce: Callable[[EdgePlan, tuple[int, ...]], None],
        on_active: Callable[[float], None],
        *,
        mode: SwitchMode = "epoch",
        downtime_s: float = 0.0,
    ) -> None:
        self.plan: EdgePlan | None = None
        self.log: list[dict[str, Any]] = []
        self._problem, self._announce, self._on_active = problem, announce, on_active
        self._mode, self._downtime_s = mode, downtime_s
        self._target: EdgePlan | None = None
        self._missing: set[int] = set()
        self._told_s: dict[tuple[int, int], float] = {}
        self._paused_s: float | None = None
        self._held_until_s = 0.0

    def to(self, partition: Partition, epoch: int, now_s: float, lost: frozenset[Place]) -> None:
        """Begin a change to a partition, unless it is in force or on its way."""
        if self._target is not None and epoch == self._target.epoch:
            return
        self._target = edge_plan(self._problem, partition, epoch)
        self.log.append({"epoch": epoch, "decided_s": now_s, "ready_s": None, "active_s": None, "downtime_s": 0.0})
        present = tuple(device for device in self._target.devices if ("device", device) not in lost)
        self._missing = set(present)
        is_change = self.plan is not None and self.plan.partition != partition
        if self._mode == "pause" and is_change and self._paused_s is None:
            self._paused_s = now_s
        self._tell(self._target, present, now_s)

    def ready(self, device: int, epoch: int, now_s: float, under_way: int) -> None:
        """A machine has prepared a plan."""
        if self._target is not None and epoch == self._target.epoch:
            self._missing.discard(device)
            self.review(now_s, under_way)

    def gone(self, devices: set[int], now_s: float, under_way: int) -> None:
        """Machines are lost: nobody waits for them to be ready."""
        self._missing -= devices
        self.review(now_s, under_way)

    def back(self, device: int, now_s: float) -> None:
        """A machine is heard again: it may have forgotten its plans."""
        for plan in self._wanted(device):
            self._tell(plan, (device,), now_s)

    def heard(self, device: int, plans: Sequence[Sequence[int]], now_s: float, under_way: int) -> None:
        """A machine says what plans it knows; what it has missed it is told again.

        Messages between machines may get lost with their connection, and a machine that started anew so quickly that
        nobody missed it has forgotten everything.

        Args:
            device: The machine.
            plans: Rows of plan epoch, and whether it is ready.
            now_s: Run time.
            under_way: Requests that were sent and are not answered.
        """
        known = {epoch: bool(ready) for epoch, ready in plans}
        for plan in self._wanted(device):
            if known.get(plan.epoch):
                self.ready(device, plan.epoch, now_s, under_way)
            elif plan.epoch not in known and now_s - self._told_s.get((device, plan.epoch), now_s) > _AGAIN_S:
                self._tell(plan, (device,), now_s)

    def review(self, now_s: float, under_way: int) -> None:
        """Bring the new plan into force if nothing stands against it.

        Args:
            now_s: Run time.
            under_way: Requests that were sent and are not answered.
        """
        if self._target is None or self._target is self.plan or self._missing:
            return
        entry = self.log[-1]
        if entry["ready_s"] is None:
            entry["ready_s"] = now_s
        is_change = self.plan is not None and self.plan.partition != self._target.partition
        if self._mode == "pause" and is_change and under_way > 0:
            return
        self.plan = self._target
        entry["active_s"] = now_s
        if is_change:
            self._held_until_s = now_s + self._downtime_s
            entry["downtime_s"] = self._downtime_s
        if self._paused_s is not None:
            entry["downtime_s"] += now_s - self._paused_s
            self._paused_s = None
        self._on_active(self._held_until_s)

    def holds(self, lost: frozenset[Place]) -> bool:
        """Whether new requests are held back until the next plan comes into force."""
        if self.plan is None or self._paused_s is not None:
            return True
        return self._target is not self.plan and bool(self.plan.uses & lost)

    def _wanted(self, device: int) -> list[EdgePlan]:
        """The plans that a machine must have: that in force, and the next one."""
        plans = {id(plan): plan for plan in (self.plan, self._target) if plan is not None}
        return [plan for plan in plans.values() if device in plan.devices]

    def _tell(self, plan: EdgePlan, devices: tuple[int, ...], now_s: float) -> None:
        self._told_s.update({(device, plan.epoch): now_s for device in devices})
        self._announce(plan, devices)
