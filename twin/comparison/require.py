"""What is required of a comparison: `latency_mean<=3%`, `compute.pi@static<=3%`, `ranking>=1`."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twin.errors import ComparisonError
from twin.problem import BOUNDARIES
from twin.scenario_file.complaints import nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twin.comparison.outcome import Comparison

LATENCIES = ("latency_mean", "latency_p50", "latency_p95", "latency_p99")
ENERGIES = tuple(f"energy_{boundary}" for boundary in BOUNDARIES)
GROUPS = ("compute", "transfer", "waiting")
"""Names that stand for every place at which a side spent such time."""
COST, AGREEMENT, RANKING = "decision_cost", "decision_agreement", "ranking"
AT_LEAST = (AGREEMENT, RANKING)
"""What should be large; all else is an error, which should be small."""
GRAMMAR = "QUANTITY[@POLICY]<=BOUND, such as `latency_mean<=5%`, `compute.pi@static<=3%` or `ranking>=1`"

_FORM = re.compile(r"\s*([^\s@<>=]+)\s*(?:@\s*([^<>=]*?))?\s*(<=|>=)\s*(\S+?)\s*(%?)\s*")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One requirement.

    Attributes:
        text: As it was given.
        name: The quantity, or a group of them.
        policy: Label of the policy; None for each of them.
        bound: The bound, as a share of 1.
    """

    text: str
    name: str
    policy: str | None
    bound: float


def parse(text: str) -> Requirement:
    """Read a requirement.

    Raises:
        ComparisonError: It does not follow the grammar.
    """
    found = _FORM.fullmatch(text)
    if found is None:
        raise ComparisonError(f"--require {text!r}: must read {GRAMMAR}")
    name, policy, relation, number, per_cent = found.groups()
    try:
        bound = float(number) / (100 if per_cent else 1)
    except ValueError as error:
        raise ComparisonError(f"--require {text!r}: `{number}` is no number; it must read {GRAMMAR}") from error
    if not (math.isfinite(bound) and bound >= 0):
        raise ComparisonError(f"--require {text!r}: the bound must be 0 or more")
    wanted = ">=" if name in AT_LEAST else "<="
    if relation != wanted:
        raise ComparisonError(f"--require {text!r}: write {name}{wanted}{number}{per_cent}")
    if name == RANKING and policy is not None:
        raise ComparisonError(f"--require {text!r}: a ranking is of all policies; leave out @{policy}")
    return Requirement(text.strip(), name, policy, bound)


def check_names(requirements: Sequence[Requirement], comparison: Comparison) -> None:
    """Check that requirements name quantities, places and policies that there can be.

    Raises:
        ComparisonError: One does not; the message names the nearest known one.
    """
    known, labels = vocabulary(comparison), [x.label for x in comparison.policies]
    for requirement in requirements:
        if requirement.name not in known:
            remedy = nearest(requirement.name, known)
            raise ComparisonError(f"--require {requirement.text!r}: there is no quantity {requirement.name}; {remedy}")
        if requirement.policy is not None and requirement.policy not in labels:
            remedy = nearest(requirement.policy, labels)
            raise ComparisonError(
                f"--require {requirement.text!r}: no policy {requirement.policy} is compared; {remedy}"
            )


def vocabulary(comparison: Comparison) -> list[str]:
    """Every name that a requirement may give."""
    devices, ways = comparison.devices, comparison.ways
    return [
        *LATENCIES,
        *GROUPS,
        *(f"compute.{name}" for name in devices),
        *(f"transfer.{name}" for name in ways),
        *(f"waiting.{name}" for name in (*devices, *ways)),
        "hold",
        "other",
        "throughput",
        *ENERGIES,
        *(f"{energy}.{name}" for energy in ENERGIES for name in ("*", *devices)),
        COST,
        AGREEMENT,
        RANKING,
    ]
