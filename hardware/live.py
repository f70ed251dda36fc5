"""The live twin: it follows the runs of a testbed in a thread of the coordinator, and predicts each next interval.

It asks the edge once per interval what is new, at a lower priority than everything else; the edge waits for nobody.
"""

from __future__ import annotations

import json
import math
import os
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from hardware.following.core import Beat, Core, Who
from hardware.following.figure import picture
from hardware.following.monitor import part_names
from hardware.following.outcome import summary
from hardware.following.table import show
from hardware.node.arrays import unpack_arrays
from twin.engine.events import EventsEngine
from twin.errors import MachineError, RunFolderError, TransportError
from twin.runs.folder import plain, write_text
from twin.units import ms_from_s

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from rich.console import Console

    from hardware.coordinator.linkcheck import LinkCheck
    from hardware.coordinator.remote import Conversation
    from hardware.following.drift import Tuning
    from hardware.following.history import Floats
    from hardware.following.ledger import Interval
    from hardware.following.window import AsObserved
    from twin.profiles import Source
    from twin.records import Requests
    from twin.report.drawing import Picture
    from twin.world import World

LINES, SUMMARY = "live.jsonl", "live.json"
_AFTER_TICK = 0.2
"""Share of the lag after which the decision of a tick is known at the edge."""
_ANSWER_S = 2.0
_NICE = 10
_MOST_ANSWERS = 64


class LiveTwin:
    """Follows every run of a testbed; see `hardware.testbed.Companion`.

    Attributes:
        world: The scenario.
        names: Names of the parts of the twin.
        line: The newest prediction and outcome in words, for the terminal.
        intervals: All intervals so far, by the label of the policy.

    Args:
        world: The scenario.
        out: Folder of the results; each policy has a folder of its own there.
        say: Called with what a user should know at once: flags, and why following has ended.
        tuning: When the twin counts as wrong.
    """

    def __init__(
        self, world: World, out: Path, say: Callable[[str], object] = lambda _: None, tuning: Tuning | None = None
    ) -> None:
        self.world, self.line = world, ""
        self.intervals: dict[str, list[Interval]] = {}
        self._out, self._say, self._tuning = out, say, tuning
        self._spent: dict[str, list[float]] = {}
        self._run: _Run | None = None
        self.names = part_names(world.problem.continuum)

    def begin(
        self, label: str, replication: int, dial: Callable[[], Conversation], zero_s: float, links: Sequence[LinkCheck]
    ) -> None:
        """Begin to follow a run."""
        overhead_s = message_overheads_s(self.world, links)
        core = Core(self.world, Who(label, replication), overhead_s, simulate, self._tuning)
        if label not in self.intervals:
            write_text(self._out / label / LINES, "")
        self.intervals.setdefault(label, [])
        self._run = _Run(core, Beat.of(self.world), dial, zero_s, self._take, self._say)

    def end(self) -> None:
        """The run is over: wait for what is known of its last intervals."""
        run, self._run = self._run, None
        if run is not None:
            run.stop()
            spent = self._spent.setdefault(run.who.label, [0.0, 0.0])
            spent[0] += run.cpu_s
            spent[1] += run.length_s
        self.line = ""

    def summaries(self) -> dict[str, dict[str, Any]]:
        """The summary of each policy that was followed."""
        return {label: self._summary(label) for label in self.intervals}

    def write(self) -> None:
        """Write the summary of each policy into its folder.

        Raises:
            RunFolderError: It cannot be written.
        """
        for label, data in self.summaries().items():
            write_text(self._out / label / SUMMARY, json.dumps(plain(data), indent=2, allow_nan=False) + "\n")

    def show(self, console: Console) -> None:
        """Print how well each run was predicted."""
        show(self.summaries(), console)

    def picture(self, source: Source) -> Picture | None:
        """Draw predictions and outcomes for the report; None if there are none.

        Args:
            source: What the measured figures are.
        """
        return picture(self.intervals, self.summaries(), self.world.problem.continuum.names, source)

    def _summary(self, label: str) -> dict[str, Any]:
        return summary(self.intervals[label], self.names, *self._spent.get(label, [0.0, 0.0]))

    def _take(self, interval: Interval) -> None:
        """An interval is known; called in the thread that follows."""
        self.intervals[interval.label].append(interval)
        line = json.dumps(plain(interval.to_json(self.names)), separators=(",", ":"), allow_nan=False) + "\n"
        path = self._out / interval.label / LINES
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(line)
        except OSError as error:
            raise RunFolderError(f"{path}: cannot be written ({error.strerror}); free some space") from error
        if interval.is_told and interval.whole is not None:
            predicted, measured = (ms_from_s(x) for x in (interval.forecast.mean_s, interval.whole.measured_s))
            self.line = f"predicted {predicted:.1f} ms, measured {measured:.1f} ms ({predicted / measured - 1:+.0%})"


