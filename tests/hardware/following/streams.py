"""What an edge would tell of a run that the events engine has played: streams for a follower."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from players import Watched
from worlds import make_problem, make_workload, make_world

from hardware.following.core import Beat, Core, Who
from hardware.live import simulate
from twin.engine.events import EventsEngine
from twin.partition import Partition
from twin.records import SampleKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hardware.following.ledger import Interval
    from twin.records import RunResult
    from twin.world import World

SPLIT = Partition((0, 0, 1, 1), 3)


def poisson(rate_rps: float = 8.0, duration_s: float = 60.0) -> Any:
    return make_workload(kind="poisson", clients=0, rate_rps=rate_rps, requests=None, duration_s=duration_s)


def noisy_world(spread: float = 0.1, **changes: Any) -> World:
    """The small world of the tests, with a spread of stage times."""
    values = {"workload": poisson(), "problem": make_problem(), "dispersion": np.full(3, spread), **changes}
    return make_world(**values)


def played(truth: World, partition: Partition = SPLIT, replication: int = 0) -> RunResult:
    return EventsEngine().run(truth, Watched(partition), "measured", replication)


class Stream:
    """Tells of a run up to a time, as `hardware.edge.feed.told` does.

    Args:
        result: The run.
        later_s: What every answer takes longer than the engine says.
    """

    def __init__(self, result: RunResult, later_s: float = 0.0) -> None:
        raw, requests = result.raw, result.requests
        samples = raw.where((raw.kind == SampleKind.LINK) | (raw.kind == SampleKind.STAGE))
        rows = [
            np.stack(
                [samples.kind, samples.t_s, samples.place, samples.amount, samples.duration_s, -1 + 0 * samples.t_s], 1
            )
        ]
        done_s = requests.done_s + later_s
        kind = np.full(len(requests), float(SampleKind.DONE))
        rows.append(
            np.stack([kind, done_s, requests.epoch, 0 * done_s, done_s - requests.arrival_s, requests.request], 1)
        )
        joined = np.concatenate(rows).astype(float)
        self._rows = joined[np.argsort(joined[:, 1], kind="stable")]
        self._arrivals_s = requests.arrival_s
        self._plans = [
            {"epoch": e["epoch"], "decided_s": e["t_s"], "active_s": e["t_s"], "placement": e["partition"]["placement"]}
            for e in result.decisions
            if e["tick"] == 0 or e["switched"]
        ]
        self._told_s = -math.inf
        self.end_s = float(np.nanmax(done_s))

    def told(self, t_s: float) -> tuple[dict[str, Any], np.ndarray]:
        rows = self._rows[(self._rows[:, 1] > self._told_s) & (self._rows[:, 1] <= t_s)]
        new = (self._arrivals_s > self._told_s) & (self._arrivals_s <= t_s)
        self._told_s = t_s
        answer = {
            "t_s": t_s,
            "over": t_s >= self.end_s,
            "arrivals_s": self._arrivals_s[new].tolist(),
            "plans": [plan for plan in self._plans if plan["decided_s"] <= t_s],
            "lost": [],
        }
        return answer, rows


def follow(world: World, stream: Stream, core: Core | None = None) -> tuple[Core, list[Interval]]:
    """Let the live twin follow a stream to its end."""
    core = core or Core(world, Who("test", 0), [0.0] * len(world.links), simulate)
    return core, list(_followed(world, stream, core))


def _followed(world: World, stream: Stream, core: Core) -> Iterator[Interval]:
    beat = Beat.of(world)
    for number in range(10_000):
        t_s = number * beat.every_s + beat.lag_s / 5
        answer, rows = stream.told(t_s)
        yield from core.hear(answer, rows)
        if answer["over"]:
            return
        core.predict(number, beat.span_s(number))
        core.done(t_s, 0.0)


def slowed(world: World, device: int, factor: float, from_s: float) -> World:
    """The same, with a device that becomes slower; the twin is not told."""
    loads = list(world.loads)
    loads[device] = loads[device].slowed(factor, from_s)
    return replace(world, loads=tuple(loads))
