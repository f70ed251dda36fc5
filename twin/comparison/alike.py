"""Whether two runs can be compared at all, and in what they differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twin.errors import ComparisonError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from twin.comparison.side import Play

_APART = ("name", "question", "model", "workload", "objective", "files", "policies", "schema")
"""Keys of a scenario that are names, or are looked at on their own."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A parameter in which the two sides differ.

    Attributes:
        place: Where it stands in the scenario, such as `devices.pi.load`.
        sim: Its value on the first side; None where it is not set.
        measured: Its value on the second side.
    """

    place: str
    sim: Any
    measured: Any

    def to_json(self) -> dict[str, Any]:
        """The difference as plain data."""
        return {"place": self.place, "sim": self.sim, "measured": self.measured}


def check_alike(label: str, sim: Play, measured: Play) -> None:
    """Refuse runs of different questions: another model, workload, objective, other devices or links.

    Raises:
        ComparisonError: They differ in one of these; the message names all that do.
    """
    a, b = sim.scenario, measured.scenario
    pairs = [
        ("model", a["model"], b["model"]),
        ("device names", _devices(a), _devices(b)),
        ("link pairs", _links(a), _links(b)),
        *_changed("workload", a["workload"], b["workload"]),
        *_changed("objective", a["objective"], b["objective"]),
    ]
    different = [f"{what}: {_text(x)} against {_text(y)}" for what, x, y in pairs if x != y]
    if a["model"] == b["model"] and _layers(a) != _layers(b):
        different.append(f"the layer graph of {a['model']}: another file")
    if different:
        raise ComparisonError(
            f"{sim.folder} and {measured.folder} (policy {label}) answer different questions: "
            f"{'; '.join(different)}; play both with the same of these"
        )


def differences(label: str, sim: Play, measured: Play) -> tuple[Difference, ...]:
    """Every parameter that differs: slowdowns, rates, round-trip times, profiles, options, seeds, calibration."""
    a, b = sim.scenario, measured.scenario
    found = [
        *_changed("", _rest(a), _rest(b)),
        *_changed("files", a.get("files", {}), b.get("files", {})),
        *_changed(f"policies.{label}", a["policies"].get(label, {}), b["policies"].get(label, {})),
        *_changed("facts", _facts(sim), _facts(measured)),
    ]
    return tuple(
        Difference(place, "one" if hashed else x, "another" if hashed else y)
        for place, x, y in found
        for hashed in [place.startswith("files.") and x is not None and y is not None]
    )


def _rest(scenario: Mapping[str, Any]) -> dict[str, Any]:
    """What is left of a scenario, devices by name and links by their ends."""
    rest = {key: value for key, value in scenario.items() if key not in (*_APART, "devices", "links", "replications")}
    rest["devices"] = {device["name"]: device for device in scenario["devices"]}
    rest["links"] = {"-".join(pair): link for pair, link in zip(_links(scenario), scenario["links"], strict=True)}
    return rest


def _facts(play: Play) -> dict[str, Any]:
    facts = play.info["facts"]
    return {key: facts[key] for key in ("calibration", "replay") if key in facts}


def _devices(scenario: Mapping[str, Any]) -> list[str]:
    return [device["name"] for device in scenario["devices"]]


def _links(scenario: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Ends of each link, the one nearer to the edge first."""
    order = _devices(scenario).index
    return [tuple(sorted(link["between"], key=order)) for link in scenario["links"]]


def _layers(scenario: Mapping[str, Any]) -> list[str]:
    """Checksums of the layer graph."""
    files = scenario.get("files", {})
    return sorted(digest for name, digest in files.items() if "models/" in name)


def _changed(place: str, a: Any, b: Any) -> Iterator[tuple[str, Any, Any]]:  # noqa: ANN401 - any plain data
    """Places at which two pieces of plain data differ; a key that one lacks is None there."""
    if isinstance(a, dict) and isinstance(b, dict):
        for key in dict.fromkeys([*a, *b]):
            yield from _changed(f"{place}.{key}".lstrip("."), a.get(key), b.get(key))
    elif a != b:
        yield place, a, b


def _text(value: Any) -> str:  # noqa: ANN401 - any plain data
    if value is None:
        return "not set"
    if isinstance(value, list):
        return ", ".join("-".join(x) if isinstance(x, tuple) else str(x) for x in value) or "none"
    return str(value)
