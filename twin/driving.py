"""What drives a run, simulated or measured: the arrivals and the control interval."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from twin.columns import RequestColumns
    from twin.problem import Decision
    from twin.world import World

TICK_RANK = 1
ARRIVAL_RANK = 2
END_RANK = 3


class RunClock(Protocol):
    """Calls functions at times of the run.

    Attributes:
        may_end: Set once the run may end, so that whoever owns the clock begins to ask whether it is over.
    """

    may_end: bool

    def call_at(self, time_s: float, rank: int, function: Callable[..., None], *arguments: object) -> None:
        """Call `function(*arguments)` at `time_s`; of calls at the same time, the lower rank goes first."""
        ...


class Driven(Protocol):
    """A run that is driven: what a backend offers to the arrivals and the ticker.

    Attributes:
        replication: Number of the replication.
        under_way: Requests that have arrived and not ended.
        stuck: Requests among them that can never end.
    """

    replication: int
    under_way: int
    stuck: int

    @property
    def world(self) -> World:
        """The scenario."""
        ...

    @property
    def clock(self) -> RunClock:
        """Calls functions at times of the run."""
        ...

    @property
    def requests(self) -> RequestColumns:
        """The requests so far."""
        ...

    @property
    def ticker(self) -> Ticker:
        """Asks for decisions."""
        ...

    @property
    def retry_s(self) -> float:
        """Time after which what was lost is tried again."""
        ...

    def decide(self, now_s: float, arrived: int) -> Decision:
        """Ask the policy and carry out what it decides."""
        ...

    def release(self, request: int, now_s: float) -> None:
        """Send a request on its way."""
        ...


class Ticker:
    """Asks for a decision at each control interval, counted in seconds or in arriving requests.

    Args:
        play: The run.
    """

    def __init__(self, play: Driven) -> None:
        self._play = play
        self._ticks = 0
        self._requests_at_tick = 0
        self._next_request: float = math.inf

    def tick(self, now_s: float) -> None:
        """Decide now; the interval starts anew."""
        self._ticks += 1
        arrived = len(self._play.requests)
        decision = self._play.decide(now_s, arrived - self._requests_at_tick)
        self._requests_at_tick = arrived
        control = self._play.world.control
        every_s, every_requests = decision.next_s, decision.next_requests
        if every_s is None and every_requests is None:
            every_s, every_requests = control.every_s, control.every_requests
        self._next_request = math.inf if every_requests is None else arrived + every_requests
        if every_s is not None:
            self._play.clock.call_at(now_s + every_s, TICK_RANK, self._timer, self._ticks, now_s + every_s)

    def before_arrival(self, now_s: float) -> None:
        """Decide first if the interval, counted in requests, is over."""
        if len(self._play.requests) >= self._next_request:
            self.tick(now_s)

    def _timer(self, tick: int, now_s: float) -> None:
        if tick == self._ticks:
            self.tick(now_s)


class Arrivals:
    """Lets requests arrive, by their own clock or because a client got its answer.

    Attributes:
        over: Whether no request arrives any more.
        limit_s: When the drain time is over.

    Args:
        play: The run.
    """

    def __init__(self, play: Driven) -> None:
        self._play = play
        self._workload = play.world.workload
        self._is_closed = self._workload.kind == "closed"
        self._times_s: list[float] = []
        self._scheduled = 0
        self.over = False
        self.limit_s = math.inf

    def start(self) -> None:
        """Schedule the first arrivals and the end."""
        if self._workload.duration_s is not None:
            self._play.clock.call_at(self._workload.duration_s, END_RANK, self._end, self._workload.duration_s)
        if self._is_closed:
            for client in range(self._workload.clients):
                self._send(client, 0.0)
            return
        self._times_s = self._workload.arrivals_s(self._play.world.seed, self._play.replication).tolist()
        self._next(0.0)

    def ended(self, request: int, now_s: float, *, lost: bool) -> None:
        """A request has ended: in a closed loop its client thinks and sends the next.

        A client whose request was lost waits for the detection time at least, or else it would ask again and again at
        the same time for as long as the loss lasts.
        """
        if self._is_closed:
            pause_s = self._workload.think_time_s
            pause_s = max(pause_s, self._play.retry_s) if lost else pause_s
            self._send(self._play.requests.client[request], now_s + pause_s)

    @property
    def all_stuck(self) -> bool:
        """Whether every client of a closed loop waits for an answer that cannot come."""
        return self._is_closed and self._play.stuck >= self._workload.clients

    def _send(self, client: int, time_s: float) -> None:
        workload = self._workload
        enough = workload.requests is not None and self._scheduled >= workload.requests
        too_late = workload.duration_s is not None and time_s >= workload.duration_s
        if not (enough or too_late):
            self._scheduled += 1
            self._play.clock.call_at(time_s, ARRIVAL_RANK, self._arrive, client, time_s)

    def _next(self, now_s: float) -> None:
        if self._scheduled < len(self._times_s):
            time_s = self._times_s[self._scheduled]
            self._scheduled += 1
            self._play.clock.call_at(time_s, ARRIVAL_RANK, self._arrive, 0, time_s)
        elif self._workload.duration_s is None:
            self._end(now_s)

    def _arrive(self, client: int, time_s: float) -> None:
        play = self._play
        play.ticker.before_arrival(time_s)
        request = play.requests.arrive(client, time_s)
        play.under_way += 1
        if not self._is_closed:
            self._next(time_s)
        elif len(play.requests) == self._workload.requests:
            self._end(time_s)
        play.release(request, time_s)

    def _end(self, time_s: float) -> None:
        """No request arrives any more; what is under way has the drain time left."""
        self.over = self._play.clock.may_end = True
        self.limit_s = min(self.limit_s, time_s + self._play.world.drain_s)
