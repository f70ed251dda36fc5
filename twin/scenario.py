"""Scenario files: reading, checking and resolving; `python -m twin.scenario` checks one or prints its form."""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twin.cli import guarded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twin.scenario_file.resolve import Reading
    from twin.scenario_file.yamlplaces import Document
    from twin.world import World


def load_world(path: Path, overrides: Sequence[str] = ()) -> World:
    """Read a scenario and everything that it names.

    Args:
        path: The YAML file.
        overrides: Places to set before it is checked, such as `devices.pi.load=2`; see `twin.scenario_file.overrides`.

    Raises:
        ScenarioError: Something is wrong with the file; the message holds a line for each fault with the file, the
            line (or the override), the place and the remedy.
    """
    from twin.scenario_file.resolve import build_world  # noqa: PLC0415 - brings numpy and the search along

    return build_world(read_scenario(path, overrides))


def read_scenario(path: Path, overrides: Sequence[str] = ()) -> Reading:
    """Read and check a scenario without looking for the files that it names.

    Raises:
        ScenarioError: As for `load_world`.
    """
    from twin.scenario_file.yamlplaces import read_yaml  # noqa: PLC0415 - brings YAML along

    return check(read_yaml(path), overrides)


def check(document: Document, overrides: Sequence[str] = ()) -> Reading:
    """Check a scenario that has been read; the overrides are put into the document's data.

    Raises:
        ScenarioError: As for `load_world`.
    """
    from pydantic import ValidationError  # noqa: PLC0415 - `pydantic` loads its parts on demand

    from twin.scenario_file.complaints import from_pydantic, report  # noqa: PLC0415 - brings pydantic along
    from twin.scenario_file.overrides import apply_overrides  # noqa: PLC0415 - brings pydantic along
    from twin.scenario_file.resolve import Reading  # noqa: PLC0415 - brings numpy and the search along
    from twin.scenario_file.rules import broken_rules  # noqa: PLC0415 - brings pydantic along
    from twin.scenario_file.schema import Scenario  # noqa: PLC0415 - brings pydantic along

    places = apply_overrides(document.data, overrides, document.path)
    try:
        scenario = Scenario.model_validate_json(json.dumps(document.data))
    except ValidationError as error:
        raise report(document, places, from_pydantic(error.errors(include_url=False))) from error
    if complaints := broken_rules(scenario):
        raise report(document, places, complaints)
    return Reading(document, places, scenario)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a scenario file, the options of every policy included."""
    from pydantic import TypeAdapter  # noqa: PLC0415 - `pydantic` loads its parts on demand

    from twin.policies import POLICIES  # noqa: PLC0415 - policies bring the search along
    from twin.scenario_file.schema import Scenario  # noqa: PLC0415 - brings pydantic along

    schema = Scenario.model_json_schema(by_alias=True)
    forms = []
    for kind, policy in POLICIES.items():
        form = TypeAdapter(policy).json_schema()
        texts = _attribute_texts(policy.__doc__ or "")
        for name, option in form.get("properties", {}).items():
            option["description"] = texts.get(name, "")
        form["properties"] = {"kind": {"const": kind, "type": "string"}, **form.get("properties", {})}
        form["required"] = ["kind", *form.get("required", [])]
        form["description"] = (policy.__doc__ or "").split("\n")[0]
        forms.append(form | {"additionalProperties": False})
    schema["$defs"]["PolicyModel"] = {"title": "PolicyModel", "anyOf": forms}
    return schema


def _attribute_texts(docstring: str) -> dict[str, str]:
    """The texts of the section `Attributes:` of a docstring, by name."""
    section = docstring.partition("Attributes:\n")[2].split("\n\n")[0]
    entries = re.findall(r"^ {8}(\w+): (.*(?:\n {12}.*)*)", section, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m twin.scenario",
        description="Check a scenario file and print it with every default filled in.",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("scenario", nargs="?", type=Path, help="scenario file (YAML)")
    what.add_argument("--json-schema", action="store_true", help="print the JSON Schema of scenario files instead")
    parser.add_argument(
        "--set", action="append", default=[], metavar="PATH=VALUE", help="change a place, such as devices.pi.load=2"
    )
    options = parser.parse_args(arguments)
    if options.json_schema:
        sys.stdout.write(json.dumps(json_schema(), indent=2) + "\n")
        return 0
    from twin.scenario_file.yamlplaces import dump_yaml  # noqa: PLC0415 - brings YAML along

    sys.stdout.write(dump_yaml(dict(load_world(options.scenario, options.set).resolved)))
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main))
