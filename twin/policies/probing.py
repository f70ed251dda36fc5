"""What to measure because nothing was heard of it for a while and it could change the decision."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from twin.conditions import BULK_BYTES
from twin.cost import predict
from twin.policies.reach import SMALL_PROBE_BYTES, large_probe_bytes
from twin.problem import Conditions, LinkProbe, StageProbe
from twin.search.space import usable_links

if TYPE_CHECKING:
    from twin.partition import Partition
    from twin.problem import Observation, Probe, Problem

_RECOVERED = 1.2
"""Factor by which a device must once have been faster to be worth a probe."""


@dataclass(frozen=True, slots=True, eq=False)
class Hopes:
    """The best that was ever seen, and when it was last tried.

    Attributes:
        best_rate_bps: Highest goodput seen per link and direction, shape [n_links, 2].
        least_slowdown: Least slowdown seen per device, shape [n_devices].
        probed_s: When each link direction was last probed, shape [n_links, 2].
        tested_s: When each device was last probed, shape [n_devices].
    """

    best_rate_bps: np.ndarray
    least_slowdown: np.ndarray
    probed_s: np.ndarray
    tested_s: np.ndarray

    @classmethod
    def first(cls, problem: Problem) -> Hopes:
        """Those that the first conditions give."""
        links, devices = np.zeros((len(problem.continuum.links), 2)), np.zeros(problem.n_devices)
        return cls(problem.initial.rate_bps.copy(), problem.initial.slowdown.copy(), links, devices)

    def look(self, conditions: Conditions) -> Hopes:
        """Take in the present estimates."""
        return replace(
            self,
            best_rate_bps=np.maximum(self.best_rate_bps, conditions.rate_bps),
            least_slowdown=np.minimum(self.least_slowdown, conditions.slowdown),
        )

    def stale(self, problem: Problem, observation: Observation, stale_s: float) -> tuple[np.ndarray, np.ndarray]:
        """What was neither heard of nor probed for a while: link directions, shape [n_links, 2], and devices.

        A direction over which something is being sent is none of it: that will tell as soon as it has come.
        """
        links = np.minimum(observation.age_s, observation.t_s - self.probed_s) >= stale_s
        links &= usable_links(problem, observation.available, observation.link_up)[:, None]
        links[observation.samples.open_link, observation.samples.open_direction] = False
        devices = np.minimum(observation.device_age_s, observation.t_s - self.tested_s) >= stale_s
        return links, devices & observation.available

    def hopeful(
        self, observation: Observation, conditions: Conditions, stale: tuple[np.ndarray, np.ndarray], stale_s: float
    ) -> Conditions:
        """The conditions, with what is stale as good as it ever was, or better the longer nothing was heard of it.

        Of a direction over which nothing has ever come, anything is hoped.
        """
        growth = np.maximum(observation.age_s / stale_s, 1.0) if stale_s else 1.0
        hoped_bps = np.maximum(self.best_rate_bps, conditions.rate_bps * growth)
        hoped_bps[hoped_bps == 0] = np.inf
        return Conditions(
            np.where(stale[0], hoped_bps, conditions.rate_bps),
            conditions.rtt_s,
            np.where(stale[1], self.least_slowdown, conditions.slowdown),
        )

    def probes(
        self,
        problem: Problem,
        conditions: Conditions,
        wish: Partition,
        stale: tuple[np.ndarray, np.ndarray],
        time_s: float,
    ) -> tuple[Probe, ...]:
        """What to measure of the stale links and devices that a wished plan would use.

        Of each link direction a small and a large message; the large one is no larger than what the plan sends there,
        and left out where that is little.

        Args:
            problem: The problem.
            conditions: The present estimates.
            wish: The plan.
            stale: Link directions and devices, as `stale` gives them.
            time_s: Time that a large message may take, at the last known goodput.
        """
        probes: list[Probe] = []
        for message in predict(problem, wish, conditions).transfers:
            way = message.link, message.direction
            if stale[0][way]:
                size_bytes = min(large_probe_bytes(float(conditions.rate_bps[way]), time_s), message.size_bytes)
                probes.append(LinkProbe(*way, SMALL_PROBE_BYTES))
                probes += [LinkProbe(*way, size_bytes)] if size_bytes > BULK_BYTES else []
        for stage in wish.visited:
            slower = conditions.slowdown[stage.device] / self.least_slowdown[stage.device]
            if stale[1][stage.device] and slower > _RECOVERED:
                probes.append(StageProbe(stage.device, stage.layers))
        return tuple(probes)

    def asked(self, t_s: float, probes: tuple[Probe, ...]) -> Hopes:
        """Note what is being probed now."""
        probed_s, tested_s = self.probed_s.copy(), self.tested_s.copy()
        for probe in probes:
            if isinstance(probe, LinkProbe):
                probed_s[probe.link, probe.direction] = t_s
            else:
                tested_s[probe.device] = t_s
        return replace(self, probed_s=probed_s, tested_s=tested_s)
