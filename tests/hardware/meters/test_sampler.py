"""Polls become readings: duplicates, gaps, hung meters, failures, and the same again from the file of frames."""

from __future__ import annotations

import errno
import json
import math
import time
from dataclasses import replace

import numpy as np
import pytest
import serial
from fake_meters import Clock, Scripted, Stopped, constant, serial_meter

from hardware.meters import tc66c
from hardware.meters.collect import Collector
from hardware.meters.emulated import Emulator
from hardware.meters.errors import DecodeError, SilentError, UnpluggedError
from hardware.meters.frames import replay
from hardware.meters.kinds import KINDS
from hardware.meters.protocol import DeviceFacts, PowerSample, Reading
from hardware.meters.sampler import Sampler
from twin.metering.facts import MeterFacts

FIVE_WATTS = Reading(5.0, 1.0, 5.0, counter_j=0.0)


def play(script, *, kind=tc66c.KIND, period_s=0.2, frames=None):
    """Sample a scripted meter, on a clock that does not move by itself."""
    clock = Stopped()
    meter = Scripted(kind, clock, script)
    sampler = Sampler(meter, "pi", frames, period_s=period_s, clock=clock)
    for k in range(len(script)):
        clock.now_s = max(clock.now_s, 100.0 + k * period_s)
        sampler.poll()
    clock.now_s = 100.0 + len(script) * period_s
    return sampler.stop(replication=2, device=1)


def test_the_columns_are_stamped_in_the_middle_of_the_poll():
    given = [Reading(5.0, 1.0, 5.0, counter_j=0.0), Reading(None, None, None, counter_j=7.2)]
    readings = play(given).readings
    assert readings.t_s == pytest.approx([0.005, 0.205])
    assert readings.poll_s == pytest.approx([0.01, 0.01])
    assert readings.power_w[0] == 5.0
    assert all(math.isnan(column[1]) for column in (readings.voltage_v, readings.current_a, readings.power_w))
    assert list(readings.counter_j) == [0.0, 7.2]
    assert (set(readings.replication), set(readings.device)) == ({2}, {1})


def test_equal_answers_within_a_refresh_are_duplicates_and_later_ones_are_readings():
    # Polled every 0.2 s, refreshed every 0.5 s, a load so small that the counter stands still.
    recording = play([Reading(5.0, 0.001, 0.005, counter_j=0.0)] * 10)
    assert recording.readings.t_s == pytest.approx([0.005, 0.605, 1.205, 1.805])
    assert (recording.counts["readings"], recording.counts["duplicates"], recording.counts["frozen"]) == (4, 6, 0)
    assert recording.complete


def test_answers_that_differ_in_any_number_are_readings():
    script = [replace(FIVE_WATTS, temperature_c=float(k)) for k in range(5)]
    assert play(script).counts["readings"] == 5


def test_a_counter_that_stands_still_under_load_means_that_the_meter_hangs():
    # Ten refreshes are 5 s, in which 5 W make almost seven steps of 3.6 J.
    recording = play([FIVE_WATTS] * 60)
    assert 4.0 < recording.readings.t_s[-1] < 5.1
    assert recording.counts["frozen"] > 30
    (gap,) = recording.gaps
    assert (gap.end_s, gap.reason) == (pytest.approx(12.0), "the meter hung")
    assert any("restart it" in text for text in recording.complaints())


def test_a_counter_with_coarse_steps_has_time_to_make_them():
    # 1 W needs 10.8 s for three steps of 3.6 J.
    assert play([replace(FIVE_WATTS, power_w=1.0)] * 50).complete


def test_a_meter_without_a_counter_never_seems_to_hang():
    assert play([replace(FIVE_WATTS, counter_j=None)] * 50).complete


def test_a_counter_that_is_set_back_goes_on_and_is_told():
    script = [replace(FIVE_WATTS, counter_j=value) for value in (100.0, 103.6, 0.0, 3.6)]
    recording = play(script)
    assert list(recording.readings.counter_j) == pytest.approx([100.0, 103.6, 103.6, 107.2])
    assert recording.counts["resets"] == 1


