"""One run on one machine: what arrives is worked off or passed on, and what happens is recorded and reported."""

from __future__ import annotations

import itertools
import math
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hardware.edge.report import Report
from hardware.node.links import MOST_BACKLOG_BYTES
from hardware.node.recorder import Recorder
from hardware.node.station import Job
from hardware.transport.parcel import Kind as ParcelKind
from hardware.transport.parcel import Parcel, TensorSpec
from twin.partition import Partition
from twin.problem import LinkProbe, StageProbe
from twin.records import PROBE, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Executor, Future

    from hardware.edge.conductor import Conductor
    from hardware.edge.plan import EdgePlan
    from hardware.node.compute import Buffers
    from hardware.node.links import Links
    from hardware.node.station import Done, Station
    from hardware.node.workshop import Visit, Workshop
    from hardware.transport.lane import Receipt
    from hardware.transport.loop import Loop
    from hardware.verify import Keeper
    from twin.problem import Probe
    from twin.world import World

EPOCHS = 1 << 16
"""Plan epochs of one run; on the wire they are counted on from run to run."""
_PLANS = 16
"""Plans that are kept ready, the newest ones: a request that is under way for longer than so many changes is lost."""
_REPORT_S = 0.02
"""Least time between two reports."""
_BEATS = 4
"""Reports in the time after which a machine counts as lost, where there is nothing to report."""


@dataclass(frozen=True, slots=True, eq=False)
class Machine:
    """What a run finds on a machine.

    Attributes:
        world: The scenario.
        me: Position of the machine.
        loop: Its loop.
        links: Its links.
        station: Its queue.
        workshop: Makes its stages.
        builder: Runs what takes long beside the loop.
        inputs: Tensors of the pool of inputs, on the edge.
        trouble: Called with what has gone wrong, in words, and whether the run cannot go on.
    """

    world: World
    me: int
    loop: Loop
    links: Links
    station: Station
    workshop: Workshop
    builder: Executor
    inputs: tuple[Buffers, ...]
    trouble: Callable[[str, bool], None]


