"""A loop whose time passes only when it is told to, and a testbed that exists in name only."""

from __future__ import annotations

import contextlib
from collections import deque
from concurrent.futures import Future
from heapq import heappop, heappush
from itertools import count
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest import mock

from hardware.edge.conductor import Conductor, Options
from hardware.edge.report import Report
from hardware.transport.loop import Timer
from twin.cost import route_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hardware.edge.plan import EdgePlan

START_S = 1_000.0
"""Where the fake clock begins; not 0, so that a forgotten shift shows."""
_CLOCKS = (
    "hardware.edge.clock",
    "hardware.edge.conductor",
    "hardware.node.play",
    "hardware.node.probes",
    "hardware.node.reporter",
    "hardware.node.station",
    "hardware.node.commands",
)
"""Modules that read the monotonic clock."""


class FakeLoop:
    """A loop on a virtual clock: calls in order of time, those of the same time in order of their making."""

    incarnation = 7
    lanes_busy = 0

    def __init__(self) -> None:
        self.now_s = START_S
        self._posts: deque[tuple[Callable[..., object], tuple[object, ...]]] = deque()
        self._timers: list[tuple[float, int, Timer]] = []
        self._numbers = count()

    def post(self, call: Callable[..., object], *args: object) -> None:
        self._posts.append((call, args))

    def is_here(self) -> bool:
        return True

    def call_at(self, t_s: float, call: Callable[..., object], *args: object) -> Timer:
        timer = Timer(call, args)
        heappush(self._timers, (t_s, next(self._numbers), timer))
        return timer

    def run_until(self, t_s: float) -> None:
        """Let time pass until `t_s`, calling what is due on the way."""
        while True:
            while self._posts:
                call, args = self._posts.popleft()
                call(*args)
            if not self._timers or self._timers[0][0] > t_s:
                break
            due_s, _, timer = heappop(self._timers)
            self.now_s = max(self.now_s, due_s)
            timer.make()
        self.now_s = max(self.now_s, t_s)

    def run_for(self, time_s: float) -> None:
        self.run_until(self.now_s + time_s)

    def sleep(self, time_s: float) -> None:
        """Let time pass without calling anything, as a process does that is stopped."""
        self.now_s += time_s


@contextlib.contextmanager
def virtual_time() -> Iterator[FakeLoop]:
    """A fake loop, with the monotonic clock of the modules that read it at its time."""
    loop = FakeLoop()
    clock = SimpleNamespace(monotonic=lambda: loop.now_s, sleep=None, perf_counter=lambda: loop.now_s)
    with contextlib.ExitStack() as stack:
        for module in _CLOCKS:
            stack.enter_context(mock.patch(f"{module}.time", clock))
        yield loop


