"""A scenario file becomes the world that it describes."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from worlds import LAYER_TIME_S, make_profile, tiny_project, tiny_scenario, write_scenario, write_trace

from twin.problem import Demand, Objective, SwitchCost
from twin.profiles import Quantiles, StageTime
from twin.scenario import load_world, main
from twin.scenario_file.convert import later_start
from twin.scenario_file.yamlplaces import dump_yaml
from twin.steps import Steps
from twin.topology import PowerStates
from twin.world import Control, Fault


def test_the_default_world(tmp_path):
    world = load_world(tiny_project(tmp_path))
    assert (world.name, world.question) == ("tiny", "Does a tiny world work?")
    assert (world.replications, world.seed, world.detect_s, world.drain_s) == (2, 1, 2.0, 60.0)
    np.testing.assert_array_equal(world.problem.layer_time_s, LAYER_TIME_S)
    np.testing.assert_array_equal(world.problem.initial.rate_bps, [[20e6, 10e6], [100e6, 100e6]])
    np.testing.assert_array_equal(world.conditions_at(12.0).rate_bps[0], [2e6, 1e6])
    np.testing.assert_array_equal(world.conditions_at(32.0).rate_bps[0], [2e6, 1e6])
    assert world.problem.continuum.names == ("pi", "laptop", "pc")
    assert world.problem.continuum.devices[0].power == PowerStates(3.0, 12.0, 4.0, 3.5)
    assert world.problem.demand == Demand(2.0)
    assert world.workload.arrivals_s(1, 0)[-1] < 20.0
    assert [(spec.label, spec.kind) for spec in world.policies] == [
        ("static", "static"),
        ("adaptive", "adaptive"),
        ("pi-only", "device-only"),
    ]
    assert world.policies[1].options["margin"] == 0.03
    assert world.policies[2].options == {"device": "pi"}


def test_every_part_can_be_changed(tmp_path):
    devices = tiny_scenario()["devices"]
    devices[0] |= {"power": {"idle_w": 2, "compute_w": 9}, "load": 2, "slots": 2, "memory_bytes": 1e9}
    devices[1] |= {"stage_overhead_s": 0.001, "codec_bps": 8e9, "queue_limit": 5}
    links = [
        {"between": ["pi", "laptop"], "rate_bps": 1e6, "rtt_s": 0.01, "duplex": "half", "message_overhead_s": 0.002},
        {"between": ["laptop", "pc"], "up_bps": 3e6, "down_bps": 4e6, "rtt_s": 0},
        {"between": ["pi", "pc"], "rate_bps": 5e6, "rtt_s": 0.1, "slow_start_s": 0.3, "slow_start_idle_s": 1},
    ]
    faults = [
        {"kind": "link_down", "link": ["pi", "pc"], "start_s": 1, "end_s": 2},
        {"kind": "device_slow", "device": "pc", "start_s": 0, "end_s": 5, "slowdown": 3},
    ]
    path = tiny_project(
        tmp_path,
        devices=devices,
        links=links,
        faults=faults,
        workload={"kind": "closed", "clients": 3, "think_time_s": 0.5, "requests": 20, "warm_up_requests": 5},
        objective={"latency": 0.5, "energy": 0.5, "boundary": "marginal", "deadline_s": 2, "energy_ref_j": 4},
        control={"every_requests": 10},
        switch={"downtime_s": 0.1, "weights_from": "pc", "energy_j": 1},
        pinned={"conv1": "pi"},
        noise="off",
    )
    world = load_world(path)
    problem = world.problem
    assert problem.continuum.devices[0].power == PowerStates(2.0, 9.0, 2.0, 2.0)
    assert (problem.continuum.devices[0].slots, problem.continuum.devices[0].memory_bytes) == (2, 1e9)
    assert problem.continuum.devices[1].queue_limit == 5
    assert problem.stage_overhead_s.tolist() == [0, 0.001, 0]
    assert problem.codec_s_per_byte.tolist() == [0, 1e-9, 0]
    assert problem.initial.rate_bps.tolist() == [[1e6, 1e6], [3e6, 4e6], [5e6, 5e6]]
    assert problem.initial.rtt_s.tolist() == [0.01, 0, 0.1]
    assert problem.initial.slowdown.tolist() == [2, 1, 1]
    assert [(x.a, x.b, x.duplex) for x in problem.continuum.links] == [(0, 1, "half"), (1, 2, "full"), (0, 2, "full")]
    assert (problem.continuum.links[2].slow_start_s, problem.continuum.links[2].slow_start_idle_s) == (0.3, 1)
    assert problem.objective == Objective(0.5, 0.5, "marginal", 2.0, None, 4.0)
    assert problem.switch == SwitchCost(0.1, 2, 1.0)
    assert problem.pinned == {0: 0}
    assert world.control == Control(None, 10)
    assert world.workload.demand == Demand(None, 3, 0.5)
    assert world.faults == (Fault("link_down", 2, 1, 2), Fault("device_slow", 2, 0, 5, 3))


def test_defaults(tmp_path):
    world = load_world(tiny_project(tmp_path, objective=None, control=None, replications=None, seed=None))
    assert world.problem.objective == Objective()
    assert world.control == Control(1.0, None)
    assert (world.replications, world.seed, world.faults) == (1, 0, ())


def measured(device: str, spread: float, additivity: float = 1.0) -> dict[str, object]:
    """A profile with stages whose central 90 % spans `spread`, as a ratio."""
    profile = make_profile(device, LAYER_TIME_S[0]).to_json()
    stage = StageTime(0, 4, Quantiles(0.1, 0.1, 0.1 * spread, 30), 0.1)
    layers = profile["layers"]
    full = profile | {"additivity": additivity, "stages": [{"start": stage.start, "stop": stage.stop}]}
    full["stages"][0] |= {"median_s": 0.1, "p05_s": 0.1, "p95_s": 0.1 * spread, "n": 30, "sum_of_layers_s": 0.1}
    return full | {"layers": layers}


def test_measured_spread_and_additivity_are_applied(tmp_path):
    path = tiny_project(tmp_path)
    file = tmp_path / "data" / "profiles" / "pi" / "tiny.json"
    file.write_text(json.dumps(measured("pi", spread=1.5, additivity=0.9)))
    world = load_world(path)
    assert world.dispersion[0] == pytest.approx(np.log(1.5) / (2 * 1.6448536), rel=1e-6)
    assert world.dispersion[1:].tolist() == [0, 0]
    assert world.without_dispersion == ("laptop", "pc")
    np.testing.assert_allclose(world.problem.layer_time_s[0], 0.9 * LAYER_TIME_S[0])
    assert load_world(path, ["noise=off"]).dispersion.tolist() == [0, 0, 0]


def test_names_resolve_upwards_then_in_the_current_directory(tmp_path, monkeypatch):
    project = tmp_path / "project"
    path = tiny_project(project)
    deep = write_scenario(project / "scenarios" / "some" / "where" / "deep.yaml", tiny_scenario())
    assert load_world(deep).name == "tiny"
    elsewhere = write_scenario(tmp_path / "elsewhere" / "away.yaml", tiny_scenario())
    monkeypatch.chdir(project)
    assert load_world(elsewhere).resolved["files"] == load_world(path).resolved["files"]


def test_paths_start_at_the_scenario(tmp_path):
    data = tiny_scenario()
    data["model"] = "../data/models/tiny.json"
    data["devices"][0]["profile"] = "../data/profiles/pi"
    data["devices"][1]["profile"] = "../data/profiles/laptop/tiny.json"
    data["links"][0] = {"between": ["pi", "laptop"], "trace": "slots.up", "rtt_s": 0.02, "after_end": "loop"}
    data["links"][1] = {"between": ["laptop", "pc"], "trace": "rates.txt", "format": "two-column", "rtt_s": 0.01}
    path = tiny_project(tmp_path, **data)
    (path.parent / "slots.up").write_text("100\n200\n")
    (path.parent / "rates.txt").write_text("0 8\n5 4\n")
    world = load_world(path)
    assert world.problem.initial.rate_bps.tolist() == [[120e3, 120e3], [8e6, 8e6]]
    assert world.problem.initial.rtt_s.tolist() == [0.02, 0.01]
    assert {"slots.up", "rates.txt", "data/models/tiny.json"} <= set(world.resolved["files"])


def test_a_load_trace(tmp_path):
    path = tiny_project(tmp_path)
    write_trace(tmp_path / "data" / "traces" / "warm.csv", "time_s,slowdown\n0,1\n5,2\n", duration_s=10)
    world = load_world(path, ["devices.pi.load=warm", "devices.pi.after_end=loop"])
    assert [world.conditions_at(t_s).slowdown[0] for t_s in (0, 6, 11, 16)] == [1, 2, 1, 2]


@given(start_s=st.floats(0, 100) | st.integers(0, 60).map(float), t_s=st.floats(0, 100))
def test_a_loop_that_starts_later(start_s, t_s):
    steps = Steps((0.0, 3.0, 10.0), (1.0, 2.0, 3.0), "loop", 20.0)
    later = later_start(steps, start_s)
    assert later.end_s == 20.0
    if min(abs((start_s + t_s) % 20.0 - knot) for knot in (0.0, 3.0, 10.0, 20.0)) > 1e-9:
        assert later.at(t_s) == steps.at(start_s + t_s)
    assert later.integral(0.0, t_s) == pytest.approx(steps.integral(start_s, start_s + t_s), abs=1e-9)


@pytest.mark.parametrize("start_s", [0.0, 2.0, 3.0, 11.5])
def test_a_trace_that_holds_starts_later(start_s):
    steps = Steps((0.0, 3.0, 10.0), (1.0, 2.0, 3.0), "hold", 20.0)
    later = later_start(steps, start_s)
    assert [later.at(t_s) for t_s in (0, 1, 5, 90)] == [steps.at(start_s + t_s) for t_s in (0, 1, 5, 90)]
    assert later.end_s == 20.0 - start_s


def test_a_scenario_may_start_in_the_middle_of_its_traces(tmp_path):
    path = tiny_project(tmp_path)
    write_trace(tmp_path / "data" / "traces" / "warm.csv", "time_s,slowdown\n0,1\n5,2\n", duration_s=10)
    world = load_world(path, ["links.pi-laptop.start_s=12", "devices.pi.load=warm", "devices.pi.start_s=4"])
    assert [world.conditions_at(t_s).rate_bps[0, 0] for t_s in (0, 3, 18)] == [2e6, 20e6, 2e6]
    assert [world.conditions_at(t_s).slowdown[0] for t_s in (0, 1, 9)] == [1, 2, 2]


def test_replay_reads_its_file(tmp_path):
    path = tiny_project(tmp_path, workload={"kind": "replay", "file": "arrivals.csv", "column": "t"})
    (path.parent / "arrivals.csv").write_text("id,t\n0,0\n1,0.5\n2,4\n")
    world = load_world(path)
    assert world.workload.arrivals_s(0, 0).tolist() == [0.0, 0.5, 4.0]
    assert "arrivals.csv" in world.resolved["files"]


def test_the_question_is_the_first_comment(tmp_path):
    path = tiny_project(tmp_path)
    rest = path.read_text().split("\n", 1)[1]
    path.write_text(f"# Is it\n# long?\n#\n# Notes follow.\n{rest}")
    assert load_world(path).question == "Is it long?"
    path.write_text(rest)
    assert load_world(path).question == ""
    assert load_world(path, ["question=Really?"]).question == "Really?"


def test_resolved_is_plain_complete_and_can_be_read_again(tmp_path):
    path = tiny_project(tmp_path)
    resolved = dict(load_world(path, ["policies.adaptive.stale_s=null"]).resolved)
    assert json.loads(json.dumps(resolved, allow_nan=False)) == resolved
    assert resolved["devices"][1]["slots"] == 1
    assert resolved["policies"]["adaptive"]["stale_s"] is None
    model = tmp_path / "data" / "models" / "tiny.json"
    assert resolved["files"]["data/models/tiny.json"] == hashlib.sha256(model.read_bytes()).hexdigest()
    assert "data/traces/walk.meta.yaml" in resolved["files"]
    again = path.with_name("again.yaml")
    again.write_text(dump_yaml(resolved))
    assert dict(load_world(again).resolved) == resolved


def test_power_states_are_filled_in(tmp_path):
    path = tiny_project(tmp_path)
    resolved = load_world(path, ["devices.pi.power={idle_w: 2, compute_w: 9}"]).resolved
    assert resolved["devices"][0]["power"] == {"idle_w": 2.0, "compute_w": 9.0, "transmit_w": 2.0, "receive_w": 2.0}


def test_the_command_prints_a_resolved_scenario(tmp_path, capsys):
    path = tiny_project(tmp_path)
    assert main([str(path), "--set", "devices.pi.load=2"]) == 0
    printed = capsys.readouterr().out
    assert yaml.safe_load(printed)["devices"][0]["load"] == 2
    path.write_text(printed)
    assert load_world(path).problem.initial.slowdown[0] == 2
