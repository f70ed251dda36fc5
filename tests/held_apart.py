"""Worlds that no policy was tuned on, and how `adaptive` ranks in them.

    python tests/held_apart.py [--replications N] [WORLD ...]

The traces come from the models behind the committed ones, but with other seeds, other dwell times, other spreads and
walks of another pace; some are smoothed until nothing changes by more than 5 % within a control interval.
"""

from __future__ import annotations

import argparse
import math
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from twin.engine.events import EventsEngine
from twin.metrics import summarise
from twin.metrics.intervals import paired
from twin.policies import POLICIES
from twin.records import RunResult
from twin.references.clairvoyant import Clairvoyant
from twin.scenario import load_world
from twin.search import best, evaluate
from twin.steps import Steps
from twin.tracemodels.catalog import CATALOG
from twin.tracemodels.markov import generate
from twin.traces import LinkTrace, LoadTrace
from twin.world import World, conditions_at

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from twin.metrics.intervals import Paired
    from twin.metrics.summary import PolicySummary
    from twin.tracemodels.markov import TraceModel

SCENARIOS = Path(__file__).parents[1] / "scenarios"
RIVALS = ("static", "reap", "neurosurgeon", "dads")
MANY = 12
SEED_SHIFT = 90001
DURATION_S = 200.0
SLOW_CHANGE = 0.05
"""Relative change within a control interval up to which links and loads are said to change slower than it."""
MARGIN = 0.03
"""Gain from which on another partition counts as better: the default margin of `adaptive`."""
PI = {"alexnet": 5.06, "mobilenet_v2": 5.28, "vgg16": 3.02}
"""Slowdown at which the measured edge is as slow as a Raspberry Pi 5."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A trace drawn from a model of the catalogue with other settings.

    Attributes:
        kind: Name of the model.
        pace: Factor on dwell times, or on the length of the walk.
        spread: Factor on the spread of values.
        smooth_s: Length of the moving geometric mean; 0 for none.
    """

    kind: str
    pace: float = 1.0
    spread: float = 1.0
    smooth_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Setting:
    """A world in short.

    Attributes:
        name: Its name.
        model: The network.
        base: Scenario whose devices are taken: derived profiles (`quickstart`) or measured ones (`mobilenetv2`).
        links: Trace of each link of the chain.
        loads: Trace of the load of some devices, by position.
        overrides: Other places of the scenario.
        replications: How often each policy is played; more often where luck has a large part.
    """

    name: str
    model: str
    base: str
    links: tuple[Drawn, Drawn]
    loads: Mapping[int, Drawn] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()
    replications: int = 4


LAN = Drawn("lan-steady", 0.5, 3.0)
SLOW_LAN = Drawn("lan-steady", 0.5, 1.0, 40.0)
BOTH = "objective={latency: 0.5, energy: 0.5, boundary: %s}"
FAST = "objective={latency: 1.0}"


def _poisson(rate_rps: float) -> str:
    return f"workload={{kind: poisson, rate_rps: {rate_rps}, duration_s: {DURATION_S}, warm_up_s: 10.0}}"


def _closed(clients: int, think_time_s: float) -> str:
    return (
        f"workload={{kind: closed, clients: {clients}, think_time_s: {think_time_s}, duration_s: {DURATION_S}, "
        "warm_up_s: 10.0}"
    )


