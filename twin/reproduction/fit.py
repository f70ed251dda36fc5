"""Link parameters from the published static rows: what three equations say, and what they cannot tell apart.

The time that a static row leaves for its messages is latency - sum of energy / power over the three stages. The twin
spends on messages, for two hops with fixed times f (a round trip: one half with the tensor, one half with the answer)
and rates r,

    f_1 + f_2 + 8 (b_1 + a) / r_1 + 8 (b_2 + a) / r_2,    b: bytes of the cuts, a: bytes of the answer.

Only f_1 + f_2 enters, and no f is negative and no r above `FASTEST_BPS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from twin.errors import InfeasibleError
from twin.reproduction.polytope import inside, vertices
from twin.units import bits_from_bytes, bps_from_mbps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twin.graph import LayerGraph
    from twin.partition import Partition
    from twin.reproduction.published import Row

FASTEST_BPS = bps_from_mbps(10_000.0)
"""Rate above which a link is not looked for: ten-gigabit Ethernet."""


@dataclass(frozen=True, slots=True)
class Equation:
    """What one static row says of the links.

    Attributes:
        model: The model.
        bits: Bits that cross each hop, the answer included.
        transfer_s: Published latency less the published stage times.
        latency_s: Published latency.
    """

    model: str
    bits: tuple[float, float]
    transfer_s: float
    latency_s: float


@dataclass(frozen=True, slots=True)
class LinkPoint:
    """Parameters of the two links.

    Attributes:
        fixed_s: Fixed time of a round over each hop.
        rate_bps: Payload rate of each hop.
    """

    fixed_s: tuple[float, float]
    rate_bps: tuple[float, float]

    def transfer_s(self, equation: Equation) -> float:
        """Time that the messages of a row take."""
        return sum(self.fixed_s) + sum(bits / rate for bits, rate in zip(equation.bits, self.rate_bps, strict=True))

    def error(self, equation: Equation) -> float:
        """What the messages take too long, as a share of the published latency."""
        return (self.transfer_s(equation) - equation.transfer_s) / equation.latency_s


@dataclass(frozen=True, slots=True, eq=False)
class FeasibleSet:
    """All link parameters that come near enough to every static row: a polytope.

    Attributes:
        tolerance: Largest error of the message time, as a share of the published latency.
        corners: Its vertices: fixed times of both hops, seconds per bit of both; shape [v, 4].
    """

    tolerance: float
    corners: np.ndarray

    @property
    def centre(self) -> LinkPoint:
        """The mean of the vertices."""
        return _point(self.corners.mean(axis=0))

    def points(self, count: int, seed: int) -> list[LinkPoint]:
        """Every vertex, then `count` points from inside."""
        return [_point(row) for row in np.concatenate([self.corners, inside(self.corners, count, seed)])]

    def ranges(self) -> dict[str, tuple[float, float]]:
        """Least and largest value of what a reader asks for: the fixed times, their sum, the rates."""
        first, second, per_bit_1, per_bit_2 = self.corners.T
        return {
            "fixed_1_s": _range(first),
            "fixed_2_s": _range(second),
            "fixed_s": _range(first + second),
            "rate_1_bps": _range(1.0 / per_bit_1),
            "rate_2_bps": _range(1.0 / per_bit_2),
        }


def equation_of(graph: LayerGraph, partition: Partition, row: Row, power_w: tuple[float, float, float]) -> Equation:
    """What a static row says of the links.

    Args:
        graph: The model.
        partition: The static split.
        row: The published row.
        power_w: Power of computing of edge, fog and cloud.
    """
    cut_1, cut_2 = (
        bits_from_bytes(graph.cut_bytes(partition.down_set(device)) + graph.output_bytes) for device in (0, 1)
    )
    return Equation(graph.model, (cut_1, cut_2), row.latency_s - sum(row.stages_s(power_w)), row.latency_s)


def exact(equations: Sequence[Equation]) -> np.ndarray:
    """Sum of the fixed times and seconds per bit of both hops that three equations ask for, whatever the sign."""
    return np.asarray(np.linalg.solve(_matrix(equations), np.array([x.transfer_s for x in equations])))


def least_error(equations: Sequence[Equation]) -> float:
    """The least error that possible links can have on the worst row, as a share of its latency.

    A linear programme in the fixed times, the seconds per bit and the error, solved by its vertices.
    """
    latency_s = np.array([[x.latency_s] for x in equations])
    normals, limits = _limits(equations, 0.0)
    slack = np.concatenate([-latency_s, -latency_s, np.zeros((len(limits) - 2 * len(latency_s), 1))])
    normals = np.concatenate([np.hstack([normals, slack]), [[0.0] * normals.shape[1] + [-1.0]]])
    # An upper bound on the error closes the polytope; it is never reached.
    normals = np.concatenate([normals, [[0.0] * (normals.shape[1] - 1) + [1.0]]])
    return float(vertices(normals, np.concatenate([limits, [0.0, 1.0]]))[:, -1].min())


def feasible(equations: Sequence[Equation], tolerance: float) -> FeasibleSet:
    """All possible links whose error is at most the tolerance on every row.

    Raises:
        InfeasibleError: There are none.
    """
    corners = _by_hop(vertices(*_limits(equations, tolerance)))
    if len(corners) == 0:
        raise InfeasibleError(
            f"no links meet the static rows within {tolerance:.2%} of their latency; the least possible is "
            f"{least_error(equations):.2%}: raise --tolerance"
        )
    return FeasibleSet(tolerance, corners)


def _by_hop(corners: np.ndarray) -> np.ndarray:
    """Vertices in the sum of the fixed times -> vertices in both: all of it on one hop or on the other."""
    fixed, none = corners[:, :1], np.zeros((len(corners), 1))
    first, second = np.hstack([fixed, none, corners[:, 1:]]), np.hstack([none, fixed, corners[:, 1:]])
    return np.concatenate([first, second[fixed[:, 0] > 0]])


def _matrix(equations: Sequence[Equation]) -> np.ndarray:
    """Coefficients of the sum of the fixed times and of the seconds per bit, shape [n, 3]."""
    return np.array([[1.0, *x.bits] for x in equations])


def _limits(equations: Sequence[Equation], tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """The polytope in the sum of the fixed times and the seconds per bit: normals [m, 3], limits [m]."""
    matrix = _matrix(equations)
    target_s = np.array([x.transfer_s for x in equations])
    slack_s = tolerance * np.array([x.latency_s for x in equations])
    limits = [target_s + slack_s, slack_s - target_s, [0.0, -1.0 / FASTEST_BPS, -1.0 / FASTEST_BPS]]
    return np.concatenate([matrix, -matrix, -np.eye(3)]), np.concatenate(limits)


def _point(row: np.ndarray) -> LinkPoint:
    first, second, per_bit_1, per_bit_2 = row.tolist()
    return LinkPoint((first, second), (1.0 / per_bit_1, 1.0 / per_bit_2))


def _range(values: np.ndarray) -> tuple[float, float]:
    return float(values.min()), float(values.max())
