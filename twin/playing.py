"""Many plays of one scenario, over the cores of this machine where they take long."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from twin.errors import PartitionError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twin.backend import Backend
    from twin.control import Policy
    from twin.records import RunResult
    from twin.world import World

_PATIENCE_S = 4.0
"""Time after which what is left goes to other processes; to start these takes about as long as that."""


class Play(NamedTuple):
    """A policy to be played in one replication."""

    policy: Policy[Any]
    label: str
    replication: int


def play_all(
    world: World, plays: Sequence[Play], backend: Backend, tick: Callable[[Play], object], jobs: int | None = 1
) -> list[RunResult]:
    """Play them all; the results do not depend on where each was played.

    Args:
        world: The scenario.
        plays: What to play.
        backend: Plays it.
        tick: Called after each play.
        jobs: Processes; 1 for this one alone, None for one per core.

    Returns:
        One result per play, in their order.

    Raises:
        PartitionError: A policy chose a partition that is not legal; the message names the policy.
    """
    began_s, results = time.monotonic(), []
    for play in plays:
        if jobs != 1 and time.monotonic() - began_s > _PATIENCE_S:
            break
        results.append(_run(world, play, backend))
        tick(play)
    rest = plays[len(results) :]
    if rest:
        from joblib import Parallel, cpu_count, delayed  # noqa: PLC0415 - slow to import

        pool = Parallel(n_jobs=min(jobs or cpu_count(), len(rest)), return_as="generator")
        for play, result in zip(rest, pool(delayed(_run)(world, play, backend) for play in rest), strict=True):
            results.append(result)
            tick(play)
    return results


def _run(world: World, play: Play, backend: Backend) -> RunResult:
    try:
        return backend.run(world, play.policy, play.label, play.replication)
    except PartitionError as error:
        raise PartitionError(f"policies.{play.label}: {error}; change the policy or the limit") from error
