"""What every power meter gives, whatever the wire: readings, and the facts that say how far to trust them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias

from twin import units
from twin.metering.facts import MeterFacts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from twin.metering.facts import MeterSource

MWH_IN_J = units.j_from_wh(units.from_milli(1.0))
"""One milliwatt-hour, the step of most meters' energy counters, in joules: 3.6 J."""


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """What a meter says about itself; empty where it says nothing."""

    model: str = ""
    firmware: str = ""
    serial: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a meter showed at one time; None where it has no such thing.

    Attributes:
        voltage_v: Voltage.
        current_a: Current.
        power_w: Power.
        charge_ah: Counted charge.
        energy_wh: Counted energy; of a battery, what it still holds.
        temperature_c: Temperature of the meter.
        resistance_ohm: Voltage over current, as the meter shows it.
        d_plus_v: Voltage of the USB data line D+.
        d_minus_v: Voltage of the USB data line D-.
        groups: Charge in Ah and energy in Wh of each group of counters, where a meter has several.
        counter_j: Energy counter in joules, for `MeterReadings`; None if the meter has none that only grows.
        device: What the meter says about itself.
        extra: Other numbers that it sends, by name and in its own units.
        warnings: What is odd about the reading, though not enough to refuse it.
    """

    voltage_v: float | None = None
    current_a: float | None = None
    power_w: float | None = None
    charge_ah: float | None = None
    energy_wh: float | None = None
    temperature_c: float | None = None
    resistance_ohm: float | None = None
    d_plus_v: float | None = None
    d_minus_v: float | None = None
    groups: tuple[tuple[float, float], ...] = ()
    counter_j: float | None = None
    device: DeviceFacts = DeviceFacts()
    extra: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


Decoder: TypeAlias = "Callable[[bytes], Reading]"
"""From one frame to a reading; may remember earlier frames of the same session, to unwrap a counter."""


@dataclass(frozen=True, slots=True)
class MeterKind:
    """What is known of a kind of meter before it has said anything.

    Attributes:
        name: Its name in URLs.
        label: Its name for people.
        place: Where in the power path it measures, in words.
        refresh_s: Time between two readings that can differ.
        poll_s: How often to ask: often enough to see when the reading changed.
        decoder: Makes the decoder of one session.
        power_step_w: Smallest difference of power that it shows; 0 if it shows every one.
        current_step_a: Smallest difference of current; its power is no finer than this times the voltage.
        counter_step_j: Step of its energy counter; None where it has none.
    """

    name: str
    label: str
    place: str
    refresh_s: float
    poll_s: float
    decoder: Callable[[], Decoder]
    power_step_w: float = 0.0
    current_step_a: float = 0.0
    counter_step_j: float | None = None

    def facts(self, device: str, url: str, source: MeterSource, reading: Reading | None) -> MeterFacts:
        """What to note about a meter of this kind.

        Args:
            device: Name of the device that it feeds.
            url: How it was opened.
            source: Whether it is a meter or a program.
            reading: Its first reading; None if there never was one.
        """
        reading = reading or Reading()
        step_w = max(self.power_step_w, self.current_step_a * (reading.voltage_v or 0.0))
        return MeterFacts(
            device=device,
            url=url,
            kind=self.name,
            model=reading.device.model or self.label,
            firmware=reading.device.firmware,
            serial=reading.device.serial,
            power_step_w=step_w,
            counter_step_j=self.counter_step_j,
            refresh_s=self.refresh_s,
            source=source,
            place=self.place,
        )


@dataclass(frozen=True, slots=True)
class PowerSample:
    """One poll of a meter that was answered.

    Attributes:
        t_s: Middle of the poll, on the monotonic clock of this machine.
        poll_s: How long the poll took; the reading belongs to some time in it.
        reading: What the meter showed.
        frame: The bytes as they came.
    """

    t_s: float
    poll_s: float
    reading: Reading
    frame: bytes

    @property
    def power_w(self) -> float:
        """The power; NaN where the meter gave none."""
        return math.nan if self.reading.power_w is None else self.reading.power_w


class PowerMeter(Protocol):
    """A power meter that is open, or that is being sought again after it went away."""

    @property
    def kind(self) -> MeterKind:
        """What kind of meter it is."""
        ...

    @property
    def url(self) -> str:
        """How it was opened."""
        ...

    @property
    def source(self) -> MeterSource:
        """Whether it is a meter (`measured`) or a program (`emulated`)."""
        ...

    def read(self) -> PowerSample | None:
        """Ask the meter once.

        Returns:
            The answer, or None while a meter that went away is not yet sought again.

        Raises:
            MeterError: There was no answer, or one that cannot be used. The meter may be asked again.
        """
        ...

    def close(self) -> None:
        """Let go of the port; harmless if done twice."""
        ...
