"""Traces: how fast a link is and how slow a device is, as functions of time."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from twin.errors import TraceError
from twin.steps import AfterEnd, Steps
from twin.trace_files import read_meta, read_pairs, read_slots, read_table

if TYPE_CHECKING:
    from collections.abc import Mapping

TraceSource = Literal["measured", "derived", "emulated", "given"]
"""Where a trace comes from; `given` stands for numbers of a scenario and for files that do not say."""

LinkFormat = Literal["csv", "mahimahi", "two-column"]

_FORMATS: dict[str, LinkFormat] = {
    ".csv": "csv",
    ".up": "mahimahi",
    ".down": "mahimahi",
    ".mahi": "mahimahi",
    ".txt": "two-column",
    ".dat": "two-column",
    ".log": "two-column",
    ".tsv": "two-column",
}


@dataclass(frozen=True, slots=True)
class LinkTrace:
    """A link over time.

    Attributes:
        name: Name of the trace.
        up: Payload goodput from the earlier device to the later one, bits per second.
        down: Payload goodput the other way, bits per second.
        rtt: Round-trip time of an idle link, seconds.
        source: Where the numbers come from.
        provenance: What else is known about their origin.
    """

    name: str
    up: Steps
    down: Steps
    rtt: Steps
    source: TraceSource = "given"
    provenance: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @classmethod
    def constant(
        cls, rate_bps: float, rtt_s: float = 0.0, *, down_bps: float | None = None, name: str = "constant"
    ) -> LinkTrace:
        """Return a link that never changes; `down_bps` defaults to `rate_bps`.

        Raises:
            TraceError: A rate or the round-trip time is negative, infinite or not a number.
        """
        back_bps = rate_bps if down_bps is None else down_bps
        for key, value in (("rate_bps", rate_bps), ("down_bps", back_bps), ("rtt_s", rtt_s)):
            if not 0.0 <= value < math.inf:
                raise TraceError(f"{name}: {key} is {value}; it must be a finite number >= 0")
        return cls(
            name,
            up=Steps.constant(rate_bps, f"{name} up_bps"),
            down=Steps.constant(back_bps, f"{name} down_bps"),
            rtt=Steps.constant(rtt_s, f"{name} rtt_s"),
        )

    def masked(self, start_s: float, end_s: float = math.inf) -> LinkTrace:
        """Return the link with both directions down in the window [start_s, end_s).

        Raises:
            TraceError: The window is malformed.
        """
        return LinkTrace(
            self.name,
            self.up.masked(start_s, end_s),
            self.down.masked(start_s, end_s),
            self.rtt,
            self.source,
            self.provenance,
        )


@dataclass(frozen=True, slots=True)
class LoadTrace:
    """The load of a device over time.

    Attributes:
        name: Name of the trace.
        slowdown: Factor by which work takes longer; 1 for an idle device, infinite for a stalled one.
        source: Where the numbers come from.
        provenance: What else is known about their origin.
        work: Its reciprocal: work-seconds that the device delivers per second.

    Raises:
        TraceError: A slowdown is 0.
    """

    name: str
    slowdown: Steps
    source: TraceSource = "given"
    provenance: Mapping[str, Any] = field(default_factory=dict, hash=False)
    work: Steps = field(init=False, compare=False)

    def __post_init__(self) -> None:
        given = self.slowdown
        if 0.0 in given.values:
            raise TraceError(f"{self.name}: a slowdown is 0; it must be > 0, where 1 is an idle device")
        rates = tuple(1.0 / value for value in given.values)
        work = Steps(given.times_s, rates, given.after_end, given.duration_s, given.loop_from_s, f"{self.name} work")
        object.__setattr__(self, "work", work)

    @classmethod
    def constant(cls, slowdown: float = 1.0, name: str = "constant") -> LoadTrace:
        """Return a load that never changes.

        Raises:
            TraceError: The slowdown is not a number > 0.
        """
        return cls(name, Steps.constant(slowdown, f"{name} slowdown"))

    def slowed(self, factor: float, start_s: float = 0.0, end_s: float = math.inf) -> LoadTrace:
        """Return the load with the slowdown multiplied by `factor` in the window; an infinite factor stalls.

        Raises:
            TraceError: The factor is not > 0, or the window is malformed.
        """
        return LoadTrace(self.name, self.slowdown.scaled(factor, start_s, end_s), self.source, self.provenance)


def load_link_trace(
    path: Path | str,
    after_end: AfterEnd | None = None,
    *,
    file_format: LinkFormat | None = None,
    rtt_s: float | None = None,
    down_path: Path | str | None = None,
    bin_s: float = 0.1,
) -> LinkTrace:
    """Read a link trace.

    Args:
        path: The file. `.csv` has the columns `time_s,up_bps,down_bps,rtt_s` and a `.meta.yaml` beside it; `.up`,
            `.down` and `.mahi` are Mahimahi packet-delivery files; `.txt`, `.dat`, `.log` and `.tsv` hold a time
            and Mbit/s per line.
        after_end: What happens past the end; by default a Mahimahi file loops and the others hold.
        file_format: The format, where the extension does not tell.
        rtt_s: Round-trip time, for the formats that have none.
        down_path: File of the down direction, for the formats that hold one direction; by default a `.up` file
            takes the `.down` file beside it, and the others serve both directions.
        bin_s: Width of the bins into which the slots of a Mahimahi file are counted.

    Raises:
        TraceError: A file is missing or malformed, or an argument is missing.
    """
    path = Path(path)
    kind = file_format or _FORMATS.get(path.suffix.lower())
    if kind is None:
        raise TraceError(
            f"{path}: the extension `{path.suffix}` names no trace format; use one of {', '.join(_FORMATS)}"
        )
    if kind == "csv":
        return _from_csv(path, after_end or "hold")
    if rtt_s is None or not 0.0 <= rtt_s < math.inf:
        raise TraceError(f"{path}: a {kind} file holds no round-trip time; give `rtt_s`, a finite number >= 0")
    back = _down_file(path, down_path)
    up, down = (
        _slots(file, after_end or "loop", bin_s) if kind == "mahimahi" else _pairs(file, after_end or "hold")
        for file in (path, back)
    )
    meta = read_meta(path, required=False)
    return LinkTrace(
        path.stem,
        up,
        down,
        Steps.constant(rtt_s, f"{path.name} rtt_s"),
        meta.source,
        {**meta.provenance, "format": kind, "files": [path.name, back.name]},
    )


def load_load_trace(path: Path | str, after_end: AfterEnd = "hold") -> LoadTrace:
    """Read the load of a device: a CSV file with the columns `time_s,slowdown` and a `.meta.yaml` beside it.

    A slowdown of `inf` is a stalled device.

    Raises:
        TraceError: A file is missing or malformed.
    """
    path = Path(path)
    times_s, slowdown = read_table(path, ("time_s", "slowdown"), infinite="slowdown")
    meta = read_meta(path)
    steps = Steps(tuple(times_s), tuple(slowdown), after_end, meta.duration_s, name=f"{path} slowdown")
    return LoadTrace(path.stem, steps, meta.source, meta.provenance)


def _from_csv(path: Path, after_end: AfterEnd) -> LinkTrace:
    times_s, up_bps, down_bps, rtt_s = read_table(path, ("time_s", "up_bps", "down_bps", "rtt_s"))
    meta = read_meta(path)
    up, down, rtt = (
        Steps(tuple(times_s), tuple(values), after_end, meta.duration_s, name=f"{path} {column}")
        for values, column in ((up_bps, "up_bps"), (down_bps, "down_bps"), (rtt_s, "rtt_s"))
    )
    return LinkTrace(path.stem, up, down, rtt, meta.source, meta.provenance)


def _slots(path: Path, after_end: AfterEnd, bin_s: float) -> Steps:
    times_s, rates_bps, duration_s = read_slots(path, bin_s)
    return Steps(tuple(times_s), tuple(rates_bps), after_end, duration_s, name=str(path))


def _pairs(path: Path, after_end: AfterEnd) -> Steps:
    times_s, rates_bps = read_pairs(path)
    return Steps(tuple(times_s), tuple(rates_bps), after_end, name=str(path))


def _down_file(path: Path, down_path: Path | str | None) -> Path:
    if down_path is not None:
        return Path(down_path)
    beside = path.with_suffix(".down")
    return beside if path.suffix == ".up" and beside.exists() else path
