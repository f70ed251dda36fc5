"""A scenario with a calibration: each parameter where it belongs, the rest untouched, and what does not fit refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from measuring import MODEL, NAMES, Truth, believed_world, kept, known

from twin.calibration.apply import calibrated
from twin.calibration.calibration import HeldOutError, read_calibration
from twin.errors import CalibrationError
from twin.topology import PowerStates


def test_each_parameter_lands_where_it_belongs():
    world, truth = believed_world(0), Truth()
    power = {"pi": {"idle_w": known(2.5), "compute_w": known(11.0), "transmit_w": kept(4.0), "receive_w": kept(3.5)}}
    calibration = replace(truth.calibration, power=power)
    slow = replace(calibration.devices["pc"], slowdown=known(2.0, 1.0))
    got = calibrated(world, replace(calibration, devices={**calibration.devices, "pc": slow}))
    problem = got.problem
    slowdown = np.array([load.slowdown.at(5.0) for load in got.loads])
    assert slowdown == pytest.approx(np.array(truth.additivity) * [1.0, 1.0, 2.0])
    assert problem.stage_overhead_s * truth.additivity == pytest.approx(truth.overhead_s)
    assert problem.codec_s_per_byte * truth.additivity == pytest.approx(truth.codec_s_per_byte)
    assert got.dispersion.tolist() == list(truth.dispersion)
    assert got.links[0].up.at(8.0) == pytest.approx(8e6 * 0.85)
    assert got.links[1].down.at(0.0) == pytest.approx(100e6 * 1.1)
    assert got.links[0].rtt.at(3.0) == pytest.approx(0.006)
    assert [link.message_overhead_s for link in problem.continuum.links] == list(truth.message_overhead_s)
    assert [link.slow_start_s for link in problem.continuum.links] == list(truth.slow_start_s)
    assert problem.switch.downtime_s == 0.15
    assert problem.continuum.devices[0].power == PowerStates(2.5, 11.0, 4.0, 3.5)


def test_a_policy_is_told_what_it_was_told_on_the_testbed():
    world = believed_world(0)
    got = calibrated(world, Truth().calibration)
    assert np.array_equal(got.problem.layer_time_s, world.problem.layer_time_s)
    assert got.problem.initial is world.problem.initial


def test_what_is_not_determined_stays_as_it_was():
    world, calibration = believed_world(0), Truth().calibration
    devices = {
        name: replace(
            x,
            stage_overhead_s=kept(9.0),
            codec_s_per_byte=kept(9.0),
            dispersion=kept(9.0),
            additivity={MODEL: kept(9.0)},
        )
        for name, x in calibration.devices.items()
    }
    keys = ("goodput_up", "goodput_down", "rtt_extra_s", "message_overhead_s", "slow_start_s")
    links = {name: replace(x, **dict.fromkeys(keys, kept(9.0))) for name, x in calibration.links.items()}
    got = calibrated(world, replace(calibration, devices=devices, links=links, downtime_s=kept(9.0)))
    assert np.array_equal(got.problem.layer_time_s, world.problem.layer_time_s)
    assert got.links == world.links
    assert got.problem.continuum == world.problem.continuum
    assert got.problem.switch == world.problem.switch
    assert np.array_equal(got.dispersion, world.dispersion)
    assert not got.problem.stage_overhead_s.any()


def test_the_given_world_is_not_changed():
    world = believed_world(0)
    times_s = world.problem.layer_time_s.copy()
    calibrated(world, Truth().calibration)
    assert np.array_equal(world.problem.layer_time_s, times_s)
    assert world.problem.switch.downtime_s == 0.0


def test_another_model_takes_all_but_additivity():
    world = believed_world(0)
    graph = replace(world.problem.graph, model="other")
    other = replace(world, problem=replace(world.problem, graph=graph))
    got = calibrated(other, Truth().calibration)
    assert np.array_equal(got.problem.layer_time_s, world.problem.layer_time_s)
    assert got.problem.stage_overhead_s.tolist() == list(Truth().overhead_s)


def test_noise_that_is_off_stays_off():
    world = replace(believed_world(0), resolved={"noise": "off"})
    assert not calibrated(world, Truth().calibration).dispersion.any()


def test_a_round_trip_does_not_become_negative():
    calibration = Truth(rtt_extra_s=(-1.0, 0.0)).calibration
    assert calibrated(believed_world(0), calibration).links[0].rtt.at(0.0) == 0.0


def test_other_devices_links_and_profiles_are_refused():
    world, calibration = believed_world(0), Truth().calibration
    fewer = {name: calibration.devices[name] for name in NAMES[:2]}
    with pytest.raises(CalibrationError, match=r"tiny: devices: are pi, laptop, pc, but the calibration is of pi, lap"):
        calibrated(world, replace(calibration, devices=fewer))
    with pytest.raises(CalibrationError, match="tiny: links"):
        calibrated(world, replace(calibration, links={}))
    other = {**calibration.devices, "pi": replace(calibration.devices["pi"], profile="another-pi")}
    with pytest.raises(CalibrationError, match=r"devices\.pi\.profile: is `pi`, but .* `another-pi`"):
        calibrated(world, replace(calibration, devices=other))


def test_a_file_gives_back_what_was_written(tmp_path):
    error = HeldOutError("runs", "static", "latency mean", 30, 0.1, -0.05, None)
    power = {"pi": {"idle_w": known(2.5), "compute_w": kept(11.0)}}
    calibration = replace(Truth().calibration, validation=(error,), power=power)
    path = tmp_path / "calibration.yaml"
    path.write_text(calibration.to_yaml(), encoding="utf-8")
    read = read_calibration(path)
    assert read == calibration
    assert len(read.sha256) == 64
    assert path.read_text().startswith("# Calibration of the twin by measured runs")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("schema: 1", "schema: 2", "schema"),
        ("source: emulated", "source: guessed", "source"),
        ("wild: 0.0", "wyld: 0.0", "wyld"),
        ("value: 0.15", "value: .nan", r"switch\.downtime_s\.value"),
        ("devices:", "devises:", "devi"),
    ],
)
def test_a_malformed_file_is_refused_with_its_place(tmp_path, old, new, message):
    path = tmp_path / "calibration.yaml"
    text = Truth().calibration.to_yaml()
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(CalibrationError, match=rf"calibration\.yaml:\d+: .*{message}"):
        read_calibration(path)


def test_a_missing_or_empty_file_is_refused(tmp_path):
    with pytest.raises(CalibrationError, match="cannot be read"):
        read_calibration(tmp_path / "none.yaml")
    (tmp_path / "empty.yaml").write_text("")
    with pytest.raises(CalibrationError, match=r"docs/calibration\.md"):
        read_calibration(tmp_path / "empty.yaml")
