"""Sweep files: reading and checking them, with the same messages as for scenario files."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from twin.errors import ScenarioError
from twin.scenario_file.complaints import Complaint, from_pydantic, nearest, report, shown
from twin.scenario_file.overrides import apply_overrides
from twin.scenario_file.yamlplaces import read_yaml
from twin.sweeping.grid import Axis, Sweep, override
from twin.sweeping.schema import RangeModel, SweepModel

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from twin.scenario_file.yamlplaces import Document, Loc
    from twin.sweeping.schema import Values

_DIGITS = 12
"""Significant digits of the values of a range: enough for any question, and 2 is not 1.9999999999999998."""


def read_sweep(path: Path, overrides: Sequence[str] = ()) -> tuple[Sweep, Document]:
    """Read a sweep file and the scenario that it names.

    Args:
        path: The sweep file (YAML).
        overrides: Changes of the scenario for all points, beside those of the file.

    Returns:
        The sweep, and the scenario as it was read, without any change.

    Raises:
        ScenarioError: Something is wrong; the message holds a line for each fault with the file, the line, the place
            and the remedy.
    """
    document = read_yaml(path)
    try:
        model = SweepModel.model_validate_json(json.dumps(document.data))
    except ValidationError as error:
        raise report(document, {}, from_pydantic(error.errors(include_url=False), form=SweepModel)) from error
    if complaints := list(_rules(model)):
        raise report(document, {}, complaints)
    scenario_path = Path(os.path.normpath(path.parent / model.scenario))
    scenario = _scenario(scenario_path, document)
    data = deepcopy(scenario.data)
    fixed = (*(override(place, value) for place, value in model.changes.items()), *overrides)
    complaints = list(_places(model, overrides, data, scenario_path))
    complaints += _labels(model, data)
    if complaints:
        raise report(document, {}, complaints)
    sweep = Sweep(
        path=path,
        name=model.name,
        question=model.question or document.heading(),
        scenario=scenario_path,
        fixed=fixed,
        axes=_axes(model),
        seeds=(_seed(data),) if model.seeds is None else tuple(values_of(model.seeds)),
        labels=model.policies or tuple(data["policies"]),
        minimise=model.minimise,
    )
    return sweep, scenario


def values_of(given: Values) -> list[Any]:
    """The values of a list or range; those of a range are whole numbers where all of them are whole."""
    if not isinstance(given, RangeModel):
        return list(given)
    space = np.geomspace if given.scale == "log" else np.linspace
    values = [float(f"{value:.{_DIGITS}g}") for value in space(given.start, given.stop, given.num)]
    return [int(value) for value in values] if all(value.is_integer() for value in values) else values


def _axes(model: SweepModel) -> tuple[Axis, ...]:
    alone = [Axis((path,), tuple((value,) for value in values_of(given))) for path, given in model.vary.items()]
    together = [Axis(tuple(group), tuple(zip(*group.values(), strict=True))) for group in model.together]
    return (*alone, *together)


def _scenario(path: Path, document: Document) -> Document:
    try:
        scenario = read_yaml(path)
    except ScenarioError as error:
        raise report(document, {}, [Complaint(("scenario",), str(error))]) from error
    if not isinstance(scenario.data, dict):
        raise report(document, {}, [Complaint(("scenario",), f"{path} holds {shown(scenario.data)}, not a scenario")])
    return scenario


def _rules(model: SweepModel) -> Iterator[Complaint]:
    """Everything in a well-formed sweep that makes no sense."""
    if not (model.vary or model.together or model.seeds):
        yield Complaint((), "nothing varies; give `vary`, `zip` or `seeds`")
    for path, given in model.vary.items():
        if isinstance(given, RangeModel):
            yield from _range(("vary", path), given)
        else:
            yield from _list(("vary", path), given)
    for position, group in enumerate(model.together):
        lengths = {path: len(values) for path, values in group.items()}
        if len(set(lengths.values())) > 1:
            text = ", ".join(f"`{path}` has {length}" for path, length in lengths.items())
            yield Complaint(("zip", position), f"the lists must be of the same length, but {text} values")
        for path, values in group.items():
            yield from _list(("zip", position, path), values)
    yield from _twice(model)
    if model.seeds is not None:
        yield from _seeds(model.seeds)


def _range(loc: Loc, given: RangeModel) -> Iterator[Complaint]:
    if given.scale == "log" and min(given.start, given.stop) <= 0:
        yield Complaint(loc, "a range with `scale: log` must lie above 0; use `scale: linear` or a list")
    if given.start == given.stop:
        yield Complaint(loc, "starts where it stops; give two different ends, or a list")


def _seeds(given: Values) -> Iterator[Complaint]:
    broken = list(_range(("seeds",), given) if isinstance(given, RangeModel) else _list(("seeds",), given))
    yield from broken
    for value in [] if broken else values_of(given):
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            yield Complaint(("seeds",), f"holds {shown(value)}; seeds must be whole numbers >= 0")


def _list(loc: Loc, values: Sequence[Any]) -> Iterator[Complaint]:
    texts = Counter(json.dumps(value) for value in values)
    for position, value in enumerate(values):
        if isinstance(value, float) and not math.isfinite(value):
            yield Complaint((*loc, position), f"is {shown(value)}; it must be a finite number")
        if loc[0] != "zip" and texts[json.dumps(value)] > 1 and value not in values[:position]:
            yield Complaint((*loc, position), f"{shown(value)} stands there more than once; remove the repetitions")


def _twice(model: SweepModel) -> Iterator[Complaint]:
    """Places that are given in more than one way."""
    given: list[tuple[Loc, str]] = [(("vary", path), path) for path in model.vary]
    given += [(("zip", i, path), path) for i, group in enumerate(model.together) for path in group]
    fixed = [(("set", path), path) for path in model.changes]
    seen: set[str] = set()
    for loc, path in (*fixed, *given):
        if path == "seed":
            yield Complaint(loc, "seeds are swept with `seeds` at the top of the file; remove this one")
        elif path in seen:
            yield Complaint(loc, "the place is given twice; remove one of them")
        seen.add(path)


def _places(model: SweepModel, overrides: Sequence[str], data: dict[str, Any], path: Path) -> Iterator[Complaint]:
    """Places that lead nowhere; the first value of each is put into the data."""
    for place, value in model.changes.items():
        yield from _place(("set", place), place, value, data, path)
    apply_overrides(data, overrides, path)
    for place, given in model.vary.items():
        yield from _place(("vary", place), place, values_of(given)[0], data, path)
    for position, group in enumerate(model.together):
        for place, values in group.items():
            yield from _place(("zip", position, place), place, values[0], data, path)


def _place(loc: Loc, place: str, value: object, data: dict[str, Any], path: Path) -> Iterator[Complaint]:
    given = override(place, value)
    if "=" in place:
        yield Complaint(loc, "a place cannot hold `=`; the values stand beside it")
        return
    try:
        apply_overrides(data, [given], path)
    except ScenarioError as error:
        yield Complaint(loc, str(error).removeprefix(f"{path}: --set {given}: "))


def _labels(model: SweepModel, data: dict[str, Any]) -> Iterator[Complaint]:
    policies = data.get("policies")
    if not isinstance(policies, dict) or not policies:
        yield Complaint(("scenario",), "the scenario has no `policies`; add some to it")
        return
    labels = model.policies or ()
    for position, label in enumerate(labels):
        if label not in policies:
            yield Complaint(("policies", position), f"the scenario has no policy `{label}`; {nearest(label, policies)}")
        elif label in labels[:position]:
            yield Complaint(("policies", position), f"`{label}` stands there twice; remove one of them")


def _seed(data: dict[str, Any]) -> int:
    seed = data.get("seed", 0)
    return seed if isinstance(seed, int) else 0
