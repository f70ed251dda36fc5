"""What comes out of a comparison."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twin.metrics.intervals import CONFIDENCE
from twin.runs.folder import plain

if TYPE_CHECKING:
    from twin.comparison.alike import Difference
    from twin.comparison.decisions import Decisions
    from twin.comparison.pairing import Pairing
    from twin.comparison.quantities import Quantity
    from twin.comparison.ranking import Ranking
    from twin.comparison.waterfall import Step

SCHEMA = 1
METHOD = (
    "variance between replications plus variance of block-bootstrap draws within them, Student's t with the degrees of "
    "freedom of Satterthwaite"
)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the figures of one side come from.

    Attributes:
        folder: The folder that was named.
        source: `simulated`, `measured` or `emulated`.
        replications: Replications of each policy, the largest number of them.
        seed: Seed of the scenario.
    """

    folder: str
    source: str
    replications: int
    seed: int

    def to_json(self) -> dict[str, Any]:
        """The origin as plain data."""
        return {
            "folder": self.folder,
            "source": self.source,
            "replications": self.replications,
            "seed": self.seed,
        }


@dataclass(frozen=True, slots=True, eq=False)
class PolicyPair:
    """One policy on both sides.

    Attributes:
        label: Its name.
        pairing: How the runs are paired, with the time of each request.
        quantities: The quantities that both sides know.
        steps: Where the difference of the mean latencies arises.
        decisions: How the decisions agree; None where a side has none.
    """

    label: str
    pairing: Pairing
    quantities: tuple[Quantity, ...]
    steps: tuple[Step, ...]
    decisions: Decisions | None

    def quantity(self, name: str) -> Quantity | None:
        """A quantity by its name; None where it is not known."""
        return next((x for x in self.quantities if x.name == name), None)

    def to_json(self) -> dict[str, Any]:
        """The comparison of this policy as plain data."""
        return {
            "pairing": self.pairing.mode,
            "pairing_in_words": self.pairing.describe(),
            "blocks": [cut.taken.shape[1] for cut in self.pairing.measured],
            "quantities": [x.to_json() for x in self.quantities],
            "waterfall": [x.to_json() for x in self.steps],
            "decisions": None if self.decisions is None else self.decisions.to_json(),
        }


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Two results, held against each other.

    Attributes:
        scenario: Name of the scenario on the second side.
        model: The model.
        boundary: Accounting boundary of the scenario's objective.
        deadline_s: Deadline of the objective, or None.
        devices: Names of the devices.
        ways: Names of the link directions, such as `pi-laptop`.
        sim: Where the first side comes from.
        measured: Where the second comes from, the reference.
        policies: The policies that both sides played.
        ranking: Their order on both sides; None for fewer than two.
        differences: Parameters that differ.
        notes: What to bear in mind, in sentences.
    """

    scenario: str
    model: str
    boundary: str
    deadline_s: float | None
    devices: tuple[str, ...]
    ways: tuple[str, ...]
    sim: Origin
    measured: Origin
    policies: tuple[PolicyPair, ...]
    ranking: Ranking | None
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the content of `compare.json`, without verdicts; numbers that are not finite are null."""
        data = plain(
            {
                "schema": SCHEMA,
                "scenario": self.scenario,
                "model": self.model,
                "sim": self.sim.to_json(),
                "measured": self.measured.to_json(),
                "confidence": CONFIDENCE,
                "method": METHOD,
                "differences": [x.to_json() for x in self.differences],
                "ranking": None if self.ranking is None else self.ranking.to_json(),
                "policies": {x.label: x.to_json() for x in self.policies},
                "notes": list(self.notes),
            }
        )
        assert isinstance(data, dict)  # noqa: S101 - what was put in
        return data
