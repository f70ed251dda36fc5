"""Requests per second of a model cut in three: on a testbed on this machine, and with PyTorch's own pipelining."""

from __future__ import annotations

import multiprocessing
import socket
import tempfile
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import distributed
from torch.distributed.pipelining import PipelineStage, ScheduleGPipe

from hardware.coordinator.plan import Plan
from hardware.coordinator.rig import start_here
from hardware.models import build_model
from hardware.node.bundle import pack
from hardware.node.links import Dial
from hardware.node.workshop import SleepingWorkshop
from hardware.stages import split
from hardware.testbed import TestbedBackend
from hardware.tracing.trace import trace
from twin.policies import POLICIES
from twin.records import Outcome
from twin.scenario import load_world

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

    from hardware.node.setup import Emulate, Orders
    from twin.partition import Partition
    from twin.records import RunResult
    from twin.world import World

THREADS = 1
"""Of torch, in each process of either program."""

SCENARIO = """schema: 1
name: throughput
model: {model}
devices:
  - {{name: edge, tier: edge, profile: i7-10510u}}
  - {{name: fog, tier: fog, profile: i7-10510u}}
  - {{name: cloud, tier: cloud, profile: i7-10510u}}
links:
  - {{between: [edge, fog], rate_bps: 10e+9, rtt_s: 0.0}}
  - {{between: [fog, cloud], rate_bps: 10e+9, rtt_s: 0.0}}
workload: {{kind: closed, clients: {clients}, duration_s: {duration_s}}}
objective: {{latency: 1.0}}
noise: "off"
drain_s: 30
policies:
  split: {{kind: static, split: thirds}}
seed: 1
"""


def world_of(folder: Path, model: str, clients: int, duration_s: float) -> tuple[World, Path]:
    """A scenario with links that hold nothing up, whose clients ask again once they are answered."""
    data = folder / "data"
    if not data.exists():
        data.symlink_to(Path(__file__).parents[2] / "data")
    path = folder / "scenario.yaml"
    path.write_text(SCENARIO.format(model=model, clients=clients, duration_s=duration_s), encoding="utf-8")
    return load_world(path, ["replications=1"]), path


@contextmanager
def machines(
    folder: Path, world: World, path: Path, emulate: Emulate, *, direct: bool = False
) -> Iterator[TestbedBackend]:
    """A testbed of real agents on this machine.

    Args:
        folder: For logs.
        world: The scenario.
        path: Its file.
        emulate: How agents stand in for others.
        direct: Whether agents dial each other past the shaper.
    """
    with tempfile.TemporaryDirectory() as keys:
        made = start_here(world, folder, Path(keys), emulate)
        assert made.local is not None
        try:
            orders = tuple(replace(each, threads=THREADS, meters=()) for each in made.orders)
            if direct:
                orders = tuple(_direct(each, world, [remote.endpoint for remote in made.remotes]) for each in orders)
            inputs = (np.random.default_rng(1).standard_normal(150_528, np.float32).tobytes(),)
            plan = Plan(world, pack(world, path), inputs, orders, "emulated", one_by_one=True, check=False, idle_s=0.0)
            backend = TestbedBackend(plan, made.remotes, made.local)
            backend.set_up()
            yield backend
            backend.close()
        finally:
            made.local.close()


def _direct(orders: Orders, world: World, endpoints: list[str]) -> Orders:
    dials = []
    for dial in orders.dials:
        link = world.problem.continuum.links[dial.link]
        peer = endpoints[link.b if orders.me == link.a else link.a]
        dials.append(Dial(dial.link, peer, peer if orders.me == link.a else None))
    return replace(orders, dials=tuple(dials))


def play(world: World, backend: TestbedBackend) -> RunResult:
    """Play the split once."""
    spec = world.policies[0]
    return backend.run(world, POLICIES[spec.kind](**spec.options), spec.label, 0)


def rate_rps(result: RunResult, first: int, duration_s: float) -> tuple[float, int]:
    """Answers per second from the answer `first` up to the end of the arrivals, and how many these are."""
    requests = result.requests
    assert (requests.outcome <= Outcome.LATE).all()
    done_s = np.sort(requests.done_s)
    done_s = done_s[done_s <= duration_s][first:]
    return (len(done_s) - 1) / float(done_s[-1] - done_s[0]), len(done_s)


def partition_of(world: World) -> Partition:
    """The partition that the policy plays."""
    partition: Partition = POLICIES["static"](**world.policies[0].options).init(world.problem)[1]
    return partition


def stages_s(world: World, partition: Partition) -> list[float]:
    """Time that each agent spends on a request, by its profile."""
    visits = [SleepingWorkshop(world.problem, me).visit(partition) for me in range(3)]
    return [visit.nominal_s for visit in visits if visit is not None]


def pipelining_rps(model: str, seed: int, partition: Partition, n_requests: int, rounds: int) -> list[float]:
    """Requests per second of `torch.distributed.pipelining` (gloo, GPipe, forward only) on the same split.

    Three processes, which load the same model and cut it with `hardware.stages.split`; each round is one step of as
    many microbatches as there are requests, from the call to the last output. The first round is not returned.
    """
    spawning = multiprocessing.get_context("spawn")
    near, far = spawning.Pipe()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    processes = [
        spawning.Process(
            target=_rank, args=(rank, port, far, model, seed, partition, n_requests, rounds + 1), daemon=True
        )
        for rank in range(3)
    ]
    for process in processes:
        process.start()
    try:
        return [n_requests / near.recv() for _ in range(rounds + 1)][1:]
    finally:
        for process in processes:
            process.join(20.0)
            process.kill()


def _rank(
    rank: int, port: int, pipe: Connection, model: str, seed: int, partition: Partition, n_requests: int, rounds: int
) -> None:
    torch.set_num_threads(THREADS)
    distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=3)
    traced = trace(build_model(model, seed), model)
    stages = split(traced, partition)
    inputs = torch.from_numpy(np.random.default_rng(1).standard_normal((1, 3, 224, 224), np.float32))
    with torch.inference_mode():
        shapes: list[tuple[torch.Tensor, ...]] = [(inputs,)]
        for each in stages:
            shapes.append(each(*shapes[-1]))
    with torch.no_grad():
        stage = PipelineStage(
            stages[rank].module,
            rank,
            3,
            torch.device("cpu"),
            input_args=tuple(x.clone() for x in shapes[rank]),
            output_args=tuple(x.clone() for x in shapes[rank + 1]),
        )
        schedule = ScheduleGPipe(stage, n_requests)
        batch = inputs.repeat(n_requests, 1, 1, 1)
        for _ in range(rounds):
            distributed.barrier()
            start_s = time.perf_counter()
            if rank == 0:
                schedule.eval(batch)
            else:
                schedule.eval()
            if rank == 2:
                pipe.send(time.perf_counter() - start_s)
    distributed.barrier()
    distributed.destroy_process_group()
