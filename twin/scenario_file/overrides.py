"""`--set devices.pi.load=2`: change one place of a scenario from the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twin.errors import ScenarioError
from twin.scenario_file.complaints import keys_at, nearest, shown, unknown_key
from twin.scenario_file.yamlplaces import dotted, parse_value

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from twin.scenario_file.yamlplaces import Loc


def apply_overrides(data: Any, overrides: Sequence[str], path: Path) -> dict[Loc, str]:  # noqa: ANN401 - plain data
    """Set places of a scenario's plain data, in place; the last one wins.

    Args:
        data: The scenario.
        path: Its file, for messages.
        overrides: `PATH=VALUE` each. The path is dotted; an entry of a list is named by its position, a device
            also by its name and a link by its devices' names (`pi-laptop`). The value is YAML.

    Returns:
        The places that were set, with the text given for each.

    Raises:
        ScenarioError: A path leads nowhere, or a value is not YAML.
    """
    places: dict[Loc, str] = {}
    for given in overrides:
        source = f"{path}: --set {given}"
        place, separator, text = given.partition("=")
        if not separator or not place:
            raise ScenarioError(f"{source}: must have the form PATH=VALUE, such as `devices.0.load=2`")
        loc = _set(data, place.split("."), parse_value(text, source), source)
        places.pop(loc, None)
        places[loc] = given
    return places


def _set(data: dict[str, Any], parts: list[str], value: Any, source: str) -> Loc:  # noqa: ANN401 - plain data
    loc: Loc = ()
    here: Any = data
    while True:
        part, parts = _next(here, parts, loc, source)
        loc = (*loc, part)
        if not parts:
            here[part] = value
            return loc
        if isinstance(here, dict) and here.get(part) is None:
            here[part] = {}
        here = here[part]


def _next(here: Any, parts: list[str], loc: Loc, source: str) -> tuple[int | str, list[str]]:  # noqa: ANN401 - plain data
    """Take the next key or position off a path."""
    if isinstance(here, list):
        return _position(here, parts[0], loc, source), parts[1:]
    if not isinstance(here, dict):
        place = f"{dotted(loc)} is" if loc else "the file holds"
        raise ScenarioError(f"{source}: {place} {shown(here)}, so that `{parts[0]}` leads nowhere")
    known = keys_at(loc)
    if known:
        if parts[0] not in known and not _free(loc, here):
            raise ScenarioError(f"{source}: {dotted((*loc, parts[0]))}: {unknown_key(parts[0], known)}")
        return parts[0], parts[1:]
    for count in range(len(parts), 0, -1):
        if ".".join(parts[:count]) in here:
            return ".".join(parts[:count]), parts[count:]
    if loc in (("pinned",), ("files",)):
        return ".".join(parts), []
    if loc == ("policies",) and len(parts) > 1 and parts[1] != "kind":
        raise ScenarioError(f"{source}: policies.{parts[0]}: there is no such policy; {nearest(parts[0], here)}")
    return parts[0], parts[1:]


def _free(loc: Loc, here: dict[str, Any]) -> bool:
    """Whether keys beyond the schema's may stand here: the options of a policy."""
    return len(loc) == 2 and loc[0] == "policies" and "kind" in here


def _position(here: list[Any], part: str, loc: Loc, source: str) -> int:
    names = [_name(entry) for entry in here]
    if part in names:
        return names.index(part)
    if part.isdecimal() and int(part) < len(here):
        return int(part)
    known = [*(name for name in names if name), *(str(position) for position in range(len(here)))]
    raise ScenarioError(f"{source}: {dotted((*loc, part))}: there is no such entry; {nearest(part, known)}")


def _name(entry: Any) -> str:  # noqa: ANN401 - plain data
    """Name by which an entry of a list can be addressed."""
    if not isinstance(entry, dict):
        return ""
    between = entry.get("between")
    return "-".join(map(str, between)) if isinstance(between, list) else str(entry.get("name", ""))
