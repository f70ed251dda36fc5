"""Files that a scenario names, or that are no scenarios, are refused with a message that says what to do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from mistakes import cases, complaint, edited
from worlds import LAN_CSV, tiny_project, write_trace

from twin.errors import ScenarioError
from twin.scenario import load_world, read_scenario

if TYPE_CHECKING:
    from pathlib import Path

NAMES = r"""
model: tiny => model: tinny
    4: model: there is no model `tinny` in {data}/models; did you mean `tiny`?
profile: pi => profile: pie
    8: devices.0.profile: there is no profile `pie` in {data}/profiles; did you mean `pi`?
trace: walk => trace: wlak
    20: links.0.trace: there is no trace `wlak` in {data}/traces; did you mean `walk`?
tier: edge => tier: edge\n  load: warm
    8: devices.0.load: there is no trace `warm` in {data}/traces; choose from `lan`, `walk`
"""


@pytest.mark.parametrize(("old", "new", "message"), cases(NAMES))
def test_names_that_resolve_to_nothing(tmp_path, monkeypatch, old, new, message):
    path = edited(tmp_path, (old, new))
    monkeypatch.chdir(tmp_path)
    expected = message.format(data="PROJECT/data")
    assert complaint(path).removesuffix(" (or write it with `python -m hardware.stages`)") == f"tiny.yaml:{expected}"


def test_a_deadline_that_nothing_can_meet(tmp_path):
    path = tiny_project(tmp_path, objective={"deadline_s": 0.01})
    assert complaint(path) == (
        "tiny.yaml:25: objective.deadline_s: is 0.01, but no partition can meet it: the least latency, with every link "
        "and device at its best, is 0.06252 s; raise the deadline or give faster devices or links"
    )
    assert load_world(path, ["objective.deadline_s=0.07"]).problem.objective.deadline_s == 0.07


def test_constraints_that_nothing_can_meet(tmp_path):
    path = tiny_project(tmp_path, pinned={"conv1": "pc", "head": "pi"})
    assert complaint(path).startswith("tiny.yaml:33: pinned: tiny: no partition keeps every")
    overrides = [f"devices.{name}.memory_bytes=10" for name in ("pi", "laptop", "pc")]
    assert complaint(path, [*overrides, "pinned={}"]).startswith("tiny.yaml:5: devices: tiny: no partition keeps every")


def _profile_of_another_model(data: Path) -> str:
    file = data / "profiles" / "pi" / "tiny.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"model": "vgg16"}))
    return "8: devices.0.profile: profile of `pi` is for vgg16, not tiny; profile tiny with `python -m hardware.profile"


def _profile_missing(data: Path) -> str:
    (data / "profiles" / "pi" / "tiny.json").rename(data / "profiles" / "pi" / "vgg16.json")
    return "8: devices.0.profile: `pi` has no profile of `tiny`, only of: vgg16; measure it with `python -m hardware."


def _profile_of_another_graph(data: Path) -> str:
    file = data / "profiles" / "pi" / "tiny.json"
    file.write_text(file.read_text().replace("conv1", "conv0"))
    return "8: devices.0.profile: profile of tiny on `pi` and the layer graph differ in conv0, conv1; make the profile"


def _profile_of_another_batch(data: Path) -> str:
    file = data / "profiles" / "pi" / "tiny.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"batch": 8}))
    return (
        f"8: devices.0.profile: {file}: was made with float32 and batch 8, but the layer graph has float32 and batch 1"
    )


def _profile_with_nan(data: Path) -> str:
    file = data / "profiles" / "pi" / "tiny.json"
    file.write_text(file.read_text().replace("0.01,", "NaN,"))
    return f"8: devices.0.profile: {file}: layer `conv1`: median_s is nan; it must be a finite number >= 0"


def _profile_with_crossed_quantiles(data: Path) -> str:
    file = data / "profiles" / "pi" / "tiny.json"
    file.write_text(file.read_text().replace('"p05_s": null, "p95_s": null', '"p05_s": 2, "p95_s": 1', 1))
    return f"8: devices.0.profile: {file}: whole_model: p05_s is 2 and p95_s 1; they must be finite"


def _profile_no_json(data: Path) -> str:
    file = data / "profiles" / "pi" / "tiny.json"
    file.write_text("{")
    return f"8: devices.0.profile: {file}: is not JSON ("


def _cyclic_graph(data: Path) -> str:
    file = data / "models" / "tiny.json"
    file.write_text(file.read_text().replace('["input"]', '["head"]'))
    return f"4: model: {file}: tiny: the graph has a cycle through `conv1`, `conv2`, `conv3`, `head`; a model must be"


def _negative_size(data: Path) -> str:
    file = data / "models" / "tiny.json"
    file.write_text(file.read_text().replace("200000", "-1", 1))
    return f"4: model: {file}: tiny: output_bytes of `conv1` is -1; it must be a finite number >= 0"


def _empty_trace(data: Path) -> str:
    write_trace(data / "traces" / "walk.csv", LAN_CSV.splitlines()[0], duration_s=5)
    return f"20: links.0.trace: {data}/traces/walk.csv: the trace is empty; give at least one line below the header"


def _negative_bandwidth(data: Path) -> str:
    write_trace(data / "traces" / "walk.csv", LAN_CSV.replace("0,1", "0,-1", 1), duration_s=5)
    return f"20: links.0.trace: {data}/traces/walk.csv, line 2: up_bps is -100000000; it must be a finite number >= 0"


def _nan_in_a_trace(data: Path) -> str:
    write_trace(data / "traces" / "walk.csv", LAN_CSV.replace("0.002", "nan"), duration_s=5)
    return f"20: links.0.trace: {data}/traces/walk.csv, line 2: rtt_s is nan; it must be a finite number >= 0"


@pytest.mark.parametrize(
    "damage",
    [
        _profile_of_another_model,
        _profile_missing,
        _profile_of_another_graph,
        _profile_of_another_batch,
        _profile_with_nan,
        _profile_with_crossed_quantiles,
        _profile_no_json,
        _cyclic_graph,
        _negative_size,
        _empty_trace,
        _negative_bandwidth,
        _nan_in_a_trace,
    ],
)
def test_bad_data_files(tmp_path, damage):
    path = tiny_project(tmp_path)
    expected = damage(tmp_path / "data").replace(str(tmp_path), "PROJECT")
    message = complaint(path)
    assert message.startswith(f"tiny.yaml:{expected}")
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ": is empty; docs/scenario.md shows what a scenario holds"),
        ("# only a comment\n", ": is empty; docs/scenario.md shows what a scenario holds"),
        ("- 1\n", ":1: is [1]; it must be a mapping of keys to values"),
        ("a: &x [*x]\n", ":1: a.0: an anchor contains itself or is repeated too often; write the values out"),
        ("? [1]\n: 2\n", ":1: a key must be a plain word"),
        ("a: 1\nb: \x01\n", ":2: holds a character that YAML does not allow; remove it"),
        ('a: "\\ud800"\n', ":1: a: holds half of a character (a lone surrogate); remove it"),
        ("{" * 5000, ":1: is nested too deeply to be a scenario"),
        ("a: 1\n---\nb: 2\n", ":2: is not YAML: but found another document (expected a single document in the stream)"),
        ("a: 1\n\tb: 2\n", ":2: is not YAML: found character '\\t' that cannot start any token"),
        ("a: 0x\nb: !!int x\n", ":2: b: is not a number that can be read; write it shorter"),
    ],
)
def test_files_that_are_no_scenarios(tmp_path, text, message):
    path = tmp_path / "scenarios" / "bad.yaml"
    path.parent.mkdir()
    path.write_text(text)
    assert complaint(path).startswith(f"bad.yaml{message}")


def test_an_alias_bomb_is_defused(tmp_path):
    path = tmp_path / "scenarios" / "bomb.yaml"
    path.parent.mkdir()
    levels = [f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 10)}]" for i in range(1, 12)]
    path.write_text("\n".join(["l0: &l0 [1]", *levels]))
    assert "an anchor contains itself or is repeated too often" in complaint(path)


def test_files_that_cannot_be_read(tmp_path):
    path = tmp_path / "scenarios" / "none.yaml"
    assert complaint(path) == "none.yaml: cannot be read (No such file or directory); check the path"
    path.mkdir(parents=True)
    assert complaint(path) == "none.yaml: cannot be read (Is a directory); check the path"
    binary = path.with_name("binary.yaml")
    binary.write_bytes(b"\xff\xfe")
    assert complaint(binary) == "binary.yaml: is not UTF-8 text (byte 0); save it as UTF-8"


def test_lines_are_found_in_flow_style_and_behind_aliases(tmp_path):
    path = tmp_path / "flow.yaml"
    path.write_text("{schema: 1, name: x, model: m,\n devices: &d [{name: pi,\n  tier: 5, profile: p}],\n links: *d}\n")
    with pytest.raises(ScenarioError) as caught:
        read_scenario(path)
    places = [line.removeprefix(str(path)).split(": ")[:2] for line in str(caught.value).splitlines()]
    assert [":3", "devices.0.tier"] in places
    assert [":3", "links.0.tier"] in places
