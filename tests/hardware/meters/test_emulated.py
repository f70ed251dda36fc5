"""The emulator keeps the device's times, steps and counters."""

from __future__ import annotations

import pytest
from fake_meters import Clock, Stopped
from hypothesis import given
from hypothesis import strategies as st

from hardware.meters import tc66c, um
from hardware.meters.emulated import Clockwork, Emulator
from hardware.meters.kinds import SERIAL
from hardware.meters.port import Port


def ramp(start_s, end_s):
    """Power that equals the time."""
    return (start_s + end_s) / 2


def test_a_reading_is_the_mean_of_the_last_refresh():
    shows = Clockwork(ramp, 10.0, "TC66", 5.0, 0.5)
    assert shows.at(10.2).power_w == pytest.approx(9.75)
    assert shows.at(10.5).power_w == shows.at(10.99).power_w == pytest.approx(10.25)
    assert shows.at(11.0).power_w == pytest.approx(10.75)
    assert shows.at(15.1).power_w == pytest.approx(14.75)


@given(st.lists(st.floats(0.01, 40.0), min_size=1, max_size=20))
def test_the_counter_grows_by_what_flowed_however_it_is_asked(pauses_s):
    shows, now_s = Clockwork(ramp, 0.0, "TC66", 5.0, 0.5), 0.0
    for pause_s in pauses_s:
        now_s += pause_s
        reading = shows.at(now_s)
    counted_to_s = int(now_s / 0.5) * 0.5
    energy_wh = counted_to_s**2 / 2 / 3600
    assert energy_wh - 0.001 - 1e-9 <= reading.groups[0][1] <= energy_wh + 1e-9


def test_between_refreshes_the_same_bytes_come():
    clock = Clock()
    emulator = Emulator("tc66c", ramp, clock=clock, refresh_s=1000.0)
    meter = emulator.open()
    try:
        frames = [meter.read().frame for _ in range(3)]
        clock.advance(1000.0)
        frames.append(meter.read().frame)
    finally:
        meter.close()
        emulator.close()
    assert frames[0] == frames[1] == frames[2] != frames[3]


def test_values_and_counters_come_in_the_steps_of_the_device():
    clock = Stopped(0.0)
    shows = Clockwork(lambda start_s, end_s: 1.23456789, 0.0, "UM24C", 5.0, 0.5)
    clock.advance(3600.0)
    reading = um.decode(um.encode(shows.at(clock())))
    assert (reading.current_a, reading.power_w) == (pytest.approx(0.247), pytest.approx(1.235))
    assert (reading.charge_ah, reading.energy_wh) == (pytest.approx(0.246), pytest.approx(1.234))


def spoken(kind, command, n_answers=1):
    """What an emulator answers to bytes that are written to its port."""
    emulator = Emulator(kind, lambda start_s, end_s: 2.0, refresh_s=1000.0)
    port = Port(emulator.path, SERIAL[kind][1])
    try:
        port._serial.write(command)
        port._serial.timeout = 1.0
        answer = port._serial.read(SERIAL[kind][1].length * n_answers if n_answers else 4)
        port._serial.timeout = 0.02
        return answer, port._serial.read(1)
    finally:
        port.close()
        emulator.close()


@pytest.mark.parametrize("command", [b"getva", b"getva\r\n", b"xxgetva", b"rotatgetva", b"lastp\r\nnextp\r\ngetva"])
def test_the_commands_of_a_tc66c(command):
    answer, rest = spoken("tc66c", command)
    assert tc66c.decode(answer).power_w == pytest.approx(2.0)
    assert rest == b""


def test_a_tc66c_says_that_it_runs_its_firmware():
    assert spoken("tc66c", b"query", 0) == (b"firm", b"")


def test_an_um24c_answers_each_question_and_no_other_command():
    answer, rest = spoken("um24c", b"\xf1\xf0\xd3\xf0", 2)
    assert um.decode(answer[:130]) == um.decode(answer[130:])
    assert rest == b""


def test_closing_twice_does_no_harm():
    emulator = Emulator("tc66c", ramp)
    emulator.close()
    emulator.close()
