"""The live twin beside a testbed of machines that sleep."""

from __future__ import annotations

import json

import pytest

from hardware.live import LINES, SUMMARY, LiveTwin, message_overheads_s
from hardware.run import main
from tests.hardware.rigs import SCENARIO, rig
from twin.errors import ComparisonError, ScenarioError

FAULT = """drain_s: 20
faults:
  - {kind: device_slow, device: edge, start_s: 6, end_s: 30, slowdown: 1.5}
"""


class TestOptions:
    def test_requirements_need_a_comparison(self, tmp_path):
        with pytest.raises(ScenarioError, match="--compare"):
            main([str(tmp_path / "none.yaml"), "--require", "latency_mean<=5%"])

    def test_a_requirement_that_cannot_be_read_is_told_before_anything_is_played(self, tmp_path):
        with pytest.raises(ComparisonError, match="latency_mean"):
            main([str(tmp_path / "none.yaml"), "--compare", "--require", "latency_mean=5%"])


@pytest.mark.slow
def test_a_device_that_becomes_slower_than_its_profile_is_flagged_and_fitted(tmp_path):
    text = SCENARIO.replace("drain_s: 20\n", FAULT).replace("duration_s: 9.0", "duration_s: 18.0")
    said = []
    with rig(tmp_path, text) as made:
        live = LiveTwin(made.world, tmp_path / "out", said.append)
        made.backend._companion = live
        result = made.play("edge")
        live.write()
    lines = [json.loads(line) for line in (tmp_path / "out" / "edge" / LINES).read_text().splitlines()]
    told = json.loads((tmp_path / "out" / "edge" / SUMMARY).read_text())
    flags = [flag for flag in told["flags"] if flag["part"] == "compute.edge"]
    assert [flag["fitted"]["after"] for flag in flags] == [pytest.approx(1.5, rel=0.03)]
    assert 6.0 < flags[0]["t_s"] < 10.0
    assert any("compute.edge" in text for text in said)
    assert result.requests.completed.all()
    assert len(lines) >= 30
    assert told["late"] <= 2
    for line in lines:
        if not line["predicted"]["late"]:
            assert line["predicted"]["known_s"] < line["predicted"]["made_s"] <= line["start_s"]
    # Half a core would be more than a guest should take; it is some percent on an idle machine.
    assert told["cpu_share"] < 0.5
    before = [line["residuals"]["compute.edge"]["relative"] for line in lines if line["end_s"] < 6.0]
    assert max(map(abs, before)) < 0.05


@pytest.mark.slow
def test_a_run_with_comparison_and_live_twin_writes_all_it_promises(tmp_path, capsys):
    data = tmp_path / "data"
    from pathlib import Path

    data.symlink_to(Path(__file__).parents[2] / "data")
    scenario = tmp_path / "scenario.yaml"
    scenario.write_text(SCENARIO.replace("duration_s: 9.0", "duration_s: 6.0"), encoding="utf-8")
    out = tmp_path / "out"
    status = main(
        [str(scenario), "--devices", "sleep", "--no-check", "--live", "--compare", "--repeats", "2", "--out", str(out),
         "--policy", "far", "edge", "--json", "--require", "latency_mean@far<=100%", "other@far<=1%"]
    )  # fmt: skip
    assert status == 3
    data = json.loads(capsys.readouterr().out)
    assert set(data["comparison"]) == {"replayed", "replayed-decisions"}
    errors = {
        name: next(x for x in found["policies"]["far"]["quantities"] if x["name"] == "latency_mean")
        for name, found in data["comparison"].items()
    }
    assert all(abs(x["error"]["value"]) < 0.2 for x in errors.values())
    assert {label: told["late"] <= 2 for label, told in data["live"].items()} == {"far": True, "edge": True}
    for name in ("replayed", "replayed-decisions"):
        assert (out / name / "compare.html").is_file()
        assert (out / name / "far" / "run.json").is_file()
    report = (out / "report.html").read_text()
    assert "The live twin" in report
    run = json.loads((out / "far" / "run.json").read_text())
    assert run["facts"]["live"]["intervals"] == len((out / "far" / LINES).read_text().splitlines())


def test_overheads_are_what_the_check_found_beyond_the_round_trip():
    from worlds import make_world

    from hardware.coordinator.linkcheck import LinkCheck

    def check(link, direction, delay_s):
        return LinkCheck(link, direction, 18, 1e6, 1e6, 1e6, delay_s, 1e6, 0.004)

    world = make_world()
    found = [check(0, 0, 0.0050), check(0, 1, 0.0044), check(1, 0, 0.001)]
    assert message_overheads_s(world, found) == pytest.approx([0.0007, 0.0])
    assert message_overheads_s(world, []) == [0.0, 0.0]
