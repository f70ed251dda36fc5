"""A testbed on one machine for tests: real agents that only sleep, and something that breaks them at a given time."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hardware.coordinator.plan import Plan
from hardware.coordinator.rig import start_here
from hardware.node.bundle import pack
from hardware.testbed import TestbedBackend
from twin.policies import POLICIES
from twin.scenario import load_world

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hardware.emulation.machine import OneMachine
    from twin.records import RunResult
    from twin.world import World

SCENARIO = """# Does a run survive what breaks?
schema: 1
name: breaking
model: mobilenet_v2
devices:
  - {name: edge, tier: edge, profile: raspberry-pi-5}
  - {name: fog, tier: fog, profile: i7-10510u}
  - {name: cloud, tier: cloud, profile: rtx-4070-ti}
links:
  - {between: [edge, fog], rate_bps: 100e+6, rtt_s: 0.002}
  - {between: [fog, cloud], rate_bps: 200e+6, rtt_s: 0.002}
workload: {kind: poisson, rate_rps: 10.0, duration_s: 9.0}
objective: {latency: 1.0}
control: {every_s: 0.5}
detect_s: 0.5
drain_s: 20
policies:
  far: {kind: device-only, device: cloud}
  adaptive: {kind: adaptive, dwell_s: 0.5}
  edge: {kind: device-only, device: edge}
seed: 3
"""


class Rig:
    """A testbed that is set up, and what breaks it."""

    def __init__(self, world: World, local: OneMachine, backend: TestbedBackend) -> None:
        self.world, self.local, self.backend = world, local, backend
        self._breaks: list[tuple[float, Callable[[], object]]] = []

    def play(self, label: str, *breaks: tuple[float, Callable[[], object]]) -> RunResult:
        """Play a policy; each break happens at its run time."""
        self._breaks = sorted(breaks, key=lambda entry: entry[0])
        spec = next(spec for spec in self.world.policies if spec.label == label)
        return self.backend.run(self.world, POLICIES[spec.kind](**spec.options), label, 0)

    def progress(self, _label: str, _replication: int, t_s: float, _ended: int) -> None:
        while self._breaks and t_s >= self._breaks[0][0]:
            self._breaks.pop(0)[1]()


@contextmanager
def rig(folder: Path, text: str = SCENARIO, overrides: Sequence[str] = (), **plan: object) -> Iterator[Rig]:
    """Start agents that sleep, wire them up and set them up."""
    data = folder / "data"
    if not data.exists():
        data.symlink_to(Path(__file__).parents[2] / "data")
    path = folder / "scenario.yaml"
    path.write_text(text, encoding="utf-8")
    world = load_world(path, ["replications=1", *overrides])
    logs = folder / "logs"
    logs.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as keys:
        made = start_here(world, logs, Path(keys), "sleep")
        assert made.local is not None
        try:
            size_bytes = world.problem.graph.input_bytes
            settings = {"check": False, "idle_s": 0.0, "one_by_one": False, **plan}
            backend = TestbedBackend(
                Plan(world, pack(world, path), (bytes(size_bytes),), made.orders, "emulated", **settings),  # type: ignore[arg-type]
                made.remotes,
                made.local,
            )
            own = Rig(world, made.local, backend)
            backend._progress = own.progress
            backend.set_up()
            yield own
            backend.close()
        finally:
            made.local.close()
