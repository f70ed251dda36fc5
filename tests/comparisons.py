"""Runs for tests of the comparison: made in memory, or played and written to folders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from worlds import make_problem, make_workload, make_world, tiny_project, write_trace

from twin.comparison.side import Play
from twin.engine.arrays import ArraysEngine
from twin.policies import POLICIES
from twin.records import RunResult
from twin.simulate import main as simulate
from twin.world import PolicySpec, World

if TYPE_CHECKING:
    from collections.abc import Sequence

FAR_CSV = """time_s,up_bps,down_bps,rtt_s
0,20000000,10000000,0.008
10,2000000,1000000,0.040
15,20000000,10000000,0.008
"""
"""The trace `walk` of the tiny project with its round-trip times doubled."""


def noisy_world(seed: int, *, replications: int = 3, n: int = 150, arrivals_of: int | None = None) -> World:
    """The default world, busy and with luck: Poisson arrivals at 12/s, or those of another seed; a spread of 20 %."""
    times_s = None
    if arrivals_of is not None:
        times_s = np.cumsum(np.random.default_rng(arrivals_of).exponential(1 / 12, n))
    workload = make_workload(
        kind="poisson" if times_s is None else "replay", clients=0, rate_rps=12.0, requests=n, times_s=times_s
    )
    return make_world(
        problem=make_problem(),
        workload=workload,
        dispersion=np.full(3, 0.2),
        policies=(PolicySpec("static", "static", {"split": "thirds"}),),
        replications=replications,
        seed=seed,
    )


def played(world: World) -> RunResult:
    """What the arrays engine makes of the first policy."""
    spec = world.policies[0]
    policy = POLICIES[spec.kind](**spec.options)
    return RunResult.concatenate(
        [ArraysEngine().run(world, policy, spec.label, number) for number in range(world.replications)]
    )


def in_memory(world: World, result: RunResult) -> Play:
    """A run as a comparison sees it, without a folder."""
    info = {
        "replications": list(range(world.replications)),
        "devices": list(world.problem.continuum.names),
        "label": result.label,
        "scenario": {"policies": {}},
    }
    return Play(Path("nowhere"), info, result, {})


def project(folder: Path, **changes: Any) -> Path:
    """A tiny project whose runs are long enough to compare; `far` is a trace with doubled round-trip times."""
    workload = {"kind": "poisson", "rate_rps": 3.0, "duration_s": 40.0, "warm_up_s": 2.0}
    scenario = tiny_project(folder, **{"workload": workload, "replications": 3, **changes})
    write_trace(folder / "data" / "traces" / "far.csv", FAR_CSV, duration_s=20.0)
    return scenario


def simulated(scenario: Path, out: Path, *settings: str, policies: Sequence[str] = ("static", "adaptive")) -> Path:
    """Play a scenario into a result folder, with places set."""
    options = [text for setting in settings for text in ("--set", setting)]
    quick = ("--no-references", "--no-report", "--jobs", "1")
    assert simulate([str(scenario), "--out", str(out), *quick, "--policy", *policies, *options]) == 0
    return out
