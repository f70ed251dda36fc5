"""A meter on a serial port, sought again after it went away."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from hardware.meters.errors import AccessError, UnpluggedError
from hardware.meters.port import Port
from hardware.meters.protocol import PowerSample

if TYPE_CHECKING:
    from collections.abc import Callable

    from hardware.meters.port import Wire
    from hardware.meters.protocol import MeterKind
    from twin.metering.facts import MeterSource

FIRST_WAIT_S = 0.25
LONGEST_WAIT_S = 4.0
"""After a meter went away it is sought again after the first wait, then after twice as long each time, up to this."""


class SerialMeter:
    """A meter on a serial port.

    Args:
        url: How it was asked for.
        kind: What kind of meter it is.
        wire: How it speaks.
        path: Its port.
        source: Whether it is a meter or a program.
        patient: Whether a port that cannot be opened now is sought again, as after an unplug, instead of refused.
        clock: Monotonic clock.
        on_close: Called as the meter is closed.

    Raises:
        AccessError: The port cannot be opened, and `patient` is false.
    """

    def __init__(
        self,
        url: str,
        kind: MeterKind,
        wire: Wire,
        path: str,
        source: MeterSource = "measured",
        *,
        patient: bool = False,
        clock: Callable[[], float] = time.monotonic,
        on_close: Callable[[], object] = lambda: None,
    ) -> None:
        self.url = url
        self.kind = kind
        self.source: MeterSource = source
        self.path = path
        self._wire = wire
        self._clock = clock
        self._on_close = on_close
        self._decode = kind.decoder()
        self._wait_s = FIRST_WAIT_S
        self._seek_s = clock()
        self._port = None if patient else Port(path, wire, clock)

    def read(self) -> PowerSample | None:
        """Ask the meter once; None while it is away and not yet sought again.

        Raises:
            UnpluggedError: It has just gone away.
            AccessError: It was sought again in vain.
            SilentError: It did not answer in time.
            DecodeError: The answer cannot be used.
        """
        port = self._port or self._seek()
        if port is None:
            return None
        start_s = self._clock()
        try:
            frame = port.exchange()
        except UnpluggedError:
            self._drop()
            raise
        end_s = self._clock()
        # What a meter sends by itself was true just before it came, whenever the wait for it began.
        middle_s, poll_s = (end_s, 0.0) if self._wire.streams else ((start_s + end_s) / 2, end_s - start_s)
        return PowerSample(middle_s, poll_s, self._decode(frame), frame)

    def close(self) -> None:
        """Let go of the port."""
        self._let_go()
        self._on_close()

    def _seek(self) -> Port | None:
        """Open the port again if it is time to."""
        if self._clock() < self._seek_s:
            return None
        try:
            self._port = Port(self.path, self._wire, self._clock)
        except AccessError:
            self._seek_s = self._clock() + self._wait_s
            self._wait_s = min(2 * self._wait_s, LONGEST_WAIT_S)
            raise
        self._wait_s = FIRST_WAIT_S
        return self._port

    def _let_go(self) -> None:
        if self._port is not None:
            self._port.close()
            self._port = None

    def _drop(self) -> None:
        self._let_go()
        self._wait_s = FIRST_WAIT_S
        self._seek_s = self._clock() + self._wait_s