def test_failures_are_counted_by_name_and_leave_a_gap():
    changing = [replace(FIVE_WATTS, counter_j=3.6 * k) for k in range(40)]
    script = [
        *changing[:5],
        DecodeError("bad sum", b"xx"),
        *changing[5:7],
        *[SilentError("no answer")] * 8,
        *changing[7:],
    ]
    recording = play(script)
    assert (recording.counts["DecodeError"], recording.counts["SilentError"]) == (1, 8)
    assert recording.failures == {"DecodeError": "bad sum", "SilentError": "no answer"}
    (gap,) = recording.gaps
    assert (gap.start_s, gap.end_s, gap.reason) == (pytest.approx(1.405), pytest.approx(3.205), "no answer")
    assert not recording.complete
    assert any("the energy is incomplete" in text for text in recording.complaints())


def test_an_unplug_is_a_gap_and_a_reconnect():
    changing = [replace(FIVE_WATTS, counter_j=3.6 * k) for k in range(10)]
    recording = play([*changing[:3], UnpluggedError("gone"), *[None] * 9, *changing[3:]])
    assert (recording.counts["reconnects"], recording.counts["UnpluggedError"]) == (1, 1)
    assert [gap.reason for gap in recording.gaps] == ["gone"]


def test_a_meter_that_never_answers_gives_no_reading_and_says_so():
    recording = play([SilentError("no answer")] * 10)
    assert len(recording.readings) == 0
    assert [(gap.start_s, gap.end_s) for gap in recording.gaps] == [(0.0, pytest.approx(2.0))]
    assert MeterFacts.from_json(recording.facts.to_json()) == recording.facts


def test_another_meter_on_the_port_is_not_mixed_in():
    other = replace(FIVE_WATTS, power_w=99.0, device=DeviceFacts("TC66", "1.14", "2"))
    first = [replace(FIVE_WATTS, counter_j=3.6 * k, device=DeviceFacts("TC66", "1.14", "1")) for k in range(9)]
    recording = play([*first[:3], *[other] * 8, *first[3:]])
    assert 99.0 not in recording.readings.power_w
    assert recording.counts["WrongMeterError"] == 8
    assert "TC66 2, it was TC66 1" in recording.gaps[0].reason


@pytest.mark.parametrize("fault", ["busy", "closed", "missing", "another model", "another family"])
def test_the_run_goes_on_whatever_is_wrong_with_the_port(tmp_path, monkeypatch, fault):
    clock = Clock()
    emulator = constant("um24c", clock=clock)
    kind = {"another model": "um25c", "another family": "tc66c"}.get(fault, "um24c")
    holder = serial_meter(emulator.path, kind) if fault == "busy" else None
    if fault == "closed":

        def refuse(*arguments, **options):
            raise serial.SerialException(errno.EACCES, "could not open port")

        monkeypatch.setattr(serial, "Serial", refuse)
    path = tmp_path / "none" if fault == "missing" else emulator.path
    sampler = Sampler(serial_meter(path, kind, timeout_s=0.05, clock=clock, patient=True), "pi", clock=clock)
    for _ in range(6):
        sampler.poll()
        clock.advance(0.5)
    recording = sampler.stop()
    emulator.close()
    if holder:
        holder.close()
    remedies = {
        "busy": "another program has it open",
        "closed": "usermod -aG dialout",
        "missing": "there is no such port",
        "another model": "open it as um24c://",
        "another family": "is it this meter",
    }
    assert len(recording.readings) == 0
    assert not recording.complete
    assert remedies[fault] in recording.gaps[0].reason
    assert any(remedies[fault] in text and "incomplete" in text for text in recording.complaints())


def test_times_can_be_moved_to_another_clock():
    moved = play([FIVE_WATTS, *[SilentError("no answer")] * 9]).shifted(-10.0)
    assert moved.readings.t_s == pytest.approx([-9.995])
    assert moved.gaps[0].end_s == pytest.approx(-8.0)


