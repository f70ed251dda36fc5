"""Run folders: the way there and back, equal bytes, and what a killed run leaves."""

import json
import platform
from collections import defaultdict
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from results import fading_results, fading_world, make_decision, make_requests, make_run, make_spans
from worlds import make_world

from twin.errors import RunFolderError
from twin.partition import thirds
from twin.records import Kind, Requests, Spans
from twin.runs import folder as runfolder
from twin.runs import provenance
from twin.runs.folder import plain, read_info, read_run, write_run, write_text
from twin.runs.parquet import COLUMNS, read_table, write_table
from twin.runs.timeline import timeline

TABLES = ("requests.parquet", "spans.parquet", "power.parquet", "observations.parquet")


@pytest.fixture(scope="module")
def world():
    return fading_world()


@pytest.fixture(scope="module")
def result(world):
    return fading_results(world)[1]


@pytest.fixture
def folder(world, result, tmp_path):
    write_run(tmp_path / "adaptive", result, world)
    return tmp_path / "adaptive"


def assert_same(a, b):
    for name, column in a.columns().items():
        np.testing.assert_array_equal(column, getattr(b, name), err_msg=name)


def test_there_and_back(folder, result):
    back = read_run(folder)
    for name in ("requests", "spans", "power", "raw"):
        assert_same(getattr(result, name), getattr(back, name))
    assert (back.label, back.source, back.facts) == (result.label, result.source, result.facts)
    assert back.decisions == result.decisions


def test_columns_have_their_types(folder):
    for table in (read_run(folder).requests, read_run(folder).spans):
        for name, column in COLUMNS[type(table)].items():
            assert getattr(table, name).dtype == column.dtype


def test_charges_keep_their_devices(world, tmp_path):
    decision = make_decision(np.float64(1.0), thirds(4, 3), charged_j={2: 0.5}, score=float("inf"))
    run = make_run(world, make_requests([0.0], [2.0], [0]), make_spans([]), [decision])
    write_run(tmp_path, run, world)
    (back,) = read_run(tmp_path).decisions
    assert back["charged_j"] == {2: 0.5}
    assert back["score"] is None


def test_an_unanswered_request_is_stored_as_null(world, tmp_path):
    import pyarrow.parquet as pq

    run = make_run(world, make_requests([0.0, 1.0], [0.5, np.nan], [0, 3]), make_spans([]))
    write_run(tmp_path, run, world)
    stored = pq.read_table(tmp_path / "requests.parquet").to_pydict()
    assert stored["done_s"] == [0.5, None]
    assert stored["outcome"] == ["ok", "failed"]
    assert stored["reason"] == ["none", "lost"]
    assert np.isnan(read_run(tmp_path).requests.done_s).tolist() == [False, True]


def test_columns_name_their_source_and_unit(folder):
    import pyarrow.parquet as pq

    schema = pq.read_schema(folder / "power.parquet")
    assert schema.metadata[b"source"] == b"simulated"
    assert schema.field("power_w").metadata == {b"source": b"simulated", b"unit": b"W"}
    assert all(b"source" in field.metadata for field in schema)


