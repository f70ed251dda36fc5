"""A scenario with the parameters of a calibration."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from twin.errors import CalibrationError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from twin.calibration.calibration import Calibration
    from twin.calibration.devices import DeviceEstimates
    from twin.calibration.links import LinkEstimates
    from twin.calibration.terms import Estimate
    from twin.steps import Steps
    from twin.topology import Device, Link
    from twin.traces import LinkTrace
    from twin.world import World


def calibrated(world: World, calibration: Calibration) -> World:
    """The scenario with all parameters that the calibration determines; the others stay as they are.

    What belongs to a device or a link is used for every model: overhead, slowdown, codec, spread, power, goodput,
    round-trip time, message overhead and slow start. Additivity belongs to a device and a model, and is used for the
    models that were measured. The spread is used unless the scenario turns noise off.

    What a policy is told stays what it was told on the testbed, the scenario's layer times and first conditions. Its
    devices and links are other than it believes, and it finds that out by measuring. So a factor on layer times goes
    into the load, and what is no layer time is divided by it. Overheads, codec and delays, which are small,
    are in what it is told.

    Raises:
        CalibrationError: Devices, their profiles or links are others than those of the calibration.
    """
    check_fits(world, calibration)
    problem = world.problem
    names = problem.continuum.names
    found = [calibration.devices[name] for name in names]
    joined = [calibration.links[problem.continuum.link_name(at)] for at in range(len(world.links))]
    devices = tuple(_device(device, calibration.power.get(device.name, {})) for device in problem.continuum.devices)
    links = tuple(_link(link, x) for link, x in zip(problem.continuum.links, joined, strict=True))
    traces = tuple(_trace(trace, x) for trace, x in zip(world.links, joined, strict=True))
    longer = _longer(world, found)
    loads = tuple(
        load.slowed((x.slowdown.value if x.slowdown.determined else 1.0) * factor)
        for load, x, factor in zip(world.loads, found, longer.tolist(), strict=True)
    )
    switch = problem.switch
    if calibration.downtime_s.determined:
        switch = replace(switch, downtime_s=calibration.downtime_s.value)
    return replace(
        world,
        problem=replace(
            problem,
            continuum=replace(problem.continuum, devices=devices, links=links),
            stage_overhead_s=_column([x.stage_overhead_s for x in found], problem.stage_overhead_s) / longer,
            codec_s_per_byte=_column([x.codec_s_per_byte for x in found], problem.codec_s_per_byte) / longer,
            switch=switch,
        ),
        links=traces,
        loads=loads,
        dispersion=_dispersion(world, found),
    )


def check_fits(world: World, calibration: Calibration) -> None:
    """Refuse a scenario of other devices, profiles or links.

    Raises:
        CalibrationError: It has such; the message names them.
    """
    continuum = world.problem.continuum
    links = [continuum.link_name(at) for at in range(len(world.links))]
    _same(world.name, "devices", continuum.names, calibration.devices)
    _same(world.name, "links", links, calibration.links)
    for name, profile in zip(continuum.names, world.profiles, strict=True):
        known = calibration.devices[name].profile
        if profile.device != known:
            raise CalibrationError(
                f"{world.name}: devices.{name}.profile: is `{profile.device}`, but the calibration was made with "
                f"`{known}`; its factors are on those layer times: use that profile, or calibrate again"
            )


def _same(scenario: str, what: str, ours: Collection[str], theirs: Collection[str]) -> None:
    if set(ours) != set(theirs):
        raise CalibrationError(
            f"{scenario}: {what}: are {', '.join(ours) or 'none'}, but the calibration is of "
            f"{', '.join(theirs) or 'none'}; calibrate with runs of this scenario's {what}"
        )


def _column(estimates: list[Estimate], kept: np.ndarray) -> np.ndarray:
    return np.array([x.value if x.determined else old for x, old in zip(estimates, kept.tolist(), strict=True)])


def _longer(world: World, found: list[DeviceEstimates]) -> np.ndarray:
    """How many times as long as its profile says each device takes over layers of this model, shape [n_devices]."""
    factors = np.ones(len(found))
    for device, (x, profile) in enumerate(zip(found, world.profiles, strict=True)):
        own = x.additivity.get(world.problem.graph.model)
        if own is not None and own.determined:
            factors[device] = own.value / profile.additivity
    return factors


def _dispersion(world: World, found: list[DeviceEstimates]) -> np.ndarray:
    if world.resolved.get("noise") == "off":
        return world.dispersion
    return _column([x.dispersion for x in found], world.dispersion)


def _device(device: Device, states: Mapping[str, Estimate]) -> Device:
    known = {name: x.value for name, x in states.items() if x.determined}
    return replace(device, power=replace(device.power, **known)) if known and device.power is not None else device


def _link(link: Link, found: LinkEstimates) -> Link:
    pairs = {"message_overhead_s": found.message_overhead_s, "slow_start_s": found.slow_start_s}
    return replace(link, **{name: x.value for name, x in pairs.items() if x.determined})  # type: ignore[arg-type]


def _trace(trace: LinkTrace, found: LinkEstimates) -> LinkTrace:
    if found.goodput_up.determined:
        trace = replace(trace, up=trace.up.scaled(found.goodput_up.value))
    if found.goodput_down.determined:
        trace = replace(trace, down=trace.down.scaled(found.goodput_down.value))
    if found.rtt_extra_s.determined:
        trace = replace(trace, rtt=_raised(trace.rtt, found.rtt_extra_s.value))
    return trace


def _raised(steps: Steps, by: float) -> Steps:
    values = tuple(max(value + by, 0.0) for value in steps.values)
    return replace(steps, values=values)
