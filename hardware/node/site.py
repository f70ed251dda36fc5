"""What the machine at the edge does for the conductor of a run; see `hardware.edge.site.Site`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hardware.node.plans import EPOCHS
from hardware.node.station import no_release
from hardware.transport.parcel import Kind as ParcelKind
from hardware.transport.parcel import Parcel, TensorSpec
from twin.problem import StageProbe
from twin.records import Kind

if TYPE_CHECKING:
    from hardware.edge.plan import EdgePlan
    from hardware.edge.report import Report
    from hardware.node.play import Play
    from twin.problem import Probe


class EdgeSite:
    """The edge: does its own part itself, and tells other machines theirs.

    Args:
        play: The run, on the edge.
    """

    def __init__(self, play: Play) -> None:
        self._play = play

    def send(self, request: int, attempt: int, plan: EdgePlan) -> None:
        """Put a request on its way."""
        play, machine, first = self._play, self._play.machine, plan.devices[0]
        graph = machine.world.problem.graph
        buffers = machine.inputs[request % len(machine.inputs)]
        specs = (TensorSpec(graph.dtype, graph.input_shape),)
        epoch = play.number * EPOCHS + plan.epoch
        parcel = Parcel(ParcelKind.WORK, request, attempt, epoch, first, specs, buffers)
        if first == 0:
            play.work(parcel, no_release)
        else:
            machine.links.send(parcel)

    def announce(self, plan: EdgePlan, devices: tuple[int, ...]) -> None:
        """Tell machines to prepare a plan."""
        play = self._play
        for device in devices:
            if device == 0:
                play.plans.prepare(plan.epoch, plan.partition)
            else:
                play.tell(device, "plan", epoch=plan.epoch, placement=list(plan.partition.placement))

    def probe(self, probe: Probe, epoch: int) -> None:
        """Let a machine measure a link or a stage."""
        play = self._play
        if isinstance(probe, StageProbe):
            if probe.device == 0:
                play.probes.stage(probe.layers, epoch)
            else:
                play.tell(probe.device, "probe-stage", layers=list(probe.layers), epoch=epoch)
            return
        link = play.machine.world.problem.continuum.links[probe.link]
        sender = (link.a, link.b)[probe.direction]
        if sender == 0:
            play.probes.link(probe, epoch)
        else:
            size_bytes = probe.size_bytes
            play.tell(
                sender, "probe-link", link=probe.link, direction=probe.direction, size_bytes=size_bytes, epoch=epoch
            )

    def report(self) -> Report:
        """How things stand on this machine, with its measurements since the last report."""
        return self._play.reporter.report()

    def held(self, request: int, epoch: int, start_s: float, end_s: float) -> None:
        """Note that a request was held back, in run time."""
        conductor = self._play.conductor
        assert conductor is not None  # noqa: S101 - only the conductor calls
        zero_s = conductor.clock.zero_s
        self._play.recorder.add(request, epoch, Kind.HOLD, 0, start_s + zero_s, end_s + zero_s)
