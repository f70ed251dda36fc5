"""The power meters of a run, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twin.metering import MeterFacts
from twin.wording import UNKNOWN, given

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twin.records import RunResult

METER_HEADER = ("device", "meter", "firmware", "serial", "source", "step, W", "counter step, J", "refresh, s", "place")


def meter_rows(results: Sequence[RunResult]) -> list[list[str]]:
    """One row per meter of any of the policies, under `METER_HEADER`; none where there were no meters."""
    rows = [_row(MeterFacts.from_json(entry)) for result in results for entry in result.facts.get("meters", ())]
    return [row for position, row in enumerate(rows) if row not in rows[:position]]


def _row(meter: MeterFacts) -> list[str]:
    return [
        meter.device,
        f"{meter.model} ({meter.kind})",
        meter.firmware or UNKNOWN,
        meter.serial or UNKNOWN,
        meter.source,
        given(meter.power_step_w),
        given(meter.counter_step_j),
        given(meter.refresh_s),
        meter.place,
    ]