def test_same_records_same_bytes(world, tmp_path):
    for name in ("a", "b"):
        write_run(tmp_path / name, fading_results(world)[1], world)
    for name in (*TABLES, "decisions.jsonl", "timeline.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_another_seed_gives_other_bytes(folder, tmp_path):
    other = fading_world(seed=2)
    write_run(tmp_path / "other", fading_results(other)[1], other)
    assert (tmp_path / "other" / TABLES[0]).read_bytes() != (folder / TABLES[0]).read_bytes()


def test_run_json_says_what_was_played(folder, world, result):
    info = read_info(folder)
    assert info["status"] == "complete"
    assert info["source"] == "simulated"
    assert info["scenario"] == world.resolved
    assert (info["seed"], info["replications"]) == (world.seed, [0, 1, 2])
    assert info["rows"] == {
        "requests": len(result.requests),
        "spans": len(result.spans),
        "decisions": len(result.decisions),
    }
    assert {"python", "continuum-twin", "numpy", "simpy"} == set(info["versions"])
    assert info["started"] <= info["finished"]
    node = platform.node()
    assert not node or node not in (folder / "run.json").read_text()


@pytest.mark.parametrize("stop_at", range(6))
def test_a_killed_run_stays_readable_and_is_not_complete(world, result, tmp_path, monkeypatch, stop_at):
    write_run(tmp_path, result, world)
    replace_file, written = runfolder.replace_file, []

    def killed(path, write):
        if len(written) > stop_at:
            raise KeyboardInterrupt
        written.append(path.name)
        replace_file(path, write)

    monkeypatch.setattr(runfolder, "replace_file", killed)
    with pytest.raises(KeyboardInterrupt):
        write_run(tmp_path, result, world)
    assert read_info(tmp_path)["status"] == "incomplete"
    with pytest.raises(RunFolderError, match="stopped before everything was written"):
        read_run(tmp_path)
    partial = read_run(tmp_path, allow_incomplete=True)
    assert len(partial.requests) == (len(result.requests) if "requests.parquet" in written else 0)
    assert len(partial.spans) == (len(result.spans) if "spans.parquet" in written else 0)
    assert len(partial.decisions) == (len(result.decisions) if "decisions.jsonl" in written else 0)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file.txt"
    write_text(path, "old")

    def full(temporary):
        temporary.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(RunFolderError, match=r"file\.txt: cannot be written \(No space left"):
        runfolder.replace_file(path, full)
    assert [x.name for x in tmp_path.iterdir()] == ["file.txt"]
    assert path.read_text() == "old"


def test_a_folder_that_cannot_be_made(tmp_path, world, result):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="cannot be written"):
        write_run(tmp_path / "file" / "run", result, world)


def test_no_run_there(tmp_path):
    with pytest.raises(RunFolderError, match=r"run\.json: cannot be read .*name a folder"):
        read_run(tmp_path / "nowhere")


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": 99}'])
def test_not_a_run(folder, text):
    (folder / "run.json").write_text(text)
    with pytest.raises(RunFolderError, match=r"run\.json: is not"):
        read_run(folder)


@pytest.mark.parametrize("name", [*TABLES, "decisions.jsonl"])
def test_a_missing_file(folder, name):
    (folder / name).unlink()
    with pytest.raises(RunFolderError, match=name):
        read_run(folder)


@pytest.mark.parametrize("name", TABLES)
def test_a_broken_table(folder, name):
    (folder / name).write_bytes(b"PAR1 no, it is not")
    with pytest.raises(RunFolderError, match=rf"{name}: cannot be read as a table"):
        read_run(folder)


def test_a_table_without_a_column(folder):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"replication": [0]}), folder / "requests.parquet")
    with pytest.raises(RunFolderError, match=r"requests\.parquet: cannot be read"):
        read_run(folder)


def test_a_table_with_an_unknown_code(folder):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / "requests.parquet"
    table = pq.read_table(path)
    odd = pa.array(["splendid"] * len(table))
    pq.write_table(table.set_column(table.column_names.index("outcome"), "outcome", odd), path)
    with pytest.raises(RunFolderError, match="SPLENDID"):
        read_run(folder)


@pytest.mark.parametrize("line", ["{", "3", '{"charged_j": {"pi": 1}}'])
def test_a_broken_decision(folder, line):
    path = folder / "decisions.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], line]))
    with pytest.raises(RunFolderError, match=r"decisions\.jsonl, line 2: is not a decision"):
        read_run(folder)


def test_tables_of_several_row_groups(tmp_path, monkeypatch):
    monkeypatch.setattr("twin.runs.parquet._ROWS_PER_GROUP", 3)
    outcomes = [0, 1, 2, 3, 3, 0, 1, 0]
    requests = make_requests(range(8), [x + 0.5 for x in range(8)], outcomes)
    write_table(tmp_path / "x.parquet", requests, "simulated")
    assert_same(requests, read_table(tmp_path / "x.parquet", Requests))


def test_an_empty_table(tmp_path):
    write_table(tmp_path / "x.parquet", make_spans([]), "simulated")
    assert len(read_table(tmp_path / "x.parquet", Spans)) == 0


