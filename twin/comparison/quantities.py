"""The quantities that are compared: latency, compute, transfers, waiting, throughput and energy."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from twin.comparison.estimate import Estimate, Share, relative_error, repeatability, scatter
from twin.comparison.sampled import Sampled, mean, quantile
from twin.problem import BOUNDARIES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from twin.comparison.breakdown import Breakdown, Part
    from twin.comparison.pairing import Cut, Pairing
    from twin.comparison.side import Play

PERCENTILES = {"latency_p50": 0.50, "latency_p95": 0.95, "latency_p99": 0.99}
_TWO_SIDED = 1.96
"""Half-width of a 95 % interval over its standard error."""
_SURE = 1e6
"""Degrees of freedom of an uncertainty that is stated rather than estimated."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """One quantity of one policy on both sides.

    Attributes:
        name: Its name, such as `latency_mean` or `compute.pi`.
        unit: `s`, `J` or `1/s`.
        sim: Its value on the first side, mean over replications.
        measured: Its value on the second.
        n_sim: What the first rests on: counted requests that were answered, or replications.
        n_measured: Likewise of the second.
        error: Signed relative error of the first against the second, with its interval.
        mape: Mean absolute relative error, or None.
        mape_over: What it is the mean over: `requests` or `replications`.
        wasserstein: Wasserstein-1 distance of the two distributions over requests, in the unit; None for percentiles
            and for what is known by replication only.
        repeatability: Standard deviation between measured replications over their mean; None for fewer than two. The
            luck of arrivals is in it.
        scatter: Standard deviation between replications of the paired relative error, without that luck; None unless
            paired, and for fewer than two.
    """

    name: str
    unit: str
    sim: float
    measured: float
    n_sim: int
    n_measured: int
    error: Estimate
    mape: float | None
    mape_over: str
    wasserstein: float | None
    repeatability: float | None
    scatter: float | None

    @property
    def bias(self) -> float:
        """Signed difference in the quantity's unit."""
        return self.sim - self.measured

    def to_json(self) -> dict[str, Any]:
        """The quantity as plain data."""
        return {
            "name": self.name,
            "unit": self.unit,
            "sim": self.sim,
            "measured": self.measured,
            "n_sim": self.n_sim,
            "n_measured": self.n_measured,
            "bias": self.bias,
            "error": self.error.to_json(),
            "half_width": self.error.half_width,
            "mape": self.mape,
            "mape_over": self.mape_over,
            "wasserstein": self.wasserstein,
            "repeatability": self.repeatability,
            "scatter": self.scatter,
        }


def quantities(
    sim: Play, measured: Play, pairing: Pairing, parts: tuple[Part, ...], places: Sequence[str]
) -> tuple[Quantity, ...]:
    """All quantities that both sides know; what is zero on both is left out.

    Args:
        sim: The run of one side.
        measured: The run of the other.
        pairing: How they are paired.
        parts: What `parts_of` gives.
        places: Names of the places, such as `pi` and `pi-laptop`.
    """
    found = [*_of_requests(pairing, parts, places), *_of_replications(sim, measured, pairing)]
    return tuple(x for x in found if x is not None and (x.sim != 0 or x.measured != 0))


def column_groups(parts: tuple[Part, ...], places: Sequence[str]) -> dict[str, list[int]]:
    """Columns of a breakdown that each quantity adds up, by its name."""
    what_of = {"transmission": "transfer", "propagation": "transfer"}
    groups: dict[str, list[int]] = {}
    for order in ("compute", "transfer", "waiting", "hold", "other"):
        for column, part in enumerate(parts):
            what = what_of.get(part.what, part.what)
            if what == order:
                name = what if part.place < 0 else f"{what}.{places[part.place]}"
                groups.setdefault(name, []).append(column)
    return groups


def wasserstein(a: np.ndarray, b: np.ndarray) -> float:
    """Wasserstein-1 distance of two samples: the area between their distribution functions."""
    both = np.sort(np.concatenate([a, b]))
    shares = [np.searchsorted(np.sort(x), both[:-1], side="right") / len(x) for x in (a, b)]
    return float(np.sum(np.abs(shares[0] - shares[1]) * np.diff(both)))


def _of_requests(pairing: Pairing, parts: tuple[Part, ...], places: Sequence[str]) -> Iterator[Quantity | None]:
    yield _quantity("latency_mean", pairing, _latency, partial(_mean, _latency))
    for name, probability in PERCENTILES.items():
        yield _quantity(name, pairing, None, partial(_quantile, probability))
    for name, columns in column_groups(parts, places).items():
        values = partial(_columns, columns)
        yield _quantity(name, pairing, values, partial(_mean, values))


def _latency(times: Breakdown) -> np.ndarray:
    return times.latency_s


def _columns(columns: Sequence[int], times: Breakdown) -> np.ndarray:
    return np.asarray(times.parts_s[:, columns].sum(axis=1))


def _mean(values: Callable[[Breakdown], np.ndarray], cut: Cut) -> Sampled:
    return mean(values(cut.times), cut.block, cut.taken)


def _quantile(probability: float, cut: Cut) -> Sampled:
    return quantile(cut.times.latency_s, probability, cut.block, cut.taken)


