"""The testbed against the twin: the same scenario played by both, request by request and place by place.

Machines only sleep, for exactly the time that the scenario says, and the twin is given the message overhead that the
testbed itself measured before its run. What is left over is what the twin does not know of: threads, timers, acks.

    python tests/hardware/closure.py [SCENARIO] [--policy LABEL] [--set PATH=VALUE ...]

plays a scenario (by default a small one of its own) and prints what each place took in both.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from twin.engine.events import EventsEngine
from twin.policies import POLICIES
from twin.records import Kind
from twin.runs.folder import read_run
from twin.scenario import load_world
from twin.topology import Continuum

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twin.records import RunResult
    from twin.world import World

BUSY_LATE_S = 1e-3
"""Mean lateness of the shaper from which on its host was too busy for a comparison."""


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of span at one place.

    Attributes:
        kind: What the time was spent on.
        place: Where, in words.
        measured_s: Seconds per answered request on the testbed.
        simulated_s: The same in the twin.
    """

    kind: str
    place: str
    measured_s: float
    simulated_s: float


@dataclass(frozen=True, slots=True)
class Closure:
    """How far measured and simulated latency lie apart.

    Attributes:
        n: Requests that both answered.
        mean_s: Mean latency, measured and simulated.
        p95_s: 95th percentile, likewise.
        difference_s: 5th, 50th and 95th percentile of the difference request by request.
        overhead_s: Message overhead of each link, as measured before the run.
        rows: What each place took.
        busy: Why the host was too busy for a comparison; empty where it was not.
    """

    n: int
    mean_s: tuple[float, float]
    p95_s: tuple[float, float]
    difference_s: tuple[float, float, float]
    overhead_s: tuple[float, ...]
    rows: tuple[Row, ...]
    busy: str

    @property
    def mean_error(self) -> float:
        """Measured mean / simulated mean - 1."""
        return self.mean_s[0] / self.mean_s[1] - 1

    @property
    def p95_error(self) -> float:
        """Measured 95th percentile / simulated one - 1."""
        return self.p95_s[0] / self.p95_s[1] - 1

    def __str__(self) -> str:
        milli = 1e3
        lines = [f"{'':26s} {'measured':>10s} {'simulated':>10s} {'more':>8s}   ms per request"]
        lines += [
            f"{row.kind + ' ' + row.place:26s} {milli * row.measured_s:10.3f} {milli * row.simulated_s:10.3f}"
            f" {milli * (row.measured_s - row.simulated_s):8.3f}"
            for row in self.rows
        ]
        for name, (measured_s, simulated_s) in (("mean latency", self.mean_s), ("p95 latency", self.p95_s)):
            lines.append(
                f"{name:26s} {milli * measured_s:10.3f} {milli * simulated_s:10.3f}"
                f" {milli * (measured_s - simulated_s):8.3f}   {measured_s / simulated_s - 1:+.2%}"
            )
        parts = " / ".join(f"{milli * x:.2f}" for x in self.difference_s)
        lines.append(f"difference of a request: {parts} ms (p5 / p50 / p95), n = {self.n}")
        lines.append("message overhead by link: " + ", ".join(f"{milli * x:.2f} ms" for x in self.overhead_s))
        return "\n".join([*lines, self.busy] if self.busy else lines)


def with_overhead(world: World, facts: dict[str, Any]) -> tuple[World, tuple[float, ...]]:
    """The scenario with the message overhead that the testbed's own link check found, the mean of both directions."""
    continuum = world.problem.continuum
    found: list[list[float]] = [[] for _ in continuum.links]
    for entry in facts["links"]:
        rtt_s = float(world.problem.initial.rtt_s[entry["link"]])
        if entry["delay_s"] is not None:
            found[entry["link"]].append(max(entry["delay_s"] - rtt_s, 0.0))
    overhead_s = tuple(float(np.mean(x)) if x else 0.0 for x in found)
    links = tuple(replace(link, message_overhead_s=x) for link, x in zip(continuum.links, overhead_s, strict=True))
    problem = replace(world.problem, continuum=Continuum(continuum.devices, links))
    return replace(world, problem=problem), overhead_s


