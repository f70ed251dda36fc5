"""The form of scenario files: YAML as people write it, a schema and a reference that are complete."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.scenario import json_schema, main, read_scenario
from twin.scenario_file.yamlplaces import dump_yaml, parse_value

PROJECT = Path(__file__).parents[2]

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(PLAIN)
def test_yaml_is_read_as_it_was_written(data):
    assert parse_value(dump_yaml(data), "test") == data


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e6", 1e6),
        ("1_000_000", 1_000_000),
        ("-2.5E-3", -0.0025),
        ("010", 10),
        ("0x10", 16),
        ("0o17", 15),
        ("off", "off"),
        ("yes", "yes"),
        ("2024-01-01", "2024-01-01"),
        ("1:30", "1:30"),
        ("'5'", "5"),
        ("~", None),
        ("", None),
        ("true", True),
        ("{1: [a, 2.0]}", {"1": ["a", 2.0]}),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text, value):
    read = parse_value(text, "test")
    assert (read, type(read)) == (value, type(value))


def test_the_schema_describes_every_key(capsys):
    assert main(["--json-schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema == json_schema()
    for name, part in [("Scenario", schema), *schema["$defs"].items()]:
        for key, field in part.get("properties", {}).items():
            described = field.get("description") or "$ref" in field
            assert described, f"{name}.{key} has no description"
    kinds = {form["properties"]["kind"]["const"]: form for form in schema["$defs"]["PolicyModel"]["anyOf"]}
    for form in kinds.values():
        assert all(field.get("description") for key, field in form["properties"].items() if key != "kind")
    assert kinds["device-only"]["required"] == ["kind", "device"]


def test_the_reference_names_every_key():
    text = (PROJECT / "docs" / "scenario.md").read_text()
    schema = json_schema()
    parts = [schema, *schema["$defs"].values(), *schema["$defs"]["PolicyModel"]["anyOf"]]
    missing = {key for part in parts for key in part.get("properties", {}) if f"`{key}`" not in text}
    assert missing == set()


def test_the_example_of_the_reference_is_a_scenario(tmp_path):
    text = (PROJECT / "docs" / "scenario.md").read_text()
    path = tmp_path / "example.yaml"
    path.write_text(text.split("```yaml\n")[1].split("```")[0])
    assert read_scenario(path).scenario.name == "fading"


def test_help_needs_no_heavy_imports():
    heavy = ["networkx", "simpy", "pyarrow", "matplotlib", "torch"]
    code = (
        "import sys; from twin.scenario import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        f"sys.stderr.write(' '.join(name for name in {heavy} if name in sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT, check=False)
    assert (result.returncode, result.stderr) == (0, "")
