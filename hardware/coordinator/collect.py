"""What the machines of a testbed recorded, put together as the records of one run."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hardware.node.arrays import unpack_arrays
from hardware.node.recorder import spans_table
from twin.metering import measured_power
from twin.records import MeterReadings, Power, RawSamples, Requests, RunResult, Spans
from twin.runs.parquet import empty

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hardware.coordinator.remote import Reply
    from twin.profiles import Source
    from twin.world import World


@dataclass(frozen=True, slots=True)
class ClockFit:
    """How a machine's clock runs against that of the coordinator.

    Attributes:
        at_s: Coordinator's monotonic time of two measurements.
        offset_s: Seconds to add to the coordinator's clock to get the machine's, at both.
        uncertainty_s: Largest possible error of either.
    """

    at_s: tuple[float, float]
    offset_s: tuple[float, float]
    uncertainty_s: float

    def shift_s(self, times_s: np.ndarray) -> np.ndarray:
        """What to add to times of the machine's clock to get the coordinator's, shape as `times_s`.

        Between the two measurements the offset is taken to drift evenly.
        """
        if self.at_s[1] <= self.at_s[0]:
            return np.full(np.shape(times_s), -self.offset_s[0])
        there_s = np.array(self.at_s) + np.array(self.offset_s)
        return np.asarray(-np.interp(times_s, there_s, self.offset_s))

    def to_json(self) -> dict[str, Any]:
        """The fit as plain data."""
        return {
            "offset_s": list(self.offset_s),
            "uncertainty_s": self.uncertainty_s,
            "drift": (self.offset_s[1] - self.offset_s[0]) / (self.at_s[1] - self.at_s[0])
            if self.at_s[1] > self.at_s[0]
            else None,
        }


@dataclass(frozen=True, slots=True)
class Collected:
    """What one run left on the machines.

    Attributes:
        result: The records.
        answers: Answers to be checked: request, plan epoch, bytes of each tensor.
        frames: Raw frames of each power meter, by the name of its device.
    """

    result: RunResult
    answers: list[tuple[int, int, list[bytes]]]
    frames: dict[str, bytes]


def put_together(
    world: World,
    label: str,
    source: Source,
    replication: int,
    replies: Sequence[Reply | None],
    clocks: Sequence[ClockFit],
    facts: Mapping[str, Any],
) -> Collected:
    """Join the records of all machines.

    Args:
        world: The scenario.
        label: Name of the policy.
        source: `measured` or `emulated`.
        replication: Number of the replication.
        replies: What each machine handed over, the edge first; None for one that did not answer.
        clocks: How the clock of each machine runs.
        facts: What else is to be known of the run.
    """
    edge = replies[0]
    assert edge is not None  # noqa: S101 - without the edge there is no run
    zero_s = _to_coordinator(clocks[0], edge["zero_s"])
    parts, readings, frames = [], [empty(MeterReadings)], {}
    meters: list[dict[str, Any]] = []
    for reply, clock in zip(replies, clocks, strict=True):
        if reply is not None:
            columns = unpack_arrays(reply.blobs[0])
            times_s = np.stack([columns["start_s"], columns["end_s"]], axis=1)
            parts.append(spans_table(columns, replication, clock.shift_s(times_s) - zero_s))
            for position, entry in enumerate(reply["meters"]):
                readings.append(MeterReadings(**unpack_arrays(reply.blobs[1 + 2 * position])))
                meters.append(entry)
                frames[entry["facts"]["device"]] = reply.blobs[2 + 2 * position]
    spans = Spans.concatenate(parts)
    spans = spans.where(np.lexsort((spans.start_s, spans.request)))
    first = 1 + 2 * len(edge["meters"])
    requests = Requests(**unpack_arrays(edge.blobs[first]))
    epochs = dict(zip(requests.request.tolist(), requests.epoch.tolist(), strict=True))
    answers, position = [], first + 3
    for request, n_tensors in edge["answers"]:
        answers.append((request, epochs[request], edge.blobs[position : position + n_tensors]))
        position += n_tensors
    result = RunResult(
        label,
        source,
        requests,
        spans,
        empty(Power),
        RawSamples(**unpack_arrays(edge.blobs[first + 1])),
        tuple(json.loads(edge.blobs[first + 2])),
        {
            **facts,
            "switches": edge["switches"],
            "duplicates": edge["duplicates"],
            "length_s": edge["end_s"],
            "caveats": [*facts.get("caveats", ()), *(text for entry in meters for text in entry["complaints"])],
            "meters": [entry["facts"] for entry in meters],
            "metering": [{key: x for key, x in entry.items() if key != "facts"} for entry in meters],
        },
        MeterReadings.concatenate(readings),
    )
    return Collected(replace(result, power=measured_power(world, result)), answers, frames)


def _to_coordinator(clock: ClockFit, time_s: float) -> float:
    return time_s + float(clock.shift_s(np.array([time_s]))[0])
