"""What a run tells of stages, as columns: each stage visit of a request that was answered."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Self

import numpy as np

from twin.partition import Partition
from twin.records import Kind
from twin.route import route_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from twin.records import RunResult, Spans
    from twin.world import World

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Columns of equal length."""

    def where(self, mask: np.ndarray) -> Self:
        """The rows for which `mask` is true (or those at these positions)."""
        return type(self)(*(getattr(self, entry.name)[mask] for entry in fields(self)))

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """All rows of several tables."""
        return cls(*(np.concatenate([getattr(part, entry.name) for part in parts]) for entry in fields(cls)))


@dataclass(frozen=True, slots=True, eq=False)
class StageVisits(Columns):
    """Stage visits.

    Attributes:
        replication: Number of the replication.
        request: The request.
        device: Position of the device.
        start_s: When it began.
        time_s: How long it took.
        layers_s: Profiled time of its layers, additivity applied.
        codec_bytes: Bytes that it deserialises and serialises.
    """

    replication: Ints
    request: Ints
    device: Ints
    start_s: Floats
    time_s: Floats
    layers_s: Floats
    codec_bytes: Floats


def plans_of(result: RunResult) -> dict[tuple[int, int], Partition]:
    """The partition of each plan epoch, by replication and epoch."""
    return {
        (entry["replication"], entry["epoch"]): Partition.from_json(entry["partition"]) for entry in result.decisions
    }


def stage_visits(world: World, result: RunResult) -> StageVisits:
    """The stage visits of requests that were answered without having been sent again.

    Args:
        world: The scenario that was played.
        result: The run.
    """
    spans = _of_answered(result)
    spans = spans.where(spans.kind == Kind.COMPUTE)
    work = _work(world, plans_of(result))
    keys = np.stack([spans.replication, spans.epoch, spans.place], axis=1).astype(np.int64)
    different, position = np.unique(keys, axis=0, return_inverse=True)
    nothing = (np.nan, np.nan)
    rows = np.array([work.get((int(a), int(b), int(c)), nothing) for a, b, c in different]).reshape(-1, 2)
    layers_s, codec_bytes = rows[position.ravel()].T if len(rows) else (np.empty(0), np.empty(0))
    visits = StageVisits(
        spans.replication.astype(np.int64),
        spans.request,
        spans.place.astype(np.int64),
        spans.start_s,
        spans.end_s - spans.start_s,
        layers_s,
        codec_bytes,
    )
    return visits.where(~np.isnan(layers_s) & (visits.time_s > 0))


def _work(world: World, plans: Mapping[tuple[int, int], Partition]) -> dict[tuple[int, int, int], tuple[float, float]]:
    """Profiled seconds and codec bytes by replication, epoch and device."""
    problem = replace(world.problem, codec_s_per_byte=np.ones(world.problem.n_devices))
    return {
        (replication, epoch, device): (layers_s, codec_bytes)
        for (replication, epoch), partition in plans.items()
        for device, _, layers_s, codec_bytes in route_of(problem, partition).stages
    }


def _of_answered(result: RunResult) -> Spans:
    """Spans of requests that were answered on their first way."""
    requests, spans = result.requests, result.spans
    good = requests.completed & (requests.replays == 0)
    width = int(requests.request.max(initial=0)) + 1
    wanted = requests.replication[good].astype(np.int64) * width + requests.request[good]
    inside = np.isin(spans.replication.astype(np.int64) * width + spans.request, wanted)
    return spans.where(inside & (spans.request >= 0))
