"""The measured backend: plays a policy on machines and collects when each thing happened."""

from __future__ import annotations

import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hardware.coordinator.agree import caveats, check_versions
from hardware.coordinator.collect import put_together
from hardware.coordinator.gather import gather
from hardware.coordinator.linkcheck import check, sizes_bytes
from hardware.coordinator.watch import Watch
from twin.errors import MachineError, MeasurementError, TransportError
from twin.runs import provenance

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hardware.coordinator.collect import Collected
    from hardware.coordinator.linkcheck import LinkCheck
    from hardware.coordinator.plan import Companion, Plan
    from hardware.coordinator.remote import Conversation, Remote
    from hardware.emulation.machine import OneMachine
    from hardware.transport.clock import Offset
    from twin.control import Policy
    from twin.records import RunResult
    from twin.world import World

_SETUP_S = 300.0
_POISED_S = 120.0
_LEAD_S = 0.3
"""Time from the last preparation to run time 0, for the command to reach every machine."""
_POLL_S = 0.1
_RESTART_S = 2.0
"""Time after which an agent on this machine that has died is started again, as a service manager would."""


class TestbedBackend:
    """Plays policies on the machines of a testbed.

    Attributes:
        machines: What each machine said of itself when it was set up.
        links: What each direction of each link gave before the first run.
        collected: The last run, with the answers that are to be checked.
        notes: What went otherwise than one would expect, in words.

    Args:
        plan: What the testbed is set up with.
        remotes: The machines, the edge first.
        local: The processes of a testbed on one machine; None for one of several machines.
        progress: Called while a run lasts: (label, replication, run time, requests that ended).
        companion: Follows each run.
    """

    # The name begins as those of tests do, which are collected by name.
    __test__ = False

    def __init__(
        self,
        plan: Plan,
        remotes: Sequence[Remote],
        local: OneMachine | None = None,
        progress: Callable[[str, int, float, int], None] = lambda *_: None,
        companion: Companion | None = None,
    ) -> None:
        self._companion = companion
        self._plan, self._remotes, self._local, self._progress = plan, list(remotes), local, progress
        self._session = secrets.token_hex(8)
        self._plays = 0
        self._died_s: dict[int, float] = {}
        self._began: tuple[list[tuple[float, Offset]], str] | None = None
        self._conversations = [remote.dial() for remote in remotes]
        self.machines: list[dict[str, Any]] = []
        self.links: list[LinkCheck] = []
        self.collected: Collected | None = None
        self.notes: list[str] = [] if local is None else list(local.notes)

    def set_up(self) -> None:
        """Let every machine load the scenario and its model, and wait until all links are up.

        Raises:
            MachineError: A machine cannot do its part, or the machines do not fit together.
            TransportError: A machine does not answer.
        """
        hellos = [conversation.ask("hello").content for conversation in self._conversations]
        check_versions([remote.name for remote in self._remotes], hellos)
        if self._plan.one_by_one:
            replies = [self._set_up_one(k, talk) for k, talk in enumerate(self._conversations)]
        else:
            with ThreadPoolExecutor(len(self._conversations)) as pool:
                replies = list(pool.map(self._set_up_one, range(len(self._conversations)), self._conversations))
        self.machines = [
            {"name": hello["name"], "host": hello["host"], **reply}
            for hello, reply in zip(hellos, replies, strict=True)
        ]
        digests = {entry["name"]: entry["weights"] for entry in self.machines if entry["weights"]}
        if digests:
            from hardware.node.weights import check_same  # noqa: PLC0415 - imports torch

            check_same(digests, self._plan.world.problem.graph.model)
        self._wait_for_links()

    def measure_links(self) -> None:
        """Measure every direction of every link that the scenario does not hold at zero."""
        world = self._plan.world
        for position, link in enumerate(world.problem.continuum.links):
            for direction, sender in enumerate((link.a, link.b)):
                rate_bps = float(world.problem.initial.rate_bps[position, direction])
                if rate_bps > 0:
                    sizes = sizes_bytes(rate_bps)
                    reply = self._conversations[sender].ask(
                        "measure", link=position, direction=direction, sizes_bytes=sizes, timeout_s=_SETUP_S
                    )
                    self.links.append(check(world, position, direction, reply["rows"]))

    def run(self, world: World, policy: Policy[Any], label: str, replication: int) -> RunResult:  # noqa: ARG002
        """Play one policy once; see `twin.backend.Backend`. The policy itself is made anew on the edge.

        Raises:
            MachineError: A machine cannot do its part.
            TransportError: The edge does not answer.
            EmulationError: A process of a testbed on one machine has ended.
        """
        self._mend()
        self._plays += 1
        number, started = self._plays, provenance.now()
        self._began = None
        before = [(time.monotonic(), talk.clock_offset()) for talk in self._conversations]
        begin = self._begin(label, replication, number, [offset for _, offset in before])
        for device in (*range(1, len(self._conversations)), 0):
            self._conversations[device].ask("begin", **begin)
        time.sleep(self._idle_s)
        zero_s = self._start(before)
        self._began = (before, started)
        watches = [self._watch(device, begin, zero_s) for device in range(1, len(self._remotes))]
        try:
            if self._companion is not None:
                self._companion.begin(label, replication, self._remotes[0].dial, zero_s, self.links)
            self._follow(label, replication)
            time.sleep(self._idle_s)
        finally:
            if self._companion is not None:
                self._companion.end()
            for watch in watches:
                watch.stop()
        return self._collect(label, replication, before, watches, started)

    def rescue(self, label: str, replication: int) -> RunResult | None:
        """End the run under way and collect what there is of it; None if it had not begun."""
        for conversation in self._conversations:
            conversation.close()
        self._conversations = [remote.dial() for remote in self._remotes]
        if self._began is None or not self._conversations[0].ask("status")["t_s"]:
            return None
        self._conversations[0].ask("halt")
        before, started = self._began
        return self._collect(label, replication, before, (), started)

    def close(self) -> None:
        """Let the machines forget the scenario, and hang up."""
        for conversation in self._conversations:
            try:
                conversation.ask("quit", timeout_s=1.0)
            except (TransportError, MachineError) as error:
                self.notes.append(str(error))
            conversation.close()

    def _set_up_one(self, device: int, conversation: Conversation) -> dict[str, Any]:
        blobs = [self._plan.bundle, *(self._plan.inputs if device == 0 else ())]
        orders = self._plan.orders[device].to_json()
        return conversation.ask("setup", blobs, _SETUP_S, session=self._session, orders=orders).content

    def _wait_for_links(self) -> None:
        until_s = time.monotonic() + max(4 * self._plan.world.detect_s, 10.0)
        while True:
            troubles = {talk.name: talk.ask("status")["links"] for talk in self._conversations}
            if not any(troubles.values()):
                return
            if time.monotonic() > until_s:
                words = "; ".join(f"{name}: {what}: {why}" for name, x in troubles.items() for what, why in x.items())
                raise MachineError(
                    f"the machines do not reach each other ({words}); check addresses, keys and firewalls"
                )
            time.sleep(_POLL_S)

    def _begin(self, label: str, replication: int, number: int, offsets: Sequence[Offset]) -> dict[str, Any]:
        world = self._plan.world
        spec = next(spec for spec in world.policies if spec.label == label)
        edge_s = offsets[0].offset_s
        return {
            "play": number,
            "replication": replication,
            "kind": spec.kind,
            "options": {key: list(x) if isinstance(x, tuple) else x for key, x in spec.options.items()},
            "switch": self._plan.switch,
            "downtime_s": world.problem.switch.downtime_s if self._plan.source == "emulated" else 0.0,
            "shift_s": [edge_s - offset.offset_s for offset in offsets],
            "check": self._plan.check,
            "follow": self._companion is not None,
        }

    def _start(self, clocks: Sequence[tuple[float, Offset]]) -> float:
        """Wait for the first plan to be ready and let run time begin; returns its instant on this clock."""
        until_s = time.monotonic() + _POISED_S
        while not self._status()["poised"]:
            if time.monotonic() > until_s:
                raise MeasurementError(
                    f"the first plan was not ready within {_POISED_S:g} s; see the logs of the agents"
                )
            time.sleep(_POLL_S / 4)
        zero_s = time.monotonic() + _LEAD_S
        if self._local is not None:
            self._local.start(zero_s)
        for conversation, (_, offset) in reversed(list(zip(self._conversations, clocks, strict=True))):
            conversation.ask("start", zero_s=zero_s + offset.offset_s)
        return zero_s

    def _watch(self, device: int, begin: dict[str, Any], zero_s: float) -> Watch:
        def again(conversation: Conversation) -> None:
            self._set_up_one(device, conversation)
            offset = conversation.clock_offset()
            conversation.ask("begin", **begin)
            conversation.ask("start", zero_s=zero_s + offset.offset_s)

        return Watch(lambda: self._remotes[device], self._session, again)

    def _follow(self, label: str, replication: int) -> None:
        """Wait for the end of the run."""
        while True:
            status = self._status()
            self._progress(label, replication, status["t_s"], status["arrived"] - status["under_way"])
            if status["over"]:
                return
            time.sleep(_POLL_S)

    def _mend(self) -> None:
        """Set machines up again that were started anew since the last run."""
        if self._local is not None:
            self._local.check()
            self._revive(self._local, after_s=0.0)
        again = [
            (device, talk)
            for device, talk in enumerate(self._conversations)
            if talk.ask("status")["session"] != self._session
        ]
        for device, talk in again:
            self._set_up_one(device, talk)
        self._wait_for_links()

    def _revive(self, local: OneMachine, after_s: float = _RESTART_S) -> None:
        """Start agents again that have died on this machine; whoever watches them then sets them up."""
        now_s = time.monotonic()
        for device, error in local.agents.ended().items():
            if device not in self._died_s:
                self._died_s[device] = now_s
                self.notes.append(str(error))
            if now_s - self._died_s[device] >= after_s:
                host, port = local.restart(device)
                self._remotes[device] = replace(self._remotes[device], endpoint=f"tcp://{host}:{port}")
                self._conversations[device].close()
                self._conversations[device] = self._remotes[device].dial()
                del self._died_s[device]

    @property
    def _idle_s(self) -> float:
        """Time before and after a run in which meters show what machines draw when nothing is asked of them."""
        return self._plan.idle_s if any(orders.meters for orders in self._plan.orders) else 0.0

    def _status(self) -> dict[str, Any]:
        if self._local is not None:
            self._local.check()
            self._revive(self._local)
        status = self._conversations[0].ask("status").content
        if status["broken"]:
            raise MachineError("; ".join(status["troubles"]))
        return status

    def _collect(
        self,
        label: str,
        replication: int,
        before: Sequence[tuple[float, Offset]],
        watches: Sequence[Watch],
        started: str,
    ) -> RunResult:
        found = gather(self._conversations, before, replication)
        facts = {
            **self._plan.facts,
            "backend": "testbed",
            "started": started,
            "machines": self.machines,
            "links": [x.to_json() for x in self.links],
            "clocks": [clock.to_json() for clock in found.clocks],
            "switch": self._plan.switch,
            "returns": {watch.name: watch.returns for watch in watches},
            "troubles": found.troubles,
            "notes": [*self.notes, *found.lost, *(error for watch in watches for error in watch.errors)],
        }
        if self._local is not None:
            facts["shaper"] = self._local.report()
        troubles = [*found.lost, *found.troubles]
        facts["caveats"] = caveats(self._plan.world.problem.continuum, self.machines, self.links, troubles)
        self.collected = put_together(
            self._plan.world, label, self._plan.source, replication, found.replies, found.clocks, facts
        )
        return self.collected.result
