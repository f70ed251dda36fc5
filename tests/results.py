"""Plausible records without an engine: requests that go through their stations one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from worlds import make_problem, make_workload, make_world

from twin.energy import power_samples
from twin.partition import Partition, thirds
from twin.problem import Objective
from twin.records import Kind, Outcome, RawSamples, Reason, Requests, RunResult, Spans
from twin.runs.parquet import empty
from twin.steps import Steps
from twin.traces import LinkTrace
from twin.units import bits_from_bytes
from twin.world import PolicySpec, World

if TYPE_CHECKING:
    from collections.abc import Sequence

DURATION_S = 30.0
SPAN_DTYPES = (np.int32, np.int64, np.int32, np.int8, np.int32, float, float, float)


def fading_world(**changes: Any) -> World:
    """The default world under Poisson arrivals, with a first link that fades, three policies and a deadline."""
    up = Steps((0.0, 10.0, 18.0), (20e6, 3e6, 20e6), name="walk up")
    fading = LinkTrace("walk", up, up.scaled(0.5), Steps.constant(0.004), "derived")
    values: dict[str, Any] = {
        "problem": make_problem(),
        "links": (fading, LinkTrace.constant(100e6, 0.002, name="lan")),
        "workload": make_workload(kind="poisson", clients=0, rate_rps=4.0, requests=None, duration_s=DURATION_S),
        "objective": Objective(0.5, 0.5, deadline_s=0.25),
        "policies": (
            PolicySpec("static", "static", {"split": "thirds"}),
            PolicySpec("adaptive", "adaptive", {}),
            PolicySpec("pi-only", "device-only", {"device": "pi"}),
        ),
        "replications": 3,
        "seed": 1,
        "question": "Does adapting pay when the WiFi fades?",
    }
    return make_world(**{**values, **changes})


def fading_results(world: World) -> list[RunResult]:
    """One result per policy of `fading_world`; the adaptive one leaves the link while it is slow."""
    n, k = world.problem.n_layers, world.problem.n_devices
    edge, cloud = Partition.on_device(n, 0, k), Partition.from_cuts([1] * (k - 1), n)
    plans = {
        "static": [(0.0, thirds(n, k))],
        "adaptive": [(0.0, cloud), (11.0, edge), (19.0, cloud)],
        "pi-only": [(0.0, edge)],
    }
    return [make_result(world, label, plan) for label, plan in plans.items()]


def make_result(world: World, label: str, plan: Sequence[tuple[float, Partition]], *, lost: int = 0) -> RunResult:
    """The result of a policy that follows a plan, all replications joined.

    Args:
        world: The scenario; its workload must be an open loop.
        label: Name of the policy.
        plan: Times and the partitions from then on, the first at 0.
        lost: How many of the last requests of each replication fail.
    """
    runs = [_replication(world, label, plan, replication, lost) for replication in range(world.replications)]
    return RunResult.concatenate(runs)


def make_spans(rows: Sequence[Sequence[float]], replication: int = 0) -> Spans:
    """Spans from rows of request, epoch, kind, place, start, end, bytes."""
    columns = list(zip(*[(replication, *row) for row in rows], strict=True)) or [()] * len(SPAN_DTYPES)
    return Spans(*(np.array(column, dtype=dtype) for column, dtype in zip(columns, SPAN_DTYPES, strict=True)))


def make_requests(
    arrival_s: Sequence[float],
    done_s: Sequence[float],
    outcome: Sequence[int],
    *,
    replication: int = 0,
    warm_up_s: float = 0.0,
) -> Requests:
    """Requests by when they came, when they were answered and how they ended."""
    n = len(arrival_s)
    arrivals = np.array(arrival_s, dtype=float)
    zeros = np.zeros(n, dtype=np.int32)
    reasons = np.where(np.array(outcome) == Outcome.FAILED, Reason.LOST, Reason.NONE).astype(np.int8)
    return Requests(
        np.full(n, replication, dtype=np.int32),
        np.arange(n),
        zeros,
        arrivals,
        np.array(done_s, dtype=float),
        np.array(outcome, dtype=np.int8),
        reasons,
        zeros,
        zeros.astype(np.int8),
        arrivals >= warm_up_s,
    )


def make_run(world: World, requests: Requests, spans: Spans, decisions: Sequence[dict[str, Any]] = ()) -> RunResult:
    """A result of given records, without raw samples."""
    power = power_samples(world, requests, spans, decisions)
    return RunResult("static", "simulated", requests, spans, power, empty(RawSamples), tuple(decisions))


def make_decision(t_s: float, partition: Partition, **changes: Any) -> dict[str, Any]:
    """An entry of the decision log."""
    values = {
        "replication": 0,
        "tick": 0,
        "t_s": t_s,
        "epoch": 0,
        "rows": [0, 0],
        "partition": partition.to_json(),
        "reason": "start",
        "switched": False,
        "candidates": [
            {"placement": list(partition.placement), "score": 1.0, "latency_s": 0.1, "energy_j": None},
        ],
        "probes": [],
        "conditions": {"rate_bps": [[20e6, 10e6]], "rtt_s": [0.004], "slowdown": [1.0]},
        "queue_length": [0] * partition.n_devices,
        "link_queue": [[0, 0]] * (partition.n_devices - 1),
        "arrived": 0,
        "available": [True] * partition.n_devices,
        "charged_j": {},
    }
    return {**values, **changes}


def _replication(
    world: World, label: str, plan: Sequence[tuple[float, Partition]], replication: int, lost: int
) -> RunResult:
    random = np.random.default_rng([world.seed, replication])
    arrival_s = world.workload.arrivals_s(world.seed, replication)
    rows: list[tuple[float, ...]] = []
    free_s: dict[int, float] = {}
    done_s = []
    for request, t_s in enumerate(arrival_s.tolist()):
        epoch = sum(start_s <= t_s for start_s, _ in plan) - 1
        done_s.append(_follow(world, plan[epoch][1], (request, epoch, t_s, random.lognormal(0, 0.1)), free_s, rows))
    deadline_s = world.problem.objective.deadline_s or np.inf
    outcome = np.where(np.array(done_s) - arrival_s > deadline_s, Outcome.LATE, Outcome.OK)
    if lost:
        outcome[-lost:] = Outcome.FAILED
        done_s[-lost:] = [np.nan] * lost
    requests = make_requests(
        arrival_s, done_s, outcome.tolist(), replication=replication, warm_up_s=world.workload.warm_up_s
    )
    spans = make_spans(rows, replication)
    decisions = [
        make_decision(
            t_s,
            partition,
            replication=replication,
            tick=epoch,
            epoch=epoch,
            switched=epoch > 0,
            reason="start" if epoch == 0 else "the link changed: 12.0 % better than staying",
        )
        for epoch, (t_s, partition) in enumerate(plan)
    ]
    power = power_samples(world, requests, spans, decisions)
    raw = RawSamples(
        np.full(2, replication, dtype=np.int32),
        np.array([0, 1], dtype=np.int8),
        np.array([0.5, 0.6]),
        np.array([0, 1]),
        np.array([1e5, 0.01]),
        np.array([0.04, 0.011]),
    )
    return RunResult(label, "simulated", requests, spans, power, raw, tuple(decisions), {"engine": "synthetic"})


def _follow(
    world: World,
    partition: Partition,
    visitor: tuple[int, int, float, float],
    free_s: dict[int, float],
    rows: list[tuple[float, ...]],
) -> float:
    """Lead one request through its stations, each of which serves in the order of this call; returns its end."""
    request, epoch, t_s, luck = visitor
    problem = world.problem

    def visit(place: int, kind: Kind, finish: Any, now_s: float, size_bytes: float) -> float:
        start_s = max(now_s, free_s.get(place, 0.0))
        if start_s > now_s:
            rows.append((request, epoch, Kind.QUEUE, place, now_s, start_s, 0.0))
        free_s[place] = finish(start_s)
        rows.append((request, epoch, kind, place, start_s, free_s[place], size_bytes))
        return free_s[place]

    def send(source: int, target: int, now_s: float, size_bytes: float) -> float:
        for hop in problem.continuum.path(source, target):
            trace = world.links[hop.link]
            rate = trace.down if hop.direction else trace.up
            place = problem.n_devices + 2 * hop.link + hop.direction
            size_bits = bits_from_bytes(size_bytes)
            sent_s = visit(
                place, Kind.TRANSMIT, lambda s, rate=rate, bits=size_bits: rate.finish(s, bits), now_s, size_bytes
            )
            now_s = sent_s + trace.rtt.at(sent_s) / 2
            rows.append((request, epoch, Kind.PROPAGATE, place, sent_s, now_s, 0.0))
        return now_s

    here, carried = 0, problem.graph.input_bytes
    for stage in partition.visited:
        t_s = send(here, stage.device, t_s, carried)
        work_s = float(problem.layer_time_s[stage.device, list(stage.layers)].sum()) * luck
        t_s = visit(stage.device, Kind.COMPUTE, lambda s, work_s=work_s: s + work_s, t_s, 0.0)
        carried = problem.graph.cut_bytes(partition.down_set(stage.device))
        here = stage.device
    return send(here, 0, t_s, problem.graph.output_bytes)
