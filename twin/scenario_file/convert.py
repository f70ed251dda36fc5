"""Each part of a scenario file as the object that it stands for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from twin.errors import ScenarioError
from twin.problem import Objective, SwitchCost
from twin.profiles import load_profile
from twin.scenario_file.arrivals import read_arrivals
from twin.scenario_file.rules import policy_options
from twin.steps import Steps
from twin.topology import Continuum, Device, Link, PowerStates
from twin.traces import LinkTrace, LoadTrace, load_link_trace, load_load_trace
from twin.workload import Workload
from twin.world import Control, Fault, PolicySpec

if TYPE_CHECKING:
    from twin.graph import LayerGraph
    from twin.profiles import Profile
    from twin.scenario_file.library import Library
    from twin.scenario_file.schema import DeviceModel, FaultModel, LinkModel, PowerModel, Scenario, WorkloadModel


def continuum_of(scenario: Scenario) -> Continuum:
    """Devices and links.

    Raises:
        ScenarioError: A device cannot be reached.
    """
    names = [device.name for device in scenario.devices]
    devices = tuple(
        Device(x.name, x.tier, _power(x.power), x.memory_bytes, x.slots, x.queue_limit) for x in scenario.devices
    )
    links = tuple(
        Link(
            names.index(x.between[0]),
            names.index(x.between[1]),
            x.duplex,
            x.message_overhead_s,
            x.slow_start_s,
            x.slow_start_idle_s,
        )
        for x in scenario.links
    )
    return Continuum(devices, links)


def matching_profile(name: str, graph: LayerGraph, library: Library) -> Profile:
    """The profile of a device for a model.

    Raises:
        ScenarioError: There is none, or it was made for another number format or batch size.
        ProfileError: The file is malformed or belongs to another model.
    """
    path = library.profile(name, graph.model)
    profile = load_profile(path)
    profile.layer_times_s(graph)
    if profile.dtype != graph.dtype or profile.batch != graph.input_shape[0]:
        raise ScenarioError(
            f"{path}: was made with {profile.dtype} and batch {profile.batch}, but the layer graph has {graph.dtype} "
            f"and batch {graph.input_shape[0]}; profile the model as the graph has it"
        )
    return profile


def link_trace(link: LinkModel, library: Library) -> LinkTrace:
    """The rates of a link over time.

    Raises:
        ScenarioError: The trace cannot be found, or a round-trip time is given beside one that holds it.
        TraceError: The file is malformed.
    """
    if link.trace is None:
        up_bps, down_bps = (link.rate_bps or link.up_bps or 0.0), (link.rate_bps or link.down_bps or 0.0)
        return LinkTrace.constant(up_bps, link.rtt_s or 0.0, down_bps=down_bps, name="-".join(link.between))
    path = library.trace(link.trace)
    if link.rtt_s is not None and (link.format or path.suffix.lower().lstrip(".")) == "csv":
        raise ScenarioError(f"{path} holds the round-trip time itself; remove `rtt_s`")
    trace = load_link_trace(path, link.after_end, file_format=link.format, rtt_s=link.rtt_s)
    up, down, rtt = (later_start(steps, link.start_s) for steps in (trace.up, trace.down, trace.rtt))
    return replace(trace, up=up, down=down, rtt=rtt)


def load_trace(device: DeviceModel, library: Library) -> LoadTrace:
    """The load of a device over time.

    Raises:
        ScenarioError: The trace cannot be found.
        TraceError: The file is malformed.
    """
    if isinstance(device.load, str):
        trace = load_load_trace(library.trace(device.load), device.after_end)
        return LoadTrace(trace.name, later_start(trace.slowdown, device.start_s), trace.source, trace.provenance)
    return LoadTrace.constant(device.load, f"load of {device.name}")


def later_start(steps: Steps, start_s: float) -> Steps:
    """A function of time that starts where `steps` stands at `start_s`; a loop keeps its period.

    Raises:
        ScenarioError: `start_s` lies past the end of what does not loop.
    """
    if start_s == 0.0 or len(steps.times_s) == 1:
        return steps
    if steps.after_end == "loop":
        start_s %= steps.end_s
    elif start_s >= steps.end_s:
        raise ScenarioError(f"`start_s` is {start_s:g}, but {steps.name} ends at {steps.end_s:g} s; start earlier")
    knots = {0.0: steps.at(start_s)}
    for time_s, value in zip(steps.times_s, steps.values, strict=True):
        if time_s > start_s:
            knots[time_s - start_s] = value
        elif steps.after_end == "loop":
            knots[time_s - start_s + steps.end_s] = value
    knots.pop(steps.end_s, None)
    duration_s = steps.end_s if steps.after_end == "loop" else steps.end_s - start_s
    return Steps(
        tuple(sorted(knots)), tuple(knots[x] for x in sorted(knots)), steps.after_end, duration_s, name=steps.name
    )


def workload_of(workload: WorkloadModel, library: Library) -> Workload:
    """How requests arrive.

    Raises:
        ScenarioError: The arrival times of a replay cannot be read, or all of them lie past its end.
    """
    times_s = None
    if workload.file is not None:
        path = library.arrivals(workload.file)
        times_s = read_arrivals(path, workload.column)
        if workload.duration_s is not None and times_s[0] >= workload.duration_s:
            raise ScenarioError(f"{path}: the first arrival is at {times_s[0]:g} s, after the end of the run")
    return Workload(
        kind=workload.kind,
        rate_rps=workload.rate_rps,
        clients=workload.clients or 0,
        think_time_s=workload.think_time_s,
        times_s=times_s,
        requests=workload.requests,
        duration_s=workload.duration_s,
        warm_up_s=workload.warm_up_s,
        warm_up_requests=workload.warm_up_requests,
    )


def objective_of(scenario: Scenario) -> Objective:
    """What is to be kept small."""
    return Objective(**scenario.objective.model_dump())


def control_of(scenario: Scenario) -> Control:
    """When the controller decides."""
    return Control(scenario.control.every_s, scenario.control.every_requests)


def switch_of(scenario: Scenario, continuum: Continuum) -> SwitchCost:
    """What a change of the partition costs."""
    switch = scenario.switch
    weights_from = None if switch.weights_from is None else continuum.position(switch.weights_from)
    return SwitchCost(switch.downtime_s, weights_from, switch.energy_j)


def pin(name: str, device: str, pinned: dict[int, int], graph: LayerGraph, continuum: Continuum) -> None:
    """Add a layer that may not move to `pinned`: its device by the layer's position.

    Raises:
        GraphError: There is no such layer.
        ScenarioError: Another name of the layer is pinned to another device.
    """
    layer, position = graph.find(name), continuum.position(device)
    if pinned.setdefault(layer, position) != position:
        raise ScenarioError(
            f"`{name}` is part of layer `{graph.layers[layer].name}`, which is pinned to "
            f"`{continuum.names[pinned[layer]]}`; pin it to one device"
        )


def policies_of(scenario: Scenario) -> tuple[PolicySpec, ...]:
    """The policies, all their options filled in."""
    return tuple(PolicySpec(label, policy.kind, policy_options(policy)) for label, policy in scenario.policies.items())


def faults_of(scenario: Scenario, continuum: Continuum) -> tuple[Fault, ...]:
    """What breaks, and when."""
    pairs = [link.between for link in scenario.links]
    return tuple(
        Fault(fault.kind, _target(fault, pairs, continuum), fault.start_s, fault.end_s, fault.slowdown or 1.0)
        for fault in scenario.faults
    )


def filled(
    scenario: Scenario, policies: tuple[PolicySpec, ...], question: str, checksums: dict[str, str]
) -> dict[str, Any]:
    """The scenario as plain data with every default filled in; it can be read again.

    What is None is left out, except for options of policies, where it may be a choice.
    """
    data = scenario.model_dump(mode="json", by_alias=True, exclude_none=True)
    data["question"] = scenario.question or question
    for device in data["devices"]:
        if "power" in device:
            idle_w = device["power"]["idle_w"]
            device["power"] = {**device["power"], "transmit_w": device["power"].get("transmit_w", idle_w)}
            device["power"].setdefault("receive_w", idle_w)
    data["policies"] = {
        spec.label: {
            "kind": spec.kind,
            **{key: list(x) if isinstance(x, tuple) else x for key, x in spec.options.items()},
        }
        for spec in policies
    }
    data["files"] = checksums
    return data


def _power(power: PowerModel | None) -> PowerStates | None:
    if power is None:
        return None
    return PowerStates(
        power.idle_w,
        power.compute_w,
        power.idle_w if power.transmit_w is None else power.transmit_w,
        power.idle_w if power.receive_w is None else power.receive_w,
    )


def _target(fault: FaultModel, pairs: list[tuple[str, str]], continuum: Continuum) -> int:
    if fault.link is not None:
        return pairs.index(fault.link)
    return continuum.position(fault.device or "")
