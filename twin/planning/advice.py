"""Where to split now: the best partition with its costs, what else there is, and what changes the answer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twin.cost import predict
from twin.partition import thirds
from twin.planning.breakeven import ranges_of
from twin.search import best, evaluate, pareto, references
from twin.search.goals import objective_of
from twin.waiting import sojourn_s

if TYPE_CHECKING:
    from twin.cost import Prediction, StageCost, TransferCost
    from twin.partition import Partition
    from twin.planning.breakeven import Axis, Range
    from twin.problem import Conditions, Objective
    from twin.search.goals import Aim, Plan, References
    from twin.world import World

_MINIMISED = {"latency": "latency", "energy": "energy", "throughput": "bottleneck"}
"""What is minimised for each quantity that may be asked for alone."""


@dataclass(frozen=True, slots=True)
class Rival:
    """A partition that one would choose without a search.

    Attributes:
        label: What it is called.
        plan: What it costs.
        problems: Why it cannot be chosen, in words; empty if it can.
    """

    label: str
    plan: Plan
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Advice:
    """The answer to: where to split now?

    Attributes:
        world: The scenario.
        t_s: Time whose conditions were assumed.
        conditions: These conditions.
        aim: What was minimised; None for the scenario's objective.
        objective: The objective that the aim stands for.
        references: What scores are relative to.
        plan: The best plan.
        prediction: Its costs, stage by stage and message by message.
        sojourn_s: Its end-to-end latency with the wait for other requests; infinite if it cannot keep up.
        rivals: Each device alone, and the static thirds.
        front: All trade-offs of latency and energy; None where the power of a device is not known.
        axis: What was varied, if anything.
        ranges: The best partitions as it varies.
    """

    world: World
    t_s: float
    conditions: Conditions
    aim: Aim
    objective: Objective
    references: References
    plan: Plan
    prediction: Prediction
    sojourn_s: float
    rivals: tuple[Rival, ...]
    front: tuple[Plan, ...] | None
    axis: Axis | None
    ranges: tuple[Range, ...]

    def excess(self, plan: Plan) -> float:
        """How much worse a plan's score is than the best one's, as a share of the best; infinite if it cannot run."""
        if math.isinf(plan.score):
            return math.inf
        return (plan.score - self.plan.score) / abs(self.plan.score) if self.plan.score else plan.score

    def to_json(self) -> dict[str, Any]:
        """Return the advice as plain data; None stands for what is infinite or not known."""
        objective = self.objective
        return {
            "schema": 1,
            "scenario": self.world.name,
            "model": self.world.problem.graph.model,
            "source": "simulated",
            "method": "cost model and exact search",
            "at_s": self.t_s,
            "conditions": self.conditions.to_json(),
            "objective": {
                "minimises": _MINIMISED.get(str(self.aim), "weighted"),
                "latency": objective.latency,
                "energy": objective.energy,
                "boundary": objective.boundary,
                "deadline_s": objective.deadline_s,
                "latency_ref_s": _known(self.references.latency_s),
                "energy_ref_j": _known(self.references.energy_j),
            },
            "profiles": profile_sources(self.world),
            "best": self._plan_json(self.plan) | _breakdown(self.world, self.prediction),
            "sojourn_s": _known(self.sojourn_s),
            "rivals": {x.label: self._plan_json(x.plan) | {"problems": list(x.problems)} for x in self.rivals},
            "front": None if self.front is None else [self._plan_json(plan) for plan in self.front],
            "vary": None
            if self.axis is None
            else {
                "path": self.axis.path,
                "ranges": [{"describe": self.describe(x.first.partition), **x.to_json()} for x in self.ranges],
            },
        }

    def describe(self, partition: Partition) -> str:
        """A partition in one line."""
        return partition.describe(self.world.problem.continuum.names)

    def _plan_json(self, plan: Plan) -> dict[str, Any]:
        return {
            "describe": self.describe(plan.partition),
            "partition": plan.partition.to_json(),
            "score": _known(plan.score),
            "excess": _known(self.excess(plan)),
            "latency_s": _known(plan.latency_s),
            "energy_j": None if plan.energy_j is None else _known(plan.energy_j),
            "bottleneck_s": _known(plan.bottleneck_s),
            "feasible": plan.feasible,
        }


def advise(world: World, *, t_s: float = 0.0, aim: Aim = None, axis: Axis | None = None) -> Advice:
    """Search the best partition at a time of the scenario, and all that puts it in perspective.

    Args:
        world: The scenario.
        t_s: Time at which the traces are read.
        aim: What to minimise; None for the scenario's objective.
        axis: What to vary, if anything.

    Raises:
        InfeasibleError: No partition meets the constraints.
        ScenarioError: Energy has a weight, and the power of a device is not known.
        TraceError: A trace has run out by then.
    """
    problem = world.problem
    conditions = world.conditions_at(t_s)
    plan = best(problem, conditions, objective=aim)
    prediction = predict(problem, plan.partition, conditions)
    names = problem.continuum.names
    usual = [(f"all on {name}", problem.on_device(device)) for device, name in enumerate(names)]
    if len(names) > 1:
        usual.append(("static thirds" if len(names) == 3 else "equal parts", thirds(problem.n_layers, len(names))))
    return Advice(
        world=world,
        t_s=t_s,
        conditions=conditions,
        aim=aim,
        objective=objective_of(problem, aim),
        references=references(problem, objective=aim),
        plan=plan,
        prediction=prediction,
        sojourn_s=sojourn_s(problem, prediction),
        rivals=tuple(_rival(world, conditions, aim, label, partition) for label, partition in usual),
        front=None if _power_unknown(world) else tuple(pareto(problem, conditions, objective=aim)),
        axis=axis,
        ranges=() if axis is None else tuple(ranges_of(problem, conditions, axis, aim)),
    )


def profile_sources(world: World) -> list[dict[str, Any]]:
    """Where the layer times of each device come from."""
    return [
        {
            "device": name,
            "profile": profile.device,
            "source": profile.source,
            "extrapolated": profile.extrapolated,
        }
        for name, profile in zip(world.problem.continuum.names, world.profiles, strict=True)
    ]


def _rival(world: World, conditions: Conditions, aim: Aim, label: str, partition: Partition) -> Rival:
    problem = world.problem
    plan = evaluate(problem, partition, conditions, objective=aim)
    problems = []
    if any(partition.placement[layer] != device for layer, device in problem.pinned.items()):
        problems.append("moves a pinned layer")
    elif not problem.allows(partition):
        problems.append("exceeds a memory limit")
    deadline_s = objective_of(problem, aim).deadline_s
    if math.isinf(plan.latency_s):
        problems.append("needs a link without rate")
    elif deadline_s is not None and plan.latency_s > deadline_s:
        problems.append("misses the deadline")
    return Rival(label, plan, tuple(problems))


def _power_unknown(world: World) -> bool:
    return any(device.power is None for device in world.problem.continuum.devices)


def _breakdown(world: World, prediction: Prediction) -> dict[str, Any]:
    continuum = world.problem.continuum
    energy = {
        "node_j": prediction.node_j,
        "marginal_j": prediction.marginal_j,
        "compute_only_j": prediction.compute_only_j,
    }
    return {
        "stages": [_stage_json(world, stage) for stage in prediction.stages],
        "transfers": [
            _transfer_json(world, x, is_answer=position >= prediction.answer_from)
            for position, x in enumerate(prediction.transfers)
        ],
        "devices": {
            name: {key: _known(float(values[device])) for key, values in energy.items()}
            for device, name in enumerate(continuum.names)
        },
        "throughput_rps": _known(prediction.throughput_rps),
    }


def _stage_json(world: World, stage: StageCost) -> dict[str, Any]:
    layers = world.problem.graph.layers
    return {
        "device": world.problem.continuum.names[stage.device],
        "layers": [layers[position].name for position in stage.layers],
        "service_s": stage.service_s,
        "overhead_s": stage.overhead_s,
        "codec_s": stage.codec_s,
    }


def _transfer_json(world: World, transfer: TransferCost, *, is_answer: bool) -> dict[str, Any]:
    names = world.problem.continuum.names
    return {
        "from": names[transfer.sender],
        "to": names[transfer.receiver],
        "answer": is_answer,
        "size_bytes": transfer.size_bytes,
        "transmit_s": transfer.transmit_s,
        "delay_s": transfer.delay_s,
    }


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
