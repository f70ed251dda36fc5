"""`python -m twin.simulate` end to end on a small project folder, and with everything that can be wrong in it."""

from __future__ import annotations

import json

import pytest
import yaml
from worlds import tiny_project, tiny_scenario

from twin.cli import guarded
from twin.simulate import main

FILES = (
    "run.json",
    "requests.parquet",
    "spans.parquet",
    "power.parquet",
    "observations.parquet",
    "decisions.jsonl",
    "summary.json",
    "timeline.json",
)


def simulate(scenario, out, *arguments):
    return guarded(lambda: main([str(scenario), "--out", str(out), *arguments]))


@pytest.fixture
def scenario(tmp_path):
    return tiny_project(tmp_path / "project")


def test_a_scenario_gives_run_folders_a_summary_and_a_report(scenario, tmp_path, capsys):
    out = tmp_path / "out"
    assert simulate(scenario, out) == 0
    labels = list(tiny_scenario()["policies"])
    for label in labels:
        for name in FILES:
            assert (out / label / name).stat().st_size > 0, name
    summary = json.loads((out / "summary.json").read_text())
    assert summary["schema"] == 1
    assert summary["scenario"] == "tiny"
    assert summary["source"] == "simulated"
    assert list(summary["policies"]) == [*labels, "clairvoyant", "oracle-static"]
    assert summary["policies"]["adaptive"]["regret"]["oracle-static"]["n"] == summary["replications"]
    for entry in summary["policies"].values():
        requests = entry["requests"]
        assert requests["arrived"] == sum(requests[key] for key in ("ok", "late", "dropped", "failed")) > 0
        assert set(entry["latency_s"]) >= {"mean", "p50", "p95", "p99"}
        for boundary in ("node", "marginal", "compute_only"):
            joules = entry["energy_j"][boundary]
            assert joules["total"] == pytest.approx(sum(joules["devices"].values()))
        assert entry["throughput_rps"] > 0
    assert "<html" in (out / "report.html").read_text()
    assert "adaptive" in capsys.readouterr().out


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(scenario, tmp_path):
    for out, seed in (("a", "7"), ("b", "7"), ("c", "8")):
        assert simulate(scenario, tmp_path / out, "--no-report", "--seed", seed) == 0
    read = {out: (tmp_path / out / "adaptive" / "requests.parquet").read_bytes() for out in "abc"}
    assert read["a"] == read["b"]
    assert read["a"] != read["c"]
    assert not (tmp_path / "a" / "report.html").exists()


def test_only_some_policies(scenario, tmp_path):
    arguments = ["--no-report", "--no-references", "--policy", "adaptive", "static"]
    assert simulate(scenario, tmp_path / "out", *arguments) == 0
    assert list(json.loads((tmp_path / "out" / "summary.json").read_text())["policies"]) == ["static", "adaptive"]


def test_override_from_the_command_line(scenario, tmp_path):
    def mean(out, *arguments):
        assert simulate(scenario, tmp_path / out, "--no-report", "--policy", "pi-only", *arguments) == 0
        return json.loads((tmp_path / out / "summary.json").read_text())["policies"]["pi-only"]["latency_s"]["p50"]

    assert mean("slow", "--set", "devices.0.load=2") == pytest.approx(2 * mean("plain"), rel=0.2)


def test_several_scenarios_in_one_command(tmp_path):
    first = tiny_project(tmp_path / "one")
    second = first.with_name("other.yaml")
    second.write_text(first.read_text())
    assert guarded(lambda: main([str(first), str(second), "--out", str(tmp_path / "out"), "--no-report"])) == 0
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"tiny", "other"}


def test_json_on_stdout_is_the_summary(scenario, tmp_path, capsys):
    assert simulate(scenario, tmp_path / "out", "--no-report", "--json") == 0
    assert json.loads(capsys.readouterr().out) == json.loads((tmp_path / "out" / "summary.json").read_text())


def test_json_of_several_scenarios_is_refused(scenario, tmp_path, capsys):
    assert guarded(lambda: main([str(scenario), str(scenario), "--out", str(tmp_path), "--json"])) == 2
    assert "--json prints one summary" in capsys.readouterr().err


def changed(scenario, edit):
    data = yaml.safe_load(scenario.read_text())
    edit(data)
    scenario.write_text(yaml.safe_dump(data, sort_keys=False))


def edit_profile(scenario, **changes):
    path = scenario.parent.parent / "data" / "profiles" / "pi" / "tiny.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def edit_model(scenario):
    path = scenario.parent.parent / "data" / "models" / "tiny.json"
    data = json.loads(path.read_text())
    data["layers"][0]["inputs"] = ["head"]
    path.write_text(json.dumps(data))


