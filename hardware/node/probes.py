"""Links and stages that one machine measures in a run because a policy has asked for it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from hardware.node.plans import EPOCHS
from hardware.node.station import Job, no_release
from hardware.transport.parcel import Kind, Parcel, TensorSpec
from twin.records import PROBE

if TYPE_CHECKING:
    from concurrent.futures import Future

    from hardware.node.machine import Machine
    from hardware.node.workshop import Visit
    from twin.problem import LinkProbe


class Probes:
    """Sends messages and runs stages for their time alone; in the loop's thread.

    Args:
        machine: The machine.
        number: Number of the run since the machine was set up.
    """

    def __init__(self, machine: Machine, number: int) -> None:
        self._machine, self._number = machine, number
        self._closed = False

    def link(self, probe: LinkProbe, epoch: int) -> None:
        """Send a message over a link whose sending end this machine is."""
        machine = self._machine
        link = machine.world.problem.continuum.links[probe.link]
        target = (link.b, link.a)[probe.direction]
        size = max(int(probe.size_bytes), 1)
        specs = (TensorSpec("uint8", (size,)),)
        wire = self._number * EPOCHS + epoch
        machine.links.send(Parcel(Kind.PROBE, PROBE, 0, wire, target, specs, (bytes(size),)))

    def stage(self, layers: tuple[int, ...], epoch: int) -> None:
        """Run some layers once they are made ready, beside the loop."""
        machine = self._machine

        def made(future: Future[Visit]) -> None:
            machine.loop.post(self._start, future, epoch)

        machine.builder.submit(machine.workshop.probe, layers).add_done_callback(made)

    def close(self) -> None:
        """Start no more."""
        self._closed = True

    def _start(self, future: Future[Visit], epoch: int) -> None:
        """Run a stage to measure it, unless the machine is busy by now."""
        machine, error = self._machine, future.exception()
        if error is not None:
            machine.trouble(f"{machine.name}: a stage could not be measured: {error!r}", False)
        elif not self._closed and len(machine.station) == 0:
            visit = future.result()
            zeros = tuple(bytearray(spec.size_bytes) for spec in visit.compute.takes)
            machine.station.put(Job(PROBE, 0, epoch, visit, zeros, no_release, time.monotonic()))
