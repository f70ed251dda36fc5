"""What happened in a run, as columns."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from twin.problem import Samples
from twin.tables import Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from twin.profiles import Source


class Outcome(IntEnum):
    """How a request ended; exactly one of these."""

    OK = 0
    LATE = 1
    DROPPED = 2
    FAILED = 3


class Reason(IntEnum):
    """Why a request was dropped or failed."""

    NONE = 0
    QUEUE_LIMIT = 1
    NO_CAPACITY = 2
    LOST = 3
    UNFINISHED = 4
    MISMATCH = 5


class Kind(IntEnum):
    """What a span of time was spent on."""

    HOLD = 0
    QUEUE = 1
    COMPUTE = 2
    TRANSMIT = 3
    PROPAGATE = 4


PROBE = -1
"""Stands for the request in spans of a probe."""
LOAD = -2
"""Stands for the request in spans of weights on their way to a device."""


@dataclass(frozen=True, eq=False)
class Requests(Table):
    """One row per request, in order of arrival.

    Attributes:
        replication: Number of the replication.
        request: Number of the request within it.
        client: Client that sent it; 0 in open loop.
        arrival_s: When it arose.
        done_s: When its answer was back at the edge; NaN if it never was.
        outcome: An `Outcome`.
        reason: A `Reason`.
        epoch: Plan epoch on which it ended.
        replays: How often it was sent again after a loss.
        counted: False during warm-up.
    """

    replication: np.ndarray
    request: np.ndarray
    client: np.ndarray
    arrival_s: np.ndarray
    done_s: np.ndarray
    outcome: np.ndarray
    reason: np.ndarray
    epoch: np.ndarray
    replays: np.ndarray
    counted: np.ndarray

    @property
    def completed(self) -> np.ndarray:
        """Whether each request was answered, in time or late."""
        return np.asarray(self.outcome <= Outcome.LATE)

    @property
    def latency_s(self) -> np.ndarray:
        """End-to-end latency; NaN where there was no answer."""
        return np.asarray(self.done_s - self.arrival_s)


@dataclass(frozen=True, eq=False)
class Spans(Table):
    """One row per stretch of time of a request, a probe or a load.

    Attributes:
        replication: Number of the replication.
        request: The request, `PROBE` or `LOAD`.
        epoch: Its plan epoch.
        kind: A `Kind`.
        place: Where: device k is k, direction d of link l is n_devices + 2 l + d.
        start_s: Start.
        end_s: End.
        size_bytes: Bytes that moved; 0 for compute.
    """

    replication: np.ndarray
    request: np.ndarray
    epoch: np.ndarray
    kind: np.ndarray
    place: np.ndarray
    start_s: np.ndarray
    end_s: np.ndarray
    size_bytes: np.ndarray


@dataclass(frozen=True, eq=False)
class Power(Table):
    """Power samples.

    Attributes:
        replication: Number of the replication.
        device: Position of the device.
        t_s: Middle of the interval that the sample stands for.
        interval_s: Its length.
        power_w: Mean power in it; NaN where nothing was read.
    """

    replication: np.ndarray
    device: np.ndarray
    t_s: np.ndarray
    interval_s: np.ndarray
    power_w: np.ndarray


@dataclass(frozen=True, eq=False)
class MeterReadings(Table):
    """What power meters showed, by device, then by time; at most one meter per device.

    A meter is polled more often than it refreshes: a poll that shows the same as the one before is left out unless a
    refresh period has passed since the last row (steady power may well show the same twice). Readings from before the
    start and after the end of a run are of a device that idles; there are none of warm starts and shutdowns.

    Attributes:
        replication: Number of the replication.
        device: Position of the device that the meter feeds.
        t_s: Middle of the poll, in run time: 0 is the start of the run, and what came before it is negative.
        poll_s: How long the poll took; the reading belongs to some time in it.
        voltage_v: Voltage; NaN where the meter gave none.
        current_a: Current; NaN likewise.
        power_w: Power; NaN likewise.
        counter_j: The meter's own energy counter, unwrapped; NaN where it has none.
    """

    replication: np.ndarray
    device: np.ndarray
    t_s: np.ndarray
    poll_s: np.ndarray
    voltage_v: np.ndarray
    current_a: np.ndarray
    power_w: np.ndarray
    counter_j: np.ndarray

    @classmethod
    def none(cls) -> MeterReadings:
        """A table without rows: there was no meter."""
        codes, numbers = np.empty(0, dtype=np.int32), np.empty(0)
        return cls(codes, codes, numbers, numbers, numbers, numbers, numbers, numbers)


class SampleKind(IntEnum):
    """What a raw sample is a sample of."""

    LINK = 0
    STAGE = 1
    DONE = 2
    OPEN_LINK = 3
    OPEN_STAGE = 4


@dataclass(frozen=True, eq=False)
class RawSamples(Table):
    """Raw samples of all ticks, in the order in which policies saw them.

    Attributes:
        replication: Number of the replication.
        kind: A `SampleKind`.
        t_s: When the sample ended; for what is still under way, the time of the tick.
        place: Link sample: 2 link + direction; stage sample: device; answered request: its epoch.
        amount: Link sample: bytes; stage sample: profiled time in seconds; answered request: 0.
        duration_s: Link: transmission, overhead and rtt; stage: measured time; answered request: latency. What is
            open, that is under way at the tick: time since it began.
    """

    replication: np.ndarray
    kind: np.ndarray
    t_s: np.ndarray
    place: np.ndarray
    amount: np.ndarray
    duration_s: np.ndarray

    def samples(self, start: int, stop: int) -> Samples:
        """The samples of one tick, as the policy saw them."""
        rows = self.where(np.arange(start, stop))
        link, stage, done, open_link, open_stage = (rows.where(rows.kind == kind) for kind in SampleKind)
        return Samples(
            link.t_s,
            link.place // 2,
            link.place % 2,
            link.amount,
            link.duration_s,
            stage.t_s,
            stage.place,
            stage.amount,
            stage.duration_s,
            done.t_s,
            done.duration_s,
            done.place,
            open_link.place // 2,
            open_link.place % 2,
            open_link.amount,
            open_link.duration_s,
            open_stage.place,
            open_stage.amount,
            open_stage.duration_s,
        )


@dataclass(frozen=True, eq=False)
class RunResult:
    """One policy's run of a scenario, one or several replications.

    Attributes:
        label: Name of the policy in the scenario.
        source: `simulated`, `measured` or `emulated`.
        requests: The requests.
        spans: What their time was spent on.
        power: Power by device over time.
        raw: Raw samples that the policy was shown.
        decisions: One entry per tick, as plain data: replication, t_s, epoch, row range of its samples, the
            observation, candidates, choice, reason and what was charged.
        facts: What else is worth knowing of the run, such as the engine; under `meters` a list of what
            `metering.MeterFacts.to_json` gives.
        meters: What power meters showed; without rows where there were none.
    """

    label: str
    source: Source
    requests: Requests
    spans: Spans
    power: Power
    raw: RawSamples
    decisions: tuple[Mapping[str, Any], ...]
    facts: Mapping[str, Any] = field(default_factory=dict)
    meters: MeterReadings = field(default_factory=MeterReadings.none)

    @classmethod
    def concatenate(cls, results: Sequence[RunResult]) -> RunResult:
        """Join the replications of one policy.

        The row ranges of the decisions are moved to the joined table of samples. Facts are those of the first; the
        different entries of `meters` and `caveats` are joined, and what else differs stands by replication under
        `by_replication`.
        """
        decisions: list[Mapping[str, Any]] = []
        rows = 0
        for result in results:
            for entry in result.decisions:
                start, stop = entry["rows"]
                decisions.append({**entry, "rows": [start + rows, stop + rows]})
            rows += len(result.raw)
        return cls(
            results[0].label,
            results[0].source,
            Requests.concatenate([result.requests for result in results]),
            Spans.concatenate([result.spans for result in results]),
            Power.concatenate([result.power for result in results]),
            RawSamples.concatenate([result.raw for result in results]),
            tuple(decisions),
            _joined_facts(results),
            MeterReadings.concatenate([result.meters for result in results]),
        )


def _joined_facts(results: Sequence[RunResult]) -> Mapping[str, Any]:
    first = results[0].facts
    joined = {name: _different(results, name) for name in ("meters", "caveats")}
    kept = {**first, **{name: entries for name, entries in joined.items() if entries}}
    others = dict.fromkeys(name for result in results for name in result.facts if name not in joined)
    differing = [name for name in others if any(result.facts.get(name) != first.get(name) for result in results)]
    if differing:
        kept["by_replication"] = [{name: result.facts.get(name) for name in differing} for result in results]
    return kept


def _different(results: Sequence[RunResult], name: str) -> list[Any]:
    """The entries under a name of all replications, each once."""
    entries = [entry for result in results for entry in result.facts.get(name, ())]
    return [entry for position, entry in enumerate(entries) if entry not in entries[:position]]
