"""Policies that do as they are told, and one-station worlds, for tests of the engine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from worlds import make_graph, make_problem, make_workload, make_world

from twin.engine.events import EventsEngine
from twin.problem import Decision
from twin.topology import Continuum, Device, PowerStates

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twin.partition import Partition
    from twin.problem import Observation, Probe, Problem
    from twin.records import RunResult
    from twin.world import World


@dataclass(frozen=True)
class Fixed:
    """Always the same partition; looks at nothing."""

    looks: ClassVar[bool] = False
    partition: Partition

    def init(self, problem: Problem) -> None:
        return None

    def decide(self, observation: Observation, state: None) -> tuple[Decision, None]:
        return Decision(self.partition, "fixed"), None


@dataclass(frozen=True)
class Watched(Fixed):
    """Always the same partition, and yet shown all samples."""

    looks: ClassVar[bool] = True


@dataclass(frozen=True)
class Script:
    """One partition per tick (the last repeats), with probes by tick; avoids lost devices by `fallback`."""

    partitions: Sequence[Partition]
    probes: dict[int, tuple[Probe, ...]] | None = None
    fallback: Partition | None = None

    def init(self, problem: Problem) -> int:
        return 0

    def decide(self, observation: Observation, state: int) -> tuple[Decision, int]:
        partition = self.partitions[min(state, len(self.partitions) - 1)]
        lost = not all(observation.available[stage.device] for stage in partition.visited)
        if self.fallback is not None and (lost or not observation.link_up.all()):
            partition = self.fallback
        return Decision(partition, "script", probes=(self.probes or {}).get(state, ())), state + 1


@dataclass(frozen=True)
class Blind(Script):
    """A script that looks at nothing but what is lost."""

    looks: ClassVar[bool] = False


def run(world: World, policy: Any, replication: int = 0, **engine: Any) -> RunResult:
    return EventsEngine(**engine).run(world, policy, "test", replication)


def one_station(
    rate_rps: float,
    requests: int,
    service: Callable[[int, int, float], float],
    *,
    slots: int = 1,
    kind: str = "poisson",
    seed: int = 0,
) -> RunResult:
    """A single device with nothing around it: an open queue whose service times come from `service`."""
    device = Device("pi", "edge", PowerStates(3.0, 12.0, 4.0, 3.5), slots=slots)
    base = make_problem(
        continuum=Continuum((device,), ()),
        graph=make_graph((4_000,)),
        layer_time_s=np.array([[0.01]]),
        links=(),
    )
    workload = make_workload(kind=kind, clients=0, rate_rps=rate_rps, requests=requests)
    world = replace(make_world(problem=base, links=(), workload=workload), seed=seed, drain_s=1e9)
    return run(world, Fixed(base.on_device(0)), service=service)