SETTINGS = (
    Setting("walk", "mobilenet_v2", "quickstart", (Drawn("wifi-walk", 0.7, 1.5), LAN),
            overrides=(_poisson(4.0), "objective={latency: 0.5, energy: 0.5, boundary: node, deadline_s: 0.25}"),
            replications=MANY),
    Setting("walk-client", "alexnet", "mobilenetv2", (Drawn("wifi-walk", 1.3, 0.5), LAN),
            overrides=(_closed(1, 0.2), BOTH % "compute_only")),
    Setting("walk-then-lte", "alexnet", "mobilenetv2", (Drawn("wifi-walk", 1.0, 1.5), Drawn("lte-outages", 1.5)),
            overrides=(_poisson(2.0), BOTH % "node")),
    Setting("lte", "vgg16", "quickstart", (Drawn("lte-outages", 0.7, 1.4), LAN),
            overrides=(_poisson(0.5), BOTH % "marginal"), replications=MANY),
    Setting("lte-behind", "mobilenet_v2", "mobilenetv2", (LAN, Drawn("lte-outages", 1.5, 0.6)),
            overrides=(_poisson(6.0), FAST)),
    Setting("throttled", "alexnet", "mobilenetv2", (Drawn("throttled", 0.6), LAN),
            overrides=(_poisson(3.0), BOTH % "marginal"), replications=MANY),
    Setting("throttled-clients", "vgg16", "mobilenetv2", (Drawn("throttled", 1.3), LAN),
            overrides=(_closed(2, 0.5), FAST), replications=MANY),
    Setting("throttled-downtime", "mobilenet_v2", "mobilenetv2", (Drawn("throttled", 0.4), LAN),
            overrides=(_poisson(1.0), BOTH % "marginal", "switch={downtime_s: 0.3}")),
    Setting("fog-busy", "vgg16", "quickstart", (LAN, Drawn("throttled", 0.8)), {1: Drawn("fog-busy", 0.7)},
            (_poisson(1.0), FAST)),
    Setting("edge-hot", "mobilenet_v2", "quickstart", (Drawn("wifi-walk", 1.5), LAN),
            {0: Drawn("edge-throttled", 0.5)}, (_poisson(5.0), FAST), replications=MANY),
    Setting("all-at-once", "vgg16", "quickstart", (Drawn("wifi-walk", 0.8), Drawn("throttled", 0.7)),
            {0: Drawn("edge-throttled", 0.7), 1: Drawn("fog-busy", 1.5)}, (_poisson(0.4), BOTH % "marginal"),
            replications=MANY),
    Setting("steady", "alexnet", "mobilenetv2", (LAN, LAN), overrides=(_poisson(4.0), BOTH % "node")),
    Setting("slow-walk", "alexnet", "quickstart", (Drawn("wifi-walk", 3.0, 0.2, 60.0), SLOW_LAN),
            overrides=(_poisson(2.0), BOTH % "marginal")),
    Setting("slow-throttle", "mobilenet_v2", "mobilenetv2",
            (Drawn("throttled", 2.5, 1.0, 100.0), SLOW_LAN),
            overrides=(_poisson(3.0), FAST)),
    Setting("slow-loads", "alexnet", "quickstart",
            (SLOW_LAN, Drawn("throttled", 2.5, 1.0, 100.0)),
            {0: Drawn("edge-throttled", 0.5, 1.0, 20.0), 1: Drawn("fog-busy", 1.0, 1.0, 40.0)},
            (_poisson(4.0), FAST)),
)  # fmt: skip
"""The worlds: each kind of trace, three networks, open and closed loops, four objectives."""


def changed(drawn: Drawn, shift: int) -> TraceModel:
    """The model of the catalogue with another seed and other settings."""
    model = CATALOG[drawn.kind]
    states = tuple(
        replace(x, dwell_s=x.dwell_s * drawn.pace, shortest_s=x.shortest_s * drawn.pace,
                longest_s=x.longest_s * drawn.pace)
        for x in model.states
    )  # fmt: skip
    route = model.route
    if route is not None:
        route = replace(route, points=tuple((t_s * drawn.pace, x) for t_s, x in route.points))
    duration_s = model.duration_s * (drawn.pace if route else max(drawn.pace, 1.0))
    spread = {column: value * drawn.spread for column, value in model.spread.items()}
    return replace(model, seed=model.seed + shift, states=states, route=route, spread=spread, duration_s=duration_s)


def columns_of(drawn: Drawn, shift: int) -> dict[str, Steps]:
    """Play the changed model: each of its columns as a function of time that starts again at its end."""
    model = changed(drawn, shift)
    rows = np.array(generate(model))
    grid_s = np.arange(0.0, model.duration_s, model.step_s)
    held = rows[np.searchsorted(rows[:, 0], grid_s, side="right") - 1, 1:]
    if drawn.smooth_s:
        held = np.exp(_smoothed(np.log(held), round(drawn.smooth_s / model.step_s)))
    return {
        name: Steps(tuple(grid_s), tuple(held[:, k]), "loop", model.duration_s, name=f"{drawn.kind} {name}")
        for k, name in enumerate(model.columns)
    }


