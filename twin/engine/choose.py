"""Which engine plays a scenario."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from twin.control import looks
from twin.engine.arrays import ArraysEngine, refuse, unsupported

if TYPE_CHECKING:
    from twin.backend import Backend
    from twin.control import Policy
    from twin.records import RunResult
    from twin.world import World


_WORTHWHILE = 25
"""Requests per control interval from which on columns are quicker than events for a policy that looks."""
_BLIND = "it plays the whole scenario, and is the quicker one for policies that look at nothing measured"


@dataclass(frozen=True, slots=True)
class ChosenEngine:
    """An engine that notes in the facts of a run why it was chosen.

    Attributes:
        engine: The engine.
        why: Why it was chosen, in words.
        blind: Another one for policies that do not look, if it is the quicker one for these.
    """

    engine: Backend
    why: str
    blind: Backend | None = None

    def run(self, world: World, policy: Policy[Any], label: str, replication: int) -> RunResult:
        """Play one policy once; see `twin.backend.Backend`."""
        engine, why = self.engine, self.why
        if self.blind is not None and not looks(policy):
            engine, why = self.blind, _BLIND
        result = engine.run(world, policy, label, replication)
        return replace(result, facts={**result.facts, "engine_why": why})


def choose_engine(world: World, name: str = "auto") -> ChosenEngine:
    """The engine to play a scenario with.

    Args:
        world: The scenario.
        name: `events`, `arrays`, or `auto` for the quicker one of those that play the whole scenario.

    Raises:
        EngineError: `arrays` was asked for, but does not play the whole scenario.
    """
    if name == "arrays":
        refuse(world)
        return ChosenEngine(ArraysEngine(), "asked for")
    missing, n = unsupported(world), _requests_per_decision(world)
    if name == "auto" and not missing and n >= _WORTHWHILE:
        return ChosenEngine(ArraysEngine(), "it plays the whole scenario, and is the quicker one")
    from twin.engine.events import EventsEngine  # noqa: PLC0415 - simpy takes a while to import

    if name != "auto":
        return ChosenEngine(EventsEngine(), "asked for")
    if missing:
        return ChosenEngine(EventsEngine(), f"the arrays engine does not play {'; '.join(missing)}")
    why = f"with {n:.3g} requests per control interval it is the quicker one for policies that look"
    return ChosenEngine(EventsEngine(), why, ArraysEngine())


def _requests_per_decision(world: World) -> float:
    """How many requests come between two decisions; infinite in a closed loop, whose length is not known."""
    control, rate_rps = world.control, world.problem.demand.rate_rps
    if rate_rps is None:
        return math.inf
    return control.every_requests or rate_rps * (control.every_s or 1.0)