def write_walk(scenario, text):
    (scenario.parent.parent / "data" / "traces" / "walk.csv").write_text(text)


HEADER = "time_s,up_bps,down_bps,rtt_s\n"
BAD = {
    "a missing scenario": (lambda s: s.unlink(), ["tiny.yaml"]),
    "not YAML": (lambda s: s.write_text("devices: ["), ["tiny.yaml", "1"]),
    "an unknown key": (
        lambda s: changed(s, lambda d: d["devices"][0].update(profil="x")),
        ["devices.0.profil", "did you mean `profile`?", "tiny.yaml:"],
    ),
    "a missing profile": (
        lambda s: changed(s, lambda d: d["devices"][0].update(profile="nowhere")),
        ["devices.0.profile", "nowhere"],
    ),
    "a profile of another model": (lambda s: edit_profile(s, model="other"), ["other", "tiny", "hardware.profile"]),
    "a cyclic graph": (edit_model, ["tiny.json", "cycle"]),
    "an empty trace": (lambda s: write_walk(s, HEADER), ["walk.csv", "empty"]),
    "a negative rate": (lambda s: write_walk(s, HEADER + "0,-1,1,0.1\n"), ["walk.csv", "line 2", "up_bps"]),
    "NaN in a trace": (lambda s: write_walk(s, HEADER + "0,nan,1,0.1\n"), ["walk.csv", "line 2", "up_bps"]),
    "NaN in the scenario": (
        lambda s: changed(s, lambda d: d["workload"].update(rate_rps=float("nan"))),
        ["workload.rate_rps", "tiny.yaml:"],
    ),
    "a negative bandwidth": (
        lambda s: changed(
            s, lambda d: d["links"].__setitem__(0, {"between": ["pi", "laptop"], "rate_bps": -1e6, "rtt_s": 0.1})
        ),
        ["links.0.rate_bps"],
    ),
    "a deadline that nothing can meet": (
        lambda s: changed(s, lambda d: d["objective"].update(deadline_s=1e-4)),
        ["objective.deadline_s"],
    ),
    "an unknown device in a policy": (
        lambda s: changed(s, lambda d: d["policies"]["pi-only"].update(device="po")),
        ["po", "pi"],
    ),
    "a policy option out of its range": (
        lambda s: changed(s, lambda d: d["policies"]["adaptive"].update(margin=-1)),
        ["policies.adaptive.margin", "must be >= 0"],
    ),
    "an unknown policy option": (
        lambda s: changed(s, lambda d: d["policies"]["adaptive"].update(margn=0.1)),
        ["policies.adaptive.margn", "margin"],
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_one_message_and_leaves_nothing_that_looks_complete(what, scenario, tmp_path, capsys):
    spoil, expected = BAD[what]
    spoil(scenario)
    out = tmp_path / "out"
    assert simulate(scenario, out) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("error: ")
    assert "Traceback" not in shown.err
    for part in expected:
        assert part in shown.err
    assert shown.out == ""
    assert not list(out.glob("**/summary.json"))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--policy", "nobody"], ["--policy nobody", "static, adaptive, pi-only"]),
        (["--set", "devices.0.lod=2"], ["--set devices.0.lod=2", "did you mean `load`?"]),
        (["--set", "devices.0.load=-2"], ["--set devices.0.load=-2"]),
        (["--set", "nonsense"], ["--set nonsense"]),
    ],
)
def test_bad_arguments(arguments, expected, scenario, tmp_path, capsys):
    assert simulate(scenario, tmp_path / "out", *arguments) == 2
    message = capsys.readouterr().err
    for part in expected:
        assert part in message


def test_a_policy_that_chooses_what_is_not_allowed_is_named(scenario, tmp_path, capsys):
    data = yaml.safe_load(scenario.read_text())
    device = data["devices"][0]["name"]
    data["policies"] = {"stay": {"kind": "device-only", "device": device}}
    scenario.write_text(yaml.safe_dump(data))
    assert simulate(scenario, tmp_path / "out", "--set", f"devices.{device}.memory_bytes=1") == 2
    assert "policies.stay: the policy chose" in capsys.readouterr().err


def test_a_number_of_processes_below_one_is_refused(scenario, tmp_path, capsys):
    assert simulate(scenario, tmp_path / "out", "--jobs", "0") == 2
    assert "--jobs 0: give the number of processes, 1 or more" in capsys.readouterr().err
