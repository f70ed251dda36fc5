"""What engines are compared with: programs of the same pipeline that note nothing but when each request is answered."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import simpy

from twin.engine.plan import make_plan
from twin.topology import UP

if TYPE_CHECKING:
    from collections.abc import Generator

    from twin.engine.plan import Visit
    from twin.policies.static import Static
    from twin.world import World


def bare(world: World, policy: Static) -> np.ndarray:
    """The recursion alone, at constant rates: numpy sums and running maxima.

    Returns:
        When each request is answered, shape [n].
    """
    time_s = world.workload.arrivals_s(world.seed, 0)
    rates = [load.work.values[0] for load in world.loads]
    rates += [rate.values[0] for trace in world.links for rate in (trace.up, trace.down)]
    for visit in _visits(world, policy):
        lasts_s = np.full(len(time_s), visit.amount / rates[visit.place])
        done_s = np.cumsum(lasts_s)
        time_s = done_s + np.maximum.accumulate(time_s - (done_s - lasts_s))
        if visit.device < 0:
            time_s += world.links[visit.link].rtt.values[0] / 2
    return time_s


class Plain:
    """Plain SimPy: a process per request, a `Resource` per station.

    Args:
        world: The scenario.
        policy: Keeps one partition.
    """

    def __init__(self, world: World, policy: Static) -> None:
        self.env = simpy.Environment()
        self.visits = _visits(world, policy)
        self.stations = {visit.place: simpy.Resource(self.env) for visit in self.visits}
        self.rates = [load.work for load in world.loads]
        self.rates += [rate for trace in world.links for rate in (trace.up, trace.down)]
        self.rtts = [trace.rtt for trace in world.links]
        self.sigma: list[float] = world.dispersion.tolist()
        self.random = np.random.default_rng(world.seed)
        self._arrival_s = world.workload.arrivals_s(world.seed, 0)
        self.done_s: list[float] = []

    def play(self) -> list[float]:
        """Play to the end; when each request is answered, in the order of the answers."""
        self.env.process(self._source())
        self.env.run()
        return self.done_s

    def _source(self) -> Generator[simpy.Event, Any, None]:
        for arrival_s in self._arrival_s.tolist():
            yield self.env.timeout(arrival_s - self.env.now)
            self.env.process(self.request())

    def request(self) -> Generator[simpy.Event, Any, None]:
        """One request from its arrival to its answer."""
        env = self.env
        for visit in self.visits:
            with self.stations[visit.place].request() as turn:
                yield turn
                luck = self.random.lognormal(0.0, self.sigma[visit.device]) if visit.device >= 0 else 1.0
                yield env.timeout(self.rates[visit.place].finish(env.now, visit.amount * luck) - env.now)
            if visit.device < 0:
                yield env.timeout(self.rtts[visit.link].at(env.now) / 2)
        self.done_s.append(env.now)


class Leaf(Plain):
    """The same with LEAF: each service is a task on a node, each transmission a data flow on a link.

    LEAF has no queues (what does not fit is refused), so that the resources stay. Power models are left out.

    Args:
        world: The scenario.
        policy: Keeps one partition.

    Raises:
        ImportError: LEAF is not installed; see `is_installed`.
    """

    def __init__(self, world: World, policy: Static) -> None:
        import leaf.application  # type: ignore[import-not-found]  # noqa: PLC0415 - not a dependency
        import leaf.infrastructure  # type: ignore[import-not-found]  # noqa: PLC0415 - likewise
        import leaf.power  # type: ignore[import-not-found]  # noqa: PLC0415 - likewise

        super().__init__(world, policy)
        self._leaf = leaf
        devices, links = world.problem.continuum.devices, world.problem.continuum.links
        self._nodes = [leaf.infrastructure.Node(device.name, cu=1) for device in devices]
        infrastructure = leaf.infrastructure.Infrastructure()
        self._lines = []
        for link in links:
            for direction in range(2):
                ends = (link.a, link.b) if direction == UP else (link.b, link.a)
                sender, receiver = (self._nodes[end] for end in ends)
                line = leaf.infrastructure.Link(sender, receiver, 1, leaf.power.PowerModelLink(0))
                infrastructure.add_link(line)
                self._lines.append(line)

    @staticmethod
    def is_installed() -> bool:
        """Whether `leafsim` is there."""
        return find_spec("leaf") is not None and find_spec("leaf.application") is not None

    def request(self) -> Generator[simpy.Event, Any, None]:
        """One request from its arrival to its answer."""
        env = self.env
        for visit in self.visits:
            with self.stations[visit.place].request() as turn:
                yield turn
                luck = self.random.lognormal(0.0, self.sigma[visit.device]) if visit.device >= 0 else 1.0
                user = self._allocated(visit)
                yield env.timeout(self.rates[visit.place].finish(env.now, visit.amount * luck) - env.now)
                user.deallocate()
            if visit.device < 0:
                yield env.timeout(self.rtts[visit.link].at(env.now) / 2)
        self.done_s.append(env.now)

    def _allocated(self, visit: Visit) -> Any:  # noqa: ANN401 - LEAF's task or data flow
        """What uses a node or a link for the time of a service."""
        if visit.device >= 0:
            task = self._leaf.application.Task(1)
            task.allocate(self._nodes[visit.device])
            return task
        flow = self._leaf.application.DataFlow(1)
        flow.allocate([self._lines[2 * visit.link + visit.direction]])
        return flow


def _visits(world: World, policy: Static) -> tuple[Visit, ...]:
    return make_plan(world.problem, policy.init(world.problem)[1], 0).visits
