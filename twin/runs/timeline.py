"""A run as a timeline in the Trace Event format, which Perfetto and Chrome's tracing page open.

Devices and link directions are threads; what a request does there is a slice. Waiting, propagation and being held
back overlap freely, so they are asynchronous slices. Switches are instants, queues and link rates counters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from twin.partition import Partition
from twin.places import mean_rate_bps, place_names
from twin.records import LOAD, PROBE, Kind, Spans
from twin.topology import DOWN, UP
from twin.units import mbps_from_bps, us_from_s

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twin.records import RunResult
    from twin.world import World

MAX_REQUESTS = 2000
_DEVICES, _LINKS = 1, 2
_LANE = 1000
"""Step between the thread numbers of the slots of one device."""
_RATE_STEP_S = 1.0

Event = dict[str, Any]


def timeline(world: World, result: RunResult, max_requests: int = MAX_REQUESTS) -> dict[str, Any]:
    """Return the first requests of the first replication as the content of a Trace Event file.

    Args:
        world: The scenario that was played.
        result: The run.
        max_requests: How many requests to show.
    """
    number = int(result.requests.replication.min()) if len(result.requests) else 0
    requests = result.requests.where(result.requests.replication == number)
    shown = int(min(len(requests), max_requests))
    parts = result.spans.only(number).parts()
    ours = Spans.concatenate([part.where(part.request < max_requests) for part in parts])
    end_s = float(ours.end_s.max()) if len(ours) else 0.0
    ours = ours.where(np.argsort(ours.start_s, kind="stable"))
    events = [
        *_names(world, ours),
        *_slices(world, ours),
        *_switches(world, result, number, end_s),
        *_queues(world, ours),
        *_rates(world, end_s),
    ]
    return {
        "displayTimeUnit": "ms",
        "otherData": {
            "scenario": world.name,
            "policy": result.label,
            "source": result.source,
            "replication": number,
            "requests_shown": shown,
            "requests_of_replication": len(requests),
            "note": f"the first {shown} of {len(requests)} requests of replication {number}",
        },
        "traceEvents": events,
    }


def _names(world: World, spans: Spans) -> Iterator[Event]:
    """Names of the processes and threads."""
    yield _meta("process_name", _DEVICES, 0, "devices")
    yield _meta("process_name", _LINKS, 0, "links")
    names = [*world.problem.continuum.names, *place_names(world)[world.problem.n_devices :]]
    lanes = _lanes(spans)
    for place, name in enumerate(names):
        process = _DEVICES if place < world.problem.n_devices else _LINKS
        highest = int(lanes[spans.place == place].max(initial=0))
        for lane in range(highest + 1):
            label = name if highest == 0 else f"{name} (slot {lane + 1})"
            yield _meta("thread_name", process, place + lane * _LANE, label)


def _meta(what: str, process: int, thread: int, name: str) -> Event:
    return {"ph": "M", "name": what, "pid": process, "tid": thread, "args": {"name": name}}


def _slices(world: World, spans: Spans) -> Iterator[Event]:
    """What requests, probes and loads of weights spend their time on."""
    lanes = _lanes(spans)
    columns = (spans.request, spans.epoch, spans.kind, spans.place, spans.start_s, spans.end_s, spans.size_bytes, lanes)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    for row, (request, epoch, kind, place, start_s, end_s, size_bytes, lane) in enumerate(rows):
        event = {
            "name": _who(request),
            "cat": Kind(kind).name.lower(),
            "pid": _DEVICES if place < world.problem.n_devices else _LINKS,
            "tid": place + lane * _LANE,
            "ts": us_from_s(start_s),
            "args": {"request": request, "epoch": epoch, "kind": Kind(kind).name.lower(), "size_bytes": size_bytes},
        }
        if kind in (Kind.COMPUTE, Kind.TRANSMIT):
            yield {**event, "ph": "X", "dur": us_from_s(end_s - start_s)}
        else:
            event["name"] = f"{event['cat']} {event['name']}"
            yield {**event, "ph": "b", "id": row}
            yield {**event, "ph": "e", "id": row, "ts": us_from_s(end_s)}


def _who(request: int) -> str:
    return {PROBE: "probe", LOAD: "weights"}.get(request, f"request {request}")


def _lanes(spans: Spans) -> np.ndarray:
    """The slot of each compute or transmit span, so that spans on one thread never overlap; shape [n]."""
    lanes = np.zeros(len(spans), dtype=np.int64)
    free_s: dict[int, list[float]] = {}
    for row in np.flatnonzero((spans.kind == Kind.COMPUTE) | (spans.kind == Kind.TRANSMIT)).tolist():
        ends_s = free_s.setdefault(int(spans.place[row]), [])
        lane = next((i for i, end_s in enumerate(ends_s) if end_s <= spans.start_s[row]), len(ends_s))
        if lane == len(ends_s):
            ends_s.append(0.0)
        ends_s[lane] = float(spans.end_s[row])
        lanes[row] = lane
    return lanes


def _switches(world: World, result: RunResult, number: int, end_s: float) -> Iterator[Event]:
    for entry in result.decisions:
        if entry["replication"] == number and entry["t_s"] <= end_s and (entry["switched"] or entry["tick"] == 0):
            partition = Partition.from_json(entry["partition"]).describe(world.problem.continuum.names)
            yield {
                "name": f"{'switch to' if entry['switched'] else 'start with'} {partition}",
                "cat": "decision",
                "ph": "i",
                "s": "g",
                "pid": _DEVICES,
                "tid": 0,
                "ts": us_from_s(entry["t_s"]),
                "args": {"reason": entry["reason"], "epoch": entry["epoch"]},
            }


def _queues(world: World, spans: Spans) -> Iterator[Event]:
    """Requests that wait at each place, wherever any does."""
    for place, name in enumerate(place_names(world)):
        waits = spans.where((spans.kind == Kind.QUEUE) & (spans.place == place))
        times_s, inverse = np.unique(np.concatenate([waits.start_s, waits.end_s]), return_inverse=True)
        steps = np.repeat([1, -1], len(waits))
        waiting = np.cumsum(np.bincount(inverse, steps, len(times_s))).astype(int)
        process = _DEVICES if place < world.problem.n_devices else _LINKS
        for t_s, n in zip(times_s.tolist(), waiting.tolist(), strict=True):
            yield _counter(f"waiting: {name}", process, t_s, {"requests": n})


def _rates(world: World, end_s: float) -> Iterator[Event]:
    """Mean rate of each link direction by the second, where it changes."""
    edges_s = np.arange(0.0, end_s + _RATE_STEP_S, _RATE_STEP_S)
    names = place_names(world)[world.problem.n_devices :]
    for link in range(len(world.links)):
        for direction in (UP, DOWN):
            rates_bps = mean_rate_bps(world, link, direction, edges_s)
            changed = np.flatnonzero((np.diff(rates_bps, prepend=np.nan) != 0) & np.isfinite(rates_bps))
            for t_s, rate_bps in zip(edges_s[changed].tolist(), rates_bps[changed].tolist(), strict=True):
                name = f"rate: {names[2 * link + direction]}"
                yield _counter(name, _LINKS, t_s, {"Mbit/s": mbps_from_bps(rate_bps)})


def _counter(name: str, process: int, t_s: float, values: dict[str, Any]) -> Event:
    return {"name": name, "ph": "C", "pid": process, "tid": 0, "ts": us_from_s(t_s), "args": values}
