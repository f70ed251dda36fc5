"""A scenario on its way to an agent: the same there, and nothing else gets in."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from players import Fixed, run
from worlds import tiny_project

from hardware.node import bundle
from hardware.node.bundle import pack, unpack
from twin.errors import MeasurementError, ScenarioError
from twin.scenario import load_world


@pytest.fixture
def scenario(tmp_path):
    return tiny_project(tmp_path / "project")


def archive_of(files):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as writer:
        for name, content in files:
            writer.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return stream.getvalue()


def test_the_same_scenario_gives_the_same_bytes(scenario):
    first = pack(load_world(scenario), scenario)
    assert pack(load_world(scenario), scenario) == first
    assert pack(load_world(scenario, ["seed=9"]), scenario) != first


@pytest.mark.parametrize("overrides", [[], ["seed=9", "workload.rate_rps=7", "devices.pi.load=2"]])
def test_what_is_unpacked_equals_what_was_packed(scenario, tmp_path, overrides):
    world = load_world(scenario, overrides)
    there = unpack(pack(world, scenario), tmp_path / "agent")
    assert there.problem.graph == world.problem.graph
    assert there.problem.continuum.devices == world.problem.continuum.devices
    assert there.problem.continuum.links == world.problem.continuum.links
    assert there.problem.objective == world.problem.objective
    assert (there.faults, there.seed, there.control, there.detect_s) == (
        world.faults, world.seed, world.control, world.detect_s
    )  # fmt: skip
    for name in ("layer_time_s", "stage_overhead_s", "codec_s_per_byte"):
        assert np.array_equal(getattr(there.problem, name), getattr(world.problem, name))
    for ours, theirs in zip(there.links, world.links, strict=True):
        for name in ("up", "down", "rtt"):
            assert replace(getattr(ours, name), name="") == replace(getattr(theirs, name), name="")
    assert [x.slowdown for x in there.loads] == [x.slowdown for x in world.loads]
    plan = Fixed(world.problem.on_device(1))
    assert np.array_equal(run(there, plan).requests.done_s, run(world, plan).requests.done_s)


def test_it_can_be_packed_again_where_it_was_unpacked(scenario, tmp_path):
    first = pack(load_world(scenario), scenario)
    there = unpack(first, tmp_path / "agent")
    again = pack(there, tmp_path / "agent" / bundle._SCENARIO)
    assert run(unpack(again, tmp_path / "next"), Fixed(there.problem.on_device(2))).requests.completed.all()


def test_a_file_that_has_changed_since_is_not_sent(scenario):
    world = load_world(scenario)
    trace = scenario.parents[1] / "data/traces/walk.csv"
    trace.write_text(trace.read_text() + "20,1,1,1\n")
    with pytest.raises(MeasurementError, match="start once more"):
        pack(world, scenario)


def test_a_file_too_far_away_is_not_sent(scenario):
    world = load_world(scenario)
    name, checksum = next(iter(world.resolved["files"].items()))
    path = scenario.parent / name
    if not path.is_file():
        path = scenario.parents[1] / name
    files = {**world.resolved["files"], str(path.resolve()): checksum}
    with pytest.raises(MeasurementError, match="too far away"):
        pack(replace(world, resolved={**world.resolved, "files": files}), scenario)


@pytest.mark.parametrize("name", ["/etc/passwd", "../outside", "1/../../outside", "a\\..\\b", "folder/"])
def test_evil_places_are_refused_before_anything_is_written(tmp_path, name):
    folder = tmp_path / "agent"
    with pytest.raises(MeasurementError, match="proper place"):
        unpack(archive_of([("fine", b"x"), (name, b"x")]), folder)
    assert not folder.exists()
    assert not (tmp_path / "outside").exists()


def test_bombs_are_refused_before_anything_is_written(tmp_path):
    folder = tmp_path / "agent"
    big = archive_of([(str(k), bytes(bundle.MOST_BYTES // 4)) for k in range(5)])
    assert len(big) < 1_000_000
    for archive in (big, archive_of([(str(k), b"") for k in range(bundle._MOST_FILES + 1)])):
        with pytest.raises(MeasurementError, match="too large"):
            unpack(archive, folder)
    assert not folder.exists()


def test_a_bomb_that_lies_about_its_size_writes_no_more_than_it_claims(tmp_path):
    archive = bytearray(archive_of([("bomb", bytes(5_000_000))]))
    claimed = (100).to_bytes(4, "little")
    for mark, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        start = archive.index(mark) + place
        archive[start : start + 4] = claimed
    with pytest.raises(MeasurementError):
        unpack(bytes(archive), tmp_path)
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) <= 5_000


@pytest.mark.parametrize("files", [[("", b"x")], [("a", b"x"), ("a/b", b"x")], [("a" * 300, b"x")], [("x\0y", b"x")]])
def test_names_that_make_no_files_are_refused(tmp_path, files):
    with pytest.raises((MeasurementError, ScenarioError)):
        unpack(archive_of(files), tmp_path / "agent")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4), st.booleans())
def test_a_broken_archive_is_refused_with_words(tmp_path_factory, changes, cut):
    folder = tmp_path_factory.mktemp("fuzz")
    scenario = tiny_project(folder / "project")
    archive = bytearray(pack(load_world(scenario), scenario))
    for place, value in changes:
        archive[place % len(archive)] = value
    if cut:
        archive = archive[: changes[0][0] % len(archive)]
    try:
        unpack(bytes(archive), folder / "agent")
    except (MeasurementError, ScenarioError):
        return
