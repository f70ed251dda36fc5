"""Sweep files: the points that they stand for, and what a wrong one is answered with."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from mistakes import cases
from sweeps import RATE, sweep_file

from twin.errors import ScenarioError
from twin.scenario_file.yamlplaces import parse_value
from twin.sweeping.grid import Axis, override
from twin.sweeping.identity import resolved_at
from twin.sweeping.schema import RangeModel
from twin.sweeping.sweepfile import read_sweep, values_of

PROJECT = Path(__file__).parents[2]


def test_every_combination_is_a_point_and_the_seed_changes_fastest(tmp_path):
    path = sweep_file(tmp_path, seeds=[3, 4], zip=[{"devices.pi.load": [1.0, 2.0], "devices.pc.load": [5.0, 6.0]}])
    sweep, _ = read_sweep(path)
    points = list(sweep.points())
    assert [len(axis) for axis in sweep.axes] == [2, 2, 2]
    assert [point.index for point in points] == list(range(16))
    assert [point.seed for point in points[:4]] == [3, 4, 3, 4]
    assert [point.positions for point in points[:5:2]] == [(0, 0, 0), (0, 0, 1), (0, 1, 0)]
    assert points[3].overrides[-5:] == (
        f"{RATE}=1000000.0",
        "workload.rate_rps=1.0",
        "devices.pi.load=2.0",
        "devices.pc.load=6.0",
        "seed=4",
    )
    assert len({point.positions for point in points}) == 8


def test_what_is_not_given_is_the_scenarios(tmp_path):
    sweep, _ = read_sweep(sweep_file(tmp_path, policies=None))
    assert sweep.seeds == (1,)
    assert sweep.labels == ("static", "adaptive", "pi-only")
    assert sweep.minimise == "score"
    assert sweep.question == "Which policy where?"


def test_changes_from_the_command_line_come_after_those_of_the_file(tmp_path):
    sweep, _ = read_sweep(sweep_file(tmp_path), ["seed=9", "devices.pi.load=3"])
    assert sweep.seeds == (9,)
    assert sweep.fixed[-2:] == ("seed=9", "devices.pi.load=3")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"start": 1, "stop": 16, "num": 5, "scale": "log"}, [1, 2, 4, 8, 16]),
        ({"start": 1, "stop": 2, "num": 5}, [1.0, 1.25, 1.5, 1.75, 2.0]),
        ({"start": 10, "stop": 0, "num": 3}, [10, 5, 0]),
        ({"start": 0.1, "stop": 0.3, "num": 3}, [0.1, 0.2, 0.3]),
    ],
)
def test_ranges(given, expected):
    values = values_of(RangeModel.model_validate(given))
    assert values == expected
    assert [type(value) for value in values] == [type(value) for value in expected]


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text("aé\n'\""),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", min_size=1), inner, max_size=3),
        max_leaves=5,
    )
)
def test_a_value_comes_through_the_form_of_set_unchanged(value):
    place, _, text = override("devices.pi.load", value).partition("=")
    assert place == "devices.pi.load"
    assert parse_value(text, "--set") == value


def test_only_numbers_make_a_numeric_axis():
    assert Axis(("a",), ((1,), (2.5,))).is_numeric
    assert not Axis(("a",), ((True,), (False,))).is_numeric
    assert not Axis(("a",), (("x",), (1,))).is_numeric


@pytest.mark.parametrize("path", sorted((PROJECT / "scenarios" / "sweeps").glob("*.yaml")), ids=lambda path: path.stem)
def test_committed_sweeps_ask_a_question_and_every_point_is_a_scenario(path):
    sweep, scenario = read_sweep(path)
    assert sweep.question.partition("?")[1] == "?"
    assert path.read_text().startswith("# ")
    assert sweep.name == path.stem
    for point in sweep.points():
        assert list(resolved_at(scenario, point, sweep.labels)["policies"]) == list(sweep.labels)


MISTAKES = r"""
vary: => vari:
    11: vari: unknown key; did you mean `vary`?
schema: 1 => schema: 2
    2: schema: is 2; it must be 1
scenario: tiny.yaml\n => (nothing)
    2: scenario: is missing; add it (Path of the scenario file, from the folder of the sweep file)
scenario: tiny.yaml => scenario: tinny.yaml
    4: scenario: FOLDER/tinny.yaml: cannot be read (No such file or directory); check the path
