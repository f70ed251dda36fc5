"""A link trace out of what two machines sent each other: goodput and round trip of each interval, as a file."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hardware.coordinator.linkcheck import fit
from hardware.node.interval import EMPTY_BYTES, LEAST_BYTES, MOST_BYTES, Interval
from twin.errors import MeasurementError
from twin.units import BITS_PER_BYTE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

METHOD = (
    "In every interval each direction in turn sends three empty messages and then bursts of mixed sizes over a data "
    "connection of the testbed, each as parcels of which only a few are under way. Goodput: the line of Theil and Sen "
    "through sizes and times, T = L + 8 S / B. Round trip: the quickest empty message of the interval in either "
    "direction, receipt included; while nothing came through it keeps its last value. An interval in which no burst "
    "ended has what came through in it: 0 in an outage, and what was left of an earlier burst where the link had just "
    "become much slower."
)
_LEAST_TRANSFER_S = 1e-6


@dataclass(frozen=True, slots=True)
class LinkRow:
    """One interval.

    Attributes:
        time_s: When it begins.
        up_bps: Goodput from the first machine to the second.
        down_bps: Goodput the other way.
        rtt_s: Round-trip time of the idle link.
    """

    time_s: float
    up_bps: float
    down_bps: float
    rtt_s: float


def interval_of(data: Mapping[str, Any]) -> Interval:
    """An interval from the plain data that `Interval.to_json` returns."""
    pairs = {key: [(int(size), float(time_s)) for size, time_s in data[key]] for key in ("bursts", "rough")}
    return Interval(int(data["number"]), list(data["empty_s"]), pairs["bursts"], pairs["rough"], data["came_bytes"])


def goodput_bps(interval: Interval, every_s: float) -> float:
    """Goodput in one direction in one interval, bits per second; 0 where nothing came through.

    Args:
        interval: What was sent.
        every_s: Its length.
    """
    transfers = [(EMPTY_BYTES, time_s) for time_s in interval.empty_s] + interval.bursts
    if len(interval.bursts) > 1:
        fitted = fit(*zip(*transfers, strict=True))
        if fitted is not None:
            return fitted[0]
    if interval.bursts:
        empty_s = min(interval.empty_s, default=0.0)
        return _ratio([(size, max(time_s - empty_s, _LEAST_TRANSFER_S)) for size, time_s in interval.bursts])
    if interval.rough:
        return _ratio(interval.rough)
    return interval.came_bytes * BITS_PER_BYTE / every_s


def trace_rows(up: Sequence[Interval], down: Sequence[Interval], every_s: float) -> list[LinkRow]:
    """The rows of a trace, as many as there are intervals of both directions.

    Args:
        up: What the first machine sent.
        down: What the second one sent.
        every_s: Length of an interval.

    Raises:
        MeasurementError: There are none, or nothing came through in any of them.
    """
    pairs = list(zip(up, down, strict=False))
    trips_s = [min((*a.empty_s, *b.empty_s), default=None) for a, b in pairs]
    known_s = [trip_s for trip_s in trips_s if trip_s is not None]
    if not known_s:
        raise MeasurementError(
            "nothing came through the link, so there is nothing to record; check that the machines reach each other"
        )
    last_s, rows = known_s[0], []
    for position, ((a, b), trip_s) in enumerate(zip(pairs, trips_s, strict=True)):
        last_s = last_s if trip_s is None else trip_s
        rows.append(LinkRow(position * every_s, goodput_bps(a, every_s), goodput_bps(b, every_s), last_s))
    return rows


def csv_text(rows: Sequence[LinkRow]) -> str:
    """The trace as the text of its CSV file."""
    lines = [f"{row.time_s:.9g},{row.up_bps:.0f},{row.down_bps:.0f},{row.rtt_s:.6f}" for row in rows]
    return "\n".join(["time_s,up_bps,down_bps,rtt_s", *lines]) + "\n"


def sizes_and_numbers(intervals: Sequence[Interval]) -> dict[str, Any]:
    """What one direction of a trace rests on, as plain data."""
    sizes = [size for interval in intervals for size, _ in interval.bursts]
    return {
        "bursts": len(sizes),
        "empty_messages": sum(len(interval.empty_s) for interval in intervals),
        "burst_bytes": [min(sizes), int(statistics.median(sizes)), max(sizes)] if sizes else None,
        "intervals_without_burst": sum(not interval.bursts for interval in intervals),
        "intervals_without_anything": sum(not interval.came_bytes for interval in intervals),
    }


def meta_text(meta: Mapping[str, Any]) -> str:
    """What stands beside the trace, as the text of its file."""
    import yaml  # noqa: PLC0415 - slow to import, and `--help` needs none

    limits = {"burst_limits_bytes": [LEAST_BYTES, MOST_BYTES]}
    return str(yaml.safe_dump({**meta, **limits}, sort_keys=False, allow_unicode=True, width=110))


def write_trace(path: Path, rows: Sequence[LinkRow], meta: Mapping[str, Any]) -> None:
    """Write the trace and the file beside it.

    Raises:
        MeasurementError: They cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".meta.yaml").write_text(meta_text(meta), encoding="utf-8", newline="\n")
        path.write_text(csv_text(rows), encoding="utf-8", newline="\n")
    except OSError as error:
        raise MeasurementError(f"{path}: cannot be written ({error.strerror}); choose another --out") from error


def _ratio(transfers: Sequence[tuple[int, float]]) -> float:
    size_bytes, time_s = (sum(column) for column in zip(*transfers, strict=True))
    return size_bytes * BITS_PER_BYTE / time_s if time_s > 0 else 0.0
