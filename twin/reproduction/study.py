"""The whole reproduction: fit the links, predict over the feasible set, compare, explain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twin.reproduction.cells import cells_of
from twin.reproduction.discrepancy import CLOUD, best_roofline_error, cloud_in_the_chain, fog_in_the_chain
from twin.reproduction.fit import equation_of, exact, feasible, least_error
from twin.reproduction.nearest import nearest
from twin.reproduction.predict import predictions
from twin.reproduction.why import Tests, explained, hypotheses
from twin.reproduction.worlds import CHAIN, PLAIN, RIVALS, Variant

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from twin.reproduction.cells import Cell
    from twin.reproduction.discrepancy import Discrepancy
    from twin.reproduction.fit import Equation, FeasibleSet
    from twin.reproduction.nearest import Nearest
    from twin.reproduction.predict import Prediction
    from twin.reproduction.published import Published
    from twin.reproduction.why import Hypothesis
    from twin.reproduction.worlds import Case

VARIANTS = (PLAIN, CHAIN)


@dataclass(frozen=True, slots=True, eq=False)
class Reproduction:
    """All that `python -m twin.paper` shows.

    Attributes:
        published: What was published.
        cases: The models.
        equations: What each static row says of the links.
        exact: Sum of the fixed times and seconds per bit of both hops that meet the rows exactly, whatever the sign.
        least_error: Least error of possible links on the worst row, as a share of its latency.
        links: The feasible set.
        points: Number of points of it that were played, the centre left out.
        seed: Seed of those inside.
        found: Predictions by model and variant.
        cells: Every cell.
        discrepancies: Fog and cloud in the chain.
        hypotheses: What was tested to explain cells.
        nearest: By model the fixed split nearest to the adaptive row, for each variant of stage times.
    """

    published: Published
    cases: tuple[Case, ...]
    equations: tuple[Equation, ...]
    exact: tuple[float, ...]
    least_error: float
    links: FeasibleSet
    points: int
    seed: int
    found: Mapping[str, Mapping[str, Prediction]]
    cells: tuple[Cell, ...]
    discrepancies: tuple[Discrepancy, ...]
    hypotheses: tuple[Hypothesis, ...]
    nearest: Mapping[str, tuple[Nearest, ...]]


def reproduce(
    published: Published,
    cases: Sequence[Case],
    *,
    tolerance: float,
    inside: int,
    seed: int,
    advance: Callable[[], None],
) -> Reproduction:
    """Fit, predict, compare and explain.

    Args:
        published: What was published.
        cases: The models.
        tolerance: Largest error of the links on a static row, as a share of its latency.
        inside: Number of points from inside the feasible set to play beside its vertices.
        seed: Seed of those points.
        advance: Called as often as `steps` says.

    Raises:
        InfeasibleError: No links are within the tolerance.
    """
    equations = [equation_of(x.world.problem.graph, x.static, x.figures.static, x.power_w) for x in cases]
    links = feasible(equations, tolerance)
    points = [links.centre, *links.points(inside, seed)]
    found = {case.model: predictions(case, VARIANTS, points, advance) for case in cases}
    near = {case.model: tuple(nearest(case, variant, links.centre) for variant in RIVALS) for case in cases}
    tests = _tests(cases, links, near, found)
    cells = [cell for case in cases for cell in cells_of(case, found[case.model])]
    return Reproduction(
        published,
        tuple(cases),
        tuple(equations),
        tuple(exact(equations).tolist()),
        least_error(equations),
        links,
        len(points) - 1,
        seed,
        found,
        explained(cells, tests),
        (tests.fog, tests.cloud),
        hypotheses(tests, cells),
        near,
    )


def steps(cases: Sequence[Case], tolerance: float, inside: int) -> int:
    """How often `reproduce` calls `advance`.

    Raises:
        InfeasibleError: No links are within the tolerance.
    """
    equations = [equation_of(x.world.problem.graph, x.static, x.figures.static, x.power_w) for x in cases]
    return len(cases) * len(VARIANTS) * (1 + len(feasible(equations, tolerance).corners) + inside)


def _tests(
    cases: Sequence[Case],
    links: FeasibleSet,
    near: Mapping[str, tuple[Nearest, ...]],
    found: Mapping[str, Mapping[str, Prediction]],
) -> Tests:
    fog = fog_in_the_chain(cases)
    # The law per byte received and sent, put to work on the adaptive rows, which it has not seen.
    rival = Variant("fog per byte", "none", "fixed")
    received_s, sent_s = fog.laws[-1].values
    return Tests(
        best_roofline_error(cases, CLOUD),
        fog,
        {case.model: nearest(case, rival, links.centre, (received_s, sent_s)).worst for case in cases},
        cloud_in_the_chain(cases),
        {model: next(x for x in rows if x.variant is CHAIN) for model, rows in near.items()},
        found,
    )


def to_json(study: Reproduction) -> dict[str, Any]:
    """The content of `paper.json`: SI units except where a unit is named."""
    return {
        "schema": 1,
        "citation": study.published.citation,
        "links": _links_json(study),
        "cells": [cell.to_json() for cell in study.cells],
        "discrepancies": [_discrepancy_json(x) for x in study.discrepancies],
        "hypotheses": [{"key": x.key, "text": x.text, "holds": x.holds} for x in study.hypotheses],
        "nearest_fixed_split": {
            case.model: [_nearest_json(case, x) for x in study.nearest[case.model]] for case in study.cases
        },
        "plans": {case.model: _plans_json(case, study.found[case.model]) for case in study.cases},
    }


def _links_json(study: Reproduction) -> dict[str, Any]:
    centre = study.links.centre
    return {
        "source": "derived",
        "equations": [
            {"model": x.model, "bits": list(x.bits), "transfer_s": x.transfer_s, "error_at_centre": centre.error(x)}
            for x in study.equations
        ],
        "exact": dict(zip(("fixed_s", "s_per_bit_1", "s_per_bit_2"), study.exact, strict=True)),
        "least_error": study.least_error,
        "tolerance": study.links.tolerance,
        "vertices": study.links.corners.tolist(),
        "ranges": study.links.ranges(),
        "centre": {"fixed_s": list(centre.fixed_s), "rate_bps": list(centre.rate_bps)},
        "points": study.points,
        "seed": study.seed,
    }


def _discrepancy_json(discrepancy: Discrepancy) -> dict[str, Any]:
    return {
        "name": discrepancy.name,
        "stages": [
            {"model": x.model, "published_s": x.published_s, "derived_s": x.derived_s, "factor": x.factor}
            for x in discrepancy.stages
        ],
        "laws": [{"text": x.text, "values": list(x.values), "worst_error": x.worst} for x in discrepancy.laws],
    }


def _nearest_json(case: Case, found: Nearest) -> dict[str, Any]:
    return {
        "stage_times": found.variant.name,
        "plan": found.outcome.plan.describe(case.world.problem.continuum.names),
        "errors": dict(zip(("latency", "edge", "fog", "cloud"), found.errors, strict=True)),
        "candidates": found.candidates,
        "best_rank_by_score": found.rank,
    }


def _plans_json(case: Case, found: Mapping[str, Prediction]) -> dict[str, Any]:
    names = case.world.problem.continuum.names
    return {
        name: {
            plan: {
                "source": "simulated",
                "partition": rows[0].plan.describe(names),
                "latency_s": prediction.spread(plan, lambda x: x.latency_s)._asdict(),
                "compute_only_j": prediction.spread(plan, lambda x: x.total_j)._asdict(),
                "node_j": prediction.spread(plan, lambda x: x.node_j)._asdict(),
            }
            for plan, rows in prediction.outcomes.items()
        }
        for name, prediction in found.items()
    }
