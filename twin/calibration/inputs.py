"""What a replay takes from a measured run in place of the scenario: arrivals, goodput, round trips, stage times."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from twin.calibration.goodput import measured_link
from twin.calibration.messages import messages
from twin.calibration.tables import stage_visits
from twin.errors import CalibrationError
from twin.traces import LoadTrace
from twin.workload import ServiceNoise

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from twin.records import RunResult
    from twin.world import World

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Inputs:
    """What is taken from the measured run.

    Attributes:
        arrivals: When requests arrive. A closed loop stays one: its clients ask again once they are answered.
        links: Goodput of each direction and round-trip time of each link over time.
        loads: How much longer each stage visit took than predicted.
        decisions: The plan of each request, when it was sent on, and what was probed.
        window_s: Length of the windows of goodput and round-trip time; 0: each message by itself.
    """

    arrivals: bool = True
    links: bool = True
    loads: bool = True
    decisions: bool = False
    window_s: float = 0.1

    def __post_init__(self) -> None:
        if not self.window_s >= 0:
            raise CalibrationError(f"--window {self.window_s:g}: give seconds, or 0 for each message by itself")

    @property
    def names(self) -> list[str]:
        """What is taken, in words."""
        pairs = (("arrivals", self.arrivals), ("links", self.links), ("loads", self.loads))
        return [name for name, taken in (*pairs, ("decisions", self.decisions)) if taken]


class MeasuredService:
    """Seconds of work of each stage visit: as predicted, times what the same visit took longer when measured.

    A request that did not visit the device when measured is like the one that came nearest to it in order of arrival.
    A device that none visited varies as the scenario says.

    Attributes:
        devices: Devices that were measured.

    Args:
        world: The scenario.
        run: One replication.
        replication: Its number.
    """

    def __init__(self, world: World, run: RunResult, replication: int) -> None:
        problem = world.problem
        visits = stage_visits(world, run)
        fixed_s = problem.stage_overhead_s[visits.device] + problem.codec_s_per_byte[visits.device] * visits.codec_bytes
        ratio = visits.time_s / (visits.layers_s + fixed_s)
        self._rows: dict[int, tuple[list[int], list[float]]] = {}
        for device in range(problem.n_devices):
            own = visits.device == device
            order = np.argsort(visits.request[own], kind="stable")
            if own.any():
                self._rows[device] = (visits.request[own][order].tolist(), ratio[own][order].tolist())
        self.devices = frozenset(self._rows)
        self._noise = ServiceNoise(world.dispersion, world.seed, replication)

    def __call__(self, device: int, request: int, nominal_s: float) -> float:
        """Seconds of work of a visit, as `EventsEngine` asks for them."""
        if device not in self._rows:
            return nominal_s * self._noise.factor(device, request)
        requests, ratios = self._rows[device]
        at = bisect_left(requests, request)
        if at == len(requests) or (at > 0 and request - requests[at - 1] <= requests[at] - request):
            at = at if at < len(requests) and requests[at] == request else at - 1
        return nominal_s * ratios[at]


@dataclass(frozen=True, slots=True)
class Taken:
    """A scenario with inputs of a measured run.

    Attributes:
        world: The scenario.
        service: Work of each stage visit; None where the scenario's load is played.
        notes: What could not be taken, in words.
    """

    world: World
    service: MeasuredService | None
    notes: tuple[str, ...]


def take(world: World, run: RunResult, replication: int, inputs: Inputs) -> Taken:
    """Put the inputs of one replication of a measured run into a scenario.

    The problem that policies are given stays the same, but that a change costs no downtime where decisions are
    replayed, for then the holds are too.

    Args:
        world: The scenario.
        run: The replication.
        replication: Its number.
        inputs: What to take.
    """
    notes: list[str] = []
    if inputs.arrivals and world.workload.kind != "closed":
        times_s = np.sort(run.requests.arrival_s)
        if len(times_s):
            workload = replace(world.workload, kind="replay", times_s=times_s, requests=len(times_s))
            world = replace(world, workload=workload)
    if inputs.links:
        table = messages(world, run)
        found = [measured_link(world, position, table, inputs.window_s, notes) for position in range(len(world.links))]
        world = replace(world, links=tuple(found))
    service = MeasuredService(world, run, replication) if inputs.loads else None
    if service is not None:
        world = _without_load(world, service, notes)
    if inputs.decisions:
        switch = replace(world.problem.switch, downtime_s=0.0)
        world = replace(world, problem=replace(world.problem, switch=switch))
    return Taken(world, service, tuple(notes))


def _without_load(world: World, service: MeasuredService, notes: list[str]) -> World:
    """Loads of measured devices are in their stage times; so are faults that slow them down."""
    names = world.problem.continuum.names
    loads = list(world.loads)
    for device, name in enumerate(names):
        if device in service.devices:
            loads[device] = LoadTrace.constant(1.0, f"measured stage times of {name}")
        else:
            notes.append(f"{name}: no stage was measured; the scenario's load is played")
    faults = tuple(x for x in world.faults if x.kind != "device_slow" or x.target not in service.devices)
    return replace(world, loads=tuple(loads), faults=faults)
