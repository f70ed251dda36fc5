"""What a search knows of a problem before it looks at the conditions, and the conditions as it can use them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np

from twin.problem import Conditions
from twin.search.lattice import Lattice, lattice_of

if TYPE_CHECKING:
    from twin.problem import Problem


@dataclass(frozen=True, slots=True, eq=False)
class Space:
    """Sums over each down-set, and the constraints that stand whatever the conditions.

    K is the number of devices, P that of down-sets.

    Attributes:
        lattice: The down-sets.
        work_s: Nominal time of a down-set's layers on each device, shape [K, P].
        parameters: Bytes of its parameters, shape [P].
        memory_bytes: Memory of each device, infinite for no limit, shape [K].
        allowed: Whether a down-set may be all that has run after each device, given the pinned layers, shape [K, P].
        skippable: Whether no layer is pinned to each device, shape [K].
    """

    lattice: Lattice
    work_s: np.ndarray
    parameters: np.ndarray
    memory_bytes: np.ndarray
    allowed: np.ndarray
    skippable: np.ndarray

    def fits(self, device: int, before: np.ndarray | int, after: np.ndarray | int) -> np.ndarray:
        """Whether a stage that leads from one down-set to another, strictly larger, fits a device's memory.

        Args:
            device: The device.
            before: Positions of the down-sets before the stage.
            after: Positions of the down-sets after it; broadcast against `before`.
        """
        cut_bytes = self.lattice.cut_bytes
        held = self.parameters[after] - self.parameters[before] + cut_bytes[before] + cut_bytes[after]
        return np.asarray(held <= self.memory_bytes[device])


@dataclass(frozen=True, slots=True, eq=False)
class Situation:
    """Conditions with what is down written into them.

    Attributes:
        conditions: The conditions; the rate is zero on links that are down.
        device_up: Whether each device is up, shape [K]; the edge device always is.
    """

    conditions: Conditions
    device_up: np.ndarray


_SPACES: WeakKeyDictionary[Problem, Space] = WeakKeyDictionary()


def space_of(problem: Problem) -> Space:
    """Return the sums of `problem`, computed once."""
    space = _SPACES.get(problem)
    if space is None:
        space = _SPACES[problem] = _build(problem)
    return space


def _build(problem: Problem) -> Space:
    lattice = lattice_of(problem.graph)
    member = lattice.member.astype(float)
    parameters = np.array([layer.parameter_bytes for layer in problem.graph.layers], dtype=float)
    limits = [device.memory_bytes for device in problem.continuum.devices]
    allowed = np.ones((problem.n_devices, len(lattice)), dtype=bool)
    skippable = np.ones(problem.n_devices, dtype=bool)
    for layer, device in problem.pinned.items():
        skippable[device] = False
        allowed[:device] &= ~lattice.member[:, layer]
        allowed[device:] &= lattice.member[:, layer]
    return Space(
        lattice=lattice,
        work_s=problem.layer_time_s @ member.T,
        parameters=member @ parameters,
        memory_bytes=np.array([np.inf if limit is None else limit for limit in limits]),
        allowed=allowed,
        skippable=skippable,
    )


def situation_of(
    problem: Problem, conditions: Conditions, available: np.ndarray | None, link_up: np.ndarray | None
) -> Situation:
    """Write into the conditions what is down: a device takes its links with it.

    Args:
        problem: The problem.
        conditions: State of links and devices.
        available: Whether each device is up, shape [n_devices]; None if all are.
        link_up: Whether each link is up, shape [n_links]; None if all are.
    """
    device_up = np.ones(problem.n_devices, dtype=bool)
    if available is None and link_up is None:
        return Situation(conditions, device_up)
    if available is not None:
        device_up = np.array(available, dtype=bool)
        device_up[0] = True
    usable = usable_links(problem, device_up, link_up)
    rate_bps = np.where(usable[:, None], conditions.rate_bps, 0.0)
    return Situation(Conditions(rate_bps, conditions.rtt_s, conditions.slowdown), device_up)


def usable_links(problem: Problem, device_up: np.ndarray, link_up: np.ndarray | None) -> np.ndarray:
    """Whether each link and the devices at both its ends are up, shape [n_links]; `link_up` None: all links are."""
    usable = np.ones(len(problem.continuum.links), dtype=bool) if link_up is None else np.array(link_up, dtype=bool)
    for position, link in enumerate(problem.continuum.links):
        usable[position] &= device_up[link.a] and device_up[link.b]
    return usable


def nominal(problem: Problem) -> Situation:
    """A situation in which everything works, to tell what the constraints alone exclude."""
    links = len(problem.continuum.links)
    conditions = Conditions(np.full((links, 2), 1e9), np.zeros(links), np.ones(problem.n_devices))
    return Situation(conditions, np.ones(problem.n_devices, dtype=bool))