class _Run:
    """One run that is followed, in a thread of its own.

    Attributes:
        cpu_s: Processor time that was spent.
        length_s: Run time for which it was followed.

    Args:
        core: Predicts.
        beat: When.
        dial: Opens a connection to the edge.
        zero_s: Monotonic time of run time 0.
        take: Called with each interval that is known.
        say: Called with flags, and with why following has ended early.
    """

    def __init__(
        self,
        core: Core,
        beat: Beat,
        dial: Callable[[], Conversation],
        zero_s: float,
        take: Callable[[Interval], None],
        say: Callable[[str], object],
    ) -> None:
        self.cpu_s = self.length_s = 0.0
        self.who = core.who
        self._core, self._beat, self._dial, self._zero_s = core, beat, dial, zero_s
        self._take, self._say = take, say
        self._rows = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="live-twin", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look once more, and end."""
        self._stopped.set()
        self._thread.join()

    @property
    def _now_s(self) -> float:
        return time.monotonic() - self._zero_s

    def _follow(self) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        conversation = self._dial()
        try:
            self._until_over(conversation)
        except (TransportError, MachineError, RunFolderError) as error:
            self._say(f"the live twin follows no more: {error}")
        finally:
            conversation.close()
            self.cpu_s, self.length_s = time.thread_time(), self._core.history.t_s

    def _until_over(self, conversation: Conversation) -> None:
        number = 0
        while not self._wait(number * self._beat.every_s + _AFTER_TICK * self._beat.lag_s):
            began_s = time.thread_time()
            if self._look(conversation):
                return
            forecast = self._core.predict(number, self._beat.span_s(number))
            self._core.done(self._now_s, time.thread_time() - began_s)
            # What came too late for its interval takes the next one that is still to come.
            number = max(number + 1, math.ceil((self._now_s - forecast.end_s) / self._beat.every_s) + number + 1)
        self._look(conversation)

    def _wait(self, until_s: float) -> bool:
        """Wait until a run time; True if the run has ended by then."""
        return self._stopped.wait(max(until_s - self._now_s, 0.0))

    def _look(self, conversation: Conversation) -> bool:
        """Fetch what is new and take it in; says whether the run is over."""
        answer, rows = self._fetch(conversation)
        before = len(self._core.flags)
        for interval in self._core.hear(answer, rows):
            self._take(interval)
        for flag in self._core.flags[before:]:
            self._say(f"{self.who.label}, {flag}")
        return bool(answer["over"])

    def _fetch(self, conversation: Conversation) -> tuple[Mapping[str, Any], Floats]:
        history, parts = self._core.history, []
        arrivals_s: list[float] = []
        answer: dict[str, Any] = {"more": True}
        for _ in range(_MOST_ANSWERS):
            epoch = history.plans[-1].epoch if history.plans else 0
            known = len(history.arrivals_s) + len(arrivals_s)
            reply = conversation.ask("follow", timeout_s=_ANSWER_S, since=self._rows, arrivals=known, epoch=epoch)
            rows = unpack_arrays(reply.blobs[0])["rows"]
            parts.append(rows)
            self._rows = int(reply["first"]) + len(rows)
            arrivals_s += reply["arrivals_s"]
            answer = {**reply.content, "arrivals_s": arrivals_s}
            if not answer["more"]:
                break
        return answer, np.concatenate(parts)


def simulate(world: World, policy: AsObserved, luck: int) -> Requests:
    """Play a scenario with given plans; what is left to luck follows from a number."""
    return EventsEngine().run(world, policy, "live", luck).requests


def message_overheads_s(world: World, links: Sequence[LinkCheck]) -> list[float]:
    """Message overhead by link: what the check of the links found above the scenario's round trip and overhead.

    The mean of both directions where both are known; what the scenario says where none is.
    """
    overheads_s = []
    for position, link in enumerate(world.problem.continuum.links):
        rtt_s = float(world.problem.initial.rtt_s[position])
        found_s = [x.delay_s - rtt_s for x in links if x.link == position and x.delay_s is not None]
        overheads_s.append(max(sum(found_s) / len(found_s), 0.0) if found_s else link.message_overhead_s)
    return overheads_s
