"""Layer profiles: how long each layer of a model takes on a device, and where that is known from."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from twin.errors import ProfileError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from twin.graph import LayerGraph

Source = Literal["measured", "simulated", "emulated", "derived"]

_P05_TO_P95_IN_SIGMAS = 2 * 1.6448536269514722
"""Width of the central 90 % of a normal distribution, in standard deviations."""


@dataclass(frozen=True, slots=True)
class Quantiles:
    """A sample of durations, in seconds; the quantiles are None where nothing was sampled (n = 0)."""

    median_s: float
    p05_s: float | None = None
    p95_s: float | None = None
    n: int = 0


@dataclass(frozen=True, slots=True)
class StageTime:
    """The time of a stage that was measured as a whole.

    Attributes:
        start: Position of its first layer in topological order.
        stop: Position after its last layer.
        time: The stage's own time.
        sum_of_layers_s: Sum of the median times of its layers, measured one by one.
    """

    start: int
    stop: int
    time: Quantiles
    sum_of_layers_s: float


@dataclass(frozen=True)
class Profile:
    """Times of the layers of one model on one device.

    Attributes:
        device: Name of the device.
        model: Name of the model.
        names: Names of the layers in topological order.
        layers: Their times, in the same order.
        whole_model: Time of one whole inference.
        stages: Stages that were measured as a whole.
        additivity: Time of a stage / sum of the times of its layers (median over the stages).
        source: `measured`, or `derived` from published figures.
        extrapolated: True if no figure of this very model entered the derivation.
        threads: Threads that computed, or None where not known.
        dtype: Number format.
        batch: Batch size.
        provenance: Date, host, versions, method, and for derived profiles formula and citation.
    """

    device: str
    model: str
    names: tuple[str, ...]
    layers: tuple[Quantiles, ...]
    whole_model: Quantiles
    stages: tuple[StageTime, ...] = ()
    additivity: float = 1.0
    source: Source = "measured"
    extrapolated: bool = False
    threads: int | None = None
    dtype: str = "float32"
    batch: int = 1
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def layer_times_s(self, graph: LayerGraph) -> np.ndarray:
        """Median time of each layer of `graph`, in its order; shape [n_layers], seconds.

        Raises:
            ProfileError: The profile was made for another model or another layer graph.
        """
        if self.model != graph.model:
            raise ProfileError(
                f"profile of `{self.device}` is for {self.model}, not {graph.model}; "
                f"profile {graph.model} with `python -m hardware.profile --model {graph.model}`"
            )
        if set(self.names) != set(graph.index) or len(self.names) != len(graph):
            odd = sorted(set(self.names) ^ set(graph.index))[:3]
            raise ProfileError(
                f"profile of {self.model} on `{self.device}` and the layer graph differ in {', '.join(odd)}; "
                "make the profile again with this version of the graph"
            )
        by_name = dict(zip(self.names, self.layers, strict=True))
        return np.array([by_name[layer.name].median_s for layer in graph.layers])

    @property
    def dispersion(self) -> float | None:
        """Standard deviation of the logarithm of a stage's time; None where stages were not measured.

        Taken from the width of the central 90 % of each measured stage (median over the stages), as for a
        log-normal distribution.
        """
        widths = [
            math.log(stage.time.p95_s / stage.time.p05_s) / _P05_TO_P95_IN_SIGMAS
            for stage in self.stages
            if stage.time.p05_s and stage.time.p95_s is not None
        ]
        return float(np.median(widths)) if widths else None

    def to_json(self) -> dict[str, Any]:
        """Return the profile as the plain data of `data/profiles/<device>/<model>.json`."""
        return {
            "schema": 1,
            "device": self.device,
            "model": self.model,
            "source": self.source,
            "extrapolated": self.extrapolated,
            "threads": self.threads,
            "dtype": self.dtype,
            "batch": self.batch,
            "whole_model": _plain(self.whole_model),
            "additivity": self.additivity,
            "provenance": dict(self.provenance),
            "stages": [
                {"start": x.start, "stop": x.stop, **_plain(x.time), "sum_of_layers_s": x.sum_of_layers_s}
                for x in self.stages
            ],
            "layers": [{"name": name, **_plain(time)} for name, time in zip(self.names, self.layers, strict=True)],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any], place: str = "profile") -> Profile:
        """Build a profile from the plain data that `to_json` returns.

        Raises:
            ProfileError: A key is missing or a time is not a finite number >= 0.
        """
        try:
            return cls(
                device=data["device"],
                model=data["model"],
                names=tuple(entry["name"] for entry in data["layers"]),
                layers=tuple(_quantiles(entry, f"{place}: layer `{entry['name']}`") for entry in data["layers"]),
                whole_model=_quantiles(data["whole_model"], f"{place}: whole_model"),
                stages=tuple(
                    StageTime(
                        entry["start"], entry["stop"], _quantiles(entry, f"{place}: stages"), entry["sum_of_layers_s"]
                    )
                    for entry in data.get("stages", ())
                ),
                additivity=_positive(data["additivity"], f"{place}: additivity"),
                source=data["source"],
                extrapolated=data.get("extrapolated", False),
                threads=data.get("threads"),
                dtype=data.get("dtype", "float32"),
                batch=data.get("batch", 1),
                provenance=data.get("provenance", {}),
            )
        except (KeyError, TypeError) as error:
            raise ProfileError(f"{place}: missing or malformed key {error}; see data/profiles for examples") from error


def load_profile(path: Path) -> Profile:
    """Read a profile from a JSON file.

    Raises:
        ProfileError: The file is missing, is not JSON or holds a malformed profile.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ProfileError(
            f"{path}: cannot be read ({error.strerror}); measure it with `python -m hardware.profile` "
            "or derive it with `python -m twin.derive`"
        ) from error
    except ValueError as error:
        raise ProfileError(f"{path}: is not JSON ({error})") from error
    return Profile.from_json(data, str(path))


def _plain(time: Quantiles) -> dict[str, Any]:
    return {"median_s": time.median_s, "p05_s": time.p05_s, "p95_s": time.p95_s, "n": time.n}


def _quantiles(entry: Mapping[str, Any], place: str) -> Quantiles:
    median_s = entry["median_s"]
    if not math.isfinite(median_s) or median_s < 0:
        raise ProfileError(f"{place}: median_s is {median_s}; it must be a finite number >= 0")
    low_s, high_s = entry["p05_s"], entry["p95_s"]
    if low_s is not None and high_s is not None and not 0 <= low_s <= high_s < math.inf:
        raise ProfileError(
            f"{place}: p05_s is {low_s} and p95_s {high_s}; they must be finite with 0 <= p05_s <= p95_s"
        )
    return Quantiles(median_s, low_s, high_s, entry["n"])


def _positive(value: float, place: str) -> float:
    if not math.isfinite(value) or value <= 0:
        raise ProfileError(f"{place} is {value}; it must be a finite number > 0")
    return value
