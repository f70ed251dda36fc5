"""One row of a sweep's table: what one policy came to at one point."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from twin.metrics.intervals import interval
from twin.metrics.summary import COUNTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twin.metrics.intervals import Interval
    from twin.metrics.summary import Figures, PolicySummary

Status = Literal["ok", "failed"]
Values = tuple[float | None, ...]

QUANTITIES = (
    "latency_mean_s",
    "latency_p50_s",
    "latency_p95_s",
    "energy_node_j",
    "energy_marginal_j",
    "energy_compute_only_j",
    "score",
    "throughput_rps",
    "switches",
)


@dataclass(frozen=True, slots=True)
class Row:
    """What one policy came to at one point.

    Attributes:
        label: The policy's name in the scenario.
        kind: Which policy it is; empty where the scenario could not be read.
        status: Whether it was played to the end.
        error: Why not, or an empty string.
        engine: The engine that played it, or an empty string.
        run_s: Time that a worker took for it, in seconds.
        counts: Counted requests of all replications by how they ended, and `arrived`.
        values: For each of `QUANTITIES` one value per replication; None where there is none.
    """

    label: str
    kind: str = ""
    status: Status = "failed"
    error: str = ""
    engine: str = ""
    run_s: float = 0.0
    counts: Mapping[str, int] = field(default_factory=dict)
    values: Mapping[str, Values] = field(default_factory=dict)

    @property
    def n_replications(self) -> int:
        """Number of replications that were played."""
        return max((len(values) for values in self.values.values()), default=0)

    def over_replications(self, quantity: str) -> Interval:
        """Mean of a quantity with its interval."""
        return interval(self.values.get(quantity, ()), floor=0.0)

    def share(self, *outcomes: str) -> float | None:
        """Share of the counted requests that ended in one of these ways; None where there were none."""
        arrived = self.counts.get("arrived", 0)
        return sum(self.counts[name] for name in outcomes) / arrived if arrived else None

    def to_json(self) -> dict[str, Any]:
        """Return the row as plain data."""
        return {
            "label": self.label,
            "kind": self.kind,
            "status": self.status,
            "error": self.error,
            "engine": self.engine,
            "run_s": self.run_s,
            "counts": dict(self.counts),
            "values": {name: list(values) for name, values in self.values.items()},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Row:
        """Build a row from plain data.

        Raises:
            KeyError: Something is missing.
        """
        return cls(
            label=data["label"],
            kind=data["kind"],
            status=data["status"],
            error=data["error"],
            engine=data["engine"],
            run_s=data["run_s"],
            counts={name: data["counts"][name] for name in COUNTS},
            values={name: tuple(data["values"][name]) for name in QUANTITIES},
        )


def row_of(summary: PolicySummary, engine: str) -> Row:
    """The row of a policy that was played, without the time that it took."""
    per_replication = [_quantities(figures) for figures in summary.figures]
    return Row(
        label=summary.label,
        kind=summary.kind,
        status="ok",
        engine=engine,
        counts=summary.requests,
        values={name: tuple(values[name] for values in per_replication) for name in QUANTITIES},
    )


def _quantities(figures: Figures) -> dict[str, float | None]:
    return {
        "latency_mean_s": figures.latency_s["mean"],
        "latency_p50_s": figures.latency_s["p50"],
        "latency_p95_s": figures.latency_s["p95"],
        "energy_node_j": figures.total_j("node"),
        "energy_marginal_j": figures.total_j("marginal"),
        "energy_compute_only_j": figures.total_j("compute_only"),
        "score": figures.score,
        "throughput_rps": figures.throughput_rps,
        "switches": float(figures.switches),
    }
