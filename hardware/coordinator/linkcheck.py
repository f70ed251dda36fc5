"""What links give before a run starts, held against what the scenario asks for.

A single transfer misleads: T = L + S / B, and for a small tensor L is most of it. Transfers of mixed sizes are fitted
by the line of Theil and Sen, the median of the slopes of all pairs, which one slow transfer in four does not move.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hardware.transport.parcel import DEFAULT_LIMITS
from twin.units import BITS_PER_BYTE, mbps_from_bps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twin.world import World

TOLERANCE = 0.05
"""Difference of goodput from which on a user is warned."""
_DURATIONS_S = (0.01, 0.04, 0.12)
"""Transmission times of the transfers, by the scenario's rate."""
_ROUNDS = 6
_LEAST_BYTES = 1_000
_MOST_BYTES = 8_000_000


@dataclass(frozen=True, slots=True)
class LinkCheck:
    """One direction of a link, measured and asked for.

    Attributes:
        link: Position of the link.
        direction: 0 up, 1 down.
        n: Number of transfers.
        rate_bps: Goodput by the fit, bits per second; None if the sizes tell nothing.
        low_bps: Lower end of its 95 % confidence interval.
        high_bps: Upper end.
        delay_s: Time of an empty message, receipt included, by the fit.
        wanted_bps: Goodput that the scenario says for the start of the run.
        wanted_delay_s: Round-trip time and message overhead that it says.
    """

    link: int
    direction: int
    n: int
    rate_bps: float | None
    low_bps: float | None
    high_bps: float | None
    delay_s: float | None
    wanted_bps: float
    wanted_delay_s: float

    @property
    def difference(self) -> float | None:
        """Measured goodput / wanted goodput - 1."""
        return None if self.rate_bps is None else self.rate_bps / self.wanted_bps - 1

    def warning(self, names: Sequence[str]) -> str | None:
        """What a user should know, or None if the link gives what it should.

        Args:
            names: Name of its direction's sender and receiver.
        """
        way = " -> ".join(names)
        if self.rate_bps is None or self.difference is None:
            return f"{way}: the goodput could not be measured in {self.n} transfers"
        if abs(self.difference) <= TOLERANCE:
            return None
        return (
            f"{way}: gives {mbps_from_bps(self.rate_bps):.4g} Mbit/s, the scenario says "
            f"{mbps_from_bps(self.wanted_bps):.4g} ({self.difference:+.0%})"
        )

    def to_json(self) -> dict[str, Any]:
        """The check as plain data."""
        return {**asdict(self), "difference": self.difference}


def sizes_bytes(rate_bps: float) -> list[int]:
    """Sizes of the transfers that measure a link, mixed so that a drift does not look like a size."""
    sizes = [
        int(np.clip(duration_s * rate_bps / BITS_PER_BYTE, _LEAST_BYTES, min(_MOST_BYTES, DEFAULT_LIMITS.tensor_bytes)))
        for duration_s in _DURATIONS_S
    ]
    return [_LEAST_BYTES] + (sizes + sizes[::-1]) * (_ROUNDS // 2)


def check(world: World, link: int, direction: int, rows: Sequence[Sequence[float]]) -> LinkCheck:
    """Fit the transfers over one direction of a link.

    Args:
        world: The scenario.
        link: Position of the link.
        direction: 0 up, 1 down.
        rows: When the receipt came, bytes and time of each transfer; the first one is left out.
    """
    wanted = world.problem.initial
    overhead_s = world.problem.continuum.links[link].message_overhead_s
    fitted = fit([row[1] for row in rows[1:]], [row[2] for row in rows[1:]])
    rate_bps, low_bps, high_bps, delay_s = fitted or (None, None, None, None)
    return LinkCheck(
        link,
        direction,
        len(rows) - 1,
        rate_bps,
        low_bps,
        high_bps,
        delay_s,
        float(wanted.rate_bps[link, direction]),
        float(wanted.rtt_s[link]) + overhead_s,
    )


def fit(sizes_bytes: Sequence[float], times_s: Sequence[float]) -> tuple[float, float, float, float] | None:
    """Fit T = L + 8 S / B by the method of Theil and Sen.

    Returns:
        B in bits per second, both ends of its 95 % confidence interval, and L in seconds; None where no time is
        longer for a larger size.
    """
    from scipy.stats import theilslopes  # noqa: PLC0415 - slow to import

    bits = np.asarray(sizes_bytes, dtype=float) * BITS_PER_BYTE
    if len(set(bits.tolist())) < 2:
        return None
    slope, intercept, low, high = theilslopes(np.asarray(times_s, dtype=float), bits)
    if slope <= 0:
        return None
    return 1 / slope, 1 / high, (1 / low if low > 0 else float("inf")), max(float(intercept), 0.0)
