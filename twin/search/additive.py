"""Dynamic programming over the lattice of down-sets, for any number of devices and goals that are sums."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from twin.cost import Linear, linear_energy, linear_latency
from twin.partition import Partition
from twin.problem import Conditions
from twin.search.space import space_of

if TYPE_CHECKING:
    from twin.problem import Problem
    from twin.search.goals import Goal
    from twin.search.space import Situation, Space


@dataclass(frozen=True, slots=True, eq=False)
class Dead:
    """What cannot be used: hops over links without rate, and devices that are down.

    Attributes:
        hop: Whether no byte can go from device j to k, shape [K, K].
        answer: Whether the answer cannot return from each device, shape [K].
        device: Whether each device is down, shape [K].
    """

    hop: np.ndarray
    answer: np.ndarray
    device: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Costs:
    """An additive cost of every stage, hop and answer, infinite where something cannot be used.

    K is the number of devices, P that of down-sets.

    Attributes:
        space: The down-sets.
        run: Cost of a down-set's layers on each device, shape [K, P].
        visit: Cost of a visit beside its layers, shape [K].
        hop: Cost of the hop from device j to k with the cut of each down-set, shape [K, K, P]; infinite for k <= j.
        enter: Cost of the input's way to each device, shape [K].
        answer: Cost of the answer's way back, shape [K].
        constant: Cost of any plan.
    """

    space: Space
    run: np.ndarray
    visit: np.ndarray
    hop: np.ndarray
    enter: np.ndarray
    answer: np.ndarray
    constant: float


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """Least costs from any point of a request's way onwards.

    Attributes:
        costs: What was minimised.
        ahead: Least cost of what follows once device k has finished a down-set, shape [K, P].
        first: Least cost of all plans whose first stage is on device k and runs a down-set, shape [K, P].
    """

    costs: Costs
    ahead: np.ndarray
    first: np.ndarray

    @property
    def least(self) -> float:
        """Least cost of any plan; infinite if there is none."""
        return float(self.first.min())

    def by_first_set(self) -> np.ndarray:
        """Least cost of all plans by the down-set that device 0 runs, the empty set too, shape [P]."""
        by_set: np.ndarray = self.first[0].copy()
        by_set[0] = self.first[1:].min(initial=np.inf)
        return by_set

    def partitions(self, n: int) -> list[Partition]:
        """The best plans of the n first cuts that promise most, the best first."""
        flat = self.first.reshape(-1)
        cells = np.argpartition(flat, n - 1)[:n] if n < len(flat) else np.arange(len(flat))
        n_sets = len(self.costs.space.lattice)
        cells = cells[np.lexsort((-(cells % n_sets), cells // n_sets, flat[cells]))]
        return [self._trace(*divmod(int(cell), n_sets)) for cell in cells if np.isfinite(flat[cell])]

    def _trace(self, device: int, down_set: int) -> Partition:
        """Follow the best way on from a first stage."""
        costs = self.costs
        lattice = costs.space.lattice
        n_devices = len(costs.visit)
        placement = np.where(lattice.member[down_set], device, n_devices)
        while down_set < len(lattice) - 1:
            above = lattice.within(np.array([down_set]), np.arange(len(lattice)))[0]
            above[down_set] = False
            last = len(lattice) - 1
            best_value, best_device, best_set = math.inf, n_devices, down_set
            for following in range(device + 1, n_devices):
                if not costs.space.skippable[device + 1 : following].all():
                    break
                values = np.where(above, costs.run[following] + self.ahead[following], np.inf)
                if not costs.space.fits(following, down_set, last):
                    values[last] = np.inf
                reached = last - int(values[::-1].argmin())
                value = values[reached] + _step(costs, device, following)[down_set]
                if value < best_value:
                    best_value, best_device, best_set = value, following, reached
            placement[lattice.member[best_set] & (placement == n_devices)] = best_device
            device, down_set = best_device, best_set
        return Partition(tuple(placement.tolist()), n_devices)


def dead_of(problem: Problem, situation: Situation) -> Dead:
    """Work out what the situation makes unusable."""
    n = problem.n_devices
    blocked = ~(situation.conditions.rate_bps > 0)
    hop = np.zeros((n, n), dtype=bool)
    for j in range(n):
        for k in range(n):
            hop[j, k] = any(blocked[step.link, step.direction] for step in problem.continuum.path(j, k))
    answer = hop[:, 0] & (problem.graph.output_bytes > 0)
    return Dead(hop, answer, ~situation.device_up)


def latency_terms(problem: Problem, situation: Situation) -> Linear:
    """Coefficients of the latency, dead links counted as nothing (`Dead` excludes them)."""
    return linear_latency(problem, _finite(situation.conditions))


def active_terms(problem: Problem, situation: Situation, goal: Goal) -> Linear:
    """Coefficients of the energy without the idle share; nothing where a power is unknown."""
    energy = linear_energy(problem, _finite(situation.conditions), goal.boundary)
    return energy if np.isfinite(problem.power_w).all() else latency_terms(problem, situation).scaled(0.0)


def energy_terms(problem: Problem, situation: Situation, goal: Goal) -> Linear:
    """Coefficients of the energy with the part of the idle share that is a sum: a lower bound for `node`.

    The idle share is the larger of that part and the bottleneck's (see `Goal`), so the bound is exact for plans whose
    throughput no bottleneck caps.
    """
    energy = active_terms(problem, situation, goal)
    if goal.idle_w == 0:
        return energy
    idle = latency_terms(problem, situation).scaled(goal.idle_w * goal.idle_per_latency)
    return energy.plus(replace(idle, constant=goal.idle_w * goal.idle_s))


def score_terms(problem: Problem, situation: Situation, goal: Goal) -> Linear:
    """Coefficients of the score of a goal that weighs latency and energy; a lower bound as `energy_terms` is."""
    score = latency_terms(problem, situation).scaled(goal.latency_per_s)
    if goal.energy_per_j == 0:
        return score
    return score.plus(energy_terms(problem, situation, goal).scaled(goal.energy_per_j))


def costs_of(problem: Problem, linear: Linear, dead: Dead) -> Costs:
    """Spread coefficients over the down-sets and exclude what is dead."""
    space = space_of(problem)
    n, cut_bytes = problem.n_devices, space.lattice.cut_bytes
    hop = linear.hop_fixed[:, :, None] + linear.hop_per_byte[:, :, None] * cut_bytes
    hop[dead.hop[:, :, None] & (cut_bytes > 0)] = np.inf
    hop[np.tril_indices(n)] = np.inf
    enter = np.where(dead.hop[0] & (problem.graph.input_bytes > 0), np.inf, linear.entry)
    return Costs(
        space=space,
        run=linear.stage[:, None] * space.work_s,
        visit=np.where(dead.device, np.inf, linear.overhead),
        hop=hop,
        enter=enter,
        answer=np.where(dead.answer, np.inf, linear.answer),
        constant=linear.constant,
    )


def solve(costs: Costs) -> Solution:
    """Find the least cost of what follows each stage, from the last device backwards.

    With c_k the cost of a down-set's layers on device k, the cost ahead of device j once D has run is the least over
    k > j and D' strictly above D of hop_jk(D) + visit_k + c_k(D') - c_k(D) + ahead_k(D'); for the full set it is the
    answer's. The minimum over D' is one pass over the lattice per device. Pinned layers are kept, and the memory limits
    of a plan's first and last stage; that of a stage between joins two cuts and is left out.
    """
    space = costs.space
    n_devices, n_sets = costs.run.shape
    ahead = np.full((n_devices, n_sets), np.inf)
    beyond = np.full((n_devices, n_sets), np.inf)
    ahead[:, -1] = np.where(space.allowed[:, -1], costs.answer, np.inf)
    for device in range(n_devices - 1, -1, -1):
        for following in range(device + 1, n_devices):
            if not space.skippable[device + 1 : following].all():
                break
            step = _step(costs, device, following) + beyond[following]
            np.minimum(ahead[device, :-1], step[:-1], out=ahead[device, :-1])
        ahead[device, ~space.allowed[device]] = np.inf
        whole = np.where(space.fits(device, np.arange(n_sets - 1), n_sets - 1), _whole(costs, ahead, device), np.inf)
        if device < n_devices - 1:
            part = costs.run[device] + ahead[device]
            part[-1] = np.inf
            beyond[device] = space.lattice.least_above(part)
        np.minimum(beyond[device, :-1], whole, out=beyond[device, :-1])
    return Solution(costs, ahead, _first(costs, ahead))


def _whole(costs: Costs, ahead: np.ndarray, device: int) -> float:
    """Cost of running everything that is left on a device, and of what follows."""
    return float(costs.run[device, -1] + ahead[device, -1])


def _first(costs: Costs, ahead: np.ndarray) -> np.ndarray:
    space, (n_devices, n_sets) = costs.space, ahead.shape
    first: np.ndarray = costs.run + ahead + (costs.enter + costs.visit + costs.constant)[:, None]
    for device in range(n_devices):
        first[device, ~space.fits(device, 0, np.arange(n_sets))] = np.inf
        if not space.skippable[:device].all():
            first[device] = np.inf
    first[:, 0] = np.inf
    return first


def _step(costs: Costs, device: int, following: int) -> np.ndarray:
    """Cost of going on from one device to another after each down-set, less what has run there already, shape [P]."""
    return np.asarray(costs.hop[device, following] + (costs.visit[following] - costs.run[following]))


def _finite(conditions: Conditions) -> Conditions:
    """The conditions with an endless rate on dead links, so that sums stay finite."""
    rate_bps = np.where(conditions.rate_bps > 0, conditions.rate_bps, np.inf)
    return Conditions(rate_bps, conditions.rtt_s, conditions.slowdown)
