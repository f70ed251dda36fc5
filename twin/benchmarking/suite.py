"""All that the benchmark measures, as one report."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from twin.benchmarking.decisions import MODELS, PolicyTime, SearchTime, Timed, policy_time, search_time
from twin.benchmarking.pipeline import split_of, steady, varying, world_of
from twin.benchmarking.programs import Leaf, Plain, bare
from twin.benchmarking.rounds import STEADY, Entrant, Repeats, rates_rps
from twin.benchmarking.work import EVERY_ADAPTIVE, EVERY_STATIC, Work, over_devices, over_requests, points
from twin.engine.arrays import ArraysEngine
from twin.engine.events import EventsEngine
from twin.policies import POLICIES
from twin.policies.adaptive import Adaptive
from twin.runs.provenance import host, now, versions
from twin.scenario_file.library import Library

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from twin.backend import Backend
    from twin.control import Policy
    from twin.traces import LinkTrace

PLAIN, LEAF, BARE = "plain SimPy", "LEAF", "bare recursion"
ARRAYS, ADAPTIVE, EVENTS, CONSTANT = (
    "arrays, static",
    "arrays, adaptive",
    "events, static",
    "arrays, constant rates",
)


class Extent(NamedTuple):
    """How much is measured.

    Attributes:
        scale: Share of the usual number of requests.
        rounds: Repeats of the ratios.
        decisions: Repeats of the searches.
        duration_s: Simulated time for which each policy is timed.
        most: Most requests of a run in `work`.
    """

    scale: float
    rounds: int
    decisions: int
    duration_s: float
    most: int


QUICK = Extent(0.25, 3, 5, 10.0, 10**4)
USUAL = Extent(1.0, 5, 30, 60.0, 10**6)
WHOLE = USUAL._replace(most=10**7)


class Ratio(NamedTuple):
    """How fast something is, as a multiple of something else in the same rounds.

    Attributes:
        name: What.
        against: Against what.
        rate: Requests per second of processor time.
        ratio: Its rate over the other one's, round by round; None where the other one is not installed.
        aim: What is aimed at; None for nothing.
    """

    name: str
    against: str
    rate: Repeats
    ratio: Repeats | None
    aim: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "name": self.name,
            "against": self.against,
            "rate_rps": self.rate.to_json(),
            "ratio": None if self.ratio is None else self.ratio.to_json(),
            "aim": self.aim,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """What was measured.

    Attributes:
        environment: The machine, the versions, and how busy the machine was before and after.
        ratios: The engines against other programs.
        rivals: Requests per second of these programs, by name; None where one is not installed.
        searches: The exact search, by model.
        policies: The decisions of each policy.
        work: Cost over requests and devices.
    """

    environment: dict[str, Any]
    ratios: tuple[Ratio, ...]
    rivals: dict[str, Repeats | None]
    searches: tuple[SearchTime, ...]
    policies: tuple[PolicyTime, ...]
    work: Work

    @property
    def unstable(self) -> tuple[str, ...]:
        """What differs too much from repeat to repeat, in words."""
        found = [(f"{x.name} against {x.against}", x.ratio) for x in self.ratios if x.ratio is not None]
        found += [
            (f"{x.player} with {x.requests} requests on {x.devices} devices", x.rate)
            for x in (*self.work.over_requests, *self.work.over_devices)
        ]
        return tuple(f"{name}: {repeats.spread:.0%}" for name, repeats in found if repeats.spread > STEADY)

    @property
    def is_busy(self) -> bool:
        """Whether other programs may have taken the processors while this ran."""
        load, cpus = self.environment["load_before"], self.environment["cpus"]
        return load is not None and cpus is not None and load > cpus / 2

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "schema": 1,
            "source": "measured",
            "environment": self.environment,
            "rivals_rps": {name: x if x is None else x.to_json() for name, x in self.rivals.items()},
            "ratios": [x.to_json() for x in self.ratios],
            "searches_s": [{**x._asdict(), "full": x.full.to_json(), "sums": x.sums.to_json()} for x in self.searches],
            "policies_s": [{"kind": x.kind, "decisions": x.decisions.to_json()} for x in self.policies],
            "work": {name: [x.to_json() for x in own] for name, own in self.work._asdict().items()},
            "unstable": list(self.unstable),
            "busy": self.is_busy,
        }


def measure(folder: Path, extent: Extent, tick: Callable[[str], object]) -> Report:
    """Measure everything.

    Args:
        folder: Where to look for `data`, and above.
        extent: How much.
        tick: Called with what is measured next.

    Raises:
        ScenarioError: There is no folder `data` with the models and traces that this needs.
    """
    library = Library(folder)
    links, before = varying(library), _load()
    ratios, rivals = _ratios(links, extent, tick)
    searches = []
    for model in MODELS:
        tick(f"search, {model}")
        searches.append(search_time(library, model, extent.decisions))
    policies = []
    for kind in POLICIES:
        tick(f"decisions, {kind}")
        policies.append(policy_time(library, links, kind, extent.duration_s))
    work = Work(
        *(
            tuple(points(folder, todo, tick))
            for todo in (over_requests(extent.most, extent.rounds), over_devices(extent.most, extent.rounds))
        )
    )
    environment = {"date": now(), **host(), **versions(), "load_before": before, "load_after": _load()}
    return Report(environment, ratios, rivals, tuple(searches), tuple(policies), work)


def _ratios(
    links: tuple[LinkTrace, LinkTrace], extent: Extent, tick: Callable[[str], object]
) -> tuple[tuple[Ratio, ...], dict[str, Repeats | None]]:
    """The engines and the other programs in turn, and how they compare."""
    rates = rates_rps(entrants(links, extent.scale), extent.rounds, tick)
    pairs: list[tuple[str, str, float | None]] = [
        (ARRAYS, PLAIN, 50.0),
        (ADAPTIVE, PLAIN, 10.0),
        (EVENTS, PLAIN, 3.0),
        (ARRAYS, LEAF, None),
        (ADAPTIVE, LEAF, None),
        (EVENTS, LEAF, None),
        (CONSTANT, BARE, 0.15),
    ]
    found = []
    for name, against, aim in pairs:
        other = rates.get(against)
        found.append(Ratio(name, against, rates[name], None if other is None else rates[name].over(other), aim))
    return tuple(found), {name: rates.get(name) for name in (PLAIN, LEAF, BARE)}


def entrants(links: tuple[LinkTrace, LinkTrace], scale: float = 1.0) -> list[Entrant]:
    """What is played in each round.

    Args:
        links: Traces of links that vary.
        scale: Share of the usual number of requests.
    """
    split, few, many, more = split_of(), *(round(n * scale) for n in (10_000, 200_000, 500_000))
    timed = Adaptive(watch_s=None)
    found = [
        Entrant(PLAIN, few, lambda: Plain(world_of(few, links), split).play),
        Entrant(ARRAYS, many, _player(ArraysEngine(), many, links, EVERY_STATIC, split)),
        Entrant(ADAPTIVE, many // 4, _player(ArraysEngine(), many // 4, links, EVERY_ADAPTIVE, Timed(timed))),
        Entrant(EVENTS, few, _player(EventsEngine(), few, links, EVERY_STATIC, split)),
        Entrant(CONSTANT, many, _player(ArraysEngine(), many, steady(), EVERY_STATIC, split)),
        Entrant(BARE, more, lambda: partial(bare, world_of(more, steady()), split)),
    ]
    if Leaf.is_installed():
        found.append(Entrant(LEAF, few, lambda: Leaf(world_of(few, links), split).play))
    return found


def _player(
    engine: Backend, requests: int, links: tuple[LinkTrace, LinkTrace], every: int, policy: Policy[Any]
) -> Callable[[], Callable[[], object]]:
    return lambda: partial(engine.run, world_of(requests, links, every=every), policy, "benchmark", 0)


def _load() -> float | None:
    """Mean number of programs that wanted a processor in the last minute; None where the system does not tell."""
    try:
        return os.getloadavg()[0]
    except OSError:
        return None
