"""The queue of a machine and the threads that work it off, in order of arrival.

The queue lives in the thread of the loop. A worker thread only computes: it takes a job, and posts the result back.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hardware.emulation.moments import wake_promptly

if TYPE_CHECKING:
    from collections.abc import Callable

    from hardware.emulation.speed import Speed
    from hardware.node.activity import Activity, Stretch
    from hardware.node.compute import Buffers
    from hardware.node.workshop import Visit
    from hardware.transport.loop import Loop


@dataclass(slots=True, eq=False)
class Job:
    """One stage visit.

    Attributes:
        request: Number of the request, or `records.PROBE`.
        attempt: How often it was sent before.
        epoch: Plan epoch.
        visit: What is done for it.
        buffers: The tensors that it needs; let go as soon as they are used.
        release: Called when the job leaves the queue.
        arrived_s: When it came.
        start_s: When its service began; 0 until then.
        dropped: Whether nobody waits for it any more.
    """

    request: int
    attempt: int
    epoch: int
    visit: Visit
    buffers: Buffers
    release: Callable[[], None]
    arrived_s: float
    start_s: float = 0.0
    dropped: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    """A stage visit that ended.

    Attributes:
        job: The job.
        outputs: The tensors that go on; None if the stage failed.
        end_s: When they were there.
        free_s: When the next job may begin: `end_s`, less what a machine that stands in for another one was late.
        error: What went wrong.
    """

    job: Job
    outputs: Buffers | None
    end_s: float
    free_s: float
    error: BaseException | None = None


class Station:
    """The queue of one machine.

    Attributes:
        speed: How long a visit takes where the machine stands in for another one; None where it is itself.
        zero_s: Monotonic time of run time 0; None before the run has started.
        activity: Is told when work begins and ends, where power is emulated.

    Args:
        loop: The loop of this machine.
        on_done: Called in the loop with each visit that ended.
        slots: Number of jobs that are served at once.
    """

    def __init__(self, loop: Loop, on_done: Callable[[Done], None], slots: int = 1) -> None:
        self.speed: Speed | None = None
        self.zero_s: float | None = None
        self.activity: Activity | None = None
        self._stretches: dict[int, Stretch] = {}
        self._loop, self._on_done, self._slots = loop, on_done, slots
        self._waiting: deque[Job] = deque()
        self._serving: list[Job] = []
        self._paused = False
        self._free_s = 0.0
        self._handed: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._work, name=f"stage-{n}", daemon=True) for n in range(slots)]
        for thread in self._threads:
            thread.start()

    def __len__(self) -> int:
        """Jobs that wait or are served."""
        return len(self._waiting) + len(self._serving)

    @property
    def is_full(self) -> bool:
        """Whether all slots are taken."""
        return len(self._serving) >= self._slots

    @property
    def waiting(self) -> int:
        """Jobs that wait."""
        return len(self._waiting)

    @property
    def serving(self) -> tuple[Job, ...]:
        """Jobs that are being served."""
        return tuple(self._serving)

    def put(self, job: Job) -> None:
        """Let a job join the queue."""
        self._waiting.append(job)
        self._hand_over()

    def clear(self) -> None:
        """Forget what waits; what is being served ends unnoticed, and soon if it only sleeps."""
        for job in self._waiting:
            job.release()
        for job in self._serving:
            job.dropped = True
        self._waiting.clear()
        self._serving.clear()
        self._paused = False

    def pause(self, *, paused: bool) -> None:
        """Start nothing new, or go on."""
        if self._paused and not paused:
            self._free_s = max(self._free_s, time.monotonic())
        self._paused = paused
        self._hand_over()

    def close(self) -> None:
        """Let the threads end."""
        for _ in self._threads:
            self._handed.put(None)

    def _hand_over(self) -> None:
        while self._waiting and len(self._serving) < self._slots and not self._paused:
            job = self._waiting.popleft()
            # With one server, service begins when the work was there and the server was free; what waking a thread
            # takes is part of the service, and is not passed on to the next job.
            job.start_s = max(job.arrived_s, self._free_s) if self._slots == 1 else time.monotonic()
            self._serving.append(job)
            if self.activity is not None:
                self._stretches[id(job)] = self.activity.begin("compute", job.start_s)
            job.release()
            self._handed.put(job)

    def _work(self) -> None:
        wake_promptly()
        while (job := self._handed.get()) is not None:
            self._loop.post(self._ended, self._serve(job))

    def _serve(self, job: Job) -> Done:
        buffers, job.buffers = job.buffers, ()
        try:
            outputs, end_s, free_s = self._visit(job, buffers)
        except Exception as error:  # noqa: BLE001 - whatever a stage raises is one request's failure, and is reported
            now_s = time.monotonic()
            return Done(job, None, now_s, now_s, error)
        return Done(job, outputs, end_s, free_s)

    def _visit(self, job: Job, buffers: Buffers) -> tuple[Buffers, float, float]:
        """Returns the results, when they were there, and when the device that it stands for was free again."""
        if self.speed is None:
            outputs = job.visit.compute(buffers)
            end_s = time.monotonic()
            return outputs, end_s, end_s
        # A probe shares the luck of another request, as in the twin.
        visit = self.speed.visit(
            lambda: job.visit.compute(buffers),
            job.visit.nominal_s,
            max(job.request, 0),
            self.zero_s,
            start_s=job.start_s,
            stop=lambda: job.dropped,
        )
        return visit.result, visit.end_s, visit.due_s

    def _ended(self, done: Done) -> None:
        self._free_s = done.free_s
        stretch = self._stretches.pop(id(done.job), None)
        if stretch is not None:
            stretch.end_s = done.end_s
        if done.job in self._serving:
            self._serving.remove(done.job)
            self._hand_over()
            self._on_done(done)


def no_release() -> None:
    """Releases a job whose tensors came from no other machine."""
