"""Power meters that are programs: a pseudo-terminal that speaks as a TC66C or a UM24C, UM25C or UM34C, byte for byte.

As the device, an emulator shows a new reading twice a second, the mean power since the one before, rounded to its
steps; a question in between gets the same bytes again. Its counters grow by what really flowed, whoever asks. What it
shows is whatever the power function says, so that its joules are `emulated`, never `measured`.
"""

from __future__ import annotations

import os
import pty
import select
import threading
import time
import tty
from contextlib import suppress
from typing import TYPE_CHECKING

from hardware.meters import tc66c, um
from hardware.meters.errors import MeterError
from hardware.meters.kinds import ALIASES, SERIAL
from hardware.meters.protocol import DeviceFacts, Reading
from hardware.meters.serialmeter import SerialMeter
from twin import units

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

REFRESH_S = 0.5
_TC66_COMMANDS = (b"getva", b"query", b"gtrec", b"lastp", b"nextp", b"rotat")
_UM_ASK = b"\xf0"


class Clockwork:
    """What a meter shows at each time: refreshed, quantised, counted.

    Args:
        power_w: Mean power in watts from one time to a later one, both on `clock`.
        start_s: When its counters were zero; it was switched on one refresh before, so that it shows something.
        model: What it calls itself.
        voltage_v: Voltage of the supply.
        refresh_s: Time between two readings.
    """

    def __init__(
        self, power_w: Callable[[float, float], float], start_s: float, model: str, voltage_v: float, refresh_s: float
    ) -> None:
        self._power_w = power_w
        self._start_s = start_s
        self._model = model
        self._voltage_v = voltage_v
        self._refresh_s = refresh_s
        self._shown = 0
        self._mean_w = power_w(start_s - refresh_s, start_s)
        self._energy_j = 0.0

    def at(self, now_s: float) -> Reading:
        """What it shows: the mean over the last whole refresh, and what was counted up to its end."""
        due = int((now_s - self._start_s) / self._refresh_s)
        if due - self._shown > 1:
            self._count(due - 1)
        if due > self._shown:
            self._count(due)
        return self._reading()

    def _count(self, refresh: int) -> None:
        """Go on to a refresh; the mean shown is that since the one before."""
        start_s, end_s = (self._start_s + self._refresh_s * k for k in (self._shown, refresh))
        self._mean_w = self._power_w(start_s, end_s)
        self._energy_j += self._mean_w * (end_s - start_s)
        self._shown = refresh

    def _reading(self) -> Reading:
        current_a = self._mean_w / self._voltage_v
        charge_ah = units.ah_from_c(self._energy_j / self._voltage_v)
        # A counter shows whole steps that are full.
        counted = tuple(int(number * 1000) / 1000 for number in (charge_ah, units.wh_from_j(self._energy_j)))
        return Reading(
            voltage_v=self._voltage_v,
            current_a=current_a,
            power_w=self._mean_w,
            temperature_c=25.0,
            resistance_ohm=min(self._voltage_v / current_a, 9999.9) if current_a > 0 else 9999.9,
            d_plus_v=0.0,
            d_minus_v=0.0,
            groups=((counted[0], counted[1]),),
            device=DeviceFacts(self._model, "1.14" if self._model == tc66c.PRODUCT else ""),
        )


