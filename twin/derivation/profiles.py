"""Profiles of a device from the times of whole models: the fit, the checks, and the times of the layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from twin.derivation.roofline import FORMULA, PARAMETERS, Roofline, fit, work
from twin.errors import GraphError, ProfileError
from twin.profiles import Profile, Quantiles

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twin.derivation.benchmarks import Benchmarks, StageFigure
    from twin.graph import LayerGraph


@dataclass(frozen=True, slots=True)
class Comparison:
    """A published time beside the derived one.

    Attributes:
        what: Model, or model and layers.
        published_s: Published time, in seconds.
        derived_s: Derived time, in seconds.
    """

    what: str
    published_s: float
    derived_s: float

    @property
    def error(self) -> float:
        """Relative error of the derived time."""
        return self.derived_s / self.published_s - 1.0

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "what": self.what,
            "published_s": _rounded(self.published_s),
            "derived_s": _rounded(self.derived_s),
            "error": round(self.error, 4) + 0.0,
        }


@dataclass(frozen=True)
class Derivation:
    """A device's roofline and how it compares with what is published.

    Attributes:
        benchmarks: What is published.
        roofline: The roofline fitted to the whole models.
        fitted: The whole models that entered the fit.
        checks: The stages of each check, in the order of the benchmarks' checks.
    """

    benchmarks: Benchmarks
    roofline: Roofline
    fitted: tuple[Comparison, ...]
    checks: tuple[tuple[Comparison, ...], ...]


def derive(benchmarks: Benchmarks, graphs: Mapping[str, LayerGraph]) -> Derivation:
    """Fit the roofline of a device and hold it against the published figures.

    Args:
        benchmarks: What is published of the device.
        graphs: The layer graph of each model.

    Raises:
        ProfileError: A benchmarked model has no layer graph.
        GraphError: A check names a layer that its model does not have.
    """
    named = [*benchmarks.whole_model_ms, *(stage.model for check in benchmarks.checks for stage in check.stages)]
    missing = sorted({model for model in named if model not in graphs})
    if missing:
        raise ProfileError(
            f"{benchmarks.device}: there is no layer graph of {', '.join(missing)}; "
            f"write it to data/models with `python -m hardware.stages`, or choose from {', '.join(sorted(graphs))}"
        )
    works = {model: work(graphs[model]) for model in named}
    published_s = benchmarks.whole_model_s
    roofline = fit(np.array([works[model].sum(axis=0) for model in published_s]), tuple(published_s.values()))
    return Derivation(
        benchmarks,
        roofline,
        tuple(Comparison(m, t, float(roofline.times_s(works[m]).sum())) for m, t in published_s.items()),
        tuple(
            tuple(_stage(figure, graphs[figure.model], works, roofline) for figure in check.stages)
            for check in benchmarks.checks
        ),
    )


def _stage(figure: StageFigure, graph: LayerGraph, works: Mapping[str, np.ndarray], roofline: Roofline) -> Comparison:
    start, stop = graph.within(figure.first)[0], graph.within(figure.last)[-1] + 1
    if start >= stop:
        raise GraphError(f"{graph.model}: `{figure.first}` does not come before `{figure.last}`; swap them")
    times_s = roofline.times_s(works[figure.model][start:stop])
    return Comparison(f"{figure.model} {figure.first} to {figure.last}", figure.published_s, float(times_s.sum()))


def profile_of(derivation: Derivation, graph: LayerGraph) -> Profile:
    """The derived profile of one model; no published time of that model scales it."""
    times_s = [_rounded(float(time_s)) for time_s in derivation.roofline.times_s(work(graph))]
    return Profile(
        device=derivation.benchmarks.device,
        model=graph.model,
        names=tuple(layer.name for layer in graph.layers),
        layers=tuple(Quantiles(time_s) for time_s in times_s),
        whole_model=Quantiles(_rounded(sum(times_s))),
        source="derived",
        extrapolated=graph.model not in derivation.benchmarks.whole_model_ms,
        threads=derivation.benchmarks.threads,
        dtype=graph.dtype,
        batch=graph.input_shape[0],
        provenance=_provenance(derivation),
    )


def _provenance(derivation: Derivation) -> dict[str, Any]:
    benchmarks = derivation.benchmarks
    return {
        "generator": "python -m twin.derive",
        "method": (
            "non-negative least squares on the relative errors of the whole-model times; the times of the layers are "
            "not scaled to any of them"
        ),
        "formula": FORMULA,
        "citation": benchmarks.citation,
        "setting": benchmarks.setting,
        "parameters": parameters(derivation.roofline),
        "whole_models": [entry.to_json() for entry in derivation.fitted],
        "checks": [
            {"name": check.name, "note": check.note, "stages": [entry.to_json() for entry in stages]}
            for check, stages in zip(benchmarks.checks, derivation.checks, strict=True)
        ],
        "notes": list(benchmarks.notes),
    }


def parameters(roofline: Roofline) -> list[dict[str, Any]]:
    """The fitted parameters with their units, and why the benchmarks do not determine one."""
    values = (roofline.flop_rate, roofline.byte_rate, roofline.s_per_kernel)
    units = ("FLOP/s", "byte/s", "s per kernel")
    return [
        {
            "name": name,
            "value": None if value is None else _rounded(value),
            "unit": unit,
            "not_determined": roofline.doubts.get(name),
        }
        for name, value, unit in zip(PARAMETERS, values, units, strict=True)
    ]


def _rounded(value: float) -> float:
    """Seven digits: more than a fit is worth, and the same on every machine."""
    return float(f"{value:.7g}")
