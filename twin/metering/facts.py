"""What a power meter is, and where it sits: without this its readings say little."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from twin.errors import MeasurementError

if TYPE_CHECKING:
    from collections.abc import Mapping

MeterSource = Literal["measured", "emulated"]


@dataclass(frozen=True, slots=True)
class MeterFacts:
    """A power meter of a run.

    Attributes:
        device: Name of the device that it feeds.
        url: How it was opened, such as `tc66c:///dev/ttyACM0`.
        kind: Its driver, such as `tc66c`.
        model: What it calls itself.
        firmware: Its version, or an empty string.
        serial: Its serial number, or an empty string.
        power_step_w: Smallest difference of power that it shows; 0 if it shows every one.
        counter_step_j: Step of its energy counter; None where it has none.
        refresh_s: Time between two readings that differ.
        source: `measured`, or `emulated` for a meter that only exists as a program.
        place: Where in the power path it sits, in words.
    """

    device: str
    url: str
    kind: str
    model: str
    firmware: str
    serial: str
    power_step_w: float
    counter_step_j: float | None
    refresh_s: float
    source: MeterSource
    place: str

    def to_json(self) -> dict[str, Any]:
        """Return the facts as plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any], place: str = "meter") -> MeterFacts:
        """Build the facts from the plain data that `to_json` returns.

        Raises:
            MeasurementError: A key is missing or unknown, or a number is out of range.
        """
        try:
            facts = cls(**data)
            numbers = {
                "power_step_w": facts.power_step_w >= 0,
                "counter_step_j": facts.counter_step_j is None or facts.counter_step_j >= 0,
                "refresh_s": 0 < facts.refresh_s < math.inf,
            }
        except TypeError as error:
            raise MeasurementError(
                f"{place}: is not what a run notes of a meter ({error}); measure the run again"
            ) from error
        for name, fits in numbers.items():
            if not fits:
                raise MeasurementError(f"{place}: {name} is {getattr(facts, name)}; measure the run again")
        if facts.source not in ("measured", "emulated"):
            raise MeasurementError(f"{place}: source is {facts.source}; it must be measured or emulated")
        return facts
