"""How long a decision takes: of the exact search for each model, and of each policy."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import cycle
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from twin.benchmarking.pipeline import DEVICES, chain, steady, world_of
from twin.benchmarking.rounds import Repeats, calls_s
from twin.control import looks
from twin.engine.arrays import ArraysEngine
from twin.graph import load_graph
from twin.policies import POLICIES
from twin.problem import Conditions, Demand, Objective, Problem
from twin.search import best
from twin.search.lattice import lattice_of
from twin.topology import Continuum
from twin.traces import LoadTrace
from twin.world import conditions_at

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from twin.control import Policy
    from twin.problem import Decision, Observation
    from twin.scenario_file.library import Library
    from twin.traces import LinkTrace

MODELS = (
    "alexnet",
    "vgg16",
    "mobilenet_v2",
    "resnet50",
    "googlenet",
    "densenet121",
    "efficientnet_b0",
    "vit_b_16",
)
POLICY_MODEL = "mobilenet_v2"
_FLOPS_PER_S = np.array([6e9, 30e9, 600e9])
"""Of a small board, a laptop and a PC with a GPU, roughly."""
FULL = Objective(0.5, 0.5, "node", deadline_s=0.2)
"""Latency and energy with idle power, and a deadline: nothing that is a plain sum."""
SUMS = Objective(0.5, 0.5, "marginal")
"""Latency and energy that are sums."""
MEMORY_BYTES = (40e6, 200e6, None)
_REPEATS, _LONG_S = 30, 0.05
_FEW = 5
"""Repeats of what takes longer than `_LONG_S`."""
_RATE_RPS, _EVERY_S = 4.0, 1.0


class SearchTime(NamedTuple):
    """Time of the exact search for one model on three devices, in seconds.

    Attributes:
        model: The model.
        down_sets: Number of its down-sets.
        full: With a deadline, memory limits and idle energy.
        sums: With none of these.
    """

    model: str
    down_sets: int
    full: Repeats
    sums: Repeats


class PolicyTime(NamedTuple):
    """Time of the decisions of one policy during a run, in seconds."""

    kind: str
    decisions: Repeats


def problem_of(
    file: Path,
    objective: Objective = FULL,
    memory_bytes: tuple[float | None, ...] = MEMORY_BYTES,
    links: tuple[LinkTrace, LinkTrace] | None = None,
) -> Problem:
    """A model on three devices whose layer times follow from its operations.

    Args:
        file: File of the layer graph.
        objective: What is to be kept small.
        memory_bytes: Limit of each device, or None.
        links: Traces of the links; None: they do not vary.
    """
    graph = load_graph(file)
    row = chain(len(DEVICES))
    devices = tuple(replace(d, memory_bytes=limit) for d, limit in zip(row.devices, memory_bytes, strict=True))
    flops = np.array([layer.flops for layer in graph.layers])
    loads = (LoadTrace.constant(1.0),) * len(devices)
    return Problem(
        graph=graph,
        continuum=Continuum(devices, row.links),
        layer_time_s=flops / _FLOPS_PER_S[:, None] + 1e-5,
        stage_overhead_s=np.full(3, 1e-3),
        codec_s_per_byte=np.full(3, 1e-9),
        objective=objective,
        demand=Demand(rate_rps=_RATE_RPS),
        initial=conditions_at(links or steady(), loads, 0.0),
    )


def in_turn(search: Callable[[Problem, Conditions], object], problem: Problem) -> Callable[[], object]:
    """A function that decides under other conditions each time, so that nothing can be remembered."""
    rng, given = np.random.default_rng(5), problem.initial
    turns = cycle(
        [Conditions(given.rate_bps * rng.uniform(0.5, 4, (2, 2)), given.rtt_s, given.slowdown) for _ in range(16)]
    )
    return lambda: search(problem, next(turns))


def search_time(library: Library, model: str, repeats: int = _REPEATS) -> SearchTime:
    """Time the exact search for a model; its lattice is built before.

    Args:
        library: Finds the model.
        model: The model.
        repeats: How often to decide; less often where that takes long.
    """
    file = library.model(model)
    full, sums = problem_of(file), problem_of(file, SUMS, (None, None, None))
    times = [
        _quick(in_turn(lambda p, c: best(p, c, or_nearest=True), full), repeats),
        _quick(in_turn(best, sums), repeats),
    ]
    return SearchTime(model, len(lattice_of(full.graph)), *times)


def policy_time(library: Library, links: tuple[LinkTrace, LinkTrace], kind: str, duration_s: float) -> PolicyTime:
    """Time the decisions of a policy while it is played.

    Args:
        library: Finds the model.
        links: Traces of the links.
        kind: The policy, with the options that it has by default.
        duration_s: How long to play, a decision each second.
    """
    problem = problem_of(library.model(POLICY_MODEL), replace(FULL, deadline_s=0.5), (None,) * 3, links)
    base = world_of(1, links)
    workload = replace(base.workload, rate_rps=_RATE_RPS, requests=None, duration_s=duration_s)
    world = replace(
        base,
        problem=replace(problem, demand=workload.demand),
        workload=workload,
        control=replace(base.control, every_s=_EVERY_S, every_requests=None),
    )
    policy = Timed(POLICIES[kind](**({"device": "pi"} if kind == "device-only" else {})))
    ArraysEngine().run(world, policy, kind, 0)
    return PolicyTime(kind, Repeats(tuple(policy.times_s)))


@dataclass
class Timed:
    """A policy whose decisions are timed by the wall clock.

    Attributes:
        policy: The policy.
        times_s: Time of each decision so far.
    """

    policy: Policy[Any]

    def __post_init__(self) -> None:
        self.times_s: list[float] = []
        self.looks = looks(self.policy)

    def init(self, problem: Problem) -> Any:  # noqa: ANN401 - whatever state the policy has
        """Return the policy's first state."""
        return self.policy.init(problem)

    def decide(self, observation: Observation, state: Any) -> tuple[Decision, Any]:  # noqa: ANN401 - likewise
        """Ask the policy."""
        start_s = perf_counter()
        decision, state = self.policy.decide(observation, state)
        self.times_s.append(perf_counter() - start_s)
        return decision, state


def _quick(decide: Callable[[], object], repeats: int) -> Repeats:
    """Time of decisions; the first ones, which build what is remembered, are not counted."""
    decide()
    first = calls_s(decide, 1)
    return calls_s(decide, repeats if first.median < _LONG_S else min(repeats, _FEW))
