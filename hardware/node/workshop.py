"""Makes the stages of plans ready on one machine: cut from the model, on its accelerator, run once to be warm."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from hardware.node.compute import Compute, NoCompute, TorchCompute, specs
from twin.cost import route_of

if TYPE_CHECKING:
    from pathlib import Path

    from hardware.node.cache import StageCache
    from hardware.node.weights import WeightsFile
    from hardware.stages import StageModule
    from hardware.tracing.trace import TracedModel
    from twin.partition import Partition
    from twin.problem import Problem

EmulationKind = Literal["none", "factor", "profile", "sleep"]
"""How a machine stands in for another one; `none` on a machine that is itself."""

_TIMED = 5
"""Runs of the whole model by which a machine's speed is told; the median counts."""


@dataclass(frozen=True, slots=True)
class Visit:
    """What one machine does for every request of a plan.

    Attributes:
        nominal_s: Profiled time of the stage, overhead and codec included.
        compute: The work.
        target: The device that the result goes to.
        is_last: Whether the result is the answer.
    """

    nominal_s: float
    compute: Compute
    target: int
    is_last: bool


class Workshop(Protocol):
    """Makes stages on one machine."""

    def visit(self, partition: Partition) -> Visit | None:
        """What this machine does under a partition; None if it only passes tensors on. May take long."""
        ...

    def forget(self, partition: Partition) -> None:
        """A plan is not in use any more: its stage may go if room is needed."""
        ...

    def probe(self, layers: tuple[int, ...]) -> Visit:
        """Some layers, to be run on zeros for their time alone. May take long."""
        ...


class SleepingWorkshop:
    """Makes stages that compute nothing; needs no torch.

    Args:
        problem: The problem.
        me: Position of this machine.
    """

    def __init__(self, problem: Problem, me: int) -> None:
        self._problem, self._me = problem, me

    def visit(self, partition: Partition) -> Visit | None:
        """What this machine does under a partition; None if it only passes tensors on."""
        return visit_of(self._problem, self._me, partition, self._compute(partition))

    def forget(self, partition: Partition) -> None:
        """Nothing is kept that could go."""

    def probe(self, layers: tuple[int, ...]) -> Visit:
        """Some layers, as time without work."""
        return Visit(probe_nominal_s(self._problem, self._me, layers), NoCompute.of((), ()), 0, is_last=True)

    def _compute(self, partition: Partition) -> Compute:
        takes, gives = cut_names(self._problem, self._me, partition)
        return NoCompute.of(specs(self._problem.graph, takes), specs(self._problem.graph, gives))


class TorchWorkshop:
    """Makes stages of a model.

    Args:
        problem: The problem.
        me: Position of this machine.
        traced: The model, traced, on the CPU.
        cache: Holds stages that were made.
        accelerator: `cpu` or `cuda`.
    """

    def __init__(
        self, problem: Problem, me: int, traced: TracedModel, cache: StageCache, accelerator: str = "cpu"
    ) -> None:
        self._problem, self._me = problem, me
        self._traced, self._cache, self._accelerator = traced, cache, accelerator

    def visit(self, partition: Partition) -> Visit | None:
        """What this machine does under a partition; None if it only passes tensors on."""
        if not partition.stages[self._me].layers:
            return None
        from hardware.node.cache import StageKey  # noqa: PLC0415 - imports torch

        key = StageKey(self._traced.graph.model, partition.placement, self._me)
        stage = self._cache.take(key, lambda: self._cut(partition))
        graph = self._problem.graph
        compute = TorchCompute(stage, specs(graph, stage.inputs), specs(graph, stage.outputs), self._accelerator)
        compute(NoCompute.of((), compute.takes).zeros)
        return visit_of(self._problem, self._me, partition, compute)

    def forget(self, partition: Partition) -> None:
        """A plan is not in use any more: its stage may go if room is needed."""
        if partition.stages[self._me].layers:
            from hardware.node.cache import StageKey  # noqa: PLC0415 - imports torch

            self._cache.release(StageKey(self._traced.graph.model, partition.placement, self._me))

    def probe(self, layers: tuple[int, ...]) -> Visit:
        """Some layers, one contiguous stretch of the topological order or the first and last of what is asked."""
        from hardware.node.cache import placed  # noqa: PLC0415 - imports torch
        from hardware.stages import stage_module  # noqa: PLC0415 - as above

        stage = placed(stage_module(self._traced, min(layers), max(layers) + 1), self._accelerator)
        graph = self._problem.graph
        compute = TorchCompute(stage, specs(graph, stage.inputs), specs(graph, stage.outputs), self._accelerator)
        return Visit(probe_nominal_s(self._problem, self._me, layers), compute, 0, is_last=True)

    def _cut(self, partition: Partition) -> StageModule:
        from hardware.node.cache import placed  # noqa: PLC0415 - imports torch
        from hardware.stages import split  # noqa: PLC0415 - as above

        return placed(split(self._traced, partition)[self._me], self._accelerator)


