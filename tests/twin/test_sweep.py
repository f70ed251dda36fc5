"""`python -m twin.sweep` end to end: its table against single plays, a resume, and points that fail."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
import yaml
from sweeps import FIXED, RATE, sweep_file
from worlds import write_trace

from twin.cli import guarded
from twin.engine.choose import choose_engine
from twin.metrics import summarise
from twin.policies import POLICIES
from twin.records import RunResult
from twin.scenario import load_world
from twin.sweep import main
from twin.sweeping import execute, play
from twin.sweeping.identity import code_digest, key_of, resolved_at
from twin.sweeping.sweepfile import read_sweep


def sweep(path, out, *arguments):
    return guarded(lambda: main([str(path), "--out", str(out), "--jobs", "1", *arguments]))


def rows(out, *left_out):
    return pq.read_table(out / "table.parquet").drop_columns(list(left_out)).to_pylist()


def single(path, overrides, label):
    world = load_world(path, overrides)
    spec = next(spec for spec in world.policies if spec.label == label)
    engine = choose_engine(world)
    runs = [engine.run(world, POLICIES[spec.kind](**spec.options), label, r) for r in range(world.replications)]
    return summarise(world, [RunResult.concatenate(runs)]).policies[0]


def test_a_row_is_what_the_point_gives_when_it_is_played_alone(tmp_path, capsys):
    path, out = sweep_file(tmp_path), tmp_path / "out"
    assert sweep(path, out) == 0
    table = rows(out)
    assert [(row[RATE], row["workload.rate_rps"], row["policy"]) for row in table] == [
        (rate, rps, label) for rate in (1e6, 2e7) for rps in (1.0, 2.0) for label in ("static", "pi-only")
    ]
    chosen = table[6]
    places = {**FIXED, "workload.duration_s": 5.0, "workload.warm_up_s": 0.0, RATE: 2e7, "workload.rate_rps": 2.0}
    overrides = [f"{place}={json.dumps(value)}" for place, value in places.items()]
    expected = single(path.with_name("tiny.yaml"), overrides, "static")
    assert chosen["status"] == "ok"
    assert chosen["error"] is None
    assert chosen["seed"] == 1
    assert chosen["n_replications"] == 2
    assert chosen["n_requests"] == expected.requests["arrived"]
    assert chosen["latency_mean_s"] == expected.latency_s("mean").mean
    assert chosen["latency_p95_s"] == expected.latency_s("p95").mean
    assert chosen["energy_node_j"] == expected.energy_j("node").mean
    assert chosen["energy_compute_only_j"] == expected.energy_j("compute_only").mean
    assert (chosen["score_low"], chosen["score_high"]) == (expected.score.low, expected.score.high)
    assert chosen["score_by_replication"] == [figures.score for figures in expected.figures]
    assert chosen["late_share"] == 0.0
    with (out / "table.csv").open() as file:
        preview = list(csv.DictReader(file))
    assert [float(row["score"]) for row in preview] == [row["score"] for row in table]
    assert "score_by_replication" not in preview[0]
    shown = capsys.readouterr().out
    assert "2 x 2 points x 2 policies = 8 results (0 reused) · source: simulated" in shown
    assert "scheduling took" in shown


def test_the_files_name_units_and_source(tmp_path):
    out = tmp_path / "out"
    assert sweep(sweep_file(tmp_path), out) == 0
    schema = pq.read_schema(out / "table.parquet")
    assert schema.metadata[b"source"] == b"simulated"
    units = {name: schema.field(name).metadata[b"unit"].decode() for name in schema.names}
    assert units[RATE] == "bit/s"
    assert units["latency_p95_s"] == units["latency_mean_s_low"] == "s"
    assert units["energy_node_j_by_replication"] == "J"
    assert units["workload.rate_rps"] == units["throughput_rps"] == "1/s"
    assert units["score"] == units["policy"] == ""
    info = json.loads((out / "sweep.json").read_text())
    assert (info["status"], info["source"], info["rows"]["all"]) == ("complete", "simulated", 8)
    assert info["axes"][0] == {"paths": [RATE], "values": [[1e6], [2e7]]}
    assert (out / "best.svg").read_text().startswith("<svg ")


def test_a_second_run_plays_nothing_and_gives_the_same(tmp_path, capsys):
    path, out = sweep_file(tmp_path), tmp_path / "out"
    assert sweep(path, out) == 0
    first = rows(out)
    assert sweep(path, out) == 0
    shown = capsys.readouterr().out
    assert "(8 reused)" in shown
    assert shown.count("scheduling took") == 1
    assert rows(out) == first
    assert sweep(path, out, "--fresh") == 0
    assert "(8 reused)" not in capsys.readouterr().out
    assert rows(out, "run_s") == [{key: row[key] for key in row if key != "run_s"} for row in first]


def test_only_what_a_change_touches_is_played_again(tmp_path, capsys):
    path, out = sweep_file(tmp_path), tmp_path / "out"
    assert sweep(path, out) == 0
    capsys.readouterr()

    def reused(change):
        data = yaml.safe_load(path.read_text())
        change(data)
        path.write_text("# Another question?\n" + yaml.safe_dump(data))
        assert sweep(path, out) == 0
        return capsys.readouterr().out.partition(" reused")[0].rpartition("(")[2]

    assert reused(lambda data: data.update(name="other")) == "8"
    assert reused(lambda data: data["vary"].update({RATE: [1e6, 2e7, 4e7]})) == "8"
    assert reused(lambda data: data["policies"].append("adaptive")) == "12"
    assert reused(lambda data: data["set"].update({"devices.pi.load": 2.0})) == "0"
    (tmp_path / "data" / "traces" / "lan.csv").write_text("time_s,up_bps,down_bps,rtt_s\n0,90000000,90000000,0.002\n")
    assert reused(lambda data: None) == "0"


def test_a_damaged_result_is_played_again_and_said(tmp_path, capsys):
    path, out = sweep_file(tmp_path), tmp_path / "out"
    assert sweep(path, out) == 0
    first = rows(out, "run_s")
    kept = (out / "results.jsonl").read_text().splitlines()
    assert len(kept) == 8
    entry = json.loads(kept[2])
    entry["row"]["values"]["score"] = [0.0, 0.0]
    other = {**json.loads(kept[3]), "key": json.loads(kept[4])["key"]}
    damaged = [kept[0][:50], "[]", json.dumps(entry), json.dumps(other), "\x00", "", *kept[5:7], kept[7][:-9]]
    (out / "results.jsonl").write_text("\n".join(damaged))
    capsys.readouterr()
    assert sweep(path, out) == 0
    shown = capsys.readouterr().out
    assert "(2 reused)" in shown
    assert "6 kept results were damaged" in shown
    assert rows(out, "run_s") == first
    assert sweep(path, out) == 0
    assert "(8 reused)" in capsys.readouterr().out


def test_an_interrupt_keeps_what_was_played(tmp_path, capsys, monkeypatch):
    path, out, played = sweep_file(tmp_path), tmp_path / "out", []
    true_play = execute.play

    def interrupted(task):
        if len(played) == 3:
            raise KeyboardInterrupt
        played.append(task)
        return true_play(task)

    monkeypatch.setattr(execute.execute, "__defaults__", (interrupted,))
    assert sweep(path, out) == 130
    shown = capsys.readouterr()
    assert "3 of 8 results are kept in" in shown.err
    assert "the same command goes on from there" in " ".join(shown.err.split())
    assert not (out / "table.parquet").exists()
    played.clear()
    monkeypatch.setattr(execute.execute, "__defaults__", (true_play,))
    assert sweep(path, out) == 0
    assert "(3 reused)" in capsys.readouterr().out


def test_a_point_that_fails_is_a_row_with_its_error(tmp_path, capsys):
    vary = {"objective.deadline_s": [10.0, 1e-6], "workload.rate_rps": [1.0, -1.0]}
    fixed = {**FIXED, RATE: 2e7, "workload.duration_s": 5.0, "workload.warm_up_s": 0.0}
    path, out = sweep_file(tmp_path, vary=vary, set=fixed), tmp_path / "out"
    assert sweep(path, out) == 0
    table = rows(out)
    assert [row["status"] for row in table] == ["ok"] * 2 + ["failed"] * 6
    assert "workload.rate_rps: is -1.0; it must be > 0" in table[2]["error"]
    assert "no partition can meet it" in table[4]["error"]
    assert table[4]["error"].startswith(str(path.with_name("tiny.yaml")))
    assert table[4]["score"] is None
    assert table[4]["score_by_replication"] == []
    assert "6 failed" in capsys.readouterr().out
    assert sweep(path, out) == 0
    assert "(2 reused, 6 failed)" in capsys.readouterr().out


def test_a_policy_that_does_not_fit_a_point_spoils_only_its_own_row(tmp_path):
    path = sweep_file(
        tmp_path,
        vary={"policies.static.after": [["conv1", "conv2"], ["conv9", "head"]]},
        set={**FIXED, RATE: 2e7, "workload.duration_s": 5.0, "workload.warm_up_s": 0.0},
    )
    out = tmp_path / "out"
    assert sweep(path, out) == 0
    table = rows(out)
    assert [(row["policy"], row["status"]) for row in table] == [
        ("static", "ok"),
        ("pi-only", "ok"),
        ("static", "failed"),
        ("pi-only", "ok"),
    ]
    assert "conv9" in table[2]["error"]
    assert table[0]["policies.static.after"] == '["conv1", "conv2"]'


def test_a_fault_of_the_program_is_a_row_too(tmp_path, monkeypatch):
    def broken(world, results):
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr(play, "summarise", broken)
    out = tmp_path / "out"
    assert sweep(sweep_file(tmp_path), out) == 2
    table = rows(out)
    assert table[0]["error"] == "a fault of this program, please report it: ZeroDivisionError: by nothing (in broken)"


def test_where_no_point_is_valid_there_is_one_message_and_no_table(tmp_path, capsys):
    path, out = sweep_file(tmp_path, vary={"workload.rate_rps": [-1.0, -2.0]}, set={}), tmp_path / "out"
    assert sweep(path, out) == 2
    message = capsys.readouterr().err
    assert "no point makes a valid scenario; the first:" in message
    assert "workload.rate_rps: is -1.0; it must be > 0" in message
    assert not out.exists()


def test_a_sweep_that_cannot_start_leaves_the_last_one_alone(tmp_path, capsys):
    path, out = sweep_file(tmp_path), tmp_path / "out"
    assert sweep(path, out) == 0
    before = (out / "table.parquet").read_bytes()
    path.write_text(path.read_text().replace("vary", "vari"))
    assert sweep(path, out) == 2
    assert (out / "table.parquet").read_bytes() == before
    assert json.loads((out / "sweep.json").read_text())["status"] == "complete"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--jobs", "0"], "--jobs 0: must be at least 1"),
        (["--scheduler", "tcp://127.0.0.1:1"], "--jobs and --scheduler exclude each other"),
        (["--set", "devices.pi.lod=2"], "--set devices.pi.lod=2: devices.0.lod: unknown key; did you mean `load`?"),
    ],
)
def test_bad_arguments(tmp_path, capsys, arguments, expected):
    assert sweep(sweep_file(tmp_path), tmp_path / "out", *arguments) == 2
    assert expected in capsys.readouterr().err


def test_an_engine_that_does_not_play_a_point_is_said_in_its_row(tmp_path):
    path, out = sweep_file(tmp_path, vary={"devices.pi.slots": [1, 2], RATE: [2e7]}), tmp_path / "out"
    assert sweep(path, out, "--engine", "arrays") == 0
    table = rows(out)
    assert [row["engine"] for row in table] == ["arrays", "arrays", None, None]
    assert "several slots" in table[2]["error"]


def test_the_key_is_that_of_the_world_which_is_played(tmp_path):
    vary = {"devices.pi.load": [2.0, "busy"], "workload": [{"kind": "replay", "file": "times.txt"}]}
    found, scenario = read_sweep(sweep_file(tmp_path, set={}, vary=vary))
    write_trace(tmp_path / "data" / "traces" / "busy.csv", "time_s,slowdown\n0,1.5\n", duration_s=10.0)
    found.scenario.with_name("times.txt").write_text("0.5\n1.0\n")
    files = set()
    for point in found.points():
        resolved = resolved_at(scenario, point, found.labels)
        world = load_world(found.scenario, point.overrides)
        files |= set(resolved["files"])
        assert resolved["files"] == world.resolved["files"]
        for label in found.labels:
            assert key_of(resolved, label, "auto", "c") == key_of(world.resolved, label, "auto", "c")
    assert {"data/traces/busy.csv", "data/traces/walk.csv", "times.txt", "data/profiles/pi/tiny.json"} <= files
    assert len(code_digest()) == 64


def test_files_that_change_under_a_sweep_are_noticed(tmp_path):
    found, scenario = read_sweep(sweep_file(tmp_path))
    point = next(found.points())
    key = key_of(resolved_at(scenario, point, found.labels), "static", "auto", code_digest())
    work = play.Task(0, 0, str(found.scenario), "tiny.yaml", point.overrides, (("static", key),), "auto", code_digest())
    assert play.play(work)[0].status == "ok"
    assert "another version of this program" in play.play(replace(work, code="other"))[0].error
    (tmp_path / "data" / "traces" / "lan.csv").write_text("time_s,up_bps,down_bps,rtt_s\n0,90000000,90000000,0.002\n")
    assert "is not the same for the worker" in play.play(work)[0].error
