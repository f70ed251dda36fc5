"""Two machines that measure the link between them, one direction each, for as long as is asked."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from hardware.coordinator.linktrace import interval_of
from hardware.node.interval import Schedule
from twin.errors import MachineError, TransportError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hardware.coordinator.remote import Conversation, Remote
    from hardware.node.interval import Interval

_LEAD_S = 0.5
"""Time from the last preparation to the first interval, for connections to be made."""
_REACH_S = 5.0
_ANSWER_S = 2.0
_POLL_S = 0.2
_PATIENCE_S = 30.0
"""How long a machine may be out of reach at the end before its records are given up."""
_UNTIL = 0.9
"""Share of its half of an interval in which a turn may begin, where the link is not free before."""


@dataclass(frozen=True, slots=True)
class End:
    """One end of a link.

    Attributes:
        remote: The machine.
        peer: Name of the other one.
        endpoint: Where this one reaches it.
    """

    remote: Remote
    peer: str
    endpoint: str


class Recording:
    """Lets both ends measure.

    Attributes:
        intervals: What each end has found, intervals that are over, in order.
        hosts: What each machine said of itself.

    Args:
        ends: The end that sends up, and the one that sends down.
        every_s: Length of an interval.
        n: Number of intervals.
        share: Share of the time in which something is sent.
    """

    def __init__(self, ends: tuple[End, End], *, every_s: float, n: int, share: float) -> None:
        self._ends = ends
        self._every_s, self._n = every_s, n
        self._budget_s = share * every_s / 2
        self._talks: list[Conversation] = [end.remote.dial() for end in ends]
        self._zero_s = 0.0
        self.intervals: tuple[list[Interval], list[Interval]] = ([], [])
        self.hosts: list[dict[str, Any]] = []
        self._started = False

    @property
    def complete(self) -> int:
        """Intervals that both ends have told of."""
        return min(len(found) for found in self.intervals)

    def start(self, at_zero: Callable[[float], object] = lambda _zero_s: None) -> None:
        """Begin.

        Args:
            at_zero: Is told the instant of the first interval on this machine's clock before it comes.

        Raises:
            MachineError: A machine cannot measure, or another one answers at its address.
            TransportError: A machine does not answer.
        """
        self.hosts = [_host(talk) for talk in self._talks]
        offsets_s = [talk.clock_offset().offset_s for talk in self._talks]
        self._zero_s = time.monotonic() + _LEAD_S
        half_s = self._every_s / 2
        self._started = True
        for place, (end, talk, offset_s) in enumerate(zip(self._ends, self._talks, offsets_s, strict=True)):
            schedule = Schedule(
                zero_s=self._zero_s + offset_s,
                every_s=self._every_s,
                phase_s=place * half_s,
                until_s=(place + _UNTIL) * half_s,
                budget_s=self._budget_s,
                n=self._n,
            )
            talk.ask("probe", peer=end.peer, endpoint=end.endpoint, schedule=asdict(schedule))
        at_zero(self._zero_s)

    def follow(self, tell: Callable[[], object]) -> None:
        """Wait until all is measured.

        A machine that is out of reach for a while measures on by itself; only at the end must it be reached.

        Args:
            tell: Called whenever there may be something new.

        Raises:
            MachineError: A machine measures no more.
            TransportError: A machine cannot be reached at the end.
        """
        end_s = self._zero_s + self._n * self._every_s
        while self.complete < self._n:
            if time.monotonic() > end_s + _PATIENCE_S:
                names = " and ".join(end.remote.name for end in self._ends)
                raise TransportError(f"{names} told of {self.complete} intervals of {self._n} and then no more")
            time.sleep(_POLL_S)
            self.look()
            tell()

    def look(self) -> None:
        """Fetch what is new.

        Raises:
            MachineError: A machine measures no more.
        """
        for place, end in enumerate(self._ends):
            try:
                reply = self._talks[place].ask("probed", timeout_s=_ANSWER_S, since=len(self.intervals[place]))
            except TransportError:
                self._redial(place, end)
                continue
            self.intervals[place].extend(interval_of(data) for data in reply["intervals"])

    def again(self) -> None:
        """Fetch what is new over connections of their own: a question that was interrupted may be half sent."""
        if not self._started:
            return
        for place, end in enumerate(self._ends):
            self._redial(place, end)
        self.look()

    def close(self) -> None:
        """Let the machines stop, and hang up."""
        for talk in self._talks:
            try:
                if self._started:
                    talk.ask("unprobe", timeout_s=1.0)
            except (TransportError, MachineError):
                # It stops by itself when its intervals are over, or has stopped.
                pass
            finally:
                talk.close()

    def _redial(self, place: int, end: End) -> None:
        self._talks[place].close()
        self._talks[place] = end.remote.dial()


def _host(talk: Conversation) -> dict[str, Any]:
    hello = talk.ask("hello", timeout_s=_REACH_S)
    if hello["name"] != talk.name:
        raise MachineError(
            f"the agent at the address of `{talk.name}` is called `{hello['name']}`; correct the testbed file"
        )
    return dict(hello["host"])
