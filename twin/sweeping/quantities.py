"""Places and quantities of a sweep in words and in the units that people use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twin.units import mbps_from_bps, megabytes_from_bytes, ms_from_s
from twin.wording import given

if TYPE_CHECKING:
    from twin.sweeping.grid import Axis

_UNITS = {
    "_bps": ("Mbit/s", mbps_from_bps(1.0)),
    "_rps": ("requests/s", 1.0),
    "_bytes": ("MB", megabytes_from_bytes(1.0)),
    "_w": ("W", 1.0),
    "_j": ("J", 1.0),
}
_SMALL_S = 1.0
"""Times are shown in ms where all are shorter than this, in seconds."""

_QUANTITIES = {
    "score": "score",
    "latency_mean_s": "mean latency",
    "latency_p50_s": "median latency",
    "latency_p95_s": "95th percentile of the latency",
    "energy_node_j": "energy (node)",
    "energy_marginal_j": "energy (marginal)",
    "energy_compute_only_j": "energy (compute_only)",
}


@dataclass(frozen=True, slots=True)
class Scale:
    """How an axis is shown.

    Attributes:
        name: The place without its unit.
        unit: The unit, or an empty string.
        factor: What values are multiplied with.
    """

    name: str
    unit: str
    factor: float

    @property
    def title(self) -> str:
        """Name and unit."""
        return f"{self.name}, {self.unit}" if self.unit else self.name

    def text(self, value: Any) -> str:  # noqa: ANN401 - any plain data
        """A value without its unit."""
        if isinstance(value, int | float) and not isinstance(value, bool):
            return given(value * self.factor)
        return "none" if value is None else str(value)


def scale_of(axis: Axis) -> Scale:
    """How the first place of an axis is shown; its unit is read off its name."""
    more = f" (with {', '.join(axis.paths[1:])})" if len(axis.paths) > 1 else ""
    if axis.is_numeric:
        if axis.path.endswith("_s"):
            short = max(abs(value) for value in axis.values) < _SMALL_S
            return Scale(axis.path.removesuffix("_s") + more, "ms" if short else "s", ms_from_s(1.0) if short else 1.0)
        for ending, (unit, factor) in _UNITS.items():
            if axis.path.endswith(ending):
                return Scale(axis.path.removesuffix(ending) + more, unit, factor)
    return Scale(axis.path + more, "", 1.0)


def quantity_text(quantity: str) -> str:
    """A quantity in words, with its unit if it has one."""
    unit = {"s": ", ms", "j": ", J per request"}.get(quantity.rpartition("_")[2], "")
    return f"{_QUANTITIES[quantity]}{unit}"


def quantity_factor(quantity: str) -> float:
    """What values of a quantity are multiplied with to be shown."""
    return ms_from_s(1.0) if quantity.endswith("_s") else 1.0


def percent_text(share: float) -> str:
    """A share in whole percent, without the sign; small ones are not called 0."""
    text = f"{100 * share:.0f}"
    return "<1" if text == "0" and share > 0 else text