def _smoothed(values: np.ndarray, width: int) -> np.ndarray:
    """Moving mean of each column over `width` rows, the first and last rows repeated."""
    padded = np.pad(values, ((width // 2, width - 1 - width // 2), (0, 0)), mode="edge")
    sums = np.cumsum(np.pad(padded, ((1, 0), (0, 0))), axis=0)
    return (sums[width:] - sums[:-width]) / width


def world_of(setting: Setting, replications: int | None = None) -> World:
    """The world of a setting."""
    edge = [] if setting.base == "quickstart" else [f"devices.0.load={PI[setting.model]}"]
    overrides = [f"model={setting.model}", "objective.deadline_s=null", *edge, *setting.overrides]
    base = load_world(SCENARIOS / f"{setting.base}.yaml", overrides)
    shift = SEED_SHIFT + SETTINGS.index(setting)
    links, loads = [], list(base.loads)
    for position, drawn in enumerate(setting.links):
        table = columns_of(drawn, shift + 500 * position)
        links.append(LinkTrace(drawn.kind, table["up_bps"], table["down_bps"], table["rtt_s"], "derived"))
    for device, drawn in setting.loads.items():
        loads[device] = LoadTrace(drawn.kind, columns_of(drawn, shift)["slowdown"], "derived")
    initial = conditions_at(links, loads, 0.0)
    problem = replace(base.problem, initial=initial)
    return replace(
        base,
        name=setting.name,
        problem=problem,
        links=tuple(links),
        loads=tuple(loads),
        replications=replications or setting.replications,
    )


def largest_change(world: World) -> float:
    """Largest relative change of a rate, a round-trip time or a slowdown within a control interval."""
    every_s = world.control.every_s or 1.0
    seen = []
    for t_s in np.arange(0.0, DURATION_S, every_s / 4):
        now = world.conditions_at(float(t_s))
        seen.append(np.concatenate([now.rate_bps.ravel(), now.rtt_s, now.slowdown]))
    values = np.array(seen)
    return max(float(_ratio(values[k:], values[: len(values) - k]).max()) - 1.0 for k in range(1, 5))


def _ratio(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    high, low = np.maximum(one, other), np.minimum(one, other)
    return np.where(high == low, 1.0, np.divide(high, low, out=np.full_like(high, math.inf), where=low > 0))


def best_changes(world: World) -> bool:
    """Whether no partition stays within the margin of the best one, under the true conditions of each second."""
    problem = world.problem
    seen = [world.conditions_at(float(t_s)) for t_s in range(int(DURATION_S))]
    plans = [best(problem, now, or_nearest=True) for now in seen]
    return not any(
        all(
            evaluate(problem, partition, now).score <= (1 + MARGIN) * plan.score
            for now, plan in zip(seen, plans, strict=True)
        )
        for partition in {plan.partition for plan in plans}
    )


@dataclass(frozen=True, slots=True)
class Standing:
    """How `adaptive` stands in a world.

    Attributes:
        name: Name of the world.
        changes: Whether the best partition changes during the run.
        largest_change: Largest relative change within a control interval.
        scores: Score of each policy by replication.
        lost: Requests of each policy that were not answered.
    """

    name: str
    changes: bool
    largest_change: float
    scores: Mapping[str, Sequence[float]]
    lost: Mapping[str, int]

    @property
    def is_slow(self) -> bool:
        """Whether links and loads change slower than the control interval."""
        return self.largest_change <= SLOW_CHANGE

    def mean(self, label: str) -> float:
        """Mean score of a policy."""
        return float(np.mean(self.scores[label]))

    @property
    def rival(self) -> str:
        """The best of the other policies by its mean score."""
        return min(RIVALS, key=self.mean)

    @property
    def worse(self) -> float:
        """Mean score of `adaptive` over that of its best rival, less 1: negative where it is better."""
        return self.mean("adaptive") / self.mean(self.rival) - 1.0

    @property
    def against_rival(self) -> Paired:
        """`adaptive` against its best rival, replication by replication."""
        return paired(self.scores["adaptive"], self.scores[self.rival])

    @property
    def regret(self) -> float:
        """Mean score of `adaptive` over that of `clairvoyant`, less 1."""
        return self.mean("adaptive") / self.mean("clairvoyant") - 1.0


def play(name: str, replications: int | None = None) -> Standing:
    """Play all policies in the world of that name."""
    world = world_of(next(setting for setting in SETTINGS if setting.name == name), replications)
    policies = {
        **{kind: POLICIES[kind]() for kind in (*RIVALS, "adaptive")},
        "clairvoyant": Clairvoyant(world),
    }
    engine = EventsEngine()
    results = [
        RunResult.concatenate([engine.run(world, policy, label, k) for k in range(world.replications)])
        for label, policy in policies.items()
    ]
    summaries = {x.label: x for x in summarise(world, results).policies}
    return Standing(
        name,
        best_changes(world),
        largest_change(world),
        {label: _scores(x) for label, x in summaries.items()},
        {label: x.requests["dropped"] + x.requests["failed"] for label, x in summaries.items()},
    )


def _scores(policy: PolicySummary) -> list[float]:
    return [math.inf if x.score is None else x.score for x in policy.figures]


def play_all(names: Sequence[str] = (), replications: int | None = None) -> list[Standing]:
    """Play several worlds, or all of them, one per core at a time."""
    names = names or [setting.name for setting in SETTINGS]
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        return list(pool.map(partial(play, replications=replications), names))


def table(standings: Sequence[Standing]) -> str:
    """All worlds as a Markdown table."""
    head = ("world", *RIVALS, "adaptive", "clairvoyant", "against the best other", "regret", "best changes", "slow")
    lines = [head, ("---",) * len(head)]
    for x in standings:
        against = x.against_rival.relative
        scores = [f"{x.mean(label):.3f}" + (f" ({x.lost[label]} lost)" if x.lost[label] else "") for label in x.scores]
        difference = f"{x.worse:+.1%} [{against.low:+.1%}, {against.high:+.1%}] {x.rival}"
        flags = ("yes" if x.changes else "no", "yes" if x.is_slow else "no")
        lines.append((x.name, *scores, difference, f"{x.regret:+.1%}", *flags))
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def main() -> None:
    """Print the table of the worlds that are named, or of all."""
    parser = argparse.ArgumentParser(description="Rank `adaptive` in worlds that no policy was tuned on.")
    parser.add_argument("world", nargs="*", choices=[*(setting.name for setting in SETTINGS), []], help="default: all")
    parser.add_argument("--replications", type=int, help="default: those of each world")
    options = parser.parse_args()
    sys.stdout.write(table(play_all(options.world, options.replications)) + "\n")


if __name__ == "__main__":
    main()
