"""A machine of a testbed: one port, the commands of a coordinator, and the run that it takes part in."""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hardware.node.commands import Commands
from hardware.node.links import link_of
from hardware.node.station import Station
from hardware.transport.hub import Hub
from hardware.transport.parcel import Kind
from twin.errors import MachineError, TwinError
from twin.units import bits_from_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hardware.agent_file import AgentConfig
    from hardware.node.activity import Activity
    from hardware.node.links import Links
    from hardware.node.machine import Machine
    from hardware.node.metering import Meters
    from hardware.node.play import Play
    from hardware.node.prober import Prober
    from hardware.node.station import Done
    from hardware.transport.credentials import Credentials
    from hardware.transport.lane import Receipt
    from hardware.transport.loop import Loop
    from hardware.transport.parcel import Parcel

COORDINATOR = "coordinator"
"""Name of whoever may give commands; its identity begins with it."""


class Node:
    """A machine of a testbed.

    Attributes:
        machine: What it was set up with; None before.
        play: The run under way, or the last one.
        links: Its links, once set up.
        prober: Measures the way to another machine, outside of any run.
        meters: The power meters that it reads while a run lasts.
        activity: What it does, where its power is emulated.
        troubles: What has gone wrong, in words.
        broken: Whether the run cannot go on for it.

    Args:
        loop: Its loop.
        config: What it is and allows.
        credentials: Its keys, and those of the machines that it talks to.
    """

    def __init__(self, loop: Loop, config: AgentConfig, credentials: Credentials) -> None:
        self.loop, self.config, self.credentials = loop, config, credentials
        self.machine: Machine | None = None
        self.play: Play | None = None
        self.links: Links | None = None
        self.station: Station | None = None
        self.prober: Prober | None = None
        self.meters: Meters | None = None
        self.activity: Activity | None = None
        self.troubles: list[str] = []
        self.broken = False
        self.builder = ThreadPoolExecutor(1, "builder")
        self.folder = tempfile.TemporaryDirectory(prefix="continuum-twin-")
        self._commands = Commands(self)
        self.hub = Hub(
            loop,
            config.bind,
            credentials,
            on_parcel=self._parcel,
            on_message=self._message,
            on_up=self._peer_up,
            on_down=self._peer_down,
            limits=config.limits,
        )

    def close(self) -> None:
        """Hang up and forget everything."""
        self.tear_down()
        self.hub.close()
        self.builder.shutdown(wait=False, cancel_futures=True)
        self.folder.cleanup()

    def tear_down(self) -> None:
        """Forget what the machine was set up with."""
        if self.play is not None:
            self.play.close()
        if self.links is not None:
            self.links.close()
        if self.station is not None:
            self.station.close()
        if self.prober is not None:
            self.prober.close()
            self.prober = None
        if self.meters is not None:
            self.meters.stop(0, 0.0)
            self.meters = None
        self.machine = self.play = self.links = self.station = None
        self.troubles, self.broken = [], False

    def trouble(self, text: str, fatal: bool) -> None:  # noqa: FBT001 - says itself what it is
        """Note that something has gone wrong."""
        sys.stderr.write(f"{self.config.name}: {text}\n")
        self.troubles.append(text)
        self.broken |= fatal

    def require_machine(self) -> Machine:
        """What the machine was set up with.

        Raises:
            MachineError: It is not.
        """
        if self.machine is None:
            raise MachineError(f"{self.config.name} is not set up; it was started anew, or serves another coordinator")
        return self.machine

    def require_play(self) -> Play:
        """The run under way, or the last one.

        Raises:
            MachineError: There is none.
        """
        if self.play is None:
            raise MachineError(f"{self.config.name} takes part in no run; it was started anew")
        return self.play

    def make_station(self, slots: int) -> Station:
        """The queue of this machine."""
        self.station = Station(self.loop, self._done, slots)
        return self.station

    def fresh_folder(self) -> Path:
        """An empty folder for the files of a scenario."""
        return Path(tempfile.mkdtemp(dir=self.folder.name))

    def beside(self, work: Callable[[], Any], then: Callable[[Any, BaseException | None], None]) -> None:
        """Do something that takes long beside the loop, and then go on in the loop."""
        future = self.builder.submit(work)
        future.add_done_callback(
            lambda made: self.loop.post(
                lambda: then(*((None, made.exception()) if made.exception() else (made.result(), None)))
            )
        )

    # What the links tell; see `hardware.node.links.Owner`

    def receipt(self, link: int, direction: int, receipt: Receipt) -> None:
        """A parcel that this machine sent has arrived."""
        if self.activity is not None:
            self.activity.add("transmit", receipt.start_s, receipt.finish_s)
        if not self._commands.measuring.receipt(link, direction, receipt) and self.play is not None:
            self.play.receipt(link, direction, receipt)

    def undelivered(self, parcels: Sequence[Parcel]) -> None:
        """These did not arrive, and are not sent again."""
        self._commands.measuring.undelivered(parcels)
        if self.play is not None:
            self.play.undelivered(parcels)

    def told(self, message: dict[str, Any], _blobs: list[bytes]) -> None:
        """Another machine tells this one something about the run."""
        if self.play is not None and message.get("play") == self.play.number:
            self.play.told(message)

    def link_changed(self) -> None:
        """A control line went up or down."""
        if self.play is not None:
            self.play.link_changed()

    def _parcel(self, sender: str, parcel: Parcel, release: Callable[[], None]) -> None:
        self._take(sender, parcel, release)
        # Only now: the parcel waits, its joules do not.
        if self.activity is not None and self.machine is not None:
            self._received(self.activity, self.machine, sender, parcel)

    def _take(self, sender: str, parcel: Parcel, release: Callable[[], None]) -> None:
        """Work a parcel off, or pass it on."""
        machine, links, play = self.machine, self.links, self.play
        if machine is None or links is None or (parcel.kind == Kind.PROBE and parcel.target == machine.me):
            release()
        elif parcel.target != machine.me:
            with self._survived(f"a parcel of {sender}", release):
                links.send(parcel, release)
        elif play is None:
            release()
        elif parcel.kind == Kind.ANSWER:
            release()
            play.answer(parcel)
        else:
            play.work(parcel, release)

    def _peer_up(self, peer: str) -> None:
        if self.links is not None and (link := link_of(peer)) is not None:
            self.links.line_up(link)

    def _peer_down(self, peer: str) -> None:
        if self.links is not None and (link := link_of(peer)) is not None:
            self.links.line_down(link)

    def _received(self, activity: Activity, machine: Machine, sender: str, parcel: Parcel) -> None:
        """Count the time that a parcel took to arrive, by the rate that the scenario gives its link."""
        _, is_lane, name = sender.rpartition("/lane-")
        if not is_lane:
            # A probe of another machine, outside of any run.
            return
        link, direction = (int(number) for number in name.split("-"))
        trace = machine.world.links[link]
        now_s = time.monotonic()
        run_s = max(now_s - (machine.station.zero_s or now_s), 0.0)
        rate_bps = (trace.up, trace.down)[direction].at(run_s)
        if rate_bps > 0:
            activity.add("receive", now_s - bits_from_bytes(parcel.size_bytes) / rate_bps, now_s)

    def _message(self, peer: str, message: dict[str, Any], blobs: list[bytes]) -> None:
        if peer.split("/", maxsplit=1)[0] == COORDINATOR:
            self._commands.take(peer, message, blobs)
        elif self.links is not None:
            with self._survived(f"a message of {peer}"):
                self.links.message(message, blobs)

    @contextlib.contextmanager
    def _survived(self, what: str, release: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Whatever another machine sends must not end this one."""
        try:
            yield
        except (TwinError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError, MemoryError) as error:
            release()
            self.trouble(f"{what} was dropped: {error!r}", fatal=False)

    def _done(self, done: Done) -> None:
        if self.play is not None:
            self.play.done(done)
