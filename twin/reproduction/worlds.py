"""Worlds to play: a scenario with other links, and with the stage times that the chain is published to have had."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from twin.errors import ScenarioError
from twin.reproduction.published import TIERS
from twin.traces import LinkTrace
from twin.world import conditions_at

if TYPE_CHECKING:
    from pathlib import Path

    from twin.partition import Partition
    from twin.problem import Problem
    from twin.reproduction.fit import LinkPoint
    from twin.reproduction.published import Figures, Published
    from twin.world import World

Excess = Literal["none", "factor", "fixed"]
"""How what a stage costs above its profile is carried over to other splits."""


class Variant(NamedTuple):
    """Stage times of a world: as derived, or with what fog and cloud take more in the chain, from the static row."""

    name: str
    fog: Excess
    cloud: Excess


PLAIN = Variant("plain", "none", "none")
CHAIN = Variant("chain", "factor", "fixed")
RIVALS = (PLAIN, CHAIN, Variant("both fixed", "fixed", "fixed"), Variant("both factors", "factor", "factor"))
"""The variants that are held against the adaptive rows to see which of them can be right."""


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One model: its scenario, its published figures and the stages of its static split.

    Attributes:
        world: The scenario as the file has it.
        figures: What is published.
        power_w: Power of computing of edge, fog and cloud.
        static: The static split of the scenario.
        cuts: Where the paper's algorithm may cut: number of layers before each place, ascending.
    """

    world: World
    figures: Figures
    power_w: tuple[float, float, float]
    static: Partition
    cuts: tuple[int, ...]

    @property
    def model(self) -> str:
        """Name of the model."""
        return self.world.problem.graph.model

    @property
    def published_s(self) -> tuple[float, float, float]:
        """Published stage times of the static split: energy / power."""
        return self.figures.static.stages_s(self.power_w)

    @property
    def derived_s(self) -> tuple[float, float, float]:
        """Stage times of the static split by the derived profiles."""
        times_s = self.world.problem.layer_time_s
        edge, fog, cloud = (float(times_s[x.device, list(x.layers)].sum()) for x in self.static.stages)
        return edge, fog, cloud


def load_cases(folder: Path, published: Published) -> list[Case]:
    """The scenarios of a folder for which figures are published, in the order of publication.

    Raises:
        ScenarioError: A model has no scenario, a scenario is wrong, or it lacks a policy that is needed.
    """
    from twin.scenario import load_world  # noqa: PLC0415 - brings pydantic and the search along

    worlds = {world.problem.graph.model: world for world in map(load_world, sorted(folder.glob("*.yaml")))}
    missing = [model for model in published.models if model not in worlds]
    if missing:
        raise ScenarioError(f"{folder}: holds no scenario of {', '.join(missing)}; name the folder with --scenarios")
    return [_case(worlds[model], published) for model in published.models]


def _case(world: World, published: Published) -> Case:
    from twin.policies.reap import Reap  # noqa: PLC0415 - policies bring the search along
    from twin.policies.static import Static  # noqa: PLC0415 - likewise

    model = world.problem.graph.model
    options = {spec.kind: spec.options for spec in world.policies}
    if world.problem.n_devices != len(TIERS) or not {"static", "reap"} <= set(options):
        raise ScenarioError(f"{world.name}: needs an edge, a fog and a cloud, and the policies `static` and `reap`")
    _, static = Static(**options["static"]).init(world.problem)
    chain = Reap(**options["reap"]).init(world.problem).chain
    return Case(world, published.models[model], published.power_w(model), static, chain.cuts)


def with_links(world: World, point: LinkPoint) -> World:
    """The world with other links: a constant rate, and the fixed time as round-trip time."""
    pairs = zip(point.rate_bps, point.fixed_s, strict=True)
    links = tuple(LinkTrace.constant(rate_bps, fixed_s) for rate_bps, fixed_s in pairs)
    initial = conditions_at(links, world.loads, 0.0)
    return replace(world, links=links, problem=replace(world.problem, initial=initial))


def with_excess(case: Case, variant: Variant, world: World) -> World:
    """The world with the stage times of a variant; those of the edge stay as derived."""
    problem = world.problem
    for device, excess in ((1, variant.fog), (2, variant.cloud)):
        problem = _dearer(problem, device, excess, case.published_s[device], case.derived_s[device])
    return replace(world, problem=problem)


def world_of(case: Case, variant: Variant, point: LinkPoint) -> World:
    """The world of a case under a variant and with given links."""
    return with_excess(case, variant, with_links(case.world, point))


def _dearer(problem: Problem, device: int, excess: Excess, published_s: float, derived_s: float) -> Problem:
    """Make a device's stage of the static split take its published time, by a factor or by a fixed time per visit."""
    if excess == "factor":
        factors = np.ones((problem.n_devices, 1))
        factors[device] = published_s / derived_s
        return replace(problem, layer_time_s=problem.layer_time_s * factors)
    if excess == "fixed":
        overhead_s = problem.stage_overhead_s.copy()
        overhead_s[device] += max(published_s - derived_s, 0.0)
        return replace(problem, stage_overhead_s=overhead_s)
    return problem
