"""Makes a machine ready for a scenario: the model, its speed, and the way in which it stands in for another machine."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from hardware.emulation.kinds import Choice, choose_kind
from hardware.emulation.speed import Speed
from hardware.host import cores
from hardware.inventory import RemoteWeights
from hardware.models import use_float32
from hardware.node.bundle import unpack
from hardware.node.links import Dial
from hardware.node.metering import EMULATED, MeterOrder
from hardware.node.workshop import SleepingWorkshop, torch_workshop, whole_model_s
from twin.errors import MachineError
from twin.world import faulted_rates

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hardware.agent_file import AgentConfig
    from hardware.emulation.speed import SpeedKind
    from hardware.node.workshop import Workshop
    from twin.world import World

Emulate = Literal["none", "auto", "factor", "profile", "sleep"]
"""How a machine is asked to stand in for another one; `auto`: `profile` where it is fast enough, else `sleep`."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What a coordinator asks of a machine.

    Attributes:
        me: Position of the machine.
        dials: Where to reach the other ends of its links.
        emulate: How it stands in for another machine.
        factor: For `factor`, how many times as long as here a stage takes.
        busy_threads: Threads that compute at once on this host, over all machines that it stands in for.
        threads: Threads of torch; None for those of the machine's own configuration.
        accelerator: Likewise.
        weights: File of weights; None for random ones of the scenario's seed.
        meters: Power meters that it reads.
    """

    me: int
    dials: tuple[Dial, ...]
    emulate: Emulate = "none"
    factor: float = 1.0
    busy_threads: int = 1
    threads: int | None = None
    accelerator: str | None = None
    weights: RemoteWeights | None = None
    meters: tuple[MeterOrder, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The orders as plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Orders:
        """Build orders from the plain data that `to_json` returns."""
        weights = RemoteWeights(**data["weights"]) if data["weights"] else None
        dials = tuple(Dial(**dial) for dial in data["dials"])
        meters = tuple(MeterOrder(**meter) for meter in data["meters"])
        return cls(**{**data, "dials": dials, "weights": weights, "meters": meters})


@dataclass(frozen=True, slots=True, eq=False)
class Ready:
    """What a machine is once it is ready.

    Attributes:
        world: The scenario.
        workshop: Makes its stages.
        kind: How it stands in for another machine, or `none`.
        factor: See `Orders`.
        facts: What a coordinator wants to know and to record.
    """

    world: World
    workshop: Workshop
    kind: Literal["none", "factor", "profile", "sleep"]
    factor: float
    facts: dict[str, Any]

    def speed(self, me: int, replication: int) -> Speed | None:
        """How long a stage takes in a replication; None where the machine is itself."""
        if self.kind == "none":
            return None
        if self.kind == "factor":
            return Speed("factor", faulted_rates(self.world)[me].scaled(1 / self.factor))
        return Speed.from_world(self.world, me, self.kind, replication)


def get_ready(orders: Orders, bundle: bytes, folder: Path, config: AgentConfig) -> Ready:
    """Load the scenario and its model. Takes seconds.

    Args:
        orders: What is asked.
        bundle: The scenario, as `hardware.node.bundle.pack` packed it.
        folder: An empty folder for its files.
        config: What the machine allows.

    Raises:
        TwinError: The machine does not build the model, or something that it needs is not there.
    """
    world = unpack(bundle, folder)
    problem, me = world.problem, orders.me
    for meter in orders.meters:
        if meter.url != EMULATED:
            config.check_meter(meter.url)
    if orders.emulate == "sleep":
        return _sleeping(world, me, Choice("sleep", "asked for"))
    config.check_model(problem.graph.model)
    threads = orders.threads or config.torch_threads
    accelerator = orders.accelerator or config.accelerator
    _check_accelerator(accelerator, config.name)
    use_float32()
    workshop, digest = torch_workshop(
        problem,
        me,
        seed=world.seed,
        weights=config.weights_file(orders.weights) if orders.weights else None,
        cache_bytes=config.stage_cache_bytes,
        accelerator=accelerator,
        threads=threads,
    )
    host_s = whole_model_s(workshop, problem, me)
    from hardware.verify import Kernels  # noqa: PLC0415 - imports torch

    facts: dict[str, Any] = {
        "weights": digest,
        "host_s": host_s,
        "threads": threads,
        "accelerator": accelerator,
        "kernels": asdict(Kernels.here(threads, accelerator)),
    }
    kind: SpeedKind | Literal["none"]
    if orders.emulate == "auto":
        choice = choose_kind(
            problem.continuum.names[me],
            float(problem.layer_time_s[me].sum()),
            host_s,
            busy_threads=orders.busy_threads,
            cores=cores(),
        )
        if choice.kind == "sleep":
            return _sleeping(world, me, choice)
        kind, facts["why"] = choice.kind, choice.reason
    else:
        kind = orders.emulate
    return Ready(world, workshop, kind, orders.factor, {**facts, "emulate": kind})


def _sleeping(world: World, me: int, choice: Choice) -> Ready:
    facts = {"emulate": "sleep", "why": choice.reason, "weights": None}
    return Ready(world, SleepingWorkshop(world.problem, me), "sleep", 1.0, facts)


def _check_accelerator(accelerator: str, name: str) -> None:
    if accelerator == "cuda":
        import torch  # noqa: PLC0415 - slow to import

        if not torch.cuda.is_available():
            raise MachineError(f"{name} has no CUDA device that torch can use; give `accelerator: cpu`")
