"""What a run rests on, in words: model, machines, links, load and method."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from twin.metrics import profile_source
from twin.places import link_names
from twin.units import kilobytes_from_bytes, mbps_from_bps, megabytes_from_bytes, ms_from_s
from twin.wording import UNKNOWN, given, milliseconds, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twin.metrics.summary import Summary
    from twin.records import RunResult
    from twin.steps import Steps
    from twin.world import Fault, World

Row = list[str]

DEVICE_HEADER = (
    "device",
    "tier",
    "layer times",
    "profile",
    "threads",
    "whole model, ms",
    "load factor",
    "slots",
    "idle, W",
    "compute, W",
    "transmit, W",
    "receive, W",
)
LINK_HEADER = ("link", "trace", "trace source", "duplex", "up, Mbit/s", "down, Mbit/s", "rtt, ms")


def device_rows(world: World) -> list[Row]:
    """One row per device, under `DEVICE_HEADER`."""
    return [_device(world, position) for position in range(world.problem.n_devices)]


def link_rows(world: World) -> list[Row]:
    """One row per link, under `LINK_HEADER`; ranges are over the whole trace."""
    return [_link(world, position) for position in range(len(world.links))]


def scenario_rows(world: World, results: Sequence[RunResult], summary: Summary) -> list[tuple[str, str]]:
    """Everything else, as pairs of name and text; what a scenario does not use is left out."""
    rows = [
        ("model", _model(world)),
        ("arrivals", _workload(world)),
        ("objective", _objective(summary)),
        ("control", _control(world)),
        ("switch cost", _switch_cost(world)),
        ("faults", "; ".join(_fault(world, fault) for fault in world.faults)),
        ("noise", _noise(world)),
        ("engine", ", ".join(sorted({str(result.facts.get("engine", "unknown")) for result in results}))),
        ("seed", str(world.seed)),
        ("replications", str(summary.replications)),
        ("counted", "; ".join(f"{policy.label} {policy.requests['arrived']}" for policy in summary.policies)),
    ]
    return [(name, text) for name, text in rows if text]


def _device(world: World, position: int) -> Row:
    device, profile = world.problem.continuum.devices[position], world.profiles[position]
    power = device.power
    states = (power.idle_w, power.compute_w, power.transmit_w, power.receive_w) if power else (None,) * 4
    whole_s = float(world.problem.layer_time_s[position].sum())
    return [
        device.name,
        device.tier,
        profile_source(profile),
        profile.device,
        UNKNOWN if profile.threads is None else str(profile.threads),
        milliseconds(whole_s),
        _range(world.loads[position].slowdown, 1.0),
        str(device.slots),
        *(given(watts) for watts in states),
    ]


def _link(world: World, position: int) -> Row:
    trace, link = world.links[position], world.problem.continuum.links[position]
    return [
        link_names(world)[position],
        trace.name,
        trace.source,
        link.duplex,
        _range(trace.up, mbps_from_bps(1.0)),
        _range(trace.down, mbps_from_bps(1.0)),
        _range(trace.rtt, ms_from_s(1.0)),
    ]


def _range(steps: Steps, factor: float) -> str:
    """Smallest to largest value of a function of time."""
    low, high = (given(value * factor) for value in (min(steps.values), max(steps.values)))
    return low if low == high else f"{low} to {high}"


def _model(world: World) -> str:
    graph = world.problem.graph
    weights_mb = megabytes_from_bytes(sum(layer.parameter_bytes for layer in graph.layers))
    return (
        f"{graph.model}: {len(graph)} layers, {number(weights_mb)} MB of weights, "
        f"input {number(kilobytes_from_bytes(graph.input_bytes))} kB, "
        f"answer {number(kilobytes_from_bytes(graph.output_bytes))} kB"
    )


def _workload(world: World) -> str:
    work = world.workload
    if work.kind == "closed":
        clients = f"{work.clients} client{'s' if work.clients != 1 else ''}"
        text = f"closed loop of {clients}, think time {given(work.think_time_s)} s"
    elif work.kind == "replay":
        text = f"replay of {0 if work.times_s is None else len(work.times_s)} arrival times"
    else:
        text = f"{work.kind}, {given(work.rate_rps)} requests/s"
    ends = [f"{work.requests} requests"] if work.requests is not None else []
    ends += [f"{given(work.duration_s)} s"] if work.duration_s is not None else []
    text += f", until {' or '.join(ends)}" if ends else ""
    warm_up = [f"{given(work.warm_up_s)} s"] if work.warm_up_s else []
    warm_up += [f"{work.warm_up_requests} requests"] if work.warm_up_requests else []
    return f"{text}; warm-up of {' and '.join(warm_up) if warm_up else 'nothing'} is not counted"


def _objective(summary: Summary) -> str:
    objective = summary.objective
    terms = []
    if objective.latency:
        terms.append(f"{given(objective.latency)} × latency / {milliseconds(objective.latency_ref_s)} ms")  # noqa: RUF001 - times
    if objective.energy:
        terms.append(f"{given(objective.energy)} × energy / {number(objective.energy_ref_j)} J")  # noqa: RUF001 - times
    text = f"score = {' + '.join(terms) or '0'}, the lower the better; boundary {objective.boundary}"
    if objective.deadline_s is not None:
        text += f"; deadline {given(ms_from_s(objective.deadline_s))} ms"
    return text


def _control(world: World) -> str:
    if world.control.every_requests is not None:
        return f"a decision before every {world.control.every_requests} arrivals"
    return f"a decision every {given(world.control.every_s)} s"


def _switch_cost(world: World) -> str:
    cost = world.problem.switch
    parts = [f"{given(ms_from_s(cost.downtime_s))} ms of downtime"] if cost.downtime_s else []
    parts += [f"{given(cost.energy_j)} J per device that gains layers"] if cost.energy_j else []
    if cost.weights_from is not None:
        parts.append(f"weights come from {world.problem.continuum.names[cost.weights_from]} over the links")
    return ", ".join(parts) or "none: every device holds all weights"


def _fault(world: World, fault: Fault) -> str:
    continuum = world.problem.continuum
    target = link_names(world)[fault.target] if fault.kind == "link_down" else continuum.names[fault.target]
    what = {
        "link_down": "down",
        "device_down": "down",
        "device_slow": f"slower by {given(fault.slowdown)}",
        "meter_gone": "without its meter",
    }[fault.kind]
    return f"{target} {what} from {given(fault.start_s)} to {given(fault.end_s)} s"


def _noise(world: World) -> str:
    if not np.any(world.dispersion):
        return "none: stage times are their medians"
    spread = zip(world.problem.continuum.names, world.dispersion.tolist(), strict=True)
    return "stage times log-normal, σ of the logarithm " + ", ".join(f"{name} {number(x)}" for name, x in spread)  # noqa: RUF001 - sigma
