"""What each plan comes to on given links: fixed plans by the cost model, policies by playing them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from twin.cost import predict
from twin.energy import account, accounting_window
from twin.errors import ScenarioError
from twin.partition import Partition
from twin.reproduction.worlds import world_of
from twin.search import best

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from twin.problem import Boundary, Problem
    from twin.reproduction.fit import LinkPoint
    from twin.reproduction.worlds import Case, Variant
    from twin.world import World

STATIC, REAP, ADAPTIVE = "static", "reap", "adaptive"
DEVICE_ONLY = ("edge-only", "fog-only", "cloud-only")
FASTEST, LEAST_J, LEAST_NODE_J = "least latency", "least compute J", "least node J"


class Outcome(NamedTuple):
    """What a plan comes to on one pair of links.

    Attributes:
        latency_s: Mean end-to-end latency.
        stages_j: Compute power times compute time of edge, fog and cloud per inference.
        node_j: All joules of the three devices per inference, the waiting included.
        plan: The partition; of a policy that with which it ends.
        switches: Changes of the partition.
    """

    latency_s: float
    stages_j: tuple[float, float, float]
    node_j: float
    plan: Partition
    switches: int = 0

    @property
    def total_j(self) -> float:
        """Compute power times compute time of all devices."""
        return sum(self.stages_j)


class Spread(NamedTuple):
    """A figure at the centre of the feasible set, and its least and largest value over the points."""

    centre: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the plans of one model come to under one variant.

    Attributes:
        variant: The stage times.
        outcomes: By plan, at the centre of the feasible set first, then at each of its points.
    """

    variant: Variant
    outcomes: Mapping[str, tuple[Outcome, ...]]

    def spread(self, plan: str, figure: Callable[[Outcome], float]) -> Spread:
        """A figure of a plan over the points."""
        return _spread([figure(x) for x in self.outcomes[plan]])

    def saving(self, figure: Callable[[Outcome], float]) -> Spread:
        """What `reap` saves against `static` in a figure, as a share, on the same links each time."""
        pairs = zip(self.outcomes[REAP], self.outcomes[STATIC], strict=True)
        return _spread([1.0 - figure(adaptive) / figure(static) for adaptive, static in pairs])


def predictions(
    case: Case, variants: Sequence[Variant], points: Sequence[LinkPoint], advance: Callable[[], None]
) -> dict[str, Prediction]:
    """Predict a model under several variants.

    Args:
        case: The model.
        variants: The stage times.
        points: The links, those at the centre first.
        advance: Called once for each point and variant.

    Returns:
        The predictions by the variant's name.
    """
    found = {}
    for variant in variants:
        rows = []
        for point in points:
            rows.append(_outcomes(case, world_of(case, variant, point)))
            advance()
        found[variant.name] = Prediction(variant, {plan: tuple(row[plan] for row in rows) for plan in rows[0]})
    return found


def fixed(world: World, plan: Partition) -> Outcome:
    """A plan that never changes, on links that never change; exact, as nothing waits in a closed loop of one."""
    foreseen = predict(world.problem, plan, world.problem.initial)
    edge, fog, cloud = foreseen.compute_only_j.tolist()
    return Outcome(foreseen.latency_s, (edge, fog, cloud), float(foreseen.node_j.sum()), plan)


def played(world: World, label: str) -> Outcome:
    """Play a policy of the scenario in the events engine.

    Raises:
        ScenarioError: The scenario has no such policy, or nothing was answered.
    """
    from twin.engine.events import EventsEngine  # noqa: PLC0415 - brings SimPy along
    from twin.policies import POLICIES  # noqa: PLC0415 - brings every policy along

    spec = next((spec for spec in world.policies if spec.label == label), None)
    if spec is None:
        raise ScenarioError(f"{world.name}: has no policy `{label}`; add it")
    result = EventsEngine().run(world, POLICIES[spec.kind](**spec.options), label, 0)
    requests = result.requests
    window = accounting_window(world.workload, requests)
    if window is None:
        raise ScenarioError(f"{world.name}: `{label}` answered nothing; check the links and the deadline")
    energy = account(world.problem, result.spans, result.decisions, window)
    answered = int(requests.completed.sum())
    edge, fog, cloud = (energy.compute_only_j / answered).tolist()
    placements = [tuple(entry["partition"]["placement"]) for entry in result.decisions]
    return Outcome(
        float(requests.latency_s[requests.completed].mean()),
        (edge, fog, cloud),
        float(energy.node_j.sum()) / answered,
        Partition(placements[-1], world.problem.n_devices),
        sum(bool(entry["switched"]) for entry in result.decisions),
    )


def _outcomes(case: Case, world: World) -> dict[str, Outcome]:
    problem = world.problem
    plans = {STATIC: case.static} | {name: problem.on_device(k) for k, name in enumerate(DEVICE_ONLY)}
    plans |= {
        FASTEST: best(problem, problem.initial, objective="latency").partition,
        LEAST_J: _least_energy(problem, "compute_only"),
        LEAST_NODE_J: _least_energy(problem, "node"),
    }
    return {name: fixed(world, plan) for name, plan in plans.items()} | {
        label: played(world, label) for label in (REAP, ADAPTIVE)
    }


def _least_energy(problem: Problem, boundary: Boundary) -> Partition:
    objective = replace(problem.objective, boundary=boundary)
    return best(replace(problem, objective=objective), problem.initial, objective="energy").partition


def _spread(values: Sequence[float]) -> Spread:
    return Spread(values[0], min(values), max(values))
