"""The pipeline that engines are timed on: a chain of devices, one split, and a Poisson stream of requests.

With three devices there are four layers, split one, two and one; the first link follows the WiFi trace of `data`, the
others the LAN trace, and the answer travels back. Each further device adds a layer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from twin.graph import Layer, LayerGraph
from twin.policies.static import Static
from twin.problem import Objective, Problem
from twin.profiles import Profile, Quantiles
from twin.topology import Continuum, Device, Link, PowerStates
from twin.traces import LinkTrace, LoadTrace, load_link_trace
from twin.workload import Workload
from twin.world import Control, World, conditions_at

if TYPE_CHECKING:
    from twin.scenario_file.library import Library

RATE_RPS = 20.0
"""Mean rate of the requests: four fifths of what the first link carries on average over its trace. More than that, and
its queue would grow for as long as a run lasts."""
SPREAD = 0.1
"""Standard deviation of the logarithm of a stage's time."""
_INPUT_BYTES = 100_000
_OUTPUT_BYTES = (200_000, 50_000, 10_000, 4_000)
_TIME_S = (0.010, 0.020, 0.040, 0.030)
"""Of the layers on the first device; layers past the fourth are like the fourth."""
_SPEED = (1.0, 4.0, 20.0)
"""Of the devices; those past the third are like the third."""
_RATE_BPS = ((20e6, 10e6), (100e6, 100e6))
_RTT_S = (0.004, 0.002)
"""Of links that do not vary; those past the second are like the second."""
_DRAIN_S = 1e6
DEVICES = (
    Device("pi", "edge", PowerStates(3.0, 12.0, 4.0, 3.5)),
    Device("laptop", "fog", PowerStates(4.0, 15.0, 4.0, 4.0)),
    Device("pc", "cloud", PowerStates(20.0, 32.0, 20.0, 20.0)),
)
"""The first three devices."""


def varying(library: Library) -> tuple[LinkTrace, LinkTrace]:
    """The traces of links that vary.

    Args:
        library: Finds them.

    Raises:
        ScenarioError: There is no folder `data` with these traces.
    """
    wifi, lan = (load_link_trace(library.trace(name), "loop") for name in ("wifi-walk", "lan-steady"))
    return wifi, lan


def steady() -> tuple[LinkTrace, LinkTrace]:
    """Links that do not vary."""
    wifi, lan = (
        LinkTrace.constant(up_bps, rtt_s, down_bps=down_bps)
        for (up_bps, down_bps), rtt_s in zip(_RATE_BPS, _RTT_S, strict=True)
    )
    return wifi, lan


def world_of(
    requests: int, links: tuple[LinkTrace, LinkTrace], *, every: int | None = None, n_devices: int = 3
) -> World:
    """The pipeline as a scenario.

    Args:
        requests: Number of requests.
        links: Traces of the first link and of the others.
        every: Requests between two decisions; None: one decision at the start.
        n_devices: Number of devices, at least 2.
    """
    traces = (links[0], *(links[1],) * (n_devices - 2))
    loads = (LoadTrace.constant(1.0),) * n_devices
    workload = Workload("poisson", rate_rps=RATE_RPS, requests=requests)
    problem = _problem(n_devices, traces, loads, workload)
    return World(
        name="benchmark",
        problem=problem,
        links=traces,
        loads=loads,
        dispersion=np.full(n_devices, SPREAD),
        workload=workload,
        control=Control(None, every),
        policies=(),
        profiles=tuple(_profile(problem, device) for device in range(n_devices)),
        drain_s=_DRAIN_S,
    )


def split_of(n_devices: int = 3) -> Static:
    """The policy that keeps the split: one layer on the first device, two on the second, one on each other."""
    return Static(after=tuple(_names(n_devices)[at] for at in (0, *range(2, n_devices))))


def chain(n_devices: int) -> Continuum:
    """Devices in a row, each linked to the next."""
    more = (Device(f"pc{k}", "cloud", DEVICES[2].power) for k in range(4, n_devices + 1))
    return Continuum((*DEVICES[:n_devices], *more), tuple(Link(k, k + 1) for k in range(n_devices - 1)))


def _names(n_devices: int) -> list[str]:
    return [f"conv{k}" for k in range(1, n_devices + 1)] + ["head"]


def _problem(
    n_devices: int, traces: tuple[LinkTrace, ...], loads: tuple[LoadTrace, ...], workload: Workload
) -> Problem:
    names = _names(n_devices)
    layers, times_s = [], []
    for position, (name, source) in enumerate(zip(names, ["input", *names], strict=False)):
        like = min(position, 3)
        size = _OUTPUT_BYTES[like]
        layers.append(Layer(name, "Conv2d", (source,), (1, size // 4), size, 1_000, 1e6))
        times_s.append(_TIME_S[like])
    speeds = np.array([_SPEED[min(device, 2)] for device in range(n_devices)])
    return Problem(
        graph=LayerGraph("chain", (1, _INPUT_BYTES // 4), _INPUT_BYTES, tuple(layers), (names[-1],)),
        continuum=chain(n_devices),
        layer_time_s=np.array([times_s]) / speeds[:, None],
        stage_overhead_s=np.zeros(n_devices),
        codec_s_per_byte=np.zeros(n_devices),
        objective=Objective(),
        demand=workload.demand,
        initial=conditions_at(traces, loads, 0.0),
    )


def _profile(problem: Problem, device: int) -> Profile:
    times_s = problem.layer_time_s[device].tolist()
    names = tuple(layer.name for layer in problem.graph.layers)
    layers = tuple(Quantiles(time_s) for time_s in times_s)
    return Profile(problem.continuum.names[device], "chain", names, layers, Quantiles(sum(times_s)))
