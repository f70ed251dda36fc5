"""What the policies share that cut a model in two: the edge and one other device."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from twin.cost import predict
from twin.errors import ScenarioError
from twin.partition import Partition
from twin.policies.reach import SMALL_PROBE_BYTES, large_probe_bytes
from twin.problem import Candidate, LinkProbe, StageProbe
from twin.search import best

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from twin.cost import Prediction
    from twin.problem import Conditions, Observation, Probe, Problem

_LOGGED = 8
"""Plans that a decision records."""
_PROBE_S = 0.05
"""Time that the large message of a probe may take, at the last known goodput."""


@dataclass(frozen=True, eq=False)
class TwoTier:
    """A problem seen from the edge and one other device.

    Attributes:
        problem: The problem.
        target: Position of the other device; 0 where there is only the edge.
        chains: The cuts of the topological order that keep the memory limits and pinned layers, the one that leaves
            most to the edge first.
    """

    problem: Problem
    target: int
    chains: tuple[Partition, ...]

    @classmethod
    def of(cls, problem: Problem, target: str | None) -> TwoTier:
        """Choose the other device.

        Args:
            problem: The problem.
            target: Its name; None for the last device.

        Raises:
            ScenarioError: There is no such device, or it is the edge.
        """
        position = problem.n_devices - 1 if target is None else problem.continuum.position(target)
        if target is not None and position == 0:
            raise ScenarioError(f"target: `{target}` is the edge itself; name a device to share the layers with")
        n = problem.n_layers
        cuts = (range(n, -1, -1)) if position else (n,)
        chains = (Partition((0,) * cut + (position,) * (n - cut), problem.n_devices) for cut in cuts)
        return cls(problem, position, tuple(x for x in chains if problem.allows(x)))

    def split(self, on_edge: Iterable[int]) -> Partition:
        """The partition that runs these layers on the edge and all others on the target."""
        held = set(on_edge)
        placement = tuple(0 if layer in held else self.target for layer in range(self.problem.n_layers))
        return Partition(placement, self.problem.n_devices)

    def is_reachable(self, observation: Observation) -> bool:
        """Whether the target and each link and device on the way to it respond."""
        hops = self.problem.continuum.path(0, self.target)
        return all(observation.link_up[x.link] and observation.available[x.receiver] for x in hops)

    def weigh(
        self,
        partitions: Iterable[Partition],
        conditions: Conditions,
        observation: Observation,
        cost: Callable[[Prediction], float],
    ) -> list[Candidate]:
        """Cost the partitions that can be carried out, the cheapest first; of equal ones the earliest.

        Args:
            partitions: What to choose from, all of them allowed.
            conditions: State of links and devices.
            observation: Says which devices and links respond.
            cost: What to minimise.
        """
        is_reachable = self.is_reachable(observation)
        weighed: list[Candidate] = []
        for partition in partitions:
            if is_reachable or not any(partition.placement):
                prediction = predict(self.problem, partition, conditions)
                energy_j = prediction.energy_j(self.problem.objective.boundary)
                joules = None if math.isnan(energy_j) else energy_j
                weighed.append(Candidate(partition, cost(prediction), prediction.latency_s, joules))
        weighed.sort(key=lambda candidate: candidate.score)
        finite = [x for x in weighed if math.isfinite(x.score) and math.isfinite(x.latency_s)]
        return finite[:_LOGGED]

    def probes(self, observation: Observation, stale_s: float | None) -> tuple[Probe, ...]:
        """Probe each link to the target, and the target itself, that nothing was heard of for a while.

        What is still being measured is not probed again. The probe of the target is the quickest of the layers that
        it may be given.

        Args:
            observation: The observation.
            stale_s: Age from which on to probe; None for never.
        """
        if stale_s is None or not self.layers or not self.is_reachable(observation):
            return ()
        now, times_s = observation.samples, self.problem.layer_time_s[self.target]
        sending = set(zip(now.open_link.tolist(), now.open_direction.tolist(), strict=True))
        probes: list[Probe] = []
        for hop in self.problem.continuum.path(0, self.target):
            way = (hop.link, hop.direction)
            if observation.age_s[way] >= stale_s and way not in sending:
                probes += [LinkProbe(*way, SMALL_PROBE_BYTES), LinkProbe(*way, self._probe_bytes(observation, way))]
        if observation.device_age_s[self.target] >= stale_s and self.target not in now.open_device:
            probes.append(StageProbe(self.target, (min(self.layers, key=lambda layer: float(times_s[layer])),)))
        return tuple(probes)

    @cached_property
    def layers(self) -> tuple[int, ...]:
        """Layers that take the target time and that some cut may give it."""
        given = {layer for x in self.chains for layer, device in enumerate(x.placement) if device == self.target}
        return tuple(x for x in sorted(given) if self.target and self.problem.layer_time_s[self.target, x] > 0)

    def _probe_bytes(self, observation: Observation, way: tuple[int, int]) -> float:
        return large_probe_bytes(float(observation.conditions.rate_bps[way]), _PROBE_S)

    def otherwise(self, observation: Observation) -> Partition:
        """What to run where no cut in two can be carried out: the exact search's choice over all devices."""
        return best(
            self.problem,
            observation.conditions,
            objective="latency",
            or_nearest=True,
            available=observation.available,
            link_up=observation.link_up,
        ).partition
