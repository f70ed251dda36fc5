"""The trace-driven twin: plays a scenario with inputs of a measured run, to tell errors of the model from theirs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from twin.calibration.follower import Follower
from twin.calibration.inputs import Inputs, take
from twin.engine.events import EventsEngine
from twin.errors import CalibrationError
from twin.metrics import replication_of
from twin.policies import POLICIES
from twin.records import RunResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twin.control import Policy
    from twin.world import World

__all__ = ["Inputs", "replay", "replay_all"]


@dataclass(frozen=True, slots=True, eq=False)
class ReplayEngine:
    """A backend that plays with the inputs of a measured run.

    Attributes:
        measured: The run, its replications joined.
        inputs: What is taken from it.
    """

    measured: RunResult
    inputs: Inputs

    def run(self, world: World, policy: Policy[Any], label: str, replication: int) -> RunResult:
        """Play one policy once; see `twin.backend.Backend`. With its decisions, the policy is not asked.

        Raises:
            CalibrationError: The measured run has no such replication.
        """
        run = replication_of(self.measured, replication)
        if not len(run.requests):
            raise CalibrationError(f"policies.{label}: replication {replication} holds no request; measure it again")
        taken = take(world, run, replication, self.inputs)
        if self.inputs.decisions:
            if self.measured.source != "simulated":
                # Every machine of a testbed holds all weights.
                switch = replace(taken.world.problem.switch, weights_from=None)
                taken = replace(taken, world=replace(taken.world, problem=replace(taken.world.problem, switch=switch)))
            result = Follower(taken.world, run, replication, taken.service).play(label)
        else:
            result = EventsEngine(taken.service).run(taken.world, policy, label, replication)
        said = {"of": self.measured.source, "inputs": self.inputs.names, "window_s": self.inputs.window_s}
        return replace(result, facts={**result.facts, "replay": {**said, "notes": list(taken.notes)}})


def replay(world: World, measured: RunResult, inputs: Inputs | None = None) -> RunResult:
    """Play the policy of a measured run in the twin, with inputs of that run.

    Args:
        world: The scenario; its names, links and model are those of the run.
        measured: The run, its replications joined.
        inputs: What to take from it; by default arrivals, links and loads.

    Returns:
        An ordinary result with the same label and replications; its facts say under `replay` what was taken.

    Raises:
        CalibrationError: The scenario has no policy of that label, or the run holds no request.
    """
    spec = next((spec for spec in world.policies if spec.label == measured.label), None)
    if spec is None:
        known = ", ".join(x.label for x in world.policies)
        raise CalibrationError(f"policies.{measured.label}: the scenario has no such policy; it has {known}")
    engine, policy = ReplayEngine(measured, inputs or Inputs()), POLICIES[spec.kind](**spec.options)
    numbers = np.unique(measured.requests.replication).tolist()
    if not numbers:
        raise CalibrationError(f"policies.{measured.label}: the measured run holds no request; measure it again")
    return RunResult.concatenate([engine.run(world, policy, spec.label, int(number)) for number in numbers])


def replay_all(world: World, measured: Sequence[RunResult], inputs: Inputs | None = None) -> list[RunResult]:
    """Replay several policies; see `replay`."""
    return [replay(world, result, inputs) for result in measured]