def compare(world: World, label: str, measured: RunResult) -> Closure:
    """Play in the twin what the testbed has played, and compare.

    Args:
        world: The scenario.
        label: The policy.
        measured: The run of the testbed.
    """
    facts = dict(measured.facts)
    world, overhead_s = with_overhead(world, facts)
    spec = next(spec for spec in world.policies if spec.label == label)
    simulated = EventsEngine().run(world, POLICIES[spec.kind](**spec.options), label, 0)
    ours, theirs = measured.requests, simulated.requests
    both = ours.counted & ours.completed & theirs.completed
    latency_s = ours.latency_s[both], theirs.latency_s[both]
    differences_s = np.quantile(latency_s[0] - latency_s[1], [0.05, 0.5, 0.95])
    return Closure(
        int(both.sum()),
        (float(latency_s[0].mean()), float(latency_s[1].mean())),
        (float(np.quantile(latency_s[0], 0.95)), float(np.quantile(latency_s[1], 0.95))),
        (float(differences_s[0]), float(differences_s[1]), float(differences_s[2])),
        overhead_s,
        tuple(_rows(world, measured, simulated)),
        _busy(facts),
    )


def play(scenario: Path, label: str, out: Path, overrides: Sequence[str] = ()) -> Closure:
    """Play a scenario on a testbed on this machine and in the twin.

    Args:
        scenario: The scenario file.
        label: The policy.
        out: A folder for the results.
        overrides: Changes of the scenario.
    """
    from hardware.run import main

    sets = [argument for override in overrides for argument in ("--set", override)]
    status = main(
        [str(scenario), "--devices", "sleep", "--no-check", "--no-report", "--policy", label, "--out", str(out), *sets]
    )
    assert status == 0
    return compare(load_world(scenario, [*overrides, "replications=1"]), label, read_run(out / label))


def small_scenario(folder: Path, duration_s: float = 20.0) -> Path:
    """A scenario on steady links without noise: `split` uses all machines, `edge` and `far` one each."""
    from worlds import tiny_project, write_trace

    wlan = "time_s,up_bps,down_bps,rtt_s\n0,20000000,10000000,0.004\n"
    write_trace(folder / "data" / "traces" / "wlan.csv", wlan, duration_s=60.0)
    return tiny_project(
        folder,
        links=[
            {"between": ["pi", "laptop"], "trace": "wlan", "duplex": "half"},
            {"between": ["laptop", "pc"], "trace": "lan"},
        ],
        workload={"kind": "poisson", "rate_rps": 5.0, "duration_s": duration_s, "warm_up_s": 1.0},
        policies={
            "split": {"kind": "static", "split": "thirds"},
            "edge": {"kind": "device-only", "device": "pi"},
            "far": {"kind": "device-only", "device": "pc"},
        },
        replications=1,
        drain_s=5.0,
    )


def _rows(world: World, measured: RunResult, simulated: RunResult) -> list[Row]:
    problem = world.problem
    names = list(problem.continuum.names)
    for link in range(len(problem.continuum.links)):
        names += [f"{problem.continuum.link_name(link)} {way}" for way in ("up", "down")]
    rows = []
    for kind in Kind:
        for place, name in enumerate(names):
            spent_s = []
            for result in (measured, simulated):
                own = result.spans.where(
                    (result.spans.kind == kind) & (result.spans.place == place) & (result.spans.request >= 0)
                )
                spent_s.append(float((own.end_s - own.start_s).sum()) / max(int(result.requests.completed.sum()), 1))
            if max(spent_s) > 0:
                rows.append(Row(kind.name.lower(), name, *spent_s))
    return rows


def _busy(facts: dict[str, Any]) -> str:
    """Whether the host says that it was too busy: by its load, or by how late the shaper handed bytes on."""
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    late_s = (facts.get("shaper") or {}).get("mean_late_s")
    if late_s is not None and late_s > BUSY_LATE_S:
        return f"the host was busy: the shaper was {1e3 * late_s:.2f} ms late on average"
    return f"the host was busy: load average {load:.1f} on {cores} cores" if load > 0.75 * cores else ""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("scenario", type=Path, nargs="?")
    parser.add_argument("--policy", default="split")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--out", type=Path, help="a folder to keep the results in")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        scenario = options.scenario or small_scenario(Path(folder) / "project")
        closure = play(scenario, options.policy, options.out or Path(folder) / "runs", options.set)
    sys.stdout.write(f"{closure}\n")
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    sys.path.insert(0, str(Path(__file__).parents[2]))
    sys.exit(main())