def visit_of(problem: Problem, me: int, partition: Partition, compute: Compute) -> Visit | None:
    """What a machine does under a partition, given its work."""
    stages = route_of(problem, partition).stages
    for position, (device, _, compute_s, codec_s) in enumerate(stages):
        if device == me:
            is_last = position + 1 == len(stages)
            target = 0 if is_last else stages[position + 1][0]
            nominal_s = compute_s + codec_s + float(problem.stage_overhead_s[me])
            return Visit(nominal_s, compute, target, is_last)
    return None


def cut_names(problem: Problem, me: int, partition: Partition) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the tensors that a machine is given and hands on under a partition."""
    before = partition.down_set(me - 1) if me > 0 else ()
    return problem.graph.cut(before), problem.graph.cut(partition.down_set(me))


def probe_nominal_s(problem: Problem, me: int, layers: tuple[int, ...]) -> float:
    """Profiled time of a stage that is run to measure it; see `twin.problem.StageProbe`."""
    return float(problem.layer_time_s[me, list(layers)].sum() + problem.stage_overhead_s[me])


def whole_model_s(workshop: TorchWorkshop, problem: Problem, me: int) -> float:
    """Time of the whole model on this machine, the median of some runs, in seconds."""
    visit = workshop.visit(problem.on_device(me))
    assert visit is not None  # noqa: S101 - the whole model is a stage that is not empty
    zeros = NoCompute.of((), visit.compute.takes).zeros
    times_s = []
    for _ in range(_TIMED):
        start_s = time.perf_counter()
        visit.compute(zeros)
        times_s.append(time.perf_counter() - start_s)
    workshop.forget(problem.on_device(me))
    return statistics.median(times_s)


def torch_workshop(
    problem: Problem,
    me: int,
    *,
    seed: int,
    weights: WeightsFile | None,
    cache_bytes: int,
    accelerator: str,
    threads: int,
) -> tuple[TorchWorkshop, str]:
    """Load the model of a problem on this machine.

    Returns:
        The workshop, and the digest of the weights.

    Raises:
        TwinError: The model is not known, or its weights cannot be loaded.
    """
    import torch  # noqa: PLC0415 - a machine that only stands in for another needs no torch

    from hardware.node.cache import StageCache  # noqa: PLC0415 - imports torch
    from hardware.node.weights import digest, load_model  # noqa: PLC0415 - as above
    from hardware.tracing.trace import trace  # noqa: PLC0415 - as above

    torch.set_num_threads(threads)
    model = load_model(problem.graph.model, seed, weights)
    traced = trace(model, problem.graph.model, problem.graph.input_shape)
    return TorchWorkshop(problem, me, traced, StageCache(cache_bytes, model), accelerator), digest(model)


def weights_file(path: Path | None, sha256: str | None) -> WeightsFile | None:
    """The file of weights that a configuration names, or None."""
    if path is None or sha256 is None:
        return None
    from hardware.node.weights import WeightsFile  # noqa: PLC0415 - imports torch

    return WeightsFile(path, sha256)