def same(first, second):
    for name, column in first.readings.columns().items():
        assert np.array_equal(column, getattr(second.readings, name), equal_nan=True), name
    assert (first.facts, first.counts, first.gaps) == (second.facts, second.counts, second.gaps)


def noisy_run(tmp_path):
    """A TC66C with a bad cable, pulled out and put back, sampled for some seconds of a clock that is put forward."""
    clock = Clock()
    answers = iter(range(1000))

    def mangle(answer):
        number = next(answers)
        return (answer[:100],) if number == 4 else (b"\0" * 192,) if number == 6 else (answer,)

    port = tmp_path / "port"
    emulator = Emulator("tc66c", lambda start_s, end_s: 4.0 + math.sin(start_s), clock=clock, mangle=mangle)
    port.symlink_to(emulator.path)
    frames = tmp_path / "frames.jsonl"
    sampler = Sampler(serial_meter(port, timeout_s=0.5, clock=clock), "pi", frames, clock=clock)
    for poll in range(60):
        sampler.poll()
        clock.advance(0.2)
        if poll == 20:
            emulator.close()
            port.unlink()
        if poll == 40:
            emulator = constant("tc66c", clock=clock)
            port.symlink_to(emulator.path)
    recording = sampler.stop()
    emulator.close()
    return recording, frames


def test_the_frames_give_the_same_readings_again(tmp_path):
    recording, frames = noisy_run(tmp_path)
    assert recording.counts["readings"] > 15
    assert (recording.counts["DecodeError"], recording.counts["UnpluggedError"]) == (2, 1)
    assert (recording.counts["reconnects"], recording.counts["duplicates"] > 10) == (1, True)
    assert [gap.reason.split(": ")[1][:17] for gap in recording.gaps] == ["the meter is gone"]
    same(recording, replay(frames))


def test_frames_of_a_run_that_was_killed_are_read_up_to_the_cut(tmp_path):
    recording, frames = noisy_run(tmp_path)
    text = frames.read_text()
    frames.write_text(text[: len(text) // 3])
    cut = replay(frames)
    assert 3 < len(cut.readings) < len(recording.readings)
    assert np.array_equal(cut.readings.t_s, recording.readings.t_s[: len(cut.readings)])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no file of raw frames"),
        ('{"schema": 2}\n', "no file of raw frames"),
        ("[1]\n", "line 1 is no poll"),
        ("oh\n", "line 1 is no JSON"),
        ("HEAD\n{}\n", "line 2 is no poll"),
        ('HEAD\n{"t_s": 1, "poll_s": 0, "frame": "xyz"}\n', "line 2 is no poll"),
        ('HEAD\n{"t_s": null, "error": "SilentError", "text": ""}\n', "line 2 is no poll"),
    ],
)
def test_a_file_that_holds_no_frames_is_refused(tmp_path, text, says):
    head = {"schema": 1, "url": "u", "kind": "tc66c", "source": "emulated", "device": "d", "period_s": 1, "start_s": 0}
    path = tmp_path / "frames.jsonl"
    path.write_text(text.replace("HEAD", json.dumps(head)))
    with pytest.raises(DecodeError, match=says):
        replay(path)
    with pytest.raises(DecodeError, match="cannot be read"):
        replay(tmp_path / "none")


def test_a_disk_that_is_full_does_not_end_the_sampling(tmp_path):
    clock = Stopped()
    script = [replace(FIVE_WATTS, counter_j=3.6 * k) for k in range(6)]
    sampler = Sampler(Scripted(tc66c.KIND, clock, script), "pi", tmp_path / "frames", clock=clock)
    sampler.poll()

    def full(text):
        raise OSError(28, "No space left on device")

    sampler._file._file.close()
    sampler._file._file = type("Full", (), {"write": staticmethod(full)})
    for _ in range(5):
        sampler.poll()
    recording = sampler.stop()
    assert recording.counts["readings"] == 6
    assert "No space left" in recording.failures["AccessError"]


