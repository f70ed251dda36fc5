"""Ask one meter again and again in a thread of its own, whatever else the process does.

Each answer is stamped in the middle of its poll, on the monotonic clock of this machine. A meter that fails is asked
again: a run never ends because of a meter, but what it did not measure is listed.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from hardware.meters.collect import Collector, Recording, in_run_time
from hardware.meters.errors import AccessError, DecodeError, MeterError
from hardware.meters.frames import FrameFile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from hardware.meters.protocol import PowerMeter, Reading

_PATIENCE_S = 10.0
"""How long the last poll may take; longer than any meter's own time limit."""


class Sampler:
    """Samples one meter from `start` to `stop`; `poll` takes one sample by hand.

    Args:
        meter: The meter; the sampler closes it.
        device: Name of the device that it feeds.
        frames: File for the raw frames; None keeps none.
        period_s: Time between polls; default what suits the meter.
        origin_s: Time on `clock` that is 0 in run time; default now.
        clock: Monotonic clock.
        wait: Waits so many seconds, less if the sampler is stopped meanwhile; default the real thing.

    Raises:
        AccessError: The file of frames cannot be written.
    """

    def __init__(
        self,
        meter: PowerMeter,
        device: str,
        frames: Path | None = None,
        *,
        period_s: float | None = None,
        origin_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        self.meter = meter
        self.period_s = period_s or meter.kind.poll_s
        self.origin_s = clock() if origin_s is None else origin_s
        self._clock = clock
        self._stopping = threading.Event()
        self._wait = wait or self._stopping.wait
        start_s = self._now_s()
        head = {
            "url": meter.url,
            "kind": meter.kind.name,
            "source": meter.source,
            "device": device,
            "period_s": self.period_s,
            "start_s": start_s,
        }
        self._collector = Collector(meter.kind, meter.url, meter.source, device, self.period_s, start_s)
        self._file = None if frames is None else FrameFile(frames, head)
        self._thread = threading.Thread(target=self._run, name=f"meter {meter.url}", daemon=True)

    def start(self) -> Sampler:
        """Begin to sample."""
        self._thread.start()
        return self

    @property
    def latest(self) -> tuple[Reading | None, Mapping[str, int]]:
        """The newest reading and the counts up to now."""
        return self._collector.latest

    @property
    def latest_w(self) -> float | None:
        """The newest power; None if there is none yet."""
        return self._collector.latest_w

    def poll(self) -> None:
        """Ask the meter once, and keep what it says."""
        start_s = self._now_s()
        try:
            sample = self.meter.read()
        except MeterError as error:
            self._failed(start_s, error)
            return
        if sample is None:
            return
        sample = in_run_time(sample, self.origin_s)
        self._note(lambda file: file.frame(sample.t_s, sample.poll_s, sample.frame))
        self._collector.sample(sample)

    def stop(self, replication: int = 0, device: int = 0) -> Recording:
        """End sampling, close the meter and return what it gave.

        Args:
            replication: Number of the replication, for the table.
            device: Position of the device, for the table.
        """
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_PATIENCE_S)
        end_s = self._now_s()
        if self._thread.is_alive():
            self._collector.failure(end_s, MeterError("the meter's last poll did not end; start the program again"))
        else:
            self.meter.close()
        self._note(lambda file: file.close(end_s))
        return self._collector.finish(end_s, replication, device)

    def _run(self) -> None:
        next_s = self._clock()
        try:
            while not self._stopping.is_set():
                self.poll()
                # A poll that took long is not made up for by a burst.
                next_s = max(next_s + self.period_s, self._clock())
                self._wait(next_s - self._clock())
        except Exception as error:  # noqa: BLE001 - the thread ends, the run does not, and the recording says why
            self._failed(self._now_s(), error)

    def _failed(self, start_s: float, error: Exception) -> None:
        end_s = self._now_s()
        middle_s = (start_s + end_s) / 2
        if isinstance(error, DecodeError) and error.frame:
            frame = error.frame
            self._note(lambda file: file.frame(middle_s, end_s - start_s, frame))
        else:
            self._note(lambda file: file.error(middle_s, error))
        self._collector.failure(middle_s, error)

    def _note(self, write: Callable[[FrameFile], object]) -> None:
        """Keep something in the file of frames; a full disk ends that, not the sampling."""
        if self._file is None:
            return
        try:
            write(self._file)
        except AccessError as error:
            self._file = None
            self._collector.failure(self._now_s(), error)

    def _now_s(self) -> float:
        return self._clock() - self.origin_s