def _quantity(
    name: str,
    pairing: Pairing,
    values: Callable[[Breakdown], np.ndarray] | None,
    figure: Callable[[Cut], Sampled],
) -> Quantity | None:
    """A quantity that requests have; None where a replication answered none."""
    sizes = [[len(cut.times) for cut in side] for side in (pairing.sim, pairing.measured)]
    if not all(n for side in sizes for n in side):
        return None
    own, reference = pairing.sampled(figure)
    over_requests = values is not None and pairing.mode == "requests"
    distance = mape = None
    if values is not None:
        pooled = [np.concatenate([values(cut.times) for cut in side]) for side in (pairing.sim, pairing.measured)]
        distance = wasserstein(*pooled)
    if values is not None and over_requests:
        mape = _over_requests(pairing, values)
    elif not over_requests:
        mape = _over_replications(own, reference, joint=pairing.joint)
    return Quantity(
        name,
        "s",
        float(np.mean([x.value for x in own])),
        float(np.mean([x.value for x in reference])),
        sum(sizes[0]),
        sum(sizes[1]),
        relative_error(own, reference, joint=pairing.joint),
        mape,
        "requests" if over_requests else "replications",
        distance,
        repeatability(reference),
        scatter(own, reference) if pairing.joint else None,
    )


def _over_requests(pairing: Pairing, values: Callable[[Breakdown], np.ndarray]) -> float | None:
    """Mean absolute relative error over paired requests for which the reference is not zero."""
    errors = []
    for cut, other, (rows, theirs) in zip(pairing.sim, pairing.measured, pairing.matches, strict=True):
        own, reference = values(cut.times)[rows], values(other.times)[theirs]
        there = reference > 0
        errors.append(np.abs(own[there] - reference[there]) / reference[there])
    joined = np.concatenate(errors)
    return float(joined.mean()) if len(joined) else None


def _over_replications(own: Sequence[Sampled], reference: Sequence[Sampled], *, joint: bool) -> float | None:
    """Likewise over replications; where they are not paired, each of the reference against the mean of the others."""
    expected = [x.value for x in own] if joint else [float(np.mean([x.value for x in own]))] * len(reference)
    errors = [abs(a - b.value) / b.value for a, b in zip(expected, reference, strict=True) if b.value > 0]
    return float(np.mean(errors)) if errors else None


def _of_replications(sim: Play, measured: Play, pairing: Pairing) -> Iterator[Quantity | None]:
    """What `summary.json` holds of each replication: throughput, and energy at each boundary."""
    figure = partial(_figure, sim, measured, pairing)
    yield figure("throughput", "1/s", _throughput)
    for boundary in BOUNDARIES:
        meter = partial(_meter, measured, pairing, boundary)
        yield figure(f"energy_{boundary}", "J", partial(_total_j, boundary), meter)
        for device, name in enumerate(measured.info["devices"]):
            own_meter = partial(meter, device=device)
            yield figure(f"energy_{boundary}.{name}", "J", partial(_device_j, boundary, device), own_meter)


def _throughput(entry: Mapping[str, Any]) -> float | None:
    found: float | None = entry["throughput_rps"]
    return found


def _total_j(boundary: str, entry: Mapping[str, Any]) -> float | None:
    joules: float | None = entry["energy_j"][boundary]
    return joules


def _device_j(boundary: str, device: int, entry: Mapping[str, Any]) -> float | None:
    joules: float | None = entry["devices_j"][boundary][device] if "devices_j" in entry else None
    return joules


def _figure(
    sim: Play,
    measured: Play,
    pairing: Pairing,
    name: str,
    unit: str,
    value: Callable[[Mapping[str, Any]], float | None],
    meter: Callable[[], list[Share]] = list,
) -> Quantity | None:
    """A quantity that is known by replication; None where one does not know it."""
    own, reference = _known(sim, pairing.sim, value), _known(measured, pairing.measured, value)
    if own is None or reference is None:
        return None
    error = relative_error(own, reference, joint=pairing.joint, besides=meter())
    return Quantity(
        name,
        unit,
        float(np.mean([x.value for x in own])),
        float(np.mean([x.value for x in reference])),
        len(own),
        len(reference),
        Estimate(0.0, 0.0, 0.0) if own == reference else error,
        _over_replications(own, reference, joint=pairing.joint),
        "replications",
        None,
        repeatability(reference),
        scatter(own, reference) if pairing.joint else None,
    )


def _known(play: Play, cuts: Sequence[Cut], value: Callable[[Mapping[str, Any]], float | None]) -> list[Sampled] | None:
    """The figure of each replication; None unless all are known."""
    entries = [play.figures.get(cut.replication) for cut in cuts]
    known = [x for entry in entries if entry is not None and (x := value(entry)) is not None]
    return [Sampled(x) for x in known] if len(known) == len(cuts) else None


def _meter(measured: Play, pairing: Pairing, boundary: str, device: int | None = None) -> list[Share]:
    """What the meters of the reference add to the variance of a relative error; it is the same in each replication."""
    relative = []
    for cut in pairing.measured:
        meters = measured.figures[cut.replication].get("meters")
        if not meters:
            return []
        chosen = meters if device is None else meters[device : device + 1]
        pairs = [(x["window_j"][boundary]["value"], x["window_j"][boundary]["half_width"]) for x in chosen]
        known = [(joules, half_j) for joules, half_j in pairs if joules is not None and half_j is not None]
        total_j = sum(joules for joules, _ in known)
        if len(known) < len(pairs) or total_j <= 0:
            return []
        relative.append(sum(half_j**2 for _, half_j in known) / total_j**2)
    return [Share(float(np.mean(relative)) / _TWO_SIDED**2, _SURE)]