class Play:
    """One run on one machine.

    Attributes:
        conductor: Leads the run, on the edge; None elsewhere.
        keeper: Keeps answers that are to be checked, on the edge; None if none are.
        recorder: The spans of this machine.

    Args:
        machine: The machine.
        number: Number of the run since the machine was set up.
        keeper: See above.
    """

    def __init__(self, machine: Machine, number: int, keeper: Keeper[tuple[bytes, ...]] | None = None) -> None:
        self.machine, self.number = machine, number
        self.conductor: Conductor | None = None
        self.recorder = Recorder()
        self.keeper = keeper
        self._n_devices = machine.world.problem.n_devices
        self._visits: dict[int, Visit | None] = {}
        self._partitions: dict[int, Partition] = {}
        self._preparing: set[int] = set()
        self._early: dict[int, deque[tuple[Parcel, Callable[[], None]]]] = {}
        self._link_rows: list[list[float]] = []
        self._stage_rows: list[list[float]] = []
        self._failed: list[list[int]] = []
        self._dropped: list[list[int]] = []
        self._reported_s = -math.inf
        self._report_due = False
        self._closed = False

    @property
    def is_edge(self) -> bool:
        """Whether this machine is the edge."""
        return self.machine.me == 0

    def close(self) -> None:
        """Do nothing more."""
        if not self._closed:
            self._closed = True
            self.machine.station.clear()
            for _, release in itertools.chain(*self._early.values()):
                release()
            self._early.clear()
            for epoch in list(self._partitions):
                self._forget(epoch)

    # What reaches this machine

    def work(self, parcel: Parcel, release: Callable[[], None]) -> None:
        """Tensors for the stage of this machine have arrived."""
        epoch = parcel.epoch % EPOCHS
        if self._closed or parcel.epoch // EPOCHS != self.number:
            release()
        elif epoch not in self._visits:
            self._early.setdefault(epoch, deque()).append((parcel, release))
        else:
            self._queue(self._visits[epoch], parcel, release)

    def answer(self, parcel: Parcel) -> None:
        """An answer has come back to the edge."""
        if parcel.epoch // EPOCHS == self.number:
            self._answered(parcel.request, parcel.epoch % EPOCHS, parcel.buffers)

    def told(self, message: Mapping[str, Any]) -> None:
        """Another machine tells this one something about this run."""
        what = message.get("what")
        if what == "plan":
            self.prepare(int(message["epoch"]), Partition(tuple(message["placement"]), self._n_devices))
        elif what == "ready" and self.conductor is not None:
            self.conductor.ready(int(message["device"]), int(message["epoch"]))
        elif what == "report" and self.conductor is not None:
            self.conductor.hear(Report.from_json(message["report"]))
        elif what == "probe-link":
            self._probe_link(LinkProbe(message["link"], message["direction"], message["size_bytes"]), message["epoch"])
        elif what == "probe-stage":
            self._probe_stage(tuple(message["layers"]), message["epoch"])
        elif what == "unready":
            self.machine.trouble(str(message["error"]), True)

    # What the conductor asks of the edge

    def send(self, request: int, attempt: int, plan: EdgePlan) -> None:
        """Put a request on its way."""
        machine, first = self.machine, plan.devices[0]
        graph = machine.world.problem.graph
        buffers = machine.inputs[request % len(machine.inputs)]
        specs = (TensorSpec(graph.dtype, graph.input_shape),)
        epoch = self.number * EPOCHS + plan.epoch
        parcel = Parcel(ParcelKind.WORK, request, attempt, epoch, first, specs, buffers)
        if first == 0:
            self.work(parcel, _nothing)
        else:
            machine.links.send(parcel)

    def announce(self, plan: EdgePlan, devices: tuple[int, ...]) -> None:
        """Tell machines to prepare a plan."""
        for device in devices:
            if device == 0:
                self.prepare(plan.epoch, plan.partition)
            else:
                self._tell(device, "plan", epoch=plan.epoch, placement=list(plan.partition.placement))

    def probe(self, probe: Probe, epoch: int) -> None:
        """Let a machine measure a link or a stage."""
        if isinstance(probe, StageProbe):
            if probe.device == 0:
                self._probe_stage(probe.layers, epoch)
            else:
                self._tell(probe.device, "probe-stage", layers=list(probe.layers), epoch=epoch)
            return
        link = self.machine.world.problem.continuum.links[probe.link]
        sender = (link.a, link.b)[probe.direction]
        if sender == 0:
            self._probe_link(probe, epoch)
        else:
            size_bytes = probe.size_bytes
            self._tell(
                sender, "probe-link", link=probe.link, direction=probe.direction, size_bytes=size_bytes, epoch=epoch
            )

    def held(self, request: int, epoch: int, start_s: float, end_s: float) -> None:
        """Note that a request was held back, in run time."""
        assert self.conductor is not None  # noqa: S101 - only the conductor calls
        zero_s = self.conductor.clock.zero_s
        self.recorder.add(request, epoch, Kind.HOLD, 0, start_s + zero_s, end_s + zero_s)

    def report(self) -> Report:
        """How things stand on this machine, with its measurements since the last report."""
        machine, now_s = self.machine, time.monotonic()
        lanes = machine.links.lanes
        waiting = [[link, direction, lane.waiting] for (link, direction), lane in lanes.items() if lane.waiting]
        under_way: list[list[float]] = [
            [link, direction, size_bytes, start_s]
            for (link, direction), lane in lanes.items()
            for size_bytes, start_s in lane.under_way(now_s)
        ]
        under_way += [[-1, machine.me, job.visit.nominal_s, job.start_s] for job in machine.station.serving]
        report = Report(
            machine.me,
            len(machine.station),
            waiting,
            under_way,
            self._link_rows,
            self._stage_rows,
            self._failed,
            self._dropped,
            machine.links.silent,
            [[epoch, 1] for epoch in self._partitions] + [[epoch, 0] for epoch in sorted(self._preparing)],
        )
        self._link_rows, self._stage_rows, self._failed, self._dropped = [], [], [], []
        self._reported_s = now_s
        return report

    # What happens on this machine

    def prepare(self, epoch: int, partition: Partition) -> None:
        """Make the stage of a plan ready, beside the loop, unless it is or will be."""
        if self._closed or epoch in self._preparing:
            return
        if epoch in self._partitions:
            self._tell_edge("ready", epoch=epoch, device=self.machine.me)
            return
        machine = self.machine
        self._preparing.add(epoch)
        future = machine.builder.submit(machine.workshop.visit, partition)
        future.add_done_callback(lambda made: machine.loop.post(self._prepared, epoch, partition, made))

    def done(self, done: Done) -> None:
        """A stage visit has ended."""
        job = done.job
        if self._closed:
            return
        if done.outputs is None:
            self.machine.trouble(f"{self._name}: a stage failed: {done.error!r}", False)
            self._lost(job.request, job.attempt)
            return
        if job.request != PROBE:
            # First of all: the request waits, its records do not.
            self._hand_on(job, done.outputs)
        me = self.machine.me
        self.recorder.add(job.request, job.epoch, Kind.QUEUE, me, job.arrived_s, job.start_s)
        self.recorder.add(job.request, job.epoch, Kind.COMPUTE, me, job.start_s, done.end_s)
        self._stage_rows.append([done.end_s, job.visit.nominal_s, done.end_s - job.start_s])
        self._report_soon()

    def receipt(self, link: int, direction: int, receipt: Receipt) -> None:
        """A parcel that this machine sent has arrived."""
        self._review_backlog()
        if receipt.epoch // EPOCHS != self.number:
            return
        place = self._n_devices + 2 * link + direction
        request = PROBE if receipt.kind == ParcelKind.PROBE else receipt.request
        epoch, size_bytes = receipt.epoch % EPOCHS, float(receipt.size_bytes)
        there_s = (receipt.finish_s + receipt.acked_s) / 2
        for kind, start_s, end_s in (
            (Kind.QUEUE, receipt.queued_s, receipt.start_s),
            (Kind.TRANSMIT, receipt.start_s, receipt.finish_s),
            (Kind.PROPAGATE, receipt.finish_s, there_s),
        ):
            self.recorder.add(request, epoch, kind, place, start_s, end_s, size_bytes)
        self._link_rows.append([receipt.acked_s, link, direction, size_bytes, receipt.transfer_s])
        self._report_soon()

    def undelivered(self, parcels: Sequence[Parcel]) -> None:
        """These did not arrive: their requests cannot go on."""
        self._review_backlog()
        for parcel in parcels:
            if parcel.epoch // EPOCHS == self.number and parcel.kind != ParcelKind.PROBE:
                self._lost(parcel.request, parcel.attempt)

    def link_changed(self) -> None:
        """A control line went up or down."""
        if self.conductor is not None:
            self.conductor.hear(self.report())
        else:
            self._report_now()

    def beat(self) -> None:
        """Report now and again that this machine is there."""
        if not self._closed and not self.is_edge:
            self._report_now()
            beat_s = max(self.machine.world.detect_s / _BEATS, _REPORT_S)
            self.machine.loop.call_at(time.monotonic() + beat_s, self.beat)

    def _queue(self, visit: Visit | None, parcel: Parcel, release: Callable[[], None]) -> None:
        machine = self.machine
        limit = machine.world.problem.continuum.devices[machine.me].queue_limit
        if visit is None or parcel.tensors != visit.compute.takes:
            release()
            self._lost(parcel.request, parcel.attempt)
        elif limit is not None and machine.station.is_full and machine.station.waiting >= limit:
            release()
            self._dropped.append([parcel.request, parcel.attempt])
            self._report_soon()
        else:
            epoch = parcel.epoch % EPOCHS
            job = Job(parcel.request, parcel.attempt, epoch, visit, parcel.buffers, release, time.monotonic())
            machine.station.put(job)

    def _hand_on(self, job: Job, outputs: Buffers) -> None:
        visit = job.visit
        if visit.is_last and self.is_edge:
            self._answered(job.request, job.epoch, outputs)
            return
        kind = ParcelKind.ANSWER if visit.is_last else ParcelKind.WORK
        epoch = self.number * EPOCHS + job.epoch
        parcel = Parcel(kind, job.request, job.attempt, epoch, visit.target, visit.compute.gives, outputs)
        self.machine.links.send(parcel)
        self._review_backlog()

    def _answered(self, request: int, epoch: int, buffers: Buffers) -> None:
        if self.conductor is not None and self.conductor.answered(request) and self.keeper is not None:
            self.keeper.offer(request, epoch, tuple(bytes(buffer) for buffer in buffers))

    def _prepared(self, epoch: int, partition: Partition, made: Future[Visit | None]) -> None:
        self._preparing.discard(epoch)
        error = made.exception()
        if self._closed:
            if error is None:
                self.machine.workshop.forget(partition)
            return
        if error is not None:
            self._tell_edge("unready", error=f"{self._name}: {error}")
            return
        self._visits[epoch] = made.result()
        self._partitions[epoch] = partition
        if len(self._partitions) > _PLANS:
            self._forget(min(self._partitions))
        for parcel, release in self._early.pop(epoch, ()):
            self._queue(self._visits[epoch], parcel, release)
        self._tell_edge("ready", epoch=epoch, device=self.machine.me)

    def _forget(self, epoch: int) -> None:
        """A plan is so old that nothing can be under way on it; what comes all the same is lost."""
        self.machine.workshop.forget(self._partitions.pop(epoch))
        self._visits[epoch] = None

    def _probe_link(self, probe: LinkProbe, epoch: int) -> None:
        link = self.machine.world.problem.continuum.links[probe.link]
        target = (link.b, link.a)[probe.direction]
        size = max(int(probe.size_bytes), 1)
        specs = (TensorSpec("uint8", (size,)),)
        wire = self.number * EPOCHS + epoch
        self.machine.links.send(Parcel(ParcelKind.PROBE, PROBE, 0, wire, target, specs, (bytes(size),)))

    def _probe_stage(self, layers: tuple[int, ...], epoch: int) -> None:
        machine = self.machine

        def made(future: Future[Visit]) -> None:
            machine.loop.post(self._start_probe, future, epoch)

        machine.builder.submit(machine.workshop.probe, layers).add_done_callback(made)

    def _start_probe(self, future: Future[Visit], epoch: int) -> None:
        """Run a stage to measure it, unless the machine is busy by now."""
        error = future.exception()
        if error is not None:
            self.machine.trouble(f"{self._name}: a stage could not be measured: {error!r}", False)
        elif not self._closed and len(self.machine.station) == 0:
            visit = future.result()
            zeros = tuple(bytearray(spec.size_bytes) for spec in visit.compute.takes)
            self.machine.station.put(Job(PROBE, 0, epoch, visit, zeros, _nothing, time.monotonic()))

    def _lost(self, request: int, attempt: int) -> None:
        self._failed.append([request, attempt])
        self._report_soon()

    def _review_backlog(self) -> None:
        """A machine whose links cannot keep up computes no further ahead of them."""
        self.machine.station.pause(paused=self.machine.links.backlog_bytes > MOST_BACKLOG_BYTES)

    def _report_soon(self) -> None:
        """Tell the edge before long; on the edge itself the conductor asks, unless a request has failed."""
        if self.conductor is not None and not (self._failed or self._dropped):
            return
        if not self._report_due:
            self._report_due = True
            self.machine.loop.call_at(max(self._reported_s + _REPORT_S, time.monotonic()), self._report_now)

    def _report_now(self) -> None:
        self._report_due = False
        if self._closed:
            return
        if self.conductor is not None:
            self.conductor.hear(self.report())
        elif not self.is_edge:
            self._tell(0, "report", report=self.report().to_json())

    def _tell_edge(self, what: str, /, **content: object) -> None:
        if self.is_edge:
            self.told({"what": what, **content})
        else:
            self._tell(0, what, **content)

    def _tell(self, target: int, what: str, /, **content: object) -> None:
        self.machine.links.tell(target, {"what": what, "play": self.number, **content})

    @property
    def _name(self) -> str:
        return self.machine.world.problem.continuum.names[self.machine.me]


def _nothing() -> None:
    """For parcels that came from no other machine."""