def test_plain_data_holds_nothing_that_json_cannot():
    value = {1: (np.float64("nan"), np.arange(2)), "x": float("inf"), "y": np.bool_(1)}
    assert plain(value) == {"1": [None, [0, 1]], "x": None, "y": True}


@pytest.fixture
def fresh_code():
    provenance.code.cache_clear()
    yield
    provenance.code.cache_clear()


def test_without_git(monkeypatch, fresh_code):
    monkeypatch.setattr(provenance.shutil, "which", lambda name: None)
    assert provenance.code() is None


def test_git_that_fails(monkeypatch, fresh_code):
    def failing(*arguments, **options):
        raise OSError

    monkeypatch.setattr(provenance.subprocess, "run", failing)
    assert provenance.code() is None


def test_git_revision(monkeypatch, fresh_code):
    answers = {"ls-files": "x", "rev-parse": "abc", "status": " M twin/cost.py"}
    monkeypatch.setattr(provenance, "_git", lambda command, *rest, at: answers[command])
    assert provenance.code() == {"revision": "abc", "dirty": True}


class TestTimeline:
    def test_says_where_it_was_cut(self, world, result):
        data = timeline(world, result, max_requests=10)
        requests = {event["args"]["request"] for event in data["traceEvents"] if event["ph"] in "Xb"}
        assert requests == set(range(10))
        total = int((result.requests.replication == 0).sum())
        assert data["otherData"]["note"] == f"the first 10 of {total} requests of replication 0"

    def test_slices_of_a_thread_do_not_overlap(self, world):
        spans = make_spans([(i, 0, Kind.COMPUTE, 0, 0.1 * i, 0.1 * i + 0.25, 0) for i in range(9)])
        run = make_run(world, make_requests(np.arange(9) * 0.1, np.arange(9) * 0.1 + 0.25, [0] * 9), spans)
        threads = defaultdict(list)
        events = timeline(world, run)["traceEvents"]
        for event in events:
            if event["ph"] == "X":
                threads[event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
        assert len(threads) == 3
        assert all(a[1] <= b[0] + 1e-6 for times in threads.values() for a, b in pairwise(sorted(times)))
        names = {event["args"]["name"] for event in events if event["name"] == "thread_name"}
        assert {"pi (slot 1)", "pi (slot 2)", "pi (slot 3)", "laptop"} <= names

    def test_asynchronous_slices_are_closed(self, world, result):
        opened = defaultdict(list)
        for event in timeline(world, result)["traceEvents"]:
            if event["ph"] in "be":
                opened[event["id"]].append((event["ph"], event["ts"]))
        assert opened
        assert all([x[0] for x in pair] == ["b", "e"] and pair[0][1] <= pair[1][1] for pair in opened.values())

    def test_switches_are_instants_with_their_reason(self, world, result):
        instants = [event for event in timeline(world, result)["traceEvents"] if event["ph"] == "i"]
        assert [event["ts"] for event in instants] == [0.0, 11e6, 19e6]
        assert instants[1]["name"] == "switch to pi 0-3"
        assert "12.0 % better" in instants[1]["args"]["reason"]

    def test_queues_return_to_zero(self, world):
        run = fading_results(world)[0]
        waiting = defaultdict(list)
        for event in timeline(world, run)["traceEvents"]:
            if event["ph"] == "C" and event["name"].startswith("waiting"):
                waiting[event["name"]].append(event["args"]["requests"])
        assert waiting
        assert all(min(n) == 0 and n[-1] == 0 and max(n) > 0 for n in waiting.values())

    def test_rates_of_links_change_when_the_trace_does(self, world, result):
        rates = [e for e in timeline(world, result)["traceEvents"] if e["name"] == "rate: pi → laptop"]
        assert [(e["ts"], e["args"]["Mbit/s"]) for e in rates] == [(0.0, 20.0), (10e6, 3.0), (18e6, 20.0)]

    def test_is_json_even_of_nothing(self, world):
        run = make_run(make_world(), make_requests([], [], []), make_spans([]))
        json.dumps(plain(timeline(world, replace(run, label="none"))), allow_nan=False)