class Fleet:
    """Machines that do as they are told after given times, and the conductor that leads them.

    A request takes `latency_s` by the first device of its plan; while a place of its plan is down it is swallowed. Each
    machine that is up reports every quarter of the detection time, and has a plan ready `prepare_s` after it was told.

    Attributes:
        sent: (request, attempt, plan epoch) as the conductor sent them.
        told: (plan epoch, devices) as the conductor announced them.
        probes: What the conductor asked to be measured.
        holds: (request, start, end) of what was held back.
        swallowed: Requests that were lost on their way, as (request, attempt).
        own: What the next report of the edge says; set its fields by name.
        down: What is down, as places.
        answers: Whether requests are answered.
        ends: How often the run was over.
    """

    def __init__(
        self, loop: FakeLoop, world: Any, policy: Any, *, options: Options | None = None, replication: int = 0
    ) -> None:
        self.loop, self.world = loop, world
        self.latency_s: dict[int, float] = {}
        self.prepare_s: dict[int, float] = {}
        self.answers = True
        self.sent: list[tuple[int, int, int]] = []
        self.told: list[tuple[int, tuple[int, ...]]] = []
        self.probes: list[Any] = []
        self.holds: list[tuple[int, float, float]] = []
        self.swallowed: list[tuple[int, int]] = []
        self.down: set[tuple[str, int]] = set()
        self._silent: set[tuple[str, int]] = set()
        self.own: dict[str, Any] = {}
        self.ends = 0
        self.plans: dict[int, dict[int, int]] = {}
        self.lead = Conductor(
            world,
            policy,
            replication,
            loop=loop,
            site=self,
            options=options or Options(),
            on_over=lambda: setattr(self, "ends", self.ends + 1),
        )

    def start(self, lead_s: float = 0.3) -> None:
        """Prepare, and let the run begin `lead_s` after the first plan is ready."""
        self.lead.prepare()
        for device in range(1, self.world.problem.n_devices):
            self._beat(device)
        while self.lead.switch.plan is None:
            self.loop.run_for(0.01)
        self.lead.start(self.loop.now_s + lead_s)
        self.loop.run_for(lead_s)

    def at(self, run_s: float, call: Callable[..., object], *args: object) -> None:
        """Call something at a run time."""
        self.loop.call_at(self.lead.clock.zero_s + run_s, call, *args)

    def run_until(self, run_s: float) -> None:
        self.loop.run_until(self.lead.clock.zero_s + run_s)

    def play(self, most_s: float = 1_000.0) -> None:
        """Run until the run is over, or for too long."""
        while not self.lead.over and self.lead.clock.now_s < most_s:
            self.loop.run_for(0.05)

    def lose(self, *places: tuple[str, int]) -> None:
        """Places go down: what is on its way there is swallowed. Neighbours say so only after `notice`."""
        self.down |= set(places)

    def notice(self) -> None:
        """All lines notice who is silent and who is heard again; the edge hears of its own at once."""
        self._silent = set(self.down)
        self.lead.hear(self.report())

    def heal(self, *places: tuple[str, int]) -> None:
        """Places come back; a machine has forgotten its plans."""
        self.down -= set(places)
        self._silent &= self.down
        for kind, device in places:
            if kind == "device":
                self.plans.pop(device, None)

    def reachable(self, device: int) -> bool:
        hops = self.world.problem.continuum.path(0, device)
        places = {("link", hop.link) for hop in hops} | {("device", hop.receiver) for hop in hops}
        return not places & self.down

    # What the conductor asks of the edge

    def send(self, request: int, attempt: int, plan: EdgePlan) -> None:
        self.sent.append((request, attempt, plan.epoch))
        if self.answers:
            self.loop.call_at(
                self.loop.now_s + self.latency_s.get(plan.devices[0], 0.1), self._arrive, request, attempt, plan
            )

    def announce(self, plan: EdgePlan, devices: tuple[int, ...]) -> None:
        self.told.append((plan.epoch, devices))
        for device in devices:
            if self.reachable(device):
                self.plans.setdefault(device, {}).setdefault(plan.epoch, 0)
                self.loop.call_at(self.loop.now_s + self.prepare_s.get(device, 0.005), self._ready, device, plan.epoch)

    def probe(self, probe: Any, epoch: int) -> None:
        self.probes.append(probe)

    def report(self) -> Report:
        own, self.own = self.own, {}
        silent = [k for k, link in enumerate(self._links) if link.a == 0 and self._is_silent(k)]
        return Report(**{"device": 0, "queue": 0, "silent": silent, **own})

    def held(self, request: int, epoch: int, start_s: float, end_s: float) -> None:
        self.holds.append((request, start_s, end_s))

    # What machines do

    @property
    def _links(self) -> Any:
        return self.world.problem.continuum.links

    def _is_silent(self, position: int) -> bool:
        link = self._links[position]
        return bool({("link", position), ("device", link.a), ("device", link.b)} & self._silent)

    def _beat(self, device: int) -> None:
        self.loop.call_at(self.loop.now_s + max(self.world.detect_s / 4, 0.02), self._beat, device)
        if self.reachable(device):
            silent = [k for k, link in enumerate(self._links) if link.a == device and self._is_silent(k)]
            plans = [[epoch, ready] for epoch, ready in self.plans.get(device, {}).items()]
            self.lead.hear(Report(device, 0, silent=silent, plans=plans))

    def _ready(self, device: int, epoch: int) -> None:
        if self.reachable(device) and epoch in self.plans.get(device, {}):
            self.plans[device][epoch] = 1
            self.lead.ready(device, epoch)

    def _arrive(self, request: int, attempt: int, plan: EdgePlan) -> None:
        if plan.uses & self.down or not all(map(self.reachable, plan.devices)):
            self.swallowed.append((request, attempt))
        else:
            self.lead.answered(request)


class NowExecutor:
    """Does at once what it is given."""

    def submit(self, call: Callable[..., Any], *args: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(call(*args))
        except Exception as error:  # noqa: BLE001 - the future's owner looks at it
            future.set_exception(error)
        return future


def passed(problem: Any, partition: Any) -> list[int]:
    """The devices that a partition visits."""
    return [stage[0] for stage in route_of(problem, partition).stages]
