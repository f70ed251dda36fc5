"""Cost against work: processor time and memory over the number of requests and of devices, each in its own process."""

from __future__ import annotations

import multiprocessing
import resource
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

from twin.benchmarking.pipeline import split_of, varying, world_of
from twin.benchmarking.programs import Plain
from twin.benchmarking.rounds import Repeats, played_s
from twin.engine.arrays import ArraysEngine
from twin.engine.events import EventsEngine
from twin.policies.adaptive import Adaptive
from twin.scenario_file.library import Library
from twin.units import us_from_s

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from twin.traces import LinkTrace

PLAYERS = ("arrays, static", "arrays, adaptive", "events, static", "plain SimPy")
EVERY_STATIC, EVERY_ADAPTIVE = 8000, 1000
"""Requests between two decisions."""
_MOST = {"arrays, static": 10**7, "arrays, adaptive": 10**7, "events, static": 10**5, "plain SimPy": 10**5}
_MOST_DEVICES = 8
_FEW = 3
"""Repeats of long runs at most."""
_REQUESTS_BY_PLAYER = {"arrays, static": 10**5, "events, static": 5000, "plain SimPy": 5000}
"""Of the runs with several numbers of devices; the search of `adaptive` is another one beyond three."""
_BYTES_PER_KB = 1 if sys.platform == "darwin" else 1024
"""What `ru_maxrss` counts in: bytes on macOS, KiB elsewhere."""


class Task(NamedTuple):
    """What one process plays.

    Attributes:
        player: One of `PLAYERS`.
        requests: Number of requests.
        devices: Number of devices.
        repeats: How often.
    """

    player: str
    requests: int
    devices: int
    repeats: int


class Point(NamedTuple):
    """What a task cost.

    Attributes:
        player: One of `PLAYERS`.
        requests: Number of requests.
        devices: Number of devices.
        rate: Requests per second of processor time.
        wall_s: Median time of a play by the wall clock.
        memory_bytes: Most memory that the process held, all it had imported included.
    """

    player: str
    requests: int
    devices: int
    rate: Repeats
    wall_s: float
    memory_bytes: int

    @property
    def each_us(self) -> float:
        """Microseconds of processor time per request."""
        return us_from_s(1 / self.rate.median)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {**self._asdict(), "rate": self.rate.to_json()}


class Work(NamedTuple):
    """Cost over the number of requests on three devices, and over the number of devices."""

    over_requests: tuple[Point, ...]
    over_devices: tuple[Point, ...]


def over_requests(most: int, repeats: int) -> list[Task]:
    """Powers of ten of requests on three devices.

    Args:
        most: Most requests of a run.
        repeats: How often each is played; those of more than 100 000 requests three times at most.
    """
    sizes = [10**k for k in range(3, len(str(most)))]
    return [
        Task(player, n, 3, repeats if n <= 10**5 else min(repeats, _FEW))
        for player in PLAYERS
        for n in sizes
        if n <= _MOST[player]
    ]


def over_devices(most: int, repeats: int) -> list[Task]:
    """Two to eight devices.

    Args:
        most: Most requests of a run.
        repeats: How often each is played.
    """
    counts = range(2, _MOST_DEVICES + 1)
    return [Task(player, min(n, most), k, repeats) for player, n in _REQUESTS_BY_PLAYER.items() for k in counts]


def points(folder: Path, todo: list[Task], tick: Callable[[str], object]) -> Iterator[Point]:
    """Play the tasks, one after the other, each in a new process.

    Args:
        folder: Where to look for `data`.
        todo: The tasks.
        tick: Called with what is played next.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as pool:
        for task in todo:
            tick(f"{task.player}, {task.requests:,} requests, {task.devices} devices".replace(",", " "))
            yield pool.submit(measure, folder, task).result()


def measure(folder: Path, task: Task) -> Point:
    """Play one task in this process."""
    links = varying(Library(folder))
    warm_up = task._replace(requests=1000)
    _prepared(warm_up, links)()
    rates, walls_s = [], []
    for _ in range(task.repeats):
        play = _prepared(task, links)
        start_s = perf_counter()
        rates.append(task.requests / played_s(play))
        walls_s.append(perf_counter() - start_s)
    wall_s = Repeats(tuple(walls_s)).median
    return Point(task.player, task.requests, task.devices, Repeats(tuple(rates)), wall_s, _most_memory_bytes())


def _most_memory_bytes() -> int:
    """Most memory that this process held."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _BYTES_PER_KB
    # Not `ru_maxrss` here: on Linux it counts what the process held that started this one, too.
    kib = next(line.split()[1] for line in lines if line.startswith("VmHWM"))
    return int(kib) * 1024


def _prepared(task: Task, links: tuple[LinkTrace, LinkTrace]) -> Callable[[], object]:
    every = EVERY_ADAPTIVE if task.player == "arrays, adaptive" else EVERY_STATIC
    world = world_of(task.requests, links, every=every, n_devices=task.devices)
    split = split_of(task.devices)
    if task.player == "plain SimPy":
        return Plain(world, split).play
    engine = EventsEngine() if task.player == "events, static" else ArraysEngine()
    policy = Adaptive(watch_s=None) if task.player == "arrays, adaptive" else split
    return lambda: engine.run(world, policy, "benchmark", 0)
