"""What the arrays engine does in an open as in a closed loop: decide, release, and hand in the records."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from twin.control import Controller
from twin.energy import Busy, power_samples
from twin.engine.batches import Chunk
from twin.engine.busy import busy_s
from twin.engine.changes import Changes
from twin.engine.floor import Floor
from twin.engine.lookout import NOBODY, Lookout
from twin.engine.plan import message_visit, work_visit
from twin.engine.spans import Hold, VisitSpans
from twin.problem import LinkProbe
from twin.records import PROBE, Outcome, Reason, Requests, RunResult, Spans

if TYPE_CHECKING:
    from twin.control import Policy
    from twin.engine.batches import Floats, Ints
    from twin.engine.plan import Visit
    from twin.engine.spans import End
    from twin.problem import Probe
    from twin.world import World


class Course:
    """One policy being played once.

    Attributes:
        world: The scenario.
        replication: Number of the replication.
        floor: The stations.
        changes: The partition in force.
        first_leg: First leg of the plan in force.
        timer_s: When to decide next.
        next_request: Before which request to decide next.

    Args:
        world: The scenario.
        policy: The policy.
        replication: Number of the replication.
    """

    def __init__(self, world: World, policy: Policy[Any], replication: int) -> None:
        self.world = world
        self.replication = replication
        self._controller = Controller(policy, world.problem, replication)
        self.floor = Floor(world, replication, watched=self._controller.looks)
        self.changes = Changes(world.problem, self._controller)
        self._holds: list[Hold] = []
        self._lookout = Lookout(world.problem, self.floor)
        self._blind = self._lookout.nothing()
        self._available = np.ones(world.problem.n_devices, dtype=bool)
        self._link_up = np.ones(len(world.problem.continuum.links), dtype=bool)
        self._at_tick = 0
        self.first_leg = 0
        self.timer_s = math.inf
        self.next_request = math.inf

    def tick(self, now_s: float, arrival_s: Floats, last: int = NOBODY) -> None:
        """Decide and carry it out; the control interval starts anew.

        Everything before must have been served, unless the policy does not look: then it is enough that all requests
        before have been sent on their way.

        Args:
            now_s: The time.
            arrival_s: Arrivals so far.
            last: See `Lookout.look`.
        """
        arrived = len(arrival_s)
        view = self._lookout.look(now_s, arrival_s, last) if self.looks else self._blind
        decision = self._controller.tick(
            now_s,
            view.samples,
            queue_length=view.queue_length,
            link_queue=view.link_queue,
            arrived=arrived - self._at_tick,
            available=self._available,
            link_up=self._link_up,
        )
        self._at_tick = arrived
        if self.changes.to(decision.partition, self._controller.epoch, now_s):
            self.first_leg = self.floor.routes.add(self.changes.plan)
        if decision.probes:
            self.floor.serve(now_s)
            self._send_probes(decision.probes, now_s, arrived, self.floor.busy(now_s, last))
        every_s, every_requests = decision.next_s, decision.next_requests
        if every_s is None and every_requests is None:
            every_s, every_requests = self.world.control.every_s, self.world.control.every_requests
        self.timer_s = math.inf if every_s is None else now_s + every_s
        self.next_request = math.inf if every_requests is None else arrived + every_requests

    @property
    def looks(self) -> bool:
        """Whether the policy looks at anything measured."""
        return self._controller.looks

    def release(self, request: Ints, time_s: Floats) -> tuple[Chunk, Hold | None]:
        """Requests that reach their first leg, and those that a change holds back."""
        until_s = self.changes.held_until_s
        if len(time_s) == 0 or time_s[0] >= until_s:
            return Chunk(self.first_leg, request, time_s), None
        n = int(np.searchsorted(time_s, until_s))
        hold = Hold(self.changes.plan.epoch, request[:n], time_s[:n], until_s)
        self._holds.append(hold)
        return Chunk(self.first_leg, request[n:], time_s[n:]), hold

    def result(self, label: str, client: Ints, arrival_s: Floats, epoch: Ints, end: End) -> RunResult:
        """The records.

        Args:
            label: Name of the policy in the scenario.
            client: Client of each request.
            arrival_s: Arrival of each request.
            epoch: Plan epoch of each request, or -1.
            end: How the run ended.
        """
        floor, problem = self.floor, self.world.problem
        requests = self._requests(client, arrival_s, epoch, end)
        source = VisitSpans(floor.history, tuple(self._holds), floor.routes, problem.n_devices, self.replication, end)
        spans = Spans.deferred([source])
        decisions = tuple(self._controller.log)
        busy = Busy(source.last_s, partial(self._busy_s, end_s=end.time_s))
        power = power_samples(self.world, requests, spans, decisions, busy=busy)
        raw = self._controller.raw
        return RunResult(label, "simulated", requests, spans, power, raw, decisions, {"engine": "arrays"})

    def _busy_s(self, edges_s: Floats, end_s: float) -> np.ndarray:
        return busy_s(self.floor.history.batches(), self.floor.routes, self.world.problem, edges_s, end_s)

    def _send_probes(self, probes: tuple[Probe, ...], now_s: float, arrived: int, busy: set[int]) -> None:
        rows = []
        for probe in probes:
            visit = self._visit(probe)
            if visit.device not in busy:
                leg = self.floor.routes.alone(visit, self.changes.plan.epoch)
                rows.append(self.floor.admit(leg, PROBE, now_s, arrived))
                busy.add(visit.device if visit.device >= 0 else PROBE - 1)
        self.floor.note(rows)

    def _visit(self, probe: Probe) -> Visit:
        problem = self.world.problem
        if isinstance(probe, LinkProbe):
            return message_visit(problem, probe.link, probe.direction, probe.size_bytes)
        work_s = problem.layer_time_s[probe.device, list(probe.layers)].sum()
        return work_visit(probe.device, float(work_s + problem.stage_overhead_s[probe.device]))

    def _requests(self, client: Ints, arrival_s: Floats, epoch: Ints, end: End) -> Requests:
        """How each request ended."""
        n = len(arrival_s)
        done_s = np.full(n, np.nan)
        for chunk in self.floor.answers:
            done_s[chunk.request] = chunk.time_s
        done_s[done_s > end.time_s] = np.nan
        answered = ~np.isnan(done_s)
        deadline_s = self.world.problem.objective.deadline_s
        late = answered & (done_s - arrival_s > (math.inf if deadline_s is None else deadline_s))
        outcome = np.where(answered, np.where(late, Outcome.LATE, Outcome.OK), Outcome.FAILED)
        reason = np.where(answered, Reason.NONE, Reason.UNFINISHED)
        for stuck in self.floor.history.stuck:
            reason[stuck[stuck >= 0]] = Reason.NO_CAPACITY
        request, workload = np.arange(n, dtype=np.int64), self.world.workload
        return Requests(
            np.full(n, self.replication, dtype=np.int32),
            request,
            client.astype(np.int32),
            arrival_s,
            done_s,
            outcome.astype(np.int8),
            reason.astype(np.int8),
            epoch.astype(np.int32),
            np.zeros(n, dtype=np.int8),
            (arrival_s >= workload.warm_up_s) & (request >= workload.warm_up_requests),
        )
