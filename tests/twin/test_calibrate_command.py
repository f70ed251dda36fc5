"""`python -m twin.calibrate` and the options of `python -m twin.simulate` that use measured runs, end to end."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys

import pytest
import yaml
from worlds import tiny_project

from twin.calibrate import main as calibrate_main
from twin.cli import guarded
from twin.runs.folder import read_run
from twin.simulate import main as simulate_main

HEAVY = ("numpy", "scipy", "pydantic", "yaml", "simpy", "pyarrow", "matplotlib", "networkx", "rich")


def calibrate(*arguments):
    return guarded(lambda: calibrate_main([str(x) for x in arguments]))


def simulate(*arguments):
    return guarded(lambda: simulate_main([str(x) for x in (*arguments, "--no-report", "--no-references")]))


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project, and runs of its scenario in which stages and messages take longer than it says."""
    folder = tmp_path_factory.mktemp("project")
    scenario = tiny_project(folder / "project")
    changes = ["--set", "devices.pi.stage_overhead_s=0.004", "--set", "links.pi-laptop.message_overhead_s=0.003"]
    assert simulate(scenario, "--out", folder / "project" / "runs", *changes) == 0
    return folder


def test_a_calibration_is_written_and_used(project, capsys):
    scenario, file = project / "project" / "scenarios" / "tiny.yaml", project / "calibration.yaml"
    assert calibrate(project / "project" / "runs", "--scenario", scenario, "-o", file) == 0
    shown = capsys.readouterr().out
    assert "stage overhead, ms" in shown
    assert "held out" in shown
    data = yaml.safe_load(file.read_text())
    assert (data["schema"], data["source"]) == (1, "simulated")
    assert data["folders"][0]["fitted"] == "replications 0"
    assert data["folders"][0]["held_out"] == "replications 1"
    overhead = data["devices"]["pi"]["stage_overhead_s"]
    assert overhead["determined"]
    assert overhead["value"] == pytest.approx(0.004, rel=1e-3)
    assert data["links"]["pi-laptop"]["message_overhead_s"]["value"] == pytest.approx(0.003, rel=1e-3)
    means = [x for x in data["validation"] if x["quantity"] == "latency mean" and x["policy"] == "static"]
    assert means[0]["before"] < -0.02
    assert abs(means[0]["after"]) < 1e-4
    out = project / "calibrated"
    assert simulate(scenario, "--calibration", file, "--out", out, "--policy", "static") == 0
    said = json.loads((out / "static" / "run.json").read_text())["facts"]["calibration"]
    assert said["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert said["file"] == "calibration.yaml"
    one, other = (read_run(x / "static").requests.latency_s for x in (out, project / "project" / "runs"))
    assert one == pytest.approx(other, rel=1e-3)


def test_runs_are_replayed_with_their_decisions(project, capsys):
    out = project / "replay"
    assert simulate("--replay", project / "project" / "runs", "--replay-decisions", "--window", "0", "--out", out) == 0
    assert "adaptive" in capsys.readouterr().out
    for label in ("static", "adaptive", "pi-only"):
        one, other = read_run(out / label), read_run(project / "project" / "runs" / label)
        assert one.requests.latency_s == pytest.approx(other.requests.latency_s, abs=1e-9)
        facts = json.loads((out / label / "run.json").read_text())["facts"]["replay"]
        assert facts["of"] == "simulated"
        assert facts["window_s"] == 0.0
        assert len(facts["sha256"]) == 64
    assert (out / "summary.json").exists()


def test_a_replay_takes_what_is_asked_for_in_another_scenario(project):
    scenario, out = project / "project" / "scenarios" / "tiny.yaml", project / "some"
    arguments = [
        "--replay",
        project / "project" / "runs",
        "--replay-only",
        "arrivals",
        "--policy",
        "pi-only",
        "--out",
        out,
    ]
    assert simulate(scenario, *arguments, "--set", "devices.pi.load=2") == 0
    facts = json.loads((out / "pi-only" / "run.json").read_text())["facts"]["replay"]
    assert facts["inputs"] == ["arrivals"]
    slow, plain = read_run(out / "pi-only"), read_run(project / "project" / "runs" / "pi-only")
    assert slow.requests.latency_s.mean() > 1.5 * plain.requests.latency_s.mean()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{runs}", "-o", "x.json"], "must end in .yaml"),
        (["{runs}", "--split", "0"], "--split 0"),
        (["{nowhere}"], "holds no run.json"),
        (["{runs}", "--policy", "odd"], "has no run of the policy odd; it has adaptive, pi-only, static"),
        (["{runs}", "{runs}", "--scenario", "x.yaml"], "--scenario: is the scenario of one folder"),
    ],
)
def test_wrong_arguments_of_calibrate(project, capsys, arguments, message):
    places = {"runs": project / "project" / "runs", "nowhere": project / "nowhere"}
    assert calibrate(*(x.format(**places) for x in arguments)) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give a scenario file, or measured runs with --replay"),
        (["{scenario}", "--replay-decisions"], "say with --replay which"),
        (["{scenario}", "{scenario}", "--replay", "{runs}"], "give one scenario file, or none"),
        (["--replay", "{runs}", "--engine", "arrays"], "played by the events engine"),
        (["--replay", "{runs}", "--window", "-1"], "--window -1"),
        (["{scenario}", "--calibration", "{runs}/none.yaml"], "cannot be read"),
        (["{small}", "--replay", "{runs}"], "devices: ['pi', 'laptop'], but"),
    ],
)
def test_wrong_arguments_of_simulate(project, capsys, arguments, message):
    scenario = project / "project" / "scenarios" / "tiny.yaml"
    small = scenario.with_name("small.yaml")
    data = yaml.safe_load(scenario.read_text())
    data["devices"], data["links"] = data["devices"][:2], data["links"][:1]
    small.write_text(yaml.safe_dump(data))
    places = {"runs": project / "project" / "runs", "scenario": scenario, "small": small}
    assert simulate(*(x.format(**places) for x in arguments)) == 2
    assert message in capsys.readouterr().err


def test_folders_of_other_machines_are_refused(project, capsys):
    scenario = project / "project" / "scenarios" / "tiny.yaml"
    other = project / "project" / "others"
    assert simulate(scenario, "--out", other, "--set", "devices.pi.stage_overhead_s=0.1", "--policy", "static") == 0
    capsys.readouterr()
    assert calibrate(project / "project" / "runs", other, "-o", project / "both.yaml") == 2
    assert "stage_overhead_s: [0.1, 0.0, 0.0], but" in capsys.readouterr().err
    assert not (project / "both.yaml").exists()


def test_runs_of_two_scenarios_in_one_folder_are_refused(project, capsys):
    scenario, mixed = project / "project" / "scenarios" / "tiny.yaml", project / "project" / "mixed"
    assert simulate(scenario, "--out", mixed, "--policy", "static") == 0
    assert simulate(scenario, "--out", mixed, "--policy", "pi-only", "--seed", "9") == 0
    capsys.readouterr()
    assert calibrate(mixed, "-o", project / "mixed.yaml") == 2
    assert "differs in seed" in capsys.readouterr().err


def test_without_meters_there_are_no_power_states(project):
    assert calibrate(project / "project" / "runs", "-o", project / "all.yaml", "--split", "1", "--all-rows") == 0
    data = yaml.safe_load((project / "all.yaml").read_text())
    assert "power" not in data["devices"]["pi"]
    assert data["validation"] == []
    assert data["folders"][0]["held_out"] == "nothing"


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom twin.calibrate import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "MEASURED" in done.stdout
    assert done.stderr.strip() == "[]"
