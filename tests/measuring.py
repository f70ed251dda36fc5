"""Runs as a testbed would record them, made by the twin from parameters that are known, with noise."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from players import Script
from worlds import make_links, make_problem, make_profile, make_workload, make_world

from twin.calibration.apply import calibrated
from twin.calibration.calibration import Calibration, FolderFacts
from twin.calibration.devices import DeviceEstimates
from twin.calibration.links import LinkEstimates
from twin.calibration.terms import Estimate
from twin.engine.events import EventsEngine
from twin.partition import Partition
from twin.problem import LinkProbe
from twin.records import Kind, RunResult, Spans
from twin.steps import Steps
from twin.traces import LinkTrace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twin.world import World

MODEL = "tiny"
NAMES = ("pi", "laptop", "pc")
LINK_NAMES = ("pi-laptop", "laptop-pc")
FACTS = (FolderFacts("runs", "tiny", MODEL, "emulated", {"static": "0" * 64}, "all", "nothing"),)


def known(value: float, was: float = 0.0) -> Estimate:
    """A parameter that is known for sure."""
    return Estimate(value, value, value, 1, determined=True, was=was)


def kept(was: float) -> Estimate:
    """A parameter that is not known."""
    return Estimate.kept(was, "not measured")


@dataclass(frozen=True)
class Truth:
    """Parameters by name: of devices `overhead` and so on, of links `goodput_up` and so on; shape [3] and [2]."""

    overhead_s: Sequence[float] = (0.004, 0.001, 0.0005)
    additivity: Sequence[float] = (1.15, 0.9, 1.05)
    codec_s_per_byte: Sequence[float] = (4e-8, 1e-8, 5e-9)
    dispersion: Sequence[float] = (0.05, 0.08, 0.03)
    goodput_up: Sequence[float] = (0.85, 0.95)
    goodput_down: Sequence[float] = (0.9, 1.1)
    rtt_extra_s: Sequence[float] = (0.002, 0.0005)
    message_overhead_s: Sequence[float] = (0.0015, 0.0003)
    slow_start_s: Sequence[float] = (0.006, 0.002)
    downtime_s: float = 0.15

    @property
    def calibration(self) -> Calibration:
        """These parameters as a calibration."""
        devices = {
            name: DeviceEstimates(
                name,
                name,
                known(self.overhead_s[at]),
                kept(1.0),
                known(self.codec_s_per_byte[at]),
                known(self.dispersion[at]),
                {MODEL: known(self.additivity[at], 1.0)},
                0.0,
            )
            for at, name in enumerate(NAMES)
        }
        links = {
            name: LinkEstimates(
                name,
                known(self.goodput_up[at], 1.0),
                known(self.goodput_down[at], 1.0),
                known(self.rtt_extra_s[at]),
                known(self.message_overhead_s[at]),
                known(self.slow_start_s[at]),
                0.0,
            )
            for at, name in enumerate(LINK_NAMES)
        }
        return Calibration("2026-01-01T00:00:00+00:00", "emulated", FACTS, devices, {}, links, known(self.downtime_s))


def believed_world(seed: int = 0, **changes: Any) -> World:
    """What the scenario says: no overheads, one link whose rate changes, four requests per second for a minute."""
    up = Steps((0.0, 7.0, 11.0, 30.0), (20e6, 8e6, 16e6, 24e6), name="walk up")
    links = (LinkTrace("walk", up, up.scaled(0.5), Steps.constant(0.004)), make_links()[1])
    workload = make_workload(kind="poisson", clients=0, rate_rps=4.0, requests=None, duration_s=60.0)
    profiles = tuple(make_profile(name, row) for name, row in zip(NAMES, make_problem().layer_time_s, strict=True))
    values: dict[str, Any] = {"links": links, "workload": workload, "profiles": profiles, "seed": seed}
    return make_world(**{**values, **changes})


def varied() -> Script:
    """Changes the partition at every tick, and probes both directions of both links with larger messages."""
    cuts = [(1, 3), (2, 3), (4, 4), (1, 2), (0, 0), (3, 3), (2, 4), (0, 2), (1, 4)]
    plans = [Partition.from_cuts(cut, 4) for _ in range(7) for cut in cuts]
    sizes = (30_000.0, 120_000.0, 60_000.0)
    probes = {
        tick: tuple(LinkProbe(link, direction, sizes[(tick + link) % 3]) for link in (0, 1) for direction in (0, 1))
        for tick in range(60)
    }
    return Script(plans, probes)


def simulated(world: World, policy: Any, label: str = "static", replications: int = 1) -> RunResult:
    """Play a policy in the twin."""
    return RunResult.concatenate([EventsEngine().run(world, policy, label, k) for k in range(replications)])


def as_measured(
    world: World, result: RunResult, seed: int, *, jitter_s: float = 3e-4, fading: float = 0.02, wild: float = 0.0
) -> RunResult:
    """A simulated run as a testbed records it: overhead and slow start are part of the transmission; with noise.

    Args:
        world: What was played.
        result: The run.
        seed: Of the noise.
        jitter_s: Standard deviation of the delays of messages; a third of that is that of round-trip times.
        fading: Relative standard deviation of transmission times.
        wild: Share of the spans that take several times as long.
    """
    random, spans = np.random.default_rng([seed, 7]), result.spans
    spans = spans.where(np.lexsort((spans.start_s, spans.kind, spans.place)))
    start_s, end_s = spans.start_s.copy(), spans.end_s.copy()
    sent = np.flatnonzero(spans.kind == Kind.TRANSMIT)
    there = {
        (int(p), int(r), float(t)): row
        for row, (p, r, t) in enumerate(zip(spans.place, spans.request, spans.start_s, strict=True))
        if spans.kind[row] == Kind.PROPAGATE
    }
    for row in sent:
        away = there.get((int(spans.place[row]), int(spans.request[row]), float(spans.end_s[row])))
        if away is None:
            continue
        link = (int(spans.place[row]) - world.problem.n_devices) // 2
        half_s = world.links[link].rtt.at(float(spans.end_s[row])) / 2
        own_s = float(spans.end_s[away] - spans.start_s[away]) - half_s
        sending_s = float(spans.end_s[row] - spans.start_s[row]) * float(random.normal(1.0, fading))
        late_s = float(random.normal(0.0, jitter_s))
        finish_s = float(spans.start_s[row]) + max(sending_s + own_s + late_s, 1e-6)
        if random.random() < wild:
            finish_s += 5 * (finish_s - float(spans.start_s[row]))
        trip_s = max(half_s + float(random.normal(0.0, jitter_s / 6)), 1e-6)
        end_s[row] = start_s[away] = finish_s
        end_s[away] = finish_s + trip_s
    computed = np.flatnonzero(spans.kind == Kind.COMPUTE)
    slow = computed[random.random(len(computed)) < wild]
    end_s[slow] += random.choice([2.0, 9.0], len(slow)) * (end_s - start_s)[slow]
    return replace(result, source="emulated", spans=_spans(spans, start_s, end_s))


def _spans(spans: Spans, start_s: np.ndarray, end_s: np.ndarray) -> Spans:
    return Spans(**{**spans.columns(), "start_s": start_s, "end_s": end_s})


def measured(truth: Truth, seed: int, *, wild: float = 0.0, **changes: Any) -> tuple[World, RunResult]:
    """The believed world, and a run of the true one in which the partition changes at every tick."""
    believed = believed_world(seed, **changes)
    world = calibrated(believed, truth.calibration)
    return believed, as_measured(world, simulated(world, varied()), seed, wild=wild)


def random_truth(seed: int) -> Truth:
    """Parameters drawn at random; one overhead in four is zero."""
    random = np.random.default_rng([seed, 11])

    def some(low: float, high: float, n: int) -> tuple[float, ...]:
        return tuple(random.uniform(low, high, n).tolist())

    def rare(high: float, n: int) -> tuple[float, ...]:
        return tuple((random.uniform(0, high, n) * (random.random(n) < 0.75)).tolist())

    return Truth(
        overhead_s=rare(0.006, 3),
        additivity=some(0.7, 1.3, 3),
        codec_s_per_byte=rare(5e-8, 3),
        dispersion=some(0.02, 0.12, 3),
        goodput_up=some(0.7, 1.2, 2),
        goodput_down=some(0.7, 1.2, 2),
        rtt_extra_s=some(-0.001, 0.004, 2),
        message_overhead_s=rare(0.003, 2),
        slow_start_s=rare(0.008, 2),
        downtime_s=float(random.uniform(0.05, 0.3)),
    )
