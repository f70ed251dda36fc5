"""Plays recorded decisions: each request on the plan that it ran on, sent on when it was, with what was probed."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twin.engine.events import Play
from twin.engine.plan import make_plan
from twin.engine.station import FIRST_RANK
from twin.partition import Partition
from twin.problem import Decision, LinkProbe, StageProbe
from twin.records import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from twin.engine.plan import Plan
    from twin.problem import Observation, Probe, Problem
    from twin.records import RunResult
    from twin.world import World

_SAME_S = 1e-9
_NEVER_S = 1e9


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """A policy that decides as a recorded run did at that time.

    Attributes:
        entries: The decision log of one replication.
        times_s: The times of its entries.
        looks: Whether samples were shown to the recorded policy.
    """

    entries: tuple[Mapping[str, Any], ...]
    times_s: tuple[float, ...]
    looks: bool

    @classmethod
    def of(cls, run: RunResult) -> Recorded:
        """The decisions of one replication."""
        entries = tuple(sorted(run.decisions, key=lambda entry: float(entry["t_s"])))
        looks = any(entry.get("conditions") is not None for entry in entries)
        return cls(entries, tuple(float(entry["t_s"]) for entry in entries), looks)

    def init(self, problem: Problem) -> None:  # noqa: ARG002 - as policies are asked
        """There is no state."""
        return

    def decide(self, observation: Observation, state: None) -> tuple[Decision, None]:
        """What was decided at this time."""
        at = max(bisect_right(self.times_s, observation.t_s + _SAME_S) - 1, 0)
        entry = self.entries[at]
        is_now = abs(self.times_s[at] - observation.t_s) <= _SAME_S
        probes = tuple(_probe(probe) for probe in entry["probes"]) if is_now else ()
        next_s = self.times_s[at + 1] - observation.t_s if at + 1 < len(self.times_s) else _NEVER_S
        reason = f"as recorded: {entry['reason']}"
        return Decision(Partition.from_json(entry["partition"]), reason, probes=probes, next_s=next_s), state


class Follower(Play):
    """A play in which each request runs on the plan of its recorded epoch, once it was sent on.

    A request that is lost, or that was not recorded, runs on the plan in force.

    Args:
        world: The scenario; a change must cost no downtime.
        run: The recorded replication.
        replication: Its number.
        service: See `EventsEngine`.
    """

    def __init__(
        self,
        world: World,
        run: RunResult,
        replication: int,
        service: Callable[[int, int, float], float] | None = None,
    ) -> None:
        super().__init__(world, Recorded.of(run), replication, service)
        epochs = {entry["epoch"]: Partition.from_json(entry["partition"]) for entry in run.decisions}
        self._plans: dict[int, Plan] = {
            epoch: make_plan(world.problem, partition, epoch) for epoch, partition in epochs.items()
        }
        sent = (run.requests.epoch >= 0) & (run.requests.replays == 0)
        self._epoch = dict(zip(run.requests.request[sent].tolist(), run.requests.epoch[sent].tolist(), strict=True))
        self._held_until_s = _holds_until_s(run)

    def release(self, request: int, now_s: float) -> None:
        """Send a request on its way at its recorded time, on its recorded plan."""
        epoch = self._epoch.get(request)
        if epoch is None or self.requests.replays[request]:
            super().release(request, now_s)
            return
        until_s = self._held_until_s.get(request, now_s)
        if now_s < until_s:
            self.spans.held(request, epoch, now_s, until_s)
            self.clock.call_at(until_s, FIRST_RANK + request, self.release, request, until_s)
            return
        self.switch.plan = self._plans[epoch]
        super().release(request, now_s)


def _probe(data: Mapping[str, Any]) -> Probe:
    if "link" in data:
        return LinkProbe(data["link"], data["direction"], data["size_bytes"])
    return StageProbe(data["device"], tuple(data["layers"]))


def _holds_until_s(run: RunResult) -> dict[int, float]:
    """Until when each request was held back at the edge."""
    own = run.spans.where((run.spans.kind == Kind.HOLD) & (run.spans.request >= 0))
    until_s: dict[int, float] = {}
    for request, end_s in zip(own.request.tolist(), own.end_s.tolist(), strict=True):
        until_s[request] = max(end_s, until_s.get(request, end_s))
    return until_s
