"""`python -m hardware.power fit`: from a run folder to power states that a scenario can hold."""

import json

import pytest
import yaml
from readings import Meter, with_meters
from worlds import tiny_project

from hardware.power import main
from twin.engine.choose import choose_engine
from twin.errors import MeasurementError, RunFolderError
from twin.playing import Play, play_all
from twin.policies import POLICIES
from twin.runs.folder import write_run
from twin.scenario import load_world


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A run folder with readings of the pi, and one of a simulated run."""
    place = tmp_path_factory.mktemp("fit")
    workload = {"kind": "poisson", "rate_rps": 1.0, "duration_s": 300.0}
    devices = [
        {"name": "pi", "tier": "edge", "profile": "pi", "load": 10, "power": {"idle_w": 2.7, "compute_w": 9.0}},
        {"name": "laptop", "tier": "fog", "profile": "laptop"},
        {"name": "pc", "tier": "cloud", "profile": "pc"},
    ]
    path = tiny_project(place, workload=workload, devices=devices, replications=1)
    world = load_world(path)
    spec = next(spec for spec in world.policies if spec.label == "pi-only")
    play = Play(POLICIES[spec.kind](**spec.options), spec.label, 0)
    (result,) = play_all(world, [play], choose_engine(world, "auto"), lambda play: None)
    write_run(place / "simulated", result, world)
    write_run(place / "measured", with_meters(world, result, {0: Meter(noise_w=0.02)}), world)
    return place


def test_prints_what_a_scenario_takes(folders, capsys):
    assert main(["fit", str(folders / "measured")]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("power: "))
    power = yaml.safe_load(line)["power"]
    assert power["idle_w"] == pytest.approx(2.7, rel=0.03)
    assert power["compute_w"] == pytest.approx(9.0, rel=0.03)
    assert "emulated, so not measured" in line


@pytest.mark.parametrize(("name", "read"), [("states.json", json.loads), ("states.yaml", yaml.safe_load)])
def test_writes_the_states(folders, capsys, name, read):
    assert main(["fit", str(folders / "measured"), "--out", str(folders / name)]) == 0
    (device,) = read((folders / name).read_text(encoding="utf-8"))["devices"]
    assert device["device"] == "pi"
    assert device["states"]["transmit"]["power_w"] is None
    assert device["states"]["transmit"]["reason"].startswith("hardly ever busy")
    low_w, high_w = device["states"]["compute"]["ci_w"]
    assert low_w <= device["power"]["compute_w"] <= high_w
    assert str(folders / name) in capsys.readouterr().out.replace("\n", "")


def test_a_run_without_meters_is_refused(folders):
    with pytest.raises(MeasurementError, match="no device has enough meter readings"):
        main(["fit", str(folders / "simulated")])


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunFolderError, match=r"run\.json"):
        main(["fit", str(tmp_path)])


def test_an_unknown_format_is_refused(folders):
    with pytest.raises(MeasurementError, match=r"\.json, \.yaml or \.yml"):
        main(["fit", str(folders / "measured"), "--out", "states.csv"])
