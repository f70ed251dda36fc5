"""`python -m hardware.probe`: what it refuses, and what it records on links that follow a known trace."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from hardware.probe import main
from twin.cli import guarded
from twin.simulate import main as simulate
from twin.traces import load_link_trace

PROJECT = Path(__file__).parents[2]
SCENARIO = """\
schema: 1
name: known
model: mobilenet_v2
devices:
  - {name: pi, tier: edge, profile: raspberry-pi-5}
  - {name: laptop, tier: fog, profile: i7-10510u}
links:
  - {between: [pi, laptop], trace: TRACE, after_end: hold}
workload: {kind: poisson, rate_rps: 4.0, duration_s: 5.0}
policies:
  static: {kind: static, split: thirds}
seed: 1
"""


@pytest.fixture
def scenario(tmp_path):
    known = tmp_path / "known.csv"
    rows = ["0,20e6,80e6,0.01", "2,5e6,100e6,0.01", "4,100e6,5e6,0.01", "6,0,0,0.01", "8,40e6,20e6,0.01"]
    known.write_text("\n".join(["time_s,up_bps,down_bps,rtt_s", *rows, ""]))
    known.with_suffix(".meta.yaml").write_text("source: derived\nduration_s: 10\n")
    path = tmp_path / "known.yaml"
    path.write_text(SCENARIO.replace("TRACE", str(known)))
    return path


def run(*arguments: object) -> int:
    return guarded(lambda: main([str(argument) for argument in arguments]))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--out", "x.csv"], "one of the two"),
        (["s.yaml", "--testbed", "t.yaml", "--out", "x.csv"], "one of the two"),
        (["s.yaml", "--every", "0.1", "--out", "x.csv"], "--every 0.1: an interval must be at least 0.2 s"),
        (["s.yaml", "--every", "nan", "--out", "x.csv"], "--every nan"),
        (["s.yaml", "--duration", "0.5", "--out", "x.csv"], "--duration 0.5: the trace must hold"),
        (["s.yaml", "--share", "0.9", "--out", "x.csv"], "--share 0.9"),
        (["s.yaml", "--out", "x.txt"], "--out x.txt: a link trace is a .csv file"),
        (["s.yaml", "--out", "x.csv"], "s.yaml"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(tmp_path, monkeypatch, capsys, arguments, complaint):
    monkeypatch.chdir(tmp_path)
    assert run(*arguments, "--between", "pi", "laptop") == 2
    assert complaint in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_trace_is_not_overwritten(tmp_path, scenario, capsys):
    (tmp_path / "x.csv").write_text("precious")
    assert run(scenario, "--between", "pi", "laptop", "--out", tmp_path / "x.csv") == 2
    assert "x.csv exists already" in capsys.readouterr().err
    assert (tmp_path / "x.csv").read_text() == "precious"


@pytest.mark.parametrize(
    ("names", "complaint"),
    [(("pi", "pc"), "has no device `pc`; its devices are pi, laptop"), (("pi", "pi"), "names `pi` twice")],
)
def test_a_link_that_is_not_there_is_named(tmp_path, scenario, capsys, names, complaint):
    assert run(scenario, "--between", *names, "--out", tmp_path / "x.csv") == 2
    assert complaint in capsys.readouterr().err


def test_a_machine_that_does_not_answer_is_named(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("hardware.coordinator.recording._REACH_S", 0.2)
    testbed = tmp_path / "t.yaml"
    testbed.write_text(testbed_text({"pi": free_port(), "laptop": free_port()}))
    assert run("--testbed", testbed, "--between", "pi", "laptop", "--out", tmp_path / "x.csv", "--duration", "2") == 2
    assert "is running there" in capsys.readouterr().err
    assert not (tmp_path / "x.csv").exists()


@pytest.mark.slow
def test_the_trace_of_an_emulated_link_is_the_one_that_it_follows(tmp_path, scenario):
    out = tmp_path / "traces" / "mine.csv"
    assert run(scenario, "--between", "pi", "laptop", "--duration", 10, "--out", out) == 0
    known, found = load_link_trace(tmp_path / "known.csv"), load_link_trace(out)
    assert found.source == "emulated"
    assert found.up.duration_s == 10.0
    errors = []
    for t_s in range(10):
        for wanted, got in ((known.up.at(t_s), found.up.at(t_s)), (known.down.at(t_s), found.down.at(t_s))):
            if wanted == 0:
                assert got == 0
            else:
                errors.append(abs(got / wanted - 1))
    # A machine with other work to do is late now and then; most intervals show how good the method is.
    assert sorted(errors)[len(errors) * 3 // 4] < 0.03
    assert found.rtt.at(1.0) == pytest.approx(0.01, rel=0.3)
    assert found.provenance["up"]["intervals_without_anything"] == 2
    assert set(found.provenance["hosts"]) == {"pi", "laptop"}
    scenario.write_text(SCENARIO.replace("TRACE", str(out)))
    assert simulate([str(scenario), "--out", str(tmp_path / "run"), "--no-report"]) == 0


@pytest.mark.slow
def test_a_link_of_a_testbed_is_recorded_and_what_there_is_survives_an_interrupt(tmp_path):
    ports = {"pi": free_port(), "laptop": free_port()}
    testbed, out = tmp_path / "t.yaml", tmp_path / "mine.csv"
    testbed.write_text(testbed_text(ports))
    command = [sys.executable, "-m", "hardware.probe", "--testbed", testbed, "--between", "laptop", "pi"]
    with agents(tmp_path, ports):
        process = subprocess.Popen(
            [*map(str, command), "--duration", "60", "--every", "0.5", "--out", str(out)], cwd=PROJECT
        )
        time.sleep(5.0)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10.0) == 130
    trace = load_link_trace(out)
    assert trace.source == "measured"
    assert trace.provenance["complete"] is False
    assert 2 <= trace.provenance["intervals"] <= 9
    assert min(trace.up.values) > 100e6


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def testbed_text(ports: dict[str, int]) -> str:
    rows = [f'  - {{name: {name}, address: "tcp://127.0.0.1:{port}"}}' for name, port in ports.items()]
    return "\n".join(["schema: 1", "curve: off", "machines:", *rows, ""])


testbed_text.__test__ = False


@contextmanager
def agents(folder: Path, ports: dict[str, int]):
    """Agents that end when their input does."""
    started = []
    try:
        for name, port in ports.items():
            config = folder / f"{name}.yaml"
            config.write_text(f'{{schema: 1, name: {name}, bind: "tcp://127.0.0.1:{port}", curve: off}}')
            command = [sys.executable, "-m", "hardware.agent", "--config", str(config), "--until-eof"]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            started.append(subprocess.Popen(command, cwd=PROJECT, env=os.environ, **pipes))
        for process in started:
            assert b"port" in process.stdout.readline()
        yield
    finally:
        for process in started:
            process.stdin.close()
            process.stdout.close()
            process.wait(timeout=20.0)