class Emulator:
    """A meter of a kind on a pseudo-terminal, until `close`.

    Args:
        kind: `tc66c`, `um24c`, `um25c` or `um34c`.
        power_w: Mean power in watts from one time to a later one, both on `clock`; asked first, while the emulator is
            made, of the refresh before, then of stretches that follow each other.
        voltage_v: Voltage of the supply; a UM25C shows up to 6.5 A, the others up to 65 A, a TC66C any current.
        refresh_s: Time between two readings.
        clock: Monotonic clock.
        mangle: Makes from an answer the pieces that are sent; what a bad cable does, for tests.

    Attributes:
        path: The port, such as `/dev/pts/5`.
        trouble: Why the emulator stopped by itself; None while it has not.

    Raises:
        MeterError: There is no emulator of this kind.
    """

    def __init__(
        self,
        kind: str,
        power_w: Callable[[float, float], float],
        *,
        voltage_v: float = 5.0,
        refresh_s: float = REFRESH_S,
        clock: Callable[[], float] = time.monotonic,
        mangle: Callable[[bytes], Iterable[bytes]] = lambda answer: (answer,),
    ) -> None:
        self.kind = ALIASES.get(kind, kind)
        models = {"tc66c": tc66c.PRODUCT, **{model.name.lower(): model.name for model in um.MODELS}}
        if self.kind not in models:
            raise MeterError(f"no emulator speaks as `{kind}`; choose from {', '.join(models)}")
        self.trouble: str | None = None
        self._clock = clock
        self._mangle = mangle
        self._shows = Clockwork(power_w, clock(), models[self.kind], voltage_v, refresh_s)
        self._asked = b""
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        # Whoever asks and never reads must not stop the emulator.
        os.set_blocking(self._master, False)
        self.path = os.ttyname(self._slave)
        self._wake_read, self._wake_write = os.pipe()
        self._thread = threading.Thread(target=self._serve, name=f"emulated {self.kind}", daemon=True)
        self._thread.start()

    def open(self, url: str | None = None, *, owned: bool = False, patient: bool = False) -> SerialMeter:
        """Open the meter as any other on a serial port.

        Args:
            url: How it was asked for; default its port.
            owned: Whether closing the meter ends the emulator too.
            patient: As in `open_meter`.
        """
        entry, wire = SERIAL[self.kind]
        url = url or f"emulated://{self.kind}{self.path}"
        end: Callable[[], object] = self.close if owned else lambda: None
        return SerialMeter(url, entry, wire, self.path, "emulated", patient=patient, clock=self._clock, on_close=end)

    def close(self) -> None:
        """End it, as if the cable were pulled; harmless if done twice."""
        if self._thread.is_alive():
            os.write(self._wake_write, b"x")
            self._thread.join()
        for end in (self._wake_write, self._wake_read):
            if end >= 0:
                os.close(end)
        self._wake_write = self._wake_read = -1

    def _serve(self) -> None:
        """Answer until told to end."""
        try:
            while True:
                ready, _, _ = select.select([self._master, self._wake_read], [], [])
                if self._wake_read in ready:
                    return
                for answer in self._answers(os.read(self._master, 256)):
                    for piece in self._mangle(answer):
                        self._send(piece)
        except Exception as error:  # noqa: BLE001 - whatever the power function raises is told by `trouble`
            self.trouble = f"{type(error).__name__}: {error}"
        finally:
            os.close(self._slave)
            os.close(self._master)

    def _send(self, piece: bytes) -> None:
        with suppress(BlockingIOError):
            os.write(self._master, piece)

    def _answers(self, asked: bytes) -> Iterable[bytes]:
        if self.kind != "tc66c":
            return [um.encode(self._shows.at(self._clock())) for byte in asked if byte == _UM_ASK[0]]
        self._asked = (self._asked + asked).lstrip(b"\r\n")[-64:]
        answers = []
        while len(self._asked) >= len(_TC66_COMMANDS[0]):
            command = self._asked[:5]
            # An unknown command is dropped one byte at a time, until a known one begins.
            self._asked = self._asked[5 if command in _TC66_COMMANDS else 1 :].lstrip(b"\r\n")
            answers.append(self._tc66_answer(command))
        return [answer for answer in answers if answer]

    def _tc66_answer(self, command: bytes) -> bytes:
        """The device's answer: its packet, that it runs its firmware, or nothing (it has recorded nothing either)."""
        if command == b"getva":
            return tc66c.encode(self._shows.at(self._clock()))
        return b"firm" if command == b"query" else b""
