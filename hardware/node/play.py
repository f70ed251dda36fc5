"""One run on one machine: what arrives is worked off or passed on, and what happens is recorded and reported."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from hardware.edge.report import Report
from hardware.node.links import MOST_BACKLOG_BYTES
from hardware.node.plans import EPOCHS, Plans
from hardware.node.probes import Probes
from hardware.node.recorder import Recorder
from hardware.node.reporter import Reporter
from hardware.node.station import Job
from hardware.transport.parcel import Kind as ParcelKind
from hardware.transport.parcel import Parcel
from twin.partition import Partition
from twin.problem import LinkProbe
from twin.records import PROBE, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hardware.edge.conductor import Conductor
    from hardware.node.compute import Buffers
    from hardware.node.machine import Machine
    from hardware.node.station import Done
    from hardware.node.workshop import Visit
    from hardware.transport.lane import Receipt
    from hardware.verify import Keeper


class Play:
    """One run on one machine.

    Attributes:
        conductor: Leads the run, on the edge; None elsewhere.
        keeper: Keeps answers that are to be checked, on the edge; None if none are.
        plans: The plans of this machine.
        probes: What it measures because a policy has asked for it.
        recorder: The spans of this machine.
        reporter: Tells the edge what has happened.

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
        self.plans = Plans(machine, self._queue, self._tell_edge)
        self.probes = Probes(machine, number)
        self.reporter = Reporter(machine, self.plans, self._report)
        self._n_devices = machine.world.problem.n_devices
        self._closed = False

    def close(self) -> None:
        """Do nothing more."""
        if not self._closed:
            self._closed = True
            self.machine.station.clear()
            self.plans.close()
            self.probes.close()
            self.reporter.close()

    # What reaches this machine

    def work(self, parcel: Parcel, release: Callable[[], None]) -> None:
        """Tensors for the stage of this machine have arrived."""
        if self._closed or parcel.epoch // EPOCHS != self.number:
            release()
        else:
            self.plans.take(parcel.epoch % EPOCHS, parcel, release)

    def answer(self, parcel: Parcel) -> None:
        """An answer has come back to the edge."""
        if parcel.epoch // EPOCHS == self.number:
            self._answered(parcel.request, parcel.epoch % EPOCHS, parcel.buffers)

    def told(self, message: Mapping[str, Any]) -> None:
        """Another machine tells this one something about this run."""
        what = message.get("what")
        if what == "plan":
            self.plans.prepare(int(message["epoch"]), Partition(tuple(message["placement"]), self._n_devices))
        elif what == "ready" and self.conductor is not None:
            self.conductor.ready(int(message["device"]), int(message["epoch"]))
        elif what == "report" and self.conductor is not None:
            self.conductor.hear(Report.from_json(message["report"]))
        elif what == "probe-link":
            self.probes.link(
                LinkProbe(message["link"], message["direction"], message["size_bytes"]), int(message["epoch"])
            )
        elif what == "probe-stage":
            self.probes.stage(tuple(message["layers"]), int(message["epoch"]))
        elif what == "unready":
            self.machine.trouble(str(message["error"]), True)

    def tell(self, target: int, what: str, /, **content: object) -> None:
        """Tell another machine something about this run."""
        self.machine.links.tell(target, {"what": what, "play": self.number, **content})

    # What happens on this machine

    def done(self, done: Done) -> None:
        """A stage visit has ended."""
        job = done.job
        if self._closed:
            return
        if done.outputs is None:
            self.machine.trouble(f"{self.machine.name}: a stage failed: {done.error!r}", False)
            self.reporter.lost(job.request, job.attempt)
            return
        if job.request != PROBE:
            # First of all: the request waits, its records do not.
            self._hand_on(job, done.outputs)
        me = self.machine.me
        self.recorder.add(job.request, job.epoch, Kind.QUEUE, me, job.arrived_s, job.start_s)
        self.recorder.add(job.request, job.epoch, Kind.COMPUTE, me, job.start_s, done.end_s)
        self.reporter.stage(done.end_s, job.visit.nominal_s, done.end_s - job.start_s)

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
        self.reporter.message(receipt.acked_s, link, direction, size_bytes, receipt.transfer_s)

    def undelivered(self, parcels: Sequence[Parcel]) -> None:
        """These did not arrive: their requests cannot go on."""
        self._review_backlog()
        for parcel in parcels:
            if parcel.epoch // EPOCHS == self.number and parcel.kind != ParcelKind.PROBE:
                self.reporter.lost(parcel.request, parcel.attempt)

    def link_changed(self) -> None:
        """A control line went up or down."""
        if self.conductor is not None:
            self.conductor.hear(self.reporter.report())
        else:
            self.reporter.now()

    def _queue(self, visit: Visit | None, parcel: Parcel, release: Callable[[], None]) -> None:
        machine = self.machine
        limit = machine.world.problem.continuum.devices[machine.me].queue_limit
        if visit is None or parcel.tensors != visit.compute.takes:
            release()
            self.reporter.lost(parcel.request, parcel.attempt)
        elif limit is not None and machine.station.is_full and machine.station.waiting >= limit:
            release()
            self.reporter.dropped(parcel.request, parcel.attempt)
        else:
            epoch = parcel.epoch % EPOCHS
            job = Job(parcel.request, parcel.attempt, epoch, visit, parcel.buffers, release, time.monotonic())
            machine.station.put(job)

    def _hand_on(self, job: Job, outputs: Buffers) -> None:
        visit = job.visit
        if visit.is_last and self.machine.is_edge:
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

    def _review_backlog(self) -> None:
        """A machine whose links cannot keep up computes no further ahead of them."""
        self.machine.station.pause(paused=self.machine.links.backlog_bytes > MOST_BACKLOG_BYTES)

    def _report(self, report: Report) -> None:
        """Let the edge have a report."""
        if self.conductor is not None:
            self.conductor.hear(report)
        elif not self.machine.is_edge:
            self.tell(0, "report", report=report.to_json())

    def _tell_edge(self, what: str, /, **content: object) -> None:
        if self.machine.is_edge:
            self.told({"what": what, **content})
        else:
            self.tell(0, what, **content)
