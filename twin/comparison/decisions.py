"""How often both sides ran the same partition, and what it costs where they did not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from twin.comparison.blocks import block_of
from twin.comparison.estimate import UNKNOWN, Estimate, average
from twin.comparison.rebuilt import world_of
from twin.comparison.sampled import Sampled, ratio
from twin.partition import Partition
from twin.problem import Conditions, Objective
from twin.search import evaluate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from twin.comparison.pairing import Pairing
    from twin.comparison.side import Play
    from twin.world import World

    Entry = Mapping[str, Any]
    Weigh = Callable[[int, Partition], tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Decisions:
    """How the decisions of one policy agree.

    Attributes:
        agreement: Share of the time in which both sides had the same partition in force.
        intervals: Control intervals of the reference.
        same_intervals: Those at whose start both sides had the same partition.
        cost: What the differing decisions cost: the mean size of the difference in the predicted score, over the mean
            predicted score of the reference's decisions. Conditions are those that the reference measured.
        gain: The same with its sign: positive where the reference's decisions are predicted to be the better ones.
        latency_s: Mean difference of the predicted latencies, with its sign.
        measure: `score` or `latency`: what was predicted.
        why: Why the cost is not known; empty if it is.
    """

    agreement: Estimate
    intervals: int
    same_intervals: int
    cost: Estimate
    gain: float | None
    latency_s: float | None
    measure: str
    why: str = ""

    def to_json(self) -> dict[str, Any]:
        """The agreement as plain data."""
        return {
            "agreement": self.agreement.to_json(),
            "intervals": self.intervals,
            "same_intervals": self.same_intervals,
            "cost": self.cost.to_json(),
            "gain": self.gain,
            "latency_s": self.latency_s,
            "measure": self.measure,
            "why": self.why,
        }


class Stretch(NamedTuple):
    """A stretch of time in which neither side changed its plan and no decision of the reference falls."""

    start_s: float
    length_s: float
    sim: Partition
    measured: Partition
    tick: int
    starts: bool


def decisions(sim: Play, measured: Play, pairing: Pairing) -> Decisions | None:
    """Compare the decisions of two runs of a policy; None where one side has none.

    Replications are taken in turn; where there are more on one side, the rest of them has nothing to be compared with.
    """
    pairs = list(zip(pairing.sim, pairing.measured, strict=False))
    entries = [(_of(sim, a.replication), _of(measured, b.replication)) for a, b in pairs]
    if not all(a and b for a, b in entries):
        return None
    courses = [
        stretches(a, b, max(x.times.length_s, y.times.length_s)) for (a, b), (x, y) in zip(entries, pairs, strict=True)
    ]
    blocks = [
        block_of(np.array([x.start_s for x in course]), cut.edges_s)
        for course, (_, cut) in zip(courses, pairs, strict=True)
    ]
    same = [
        ratio(_column(course, lambda x: x.length_s * (x.sim == x.measured)), _lengths(course), block, cut.taken)
        for course, block, (_, cut) in zip(courses, blocks, pairs, strict=True)
    ]
    starts = [x for course in courses for x in course if x.starts]
    agreement, counts = _within(average(same), 1.0), (len(starts), sum(x.sim == x.measured for x in starts))
    if all(x.sim == x.measured for course in courses for x in course):
        return Decisions(agreement, *counts, Estimate(0.0, 0.0, 0.0), 0.0, 0.0, "score")
    world = world_of(measured)
    if isinstance(world, str):
        return Decisions(agreement, *counts, UNKNOWN, None, None, "score", world)
    measure = _measure(world)
    samples, gains, delays_s = [], [], []
    for course, block, (_, cut), (_, there) in zip(courses, blocks, pairs, entries, strict=True):
        sampled, gain, delay_s = _cost(course, block, cut.taken, weighing(world, there, measure))
        samples.append(sampled)
        gains.append(gain)
        delays_s.append(delay_s)
    cost, why = _within(average(samples), math.inf), ""
    if cost.value is None:
        why = "a decision is predicted never to end under the measured conditions"
    return Decisions(agreement, *counts, cost, _finite(gains), _finite(delays_s), measure, why)


def stretches(sim: Sequence[Entry], measured: Sequence[Entry], end_s: float) -> list[Stretch]:
    """Cut the time from 0 to `end_s` wherever the reference decides or the other side changes its plan.

    Args:
        sim: Decisions of one replication of one side, in order.
        measured: Likewise of the reference.
        end_s: Arrival of the last request; a plan decided later has served none.
    """
    plans = [[(float(x["t_s"]), Partition.from_json(x["partition"])) for x in side] for side in (sim, measured)]
    ticks_s = {t_s for t_s, _ in plans[1]}
    times = sorted({0.0, *ticks_s, *(t_s for t_s, _ in plans[0])})
    times = [t_s for t_s in times if t_s < end_s]
    found, at = [], [0, 0]
    for start_s, stop_s in zip(times, [*times[1:], end_s], strict=True):
        for side, own in enumerate(plans):
            while at[side] + 1 < len(own) and own[at[side] + 1][0] <= start_s:
                at[side] += 1
        current = (plans[0][at[0]][1], plans[1][at[1]][1])
        found.append(Stretch(start_s, stop_s - start_s, *current, at[1], start_s in ticks_s))
    return found


def weighing(world: World, entries: Sequence[Entry], measure: str) -> Weigh:
    """Predicts the score and the latency of a partition in the interval that follows a decision.

    Conditions are the estimates of the next decision, which rest on what was measured in the interval; those of a
    policy that measures nothing are the scenario's own.
    """
    aim = "latency" if measure == "latency" else None

    @cache
    def weigh(tick: int, partition: Partition) -> tuple[float, float]:
        entry = entries[min(tick + 1, len(entries) - 1)]
        known = entry["conditions"]
        conditions = world.conditions_at(entries[tick]["t_s"]) if known is None else Conditions.from_json(known)
        up = {"available": np.array(entry["available"]), "link_up": np.array(entry["link_up"])}
        plan = evaluate(world.problem, partition, conditions, objective=aim, **up)  # type: ignore[arg-type]
        return plan.score, plan.latency_s

    return weigh


def _cost(
    course: Sequence[Stretch], block: np.ndarray, taken: np.ndarray, weigh: Weigh
) -> tuple[Sampled, float, float]:
    """Cost in one replication, its signed form, and the difference of latencies.

    A stretch in which the reference's own decision cannot be carried out says nothing of either.
    """
    rows = np.array([(x.length_s, *weigh(x.tick, x.sim), *weigh(x.tick, x.measured)) for x in course])
    kept = np.isfinite(rows[:, 3])
    length_s, score, latency_s, reference, reference_s = rows[kept].T
    difference = length_s * (score - reference)
    total = float((length_s * reference).sum())
    if not (total > 0 and np.isfinite(difference).all()):
        return Sampled(math.nan), math.nan, math.nan
    cost = ratio(np.abs(difference), length_s * reference, block[kept], taken)
    return cost, float(difference.sum()) / total, float((length_s * (latency_s - reference_s)).sum() / length_s.sum())


def _within(estimate: Estimate, most: float) -> Estimate:
    """Cut an interval off at 0 and at the most that the value can be."""
    if estimate.low is None or estimate.high is None:
        return estimate
    return Estimate(estimate.value, max(estimate.low, 0.0), min(estimate.high, most))


def _measure(world: World) -> str:
    """The score, or the latency where the score rests on a power that is not known."""
    objective = world.problem.objective
    known = all(device.power is not None for device in world.problem.continuum.devices)
    return "score" if known or objective == Objective() or objective.energy == 0 else "latency"


def _of(play: Play, replication: int) -> list[Entry]:
    return [entry for entry in play.result.decisions if entry["replication"] == replication]


def _column(course: Sequence[Stretch], value: Callable[[Stretch], float]) -> np.ndarray:
    return np.array([value(x) for x in course], dtype=float)


def _lengths(course: Sequence[Stretch]) -> np.ndarray:
    return _column(course, lambda x: x.length_s)


def _finite(values: Sequence[float]) -> float | None:
    mean = float(np.mean(values))
    return mean if math.isfinite(mean) else None