workload.rate_rps: => workload.rate_rpss:
    15: vary.workload.rate_rpss: workload.rate_rpss: unknown key; did you mean `rate_rps`?
links.pi-laptop.rate_bps: => links.pi-laptp.rate_bps:
    12: vary.links.pi-laptp.rate_bps: links.pi-laptp: there is no such entry; did you mean `pi-laptop`?
rate_bps:\n  - 1000000.0\n  - 20000000.0 => rate_bps: []
    12: vary.links.pi-laptop.rate_bps: holds 0 entries; give at least 1
rate_bps:\n  - 1000000.0\n  - 20000000.0 => rate_bps: 5
    12: vary.links.pi-laptop.rate_bps: is 5; it must be a list of values, or a range such as
    {start: 1e6, stop: 1e8, num: 9}
rate_bps:\n  - 1000000.0\n  - 20000000.0 => rate_bps: {start: 1, stop: 2, nmu: 3}
    12: vary.links.pi-laptop.rate_bps.nmu: unknown key; did you mean `num`?
rate_bps:\n  - 1000000.0\n  - 20000000.0 => rate_bps: {start: 1, stop: 2, num: 1}
    12: vary.links.pi-laptop.rate_bps.num: is 1; it must be >= 2
rate_bps:\n  - 1000000.0\n  - 20000000.0 => rate_bps: {start: 0, stop: 2, num: 3, scale: log}
    12: vary.links.pi-laptop.rate_bps: a range with `scale: log` must lie above 0; use `scale: linear` or a list
rate_bps:\n  - 1000000.0\n  - 20000000.0 => rate_bps: {start: 2, stop: 2, num: 3}
    12: vary.links.pi-laptop.rate_bps: starts where it stops; give two different ends, or a list
- 20000000.0 => - .inf
    14: vary.links.pi-laptop.rate_bps.1: is inf; it must be a finite number
- 20000000.0 => - 1000000.0
    13: vary.links.pi-laptop.rate_bps.0: 1000000.0 stands there more than once; remove the repetitions
workload.rate_rps: => seed:
    15: vary.seed: seeds are swept with `seeds` at the top of the file; remove this one
workload.rate_rps: => workload.duration_s:
    15: vary.workload.duration_s: the place is given twice; remove one of them
- pi-only => - pi-onyl
    20: policies.1: the scenario has no policy `pi-onyl`; did you mean `pi-only`?
- pi-only => - static
    20: policies.1: `static` stands there twice; remove one of them
name: small => name: small\nseeds: [1, -2]
    4: seeds: holds -2; seeds must be whole numbers >= 0
name: small => name: small\nseeds: {start: 0, stop: 1, num: 2, scale: log}
    4: seeds: a range with `scale: log` must lie above 0; use `scale: linear` or a list
name: small => name: small\nzip: [{detect_s: [1, 2], drain_s: [1, 2, 3]}]
    4: zip.0: the lists must be of the same length, but `detect_s` has 2, `drain_s` has 3 values
name: small => name: small\nzip: [{}]
    4: zip.0: holds 0 entries; give at least 1
name: small => name: small\nminimise: latency
    4: minimise: is `latency`; it must be 'score', 'latency_mean_s', 'latency_p50_s', 'latency_p95_s',
    'energy_node_j', 'energy_marginal_j' or 'energy_compute_only_j'
"""


@pytest.mark.parametrize(("old", "new", "message"), cases(MISTAKES))
def test_a_mistake_is_told_with_its_line_and_its_remedy(tmp_path, old, new, message):
    path = sweep_file(tmp_path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ScenarioError) as caught:
        read_sweep(path)
    found = str(caught.value).replace(str(path.parent), "FOLDER")
    assert found == f"FOLDER/{path.name}:{message}"


def test_a_sweep_in_which_nothing_varies(tmp_path):
    with pytest.raises(ScenarioError, match="nothing varies; give `vary`, `zip` or `seeds`"):
        read_sweep(sweep_file(tmp_path, vary=None))


def test_a_scenario_without_policies(tmp_path):
    path = sweep_file(tmp_path)
    scenario = path.with_name("tiny.yaml")
    data = yaml.safe_load(scenario.read_text())
    del data["policies"]
    scenario.write_text(yaml.safe_dump(data))
    with pytest.raises(ScenarioError, match="has no `policies`"):
        read_sweep(path)
    scenario.write_text("- a list")
    with pytest.raises(ScenarioError, match="not a scenario"):
        read_sweep(path)
