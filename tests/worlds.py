"""Small worlds for tests: built in memory from synthetic numbers, or written out as a project folder.

The default world: a pi, a laptop and a pc, joined in a chain by two constant links, and a chain of four layers.

    layer    output_bytes   pi_s    laptop_s   pc_s        link         up_bps   down_bps   rtt_s
    (input)       100 000                                  pi-laptop    20e6     10e6       0.004
    conv1         200 000   0.010   0.0025     0.0005      laptop-pc    100e6    100e6      0.002
    conv2          50 000   0.020   0.0050     0.0010
    conv3          10 000   0.040   0.0100     0.0020
    head            4 000   0.030   0.0075     0.0015

No noise, no overheads, no energy in the objective; one client that asks again once it is answered, ten times.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from twin.graph import Layer, LayerGraph
from twin.problem import Objective, Problem
from twin.profiles import Profile, Quantiles
from twin.topology import Continuum, Device, Link, PowerStates
from twin.traces import LinkTrace, LoadTrace
from twin.workload import Workload
from twin.world import Control, PolicySpec, World, conditions_at

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MODEL = "tiny"
INPUT_BYTES = 100_000
LAYERS = ("conv1", "conv2", "conv3", "head")
OUTPUT_BYTES = (200_000, 50_000, 10_000, 4_000)
LAYER_TIME_S = np.array([[0.010, 0.020, 0.040, 0.030]]) / np.array([[1.0], [4.0], [20.0]])
DEVICES = (
    Device("pi", "edge", PowerStates(3.0, 12.0, 4.0, 3.5)),
    Device("laptop", "fog", PowerStates(4.0, 15.0, 4.0, 4.0)),
    Device("pc", "cloud", PowerStates(20.0, 32.0, 20.0, 20.0)),
)
LINKS = (Link(0, 1), Link(1, 2))
RATES_BPS = ((20e6, 10e6), (100e6, 100e6))
RTT_S = (0.004, 0.002)


def make_graph(output_bytes: Sequence[int] = OUTPUT_BYTES, input_bytes: int = INPUT_BYTES) -> LayerGraph:
    """A chain of layers; the names are those of the table, then `layer4`, `layer5` and so on."""
    names = [*LAYERS, *(f"layer{i}" for i in range(len(LAYERS), len(output_bytes)))][: len(output_bytes)]
    layers = tuple(
        Layer(name, "Conv2d", (source,), (1, size // 4), size, 1_000, 1e6)
        for name, source, size in zip(names, ["input", *names], output_bytes, strict=False)
    )
    return LayerGraph(MODEL, (1, input_bytes // 4), input_bytes, layers, (names[-1],))


def make_profile(device: str, times_s: Sequence[float], names: Sequence[str] = LAYERS) -> Profile:
    """A profile without any measured spread."""
    layers = tuple(Quantiles(float(time_s)) for time_s in times_s)
    return Profile(device, MODEL, tuple(names), layers, Quantiles(float(sum(times_s))))


def make_problem(links: Sequence[LinkTrace] | None = None, **changes: Any) -> Problem:
    """The problem of the default world; `changes` replace fields of `Problem`.

    Fields that are not given follow from those that are: zero overheads, no load, the demand of the default
    workload and the conditions of `links` at the start.
    """
    continuum = changes.get("continuum", Continuum(DEVICES, LINKS))
    graph = changes.get("graph", make_graph())
    n = len(continuum)
    traces = tuple(links) if links is not None else make_links(len(continuum.links))
    values: dict[str, Any] = {
        "graph": graph,
        "continuum": continuum,
        "layer_time_s": LAYER_TIME_S,
        "stage_overhead_s": np.zeros(n),
        "codec_s_per_byte": np.zeros(n),
        "objective": Objective(),
        "demand": make_workload().demand,
        "initial": conditions_at(traces, (LoadTrace.constant(1.0),) * n, 0.0),
    }
    return Problem(**{**values, **changes})


def make_links(n: int = 2) -> tuple[LinkTrace, ...]:
    """Constant traces; links past the second are like the second."""
    rows = [min(link, 1) for link in range(n)]
    return tuple(LinkTrace.constant(RATES_BPS[row][0], RTT_S[row], down_bps=RATES_BPS[row][1]) for row in rows)


def make_workload(**changes: Any) -> Workload:
    """One client without think time, ten requests; `changes` replace fields of `Workload`."""
    return Workload(**{"kind": "closed", "clients": 1, "requests": 10, **changes})


def make_world(
    *,
    problem: Problem | None = None,
    links: Sequence[LinkTrace] | None = None,
    loads: Sequence[LoadTrace] | None = None,
    workload: Workload | None = None,
    objective: Objective | None = None,
    **changes: Any,
) -> World:
    """The default world with some things changed.

    Args:
        problem: Another problem; its demand, first conditions and objective are replaced by those that follow
            from the other arguments.
        links: Trace of each link.
        loads: Load of each device.
        workload: Another workload.
        objective: Another objective.
        **changes: Other fields of `World`.
    """
    base = problem or make_problem()
    n = base.n_devices
    links = tuple(links) if links is not None else make_links(len(base.continuum.links))
    loads = tuple(loads) if loads is not None else (LoadTrace.constant(1.0),) * n
    workload = workload or make_workload()
    names = [layer.name for layer in base.graph.layers]
    profiles = [make_profile(d.name, base.layer_time_s[k], names) for k, d in enumerate(base.continuum.devices)]
    values: dict[str, Any] = {
        "name": "tiny",
        "problem": replace(
            base,
            demand=workload.demand,
            objective=objective or base.objective,
            initial=conditions_at(links, loads, 0.0),
        ),
        "links": links,
        "loads": loads,
        "dispersion": np.zeros(n),
        "workload": workload,
        "control": Control(),
        "policies": (PolicySpec("static", "static", {"split": "thirds"}), PolicySpec("adaptive", "adaptive", {})),
        "profiles": tuple(profiles),
        "resolved": {"schema": 1, "name": "tiny", "model": MODEL},
    }
    return World(**{**values, **changes})


def tiny_scenario() -> dict[str, Any]:
    """The default world as the plain data of a scenario file (policies static, adaptive and pi-only)."""
    return {
        "schema": 1,
        "name": "tiny",
        "model": MODEL,
        "devices": [
            {"name": "pi", "tier": "edge", "profile": "pi", "power": _power(0)},
            {"name": "laptop", "tier": "fog", "profile": "laptop", "power": _power(1)},
            {"name": "pc", "tier": "cloud", "profile": "pc", "power": _power(2)},
        ],
        "links": [
            {"between": ["pi", "laptop"], "trace": "walk", "after_end": "loop"},
            {"between": ["laptop", "pc"], "trace": "lan"},
        ],
        "workload": {"kind": "poisson", "rate_rps": 2.0, "duration_s": 20.0, "warm_up_s": 2.0},
        "objective": {"latency": 1.0},
        "control": {"every_s": 1.0},
        "policies": {
            "static": {"kind": "static", "split": "thirds"},
            "adaptive": {"kind": "adaptive", "margin": 0.03, "dwell_s": 2.0},
            "pi-only": {"kind": "device-only", "device": "pi"},
        },
        "replications": 2,
        "seed": 1,
    }


def _power(device: int) -> dict[str, float]:
    power = DEVICES[device].power
    assert power is not None
    return {
        "idle_w": power.idle_w,
        "compute_w": power.compute_w,
        "transmit_w": power.transmit_w,
        "receive_w": power.receive_w,
    }


WALK_CSV = """time_s,up_bps,down_bps,rtt_s
0,20000000,10000000,0.004
10,2000000,1000000,0.020
15,20000000,10000000,0.004
"""
LAN_CSV = """time_s,up_bps,down_bps,rtt_s
0,100000000,100000000,0.002
"""


def tiny_project(folder: Path, **changes: Any) -> Path:
    """Write a project with the default world, whose first link fades, and return the path of its scenario.

    `folder` then holds `data/models/tiny.json`, `data/profiles/{pi,laptop,pc}/tiny.json`,
    `data/traces/{walk,lan}.csv` and `scenarios/tiny.yaml`.

    Args:
        folder: An empty folder.
        **changes: Top-level keys of the scenario to replace; a key given as None is left out.
    """
    data = folder / "data"
    _write_json(data / "models" / f"{MODEL}.json", make_graph().to_json())
    for device, times_s in zip(DEVICES, LAYER_TIME_S, strict=True):
        profile = make_profile(device.name, times_s)
        _write_json(data / "profiles" / device.name / f"{MODEL}.json", profile.to_json())
    write_trace(data / "traces" / "walk.csv", WALK_CSV, duration_s=20.0)
    write_trace(data / "traces" / "lan.csv", LAN_CSV, duration_s=60.0)
    scenario = {key: value for key, value in (tiny_scenario() | changes).items() if value is not None}
    return write_scenario(folder / "scenarios" / "tiny.yaml", scenario)


def write_trace(path: Path, csv: str, duration_s: float) -> Path:
    """Write a trace and the file that says where it comes from."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(csv, encoding="utf-8")
    meta = f"source: derived\nduration_s: {duration_s}\nmethod: written by a test\n"
    path.with_suffix(".meta.yaml").write_text(meta, encoding="utf-8")
    return path


def write_scenario(path: Path, scenario: dict[str, Any], question: str = "Does a tiny world work?") -> Path:
    """Write a scenario file, its question in the first line and its keys in the order given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(scenario, sort_keys=False, default_flow_style=None, width=1000)
    path.write_text(f"# {question}\n{text}", encoding="utf-8")
    return path


def _write_json(path: Path, data: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data), encoding="utf-8")
