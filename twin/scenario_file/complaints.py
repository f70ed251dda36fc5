"""What is wrong with a scenario, said so that it can be mended: file, line, place, fault and remedy."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

from pydantic import BaseModel

from twin.errors import ScenarioError
from twin.scenario_file.schema import LABEL_PATTERN, NAME_PATTERN, Scenario
from twin.scenario_file.yamlplaces import dotted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic_core import ErrorDetails

    from twin.scenario_file.yamlplaces import Document, Loc

_LONGEST = 60
"""Largest number of characters of a value that a message repeats."""
_NO_PLACES = ("[key]", "[list]", "[range]")
"""What pydantic puts into the place of an error beside keys and positions: its own mark of a key, tags of unions."""
_PLAIN = {
    "finite_number": "it must be a finite number",
    "float_type": "it must be a number",
    "int_type": "it must be a whole number",
    "int_from_float": "it must be a whole number",
    "string_type": "it must be text",
    "tuple_type": "it must be a list",
    "dict_type": "it must be a mapping of keys to values",
    "model_type": "it must be a mapping of keys to values",
    "model_attributes_type": "it must be a mapping of keys to values",
    "string_too_short": "it must not be empty",
}
_PATTERNS = {
    NAME_PATTERN: "it may hold only letters, digits, `-` and `_`, and must start with a letter",
    LABEL_PATTERN: "it may hold only letters, digits, `-`, `_`, `.` and `+`, and must start with a letter or digit",
}
_LIMITS = {"greater_than": ("gt", ">"), "greater_than_equal": ("ge", ">="), "less_than": ("lt", "<")}


@dataclass(frozen=True, slots=True)
class Complaint:
    """One thing that is wrong.

    Attributes:
        loc: Where.
        text: What is wrong there, and the remedy.
        causes: Other places that have a part in it.
    """

    loc: Loc
    text: str
    causes: tuple[Loc, ...] = ()


def report(document: Document, overrides: Mapping[Loc, str], complaints: Iterable[Complaint]) -> ScenarioError:
    """Put all complaints about a file into one error, a line for each, in the order of the file.

    Args:
        document: The file.
        overrides: Places that were set on the command line, with the text given there.
        complaints: What is wrong.
    """
    lines: list[tuple[int, str]] = []
    for complaint in complaints:
        line = document.line(complaint.loc)
        source = f"{document.path}:{line}"
        for place, given in overrides.items():
            if any(loc[: len(place)] == place for loc in (complaint.loc, *complaint.causes)):
                source = f"{document.path}: --set {given}"
        place_text = f" {dotted(complaint.loc)}:" if complaint.loc else ""
        lines.append((line, f"{source}:{place_text} {complaint.text}"))
    return ScenarioError("\n".join(text for _, text in sorted(lines, key=lambda entry: entry[0])))


def from_pydantic(
    errors: Iterable[ErrorDetails], within: Loc = (), form: type[BaseModel] = Scenario
) -> list[Complaint]:
    """Reword what pydantic found; a missing key that stands there misspelt counts once.

    Args:
        errors: Its errors.
        within: Place of the validated data in the file.
        form: The schema of the whole file.
    """
    found = [(error, (*within, *(part for part in error["loc"] if part not in _NO_PLACES))) for error in errors]
    misspelt = {(*loc[:-1], *_near_key(loc, form)) for error, loc in found if error["type"] == "extra_forbidden"}
    return [
        Complaint(loc, _wording(error, loc, form))
        for error, loc in found
        if error["type"] != "missing" or loc not in misspelt
    ]


def nearest(name: str, known: Iterable[str]) -> str:
    """Name the known word that is nearest to `name`, or all of them if none is near."""
    known = list(dict.fromkeys(known))
    near = difflib.get_close_matches(name, known, 1)
    if near:
        return f"did you mean `{near[0]}`?"
    return f"choose from {', '.join(f'`{word}`' for word in known)}" if known else "there are none to choose from"


def unknown_key(key: str, known: Iterable[str]) -> str:
    """Say that a key is unknown, and name the nearest one."""
    return f"unknown key; {nearest(key, known)}"


def keys_at(loc: Loc, form: type[BaseModel] = Scenario) -> list[str]:
    """The keys that the schema knows at a place; empty where any key or none may stand."""
    kind = _type_at(loc, form)
    return [field.alias or name for name, field in kind.model_fields.items()] if _is_model(kind) else []


def shown(value: object) -> str:
    """Show a value in a message, as YAML would write it."""
    if isinstance(value, bool) or value is None:
        return "empty" if value is None else str(value).lower()
    text = f"`{value}`" if isinstance(value, str) else str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _wording(error: ErrorDetails, loc: Loc, form: type[BaseModel]) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "missing":
        return f"is missing; add it{_description(loc, form)}"
    if kind == "extra_forbidden":
        return unknown_key(str(loc[-1]), keys_at(loc[:-1], form))
    if kind == "too_short":
        return f"holds {context['actual_length']} entries; give at least {context['min_length']}"
    if kind == "too_long":
        return f"holds {context['actual_length']} entries; give at most {context['max_length']}"
    remedy = "; put it in quotes" if kind == "string_type" and isinstance(error["input"], int | float) else ""
    return f"is {shown(error['input'])}; {_wanted(error)}{remedy}"


def _wanted(error: ErrorDetails) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind in _LIMITS:
        key, sign = _LIMITS[kind]
        return f"it must be {sign} {context[key]:g}"
    if kind == "literal_error":
        return f"it must be {context['expected']}"
    if kind == "string_pattern_mismatch":
        return _PATTERNS[context["pattern"]]
    return _PLAIN.get(kind, error["msg"])


def _near_key(loc: Loc, form: type[BaseModel]) -> list[str]:
    return difflib.get_close_matches(str(loc[-1]), keys_at(loc[:-1], form), 1)


def _description(loc: Loc, form: type[BaseModel]) -> str:
    parent = _type_at(loc[:-1], form)
    if not _is_model(parent):
        return ""
    texts = [field.description for name, field in parent.model_fields.items() if loc[-1] in (field.alias, name)]
    return f" ({texts[0].split(chr(10))[0].rstrip('.')})" if texts and texts[0] else ""


def _type_at(loc: Loc, form: type[BaseModel]) -> Any:  # noqa: ANN401 - types have no common type
    """The annotated type of what stands at a place; None where the schema knows nothing of it."""
    kind: Any = form
    for part in loc:
        if _is_model(kind):
            fields = {field.alias or name: field.annotation for name, field in kind.model_fields.items()}
            kind = _bare(fields.get(str(part)))
        elif get_origin(kind) in (tuple, dict):
            kind = _bare(get_args(kind)[0 if get_origin(kind) is tuple else 1])
        else:
            return None
    return kind


def _bare(annotation: Any) -> Any:  # noqa: ANN401 - types have no common type
    """A type without `Annotated` and without `| None`; of a union, the model in it."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    models = [kind for kind in map(_bare, get_args(annotation)) if _is_model(kind)]
    return models[0] if models and get_origin(annotation) not in (tuple, dict) else annotation


def _is_model(kind: Any) -> bool:  # noqa: ANN401 - types have no common type
    return isinstance(kind, type) and issubclass(kind, BaseModel)
