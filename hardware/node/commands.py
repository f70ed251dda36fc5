"""What a coordinator may ask of a machine, and the answers."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

from hardware.edge.conductor import Conductor, Options
from hardware.edge.feed import told
from hardware.host import host_facts, load_average
from hardware.node.activity import Activity
from hardware.node.arrays import pack_arrays
from hardware.node.chores import Probing, Profiling
from hardware.node.links import Links
from hardware.node.metering import EMULATED, Meters
from hardware.node.play import EPOCHS, Machine, Play
from hardware.node.setup import Orders, Ready, get_ready
from hardware.transport.parcel import Kind, Parcel, TensorSpec
from twin.errors import MachineError, TwinError
from twin.policies import POLICIES
from twin.records import PROBE
from twin.runs import provenance
from twin.runs.folder import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hardware.node.node import Node
    from hardware.transport.lane import Receipt

Answer = dict[str, Any]
_MEASURING = -EPOCHS
"""Epoch of parcels that measure a link outside of any run."""


class Commands:
    """Takes commands in the loop's thread and answers each of them, if need be later.

    Args:
        node: The machine.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._ready: Ready | None = None
        self._orders: Orders | None = None
        self._session = ""
        self._setups = 0
        self._measuring: tuple[Callable[..., None], list[list[float]], list[int], tuple[int, int]] | None = None
        probing, self._profiling = Probing(node), Profiling(node)
        self._commands: dict[str, Callable[[Callable[..., None], dict[str, Any], list[bytes]], None]] = {
            "hello": self._hello,
            "setup": self._setup,
            "measure": self._measure,
            "begin": self._begin,
            "start": self._start,
            "status": self._status,
            "follow": self._follow,
            "halt": self._halt,
            "collect": self._collect,
            "quit": self._quit,
            "probe": probing.start,
            "probed": probing.tell,
            "unprobe": probing.end,
            "profile": self._profiling.start,
            "profiled": self._profiling.tell,
        }

    def take(self, peer: str, message: dict[str, Any], blobs: list[bytes]) -> None:
        """Carry out a command."""

        def reply(answer: Mapping[str, Any], blobs: tuple[bytes, ...] = ()) -> None:
            self._node.hub.answer(peer, message, answer, blobs)

        command = self._commands.get(str(message.get("do")))
        if command is None:
            reply({"error": f"no command is called {message.get('do')!r}; use one version on every machine"})
            return
        try:
            command(reply, message, blobs)
        except TwinError as error:
            reply({"error": str(error)})
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, MemoryError) as error:
            reply(
                {"error": f"the command `{message['do']}` is malformed ({error!r}); use one version on every machine"}
            )

    def receipt(self, link: int, direction: int, receipt: Receipt) -> bool:
        """Take the receipt of a parcel that measures a link; False if it is of another kind."""
        if receipt.epoch != _MEASURING:
            return False
        if self._measuring is not None and self._measuring[3] == (link, direction):
            self._measuring[1].append([receipt.acked_s, receipt.size_bytes, receipt.transfer_s])
            self._measure_next()
        return True

    def undelivered(self, parcels: Sequence[Parcel]) -> None:
        """Parcels did not arrive: if one of them measures a link, it cannot be measured."""
        if self._measuring is not None and any(parcel.epoch == _MEASURING for parcel in parcels):
            reply, self._measuring = self._measuring[0], None
            reply({"error": "the link broke while it was measured; start once more"})

    def _hello(self, reply: Callable[..., None], _message: dict[str, Any], _blobs: list[bytes]) -> None:
        node = self._node
        reply(
            {
                "name": node.config.name,
                "incarnation": node.loop.incarnation,
                "session": self._session,
                "models": list(node.config.models),
                "versions": provenance.versions(),
                "host": host_facts(),
                "load_average": load_average(),
            }
        )

    def _setup(self, reply: Callable[..., None], message: dict[str, Any], blobs: list[bytes]) -> None:
        node, orders, session = self._node, Orders.from_json(message["orders"]), str(message["session"])
        self._forget()
        number, folder = self._setups, node.fresh_folder()

        def ready(made: Ready | None, error: BaseException | None) -> None:
            if made is None:
                reply({"error": _words(error)})
            elif number != self._setups:
                reply({"error": f"{node.config.name} was told to do something else meanwhile"})
            else:
                try:
                    self._ready, self._orders = made, orders
                    self._wire(orders, made, session, blobs[1:])
                except (TwinError, LookupError, TypeError, ValueError, AttributeError) as wrong:
                    self._forget()
                    reply({"error": _words(wrong)})
                else:
                    reply(made.facts)

        node.beside(lambda: get_ready(orders, blobs[0], folder, node.config), ready)

    def _wire(self, orders: Orders, ready: Ready, session: str, inputs: list[bytes]) -> None:
        node, world = self._node, ready.world
        continuum = world.problem.continuum
        node.links = Links(
            node.loop,
            node.hub,
            continuum,
            orders.me,
            orders.dials,
            node.credentials,
            silent_s=world.detect_s,
            owner=node,
        )
        station = node.make_station(continuum.devices[orders.me].slots)
        node.machine = Machine(
            world=world,
            me=orders.me,
            loop=node.loop,
            links=node.links,
            station=station,
            workshop=ready.workshop,
            builder=node.builder,
            inputs=tuple((bytearray(buffer),) for buffer in inputs),
            trouble=node.trouble,
        )
        self._session = session

    def _measure(self, reply: Callable[..., None], message: dict[str, Any], _blobs: list[bytes]) -> None:
        """Send parcels of given sizes over a link, one after the other, and answer with their times."""
        machine, sizes = self._machine(), [int(size) for size in message["sizes_bytes"]]
        lane = (int(message["link"]), int(message["direction"]))
        most = self._node.config.limits.tensor_bytes
        if lane not in machine.links.lanes or not all(0 < size <= most for size in sizes):
            raise MachineError(
                f"{self._node.config.name} cannot send parcels of {sizes} bytes over direction {lane[1]} of link "
                f"{lane[0]}; use one version on every machine"
            )
        if self._measuring is not None:
            raise MachineError(f"{self._node.config.name} is measuring a link already; wait for it")
        self._measuring = (reply, [], sizes, lane)
        self._measure_next()

    def _measure_next(self) -> None:
        assert self._measuring is not None  # noqa: S101 - the callers have looked
        reply, rows, sizes, (link, direction) = self._measuring
        if not sizes:
            self._measuring = None
            reply({"rows": rows})
            return
        size = sizes.pop(0)
        machine = self._machine()
        ends = machine.world.problem.continuum.links[link]
        specs = (TensorSpec("uint8", (size,)),)
        target = (ends.b, ends.a)[direction]
        machine.links.send(Parcel(Kind.PROBE, PROBE, 0, _MEASURING, target, specs, (bytes(size),)))

    def _begin(self, reply: Callable[..., None], message: dict[str, Any], _blobs: list[bytes]) -> None:
        """Take part in a run; on the edge, make the first decision."""
        node, machine, ready = self._node, self._machine(), self._ready
        assert ready is not None  # noqa: S101 - there is a machine
        if node.play is not None:
            node.play.close()
        node.troubles, node.broken = [], False
        replication = int(message["replication"])
        machine.station.speed = ready.speed(machine.me, replication)
        machine.station.zero_s = None
        self._read_meters(machine)
        keeper = None
        if machine.me == 0 and message["check"]:
            from hardware.verify import Keeper  # noqa: PLC0415 - imports torch

            keeper = Keeper[tuple[bytes, ...]](machine.world.seed, replication)
        # What an earlier run has left on its way would delay this one.
        machine.links.clear()
        play = Play(machine, int(message["play"]), keeper)
        if machine.me == 0:
            self._conduct(play, message, replication)
        node.play = play
        reply({})
        if play.conductor is None:
            play.beat()
        else:
            # It may take longer than whoever asked would wait.
            self._node.loop.post(self._prepare, play, play.conductor)

    def _read_meters(self, machine: Machine) -> None:
        """Begin to read power meters; a run goes on without those that cannot be opened."""
        node, orders = self._node, self._orders
        assert orders is not None  # noqa: S101 - there is a machine
        if node.meters is not None:
            node.meters.stop(0, 0.0)
        power = machine.world.problem.continuum.devices[machine.me].power
        is_emulated = any(order.url == EMULATED for order in orders.meters)
        node.activity = machine.station.activity = Activity(power) if is_emulated and power is not None else None
        node.meters = Meters(orders.meters, node.fresh_folder(), node.activity)
        for text in node.meters.troubles:
            node.trouble(text, fatal=False)

    def _meters_stopped(self, replication: int) -> tuple[list[dict[str, Any]], list[bytes]]:
        """End reading power meters; what they gave, in run time."""
        node, meters = self._node, self._node.meters
        node.meters = None
        if meters is None:
            return [], []
        zero_s = None if node.station is None else node.station.zero_s
        return meters.stop(replication, zero_s or 0.0)

    def _conduct(self, play: Play, message: dict[str, Any], replication: int) -> None:
        shift_s, follow = tuple(message["shift_s"]), bool(message.get("follow"))
        options = Options(message["switch"], float(message["downtime_s"]), shift_s, follow)
        policy = POLICIES[message["kind"]](**message["options"])
        machine = play.machine
        play.conductor = Conductor(
            machine.world,
            policy,
            replication,
            loop=machine.loop,
            site=play,
            options=options,
            on_over=lambda: None,
        )

    def _prepare(self, play: Play, conductor: Conductor) -> None:
        """Make the first decision, unless another run has begun."""
        if play is self._node.play and not conductor.over:
            try:
                conductor.prepare()
            except TwinError as error:
                self._node.trouble(str(error), fatal=True)

    def _start(self, reply: Callable[..., None], message: dict[str, Any], _blobs: list[bytes]) -> None:
        """Let run time begin at an instant of this machine's clock."""
        play, zero_s = self._play(), float(message["zero_s"])
        play.machine.station.zero_s = zero_s
        if play.conductor is not None:
            play.conductor.start(zero_s)
        reply({})

    def _status(self, reply: Callable[..., None], _message: dict[str, Any], _blobs: list[bytes]) -> None:
        node, play = self._node, self._node.play
        answer: Answer = {
            "session": self._session,
            "incarnation": node.loop.incarnation,
            "play": None if play is None else play.number,
            "links": {} if node.links is None else node.links.troubles,
            "troubles": node.troubles,
            "broken": node.broken,
            "now_s": time.monotonic(),
            "profiling": self._profiling.progress,
        }
        if play is not None and play.conductor is not None:
            lead = play.conductor
            answer |= {
                "poised": lead.switch.plan is not None,
                "over": lead.over,
                "t_s": lead.clock.now_s,
                "arrived": len(lead.requests),
                "under_way": lead.under_way,
                "epoch": lead.controller.epoch,
                "lost": sorted(map(list, lead.presence.lost)),
            }
        reply(answer)

    def _follow(self, reply: Callable[..., None], message: dict[str, Any], _blobs: list[bytes]) -> None:
        """Tell what is new in a run that is followed."""
        lead = self._play().conductor
        if lead is None or lead.feed is None:
            raise MachineError(f"{self._node.config.name} leads no run that is followed; use one version everywhere")
        numbers = [int(message[key]) for key in ("since", "arrivals", "epoch")]
        answer, rows = told(lead, lead.feed, *numbers)
        reply(answer, (pack_arrays({"rows": rows}),))

    def _halt(self, reply: Callable[..., None], _message: dict[str, Any], _blobs: list[bytes]) -> None:
        play = self._play()
        if play.conductor is not None:
            play.conductor.halt()
        reply({})

    def _collect(self, reply: Callable[..., None], _message: dict[str, Any], _blobs: list[bytes]) -> None:
        """Hand over what was recorded, and end this machine's part in the run."""
        play = self._play()
        lead, replication = play.conductor, int(_message["replication"])
        meters, metered = self._meters_stopped(replication)
        answer: Answer = {"troubles": self._node.troubles, "edge": lead is not None, "meters": meters}
        parts = [pack_arrays(play.recorder.columns()), *metered]
        if lead is not None:
            workload = play.machine.world.workload
            parts.append(pack_arrays(lead.requests.table(replication, workload).columns()))
            parts.append(pack_arrays(lead.controller.raw.columns()))
            parts.append(json.dumps(plain(lead.controller.log)).encode())
            kept = {} if play.keeper is None else play.keeper.answers
            answer |= {
                "duplicates": lead.duplicates,
                "switches": lead.switch.log,
                "zero_s": lead.clock.zero_s,
                "end_s": lead.clock.now_s,
                "answers": [[request, len(buffers)] for request, buffers in kept.items()],
            }
            parts += [buffer for buffers in kept.values() for buffer in buffers]
        play.close()
        reply(answer, tuple(parts))

    def _quit(self, reply: Callable[..., None], _message: dict[str, Any], _blobs: list[bytes]) -> None:
        """Forget the scenario; the agent goes on."""
        self._forget()
        reply({})

    def _forget(self) -> None:
        """Forget the scenario, also one that is being loaded."""
        self._setups += 1
        self._node.tear_down()
        self._ready, self._orders, self._session = None, None, ""
        self._measuring = None

    def _machine(self) -> Machine:
        if self._node.machine is None:
            raise MachineError(
                f"{self._node.config.name} is not set up; it was started anew, or serves another coordinator"
            )
        return self._node.machine

    def _play(self) -> Play:
        if self._node.play is None:
            raise MachineError(f"{self._node.config.name} takes part in no run; it was started anew")
        return self._node.play


def _words(error: BaseException | None) -> str:
    """An error in words; one that is not for users goes to the log as it is."""
    if not isinstance(error, TwinError):
        sys.stderr.write(f"{error!r}\n")
    return str(error) if isinstance(error, TwinError) else f"{type(error).__name__}: {error}"