def test_a_thread_samples_by_itself_and_ends_when_told():
    clock = Clock()
    emulator = constant("tc66c", clock=clock)
    rounds = []

    def wait(left_s):
        rounds.append(left_s)
        clock.advance(max(left_s, 0.0))
        time.sleep(0.001)

    sampler = Sampler(serial_meter(emulator.path, clock=clock), "pi", clock=clock, wait=wait).start()
    while len(rounds) < 50:
        time.sleep(0.005)
    recording = sampler.stop()
    emulator.close()
    assert not sampler._thread.is_alive()
    assert recording.counts["polls"] >= 50
    assert recording.readings.power_w == pytest.approx(4.2)
    assert np.all(np.diff(recording.readings.t_s) > 0.3)
    assert 0.0 < max(rounds) <= 0.2


def test_whatever_a_driver_raises_ends_the_sampling_but_not_the_run():
    clock = Stopped()
    sampler = Sampler(Scripted(tc66c.KIND, clock, [ZeroDivisionError("oh")]), "pi", clock=clock).start()
    sampler._thread.join(5.0)
    clock.advance(60.0)
    recording = sampler.stop()
    assert (recording.failures["ZeroDivisionError"], recording.complete) == ("oh", False)


def test_joules_of_an_emulated_load_come_out_of_the_whole_serial_path():
    # A load of 2 W that is 8 W for a third of the time: 4 W in the mean, 40 J in ten seconds.
    clock = Clock()
    start_s = clock()

    def mean_w(from_s, to_s):
        def energy_j(t_s):
            rounds, rest_s = divmod(t_s - start_s, 3.0)
            return 12.0 * rounds + 2.0 * rest_s + 6.0 * min(rest_s, 1.0)

        return (energy_j(to_s) - energy_j(from_s)) / (to_s - from_s)

    emulator = Emulator("tc66c", mean_w, clock=clock)
    sampler = Sampler(serial_meter(emulator.path, clock=clock), "pi", clock=clock)
    for _ in range(1510):
        sampler.poll()
        clock.advance(0.2)
    readings = sampler.stop().readings
    emulator.close()
    seconds = readings.t_s[-1] - readings.t_s[0]
    assert np.trapezoid(readings.power_w, readings.t_s) == pytest.approx(4.0 * seconds, rel=0.01)
    assert readings.counter_j[-1] - readings.counter_j[0] == pytest.approx(4.0 * seconds, abs=3.6 + 4.0)


def test_the_step_of_the_power_is_that_of_the_current_where_that_is_coarser():
    facts = KINDS["um24c"].facts("pi", "um24c:///dev/rfcomm0", "measured", Reading(voltage_v=5.0))
    assert facts.power_step_w == pytest.approx(0.005)
    assert tc66c.KIND.facts("pi", "tc66c:///dev/x", "measured", None).power_step_w == 1e-4


def test_a_collector_counts_warnings():
    collector = Collector(tc66c.KIND, "u", "measured", "pi", 0.2, 0.0)
    collector.sample(PowerSample(0.0, 0.0, replace(FIVE_WATTS, warnings=("odd",)), b""))
    assert collector.finish(0.1).counts["warnings"] == 1


def test_the_live_power_of_a_meter_that_only_counts_is_the_mean_over_its_last_second():
    collector = Collector(KINDS["rapl"], "rapl://", "measured", "pi", 0.1, 0.0)
    assert collector.latest_w is None
    for k in range(30):
        collector.sample(PowerSample(0.1 * k, 0.0, Reading(counter_j=0.2 * k if k < 15 else 3.0 + 0.5 * (k - 15)), b""))
    assert collector.latest_w == pytest.approx(5.0)
    collector.sample(PowerSample(3.0, 0.0, Reading(power_w=7.0), b""))
    assert collector.latest_w == 7.0
