"""A machine of a testbed with everything around it made of names: loop, lanes, lines, threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fakes import NowExecutor

from hardware.node.machine import Machine
from hardware.node.plans import EPOCHS
from hardware.node.play import Play
from hardware.node.station import Done
from hardware.node.workshop import SleepingWorkshop
from hardware.transport.parcel import Kind, Parcel, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Callable


class FakeLane:
    def __init__(self) -> None:
        self.waiting = self.bytes_waiting = 0
        self.open: list[tuple[int, float]] = []

    def under_way(self, now_s: float) -> list[tuple[int, float]]:
        return self.open


class FakeLinks:
    """Notes what is sent and told."""

    def __init__(self) -> None:
        self.lanes = {(0, 0): FakeLane(), (0, 1): FakeLane()}
        self.sent: list[tuple[Parcel, Any]] = []
        self.told: list[tuple[int, dict[str, Any]]] = []
        self.silent: list[int] = []
        self.backlog_bytes = 0

    def send(self, parcel: Parcel, release: Callable[[], None] | None = None) -> None:
        self.sent.append((parcel, release))

    def tell(self, device: int, message: dict[str, Any], blobs: Any = ()) -> bool:
        self.told.append((device, message))
        return True

    def of(self, what: str) -> list[dict[str, Any]]:
        return [message for _, message in self.told if message["what"] == what]


class FakeStation:
    """A queue of one server whose visits end when a test says so."""

    def __init__(self) -> None:
        self.jobs: list[Any] = []
        self.slots = 1
        self.paused: list[bool] = []
        self.cleared = 0

    def __len__(self) -> int:
        return len(self.jobs)

    @property
    def is_full(self) -> bool:
        return len(self.jobs) >= self.slots

    @property
    def waiting(self) -> int:
        return max(len(self.jobs) - self.slots, 0)

    @property
    def serving(self) -> tuple[Any, ...]:
        return tuple(self.jobs[: self.slots])

    def put(self, job: Any) -> None:
        self.jobs.append(job)

    def pause(self, *, paused: bool) -> None:
        self.paused.append(paused)

    def clear(self) -> None:
        self.cleared += 1
        self.jobs.clear()


class FakeWorkshop(SleepingWorkshop):
    """Counts how often stages were made and forgotten; fails on demand."""

    def __init__(self, problem: Any, me: int) -> None:
        super().__init__(problem, me)
        self.made: list[Any] = []
        self.forgotten: list[Any] = []
        self.error: Exception | None = None

    def visit(self, partition: Any) -> Any:
        if self.error is not None:
            raise self.error
        self.made.append(partition)
        return super().visit(partition)

    def forget(self, partition: Any) -> None:
        self.forgotten.append(partition)

    def probe(self, layers: Any) -> Any:
        if self.error is not None:
            raise self.error
        return super().probe(layers)


class Bench:
    """One machine and its part in a run."""

    def __init__(self, loop: Any, world: Any, me: int, number: int = 3) -> None:
        self.loop, self.world, self.me = loop, world, me
        self.links, self.station = FakeLinks(), FakeStation()
        self.workshop = FakeWorkshop(world.problem, me)
        self.troubles: list[tuple[str, bool]] = []
        self.machine = Machine(
            world=world,
            me=me,
            loop=loop,
            links=self.links,
            station=self.station,
            workshop=self.workshop,
            builder=NowExecutor(),
            inputs=((bytes(world.problem.graph.input_bytes),),),
            trouble=lambda text, fatal: self.troubles.append((text, fatal)),
        )
        self.play = Play(self.machine, number)

    def plan(self, epoch: int, partition: Any) -> None:
        self.play.told({"what": "plan", "epoch": epoch, "placement": list(partition.placement)})
        self.loop.run_for(0.0)

    def parcel(self, request: int, epoch: int, size_bytes: int, attempt: int = 0, number: int = 3) -> Parcel:
        """Work for the machine, as its tensors come over the wire."""
        spec = TensorSpec("float32", (1, size_bytes // 4))
        return Parcel(Kind.WORK, request, attempt, number * EPOCHS + epoch, self.me, (spec,), (bytearray(size_bytes),))

    def finish(self, error: Exception | None = None) -> Done:
        """End the visit that is being served."""
        job = self.station.jobs.pop(0)
        now_s = self.loop.now_s
        outputs = None if error is not None else job.visit.compute(job.buffers)
        done = Done(job, outputs, now_s, now_s, error) if error is not None else Done(job, outputs, now_s, now_s)
        self.play.done(done)
        return done


class Release:
    """Counts how often a parcel was let go."""

    def __init__(self) -> None:
        self.n = 0

    def __call__(self) -> None:
        self.n += 1
