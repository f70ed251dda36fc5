"""Serial meters on pseudo-terminals, and all that can go wrong with a cable."""

from __future__ import annotations

import errno
import sys
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
import serial
from fake_meters import ATORCH_CAPTURE, Clock, Speaker, constant, machine, serial_meter, tc66_packet
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware.meters import tc66c
from hardware.meters.emulated import Emulator
from hardware.meters.errors import (
    AccessError,
    DecodeError,
    MeterError,
    SilentError,
    UnpluggedError,
    UrlError,
    WrongMeterError,
)
from hardware.meters.kinds import KINDS
from hardware.meters.open import open_meter


@pytest.fixture
def plugged():
    """Makes emulators and meters that are closed after the test."""
    made = []

    def make(thing):
        made.append(thing)
        return thing

    yield make
    for thing in reversed(made):
        thing.close()


@pytest.mark.parametrize("kind", ["tc66c", "um24c", "um25c", "um34c"])
def test_an_emulated_meter_on_a_port(plugged, kind):
    emulator = plugged(constant(kind))
    meter = plugged(serial_meter(emulator.path, kind))
    before_s = time.monotonic()
    sample = meter.read()
    assert before_s <= sample.t_s - sample.poll_s / 2 <= sample.t_s + sample.poll_s / 2 <= time.monotonic()
    assert sample.power_w == pytest.approx(4.2)
    assert (sample.reading.voltage_v, sample.reading.current_a) == (pytest.approx(5.0), pytest.approx(0.84))


def in_pieces(*cuts):
    def mangle(answer):
        for start, stop in zip((0, *cuts), (*cuts, len(answer)), strict=True):
            yield answer[start:stop]
            time.sleep(0.005)

    return mangle


def test_an_answer_in_pieces_is_put_together(plugged):
    emulator = plugged(constant("tc66c", mangle=in_pieces(1, 64, 65, 190)))
    assert plugged(serial_meter(emulator.path)).read().power_w == pytest.approx(4.2)


def test_garbage_around_an_answer_is_skipped(plugged):
    emulator = plugged(constant("tc66c", mangle=lambda answer: (b"\x00hello", answer + b"\xff" * 9)))
    assert plugged(serial_meter(emulator.path)).read().power_w == pytest.approx(4.2)


def test_an_answer_that_came_too_late_is_not_taken_for_the_next(plugged):
    speaker = plugged(Speaker(lambda asked: tc66_packet(volts=50_000)))
    meter = plugged(serial_meter(speaker.path))
    meter.read()
    speaker.send(tc66_packet(volts=90_000))
    while meter._port._serial.in_waiting < tc66c.PACKET:
        time.sleep(0.001)
    assert meter.read().reading.voltage_v == pytest.approx(5.0)


def test_half_an_answer_is_no_reading_and_the_next_is_sound(plugged):
    halves = iter([96, 192])
    emulator = plugged(constant("tc66c", mangle=lambda answer: (answer[: next(halves)],)))
    meter = plugged(serial_meter(emulator.path, timeout_s=0.3))
    with pytest.raises(DecodeError, match="96 of 192 bytes") as caught:
        meter.read()
    assert len(caught.value.frame) == 96
    assert meter.read().power_w == pytest.approx(4.2)


def test_a_wrong_checksum_is_refused_with_its_bytes(plugged):
    def turned(answer):
        plain = bytearray(192)
        plain[:] = answer
        plain[20] ^= 1
        return (bytes(plain),)

    meter = plugged(serial_meter(plugged(constant("tc66c", mangle=turned)).path))
    with pytest.raises(DecodeError, match="checksum of block pac1") as caught:
        meter.read()
    assert len(caught.value.frame) == 192


def test_another_model_of_the_family_on_the_port(plugged):
    meter = plugged(serial_meter(plugged(constant("um24c")).path, "um25c"))
    with pytest.raises(WrongMeterError, match="is a UM24C, no UM25C; open it as um24c://"):
        meter.read()


@pytest.mark.parametrize(("there", "asked"), [("um24c", "tc66c"), ("tc66c", "um24c")])
def test_a_meter_of_another_family_says_nothing(plugged, there, asked):
    meter = plugged(serial_meter(plugged(constant(there)).path, asked, timeout_s=0.06))
    with pytest.raises(SilentError, match=r"no answer within 0\.06 s; is it this meter"):
        meter.read()


def test_a_port_that_only_babbles_ends_in_time(plugged):
    speaker = plugged(Speaker(lambda asked: b"\x55" * 4000))
    started_s = time.monotonic()
    with pytest.raises(DecodeError):
        plugged(serial_meter(speaker.path, timeout_s=0.06)).read()
    assert time.monotonic() - started_s < 5.0


def test_a_port_that_is_open_already(plugged):
    path = plugged(constant("tc66c")).path
    plugged(serial_meter(path))
    with pytest.raises(AccessError, match="another program has it open"):
        serial_meter(path)


def test_a_port_that_is_closed_to_the_user(monkeypatch):
    def refuse(*arguments, **options):
        raise serial.SerialException(errno.EACCES, "could not open port")

    monkeypatch.setattr(serial, "Serial", refuse)
    with pytest.raises(AccessError, match="usermod -aG dialout"):
        serial_meter("/dev/ttyACM0")


@pytest.mark.parametrize("package", ["serial", "cryptography.hazmat.primitives.ciphers"])
def test_a_package_that_is_missing_is_named(plugged, monkeypatch, package):
    path = plugged(constant("tc66c")).path
    tc66c._cipher.cache_clear()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(AccessError, match=r"continuum-twin\[hardware\]"):
        tc66c.decode(tc66_packet()) if package.startswith("crypt") else serial_meter(path)


def test_a_bluetooth_meter_that_is_off(monkeypatch):
    def refuse(*arguments, **options):
        raise serial.SerialException(errno.EHOSTDOWN, "could not open port")

    monkeypatch.setattr(serial, "Serial", refuse)
    with pytest.raises(AccessError, match="switch the meter on"):
        serial_meter("/dev/rfcomm0", "um25c")


def test_a_port_that_is_not_there_or_no_port(tmp_path):
    with pytest.raises(AccessError, match=r"hardware\.power list"):
        serial_meter(tmp_path / "ttyACM0")
    (tmp_path / "file").write_text("")
    with pytest.raises(AccessError, match="cannot be used as a serial port"):
        serial_meter(tmp_path / "file")


def test_a_meter_that_is_pulled_out_is_sought_with_growing_pauses_and_found_again(plugged, tmp_path):
    port = tmp_path / "by-id"
    first = constant("tc66c", 4.2)
    port.symlink_to(first.path)
    clock = Clock()
    meter = plugged(serial_meter(port, clock=clock))
    assert meter.read().power_w == pytest.approx(4.2)
    first.close()
    port.unlink()
    with pytest.raises(UnpluggedError, match="plug it in again"):
        meter.read()
    tried_s = []
    for _ in range(100):
        try:
            assert meter.read() is None
        except AccessError:
            tried_s.append(clock.ahead_s)
        clock.advance(0.25)
    waits_s = [after - before for before, after in pairwise(tried_s)]
    assert waits_s[:5] == pytest.approx([0.25, 0.5, 1.0, 2.0, 4.0], abs=0.26)
    assert max(waits_s) < 4.6
    second = plugged(constant("tc66c", 3.0))
    port.symlink_to(second.path)
    clock.advance(5.0)
    assert meter.read().power_w == pytest.approx(3.0)


def test_a_patient_meter_waits_for_its_port(plugged, tmp_path):
    port = tmp_path / "later"
    clock = Clock()
    meter = plugged(serial_meter(port, clock=clock, patient=True))
    with pytest.raises(AccessError, match="there is no such port"):
        meter.read()
    assert meter.read() is None
    port.symlink_to(plugged(constant("tc66c")).path)
    clock.advance(1.0)
    assert meter.read().power_w == pytest.approx(4.2)


def test_a_meter_that_is_pulled_out_in_the_middle_of_an_answer(plugged):
    emulators = []

    def pull(answer):
        yield answer[:50]
        raise OSError("the cable is out")

    emulators.append(constant("tc66c", mangle=pull))
    meter = plugged(serial_meter(emulators[0].path))
    with pytest.raises(UnpluggedError):
        meter.read()
    assert emulators[0].trouble == "OSError: the cable is out"
    emulators[0].close()


def test_a_meter_that_sends_by_itself(plugged):
    speaker = plugged(Speaker())
    meter = plugged(serial_meter(speaker.path, "atorch"))
    speaker.send(ATORCH_CAPTURE[10:] + ATORCH_CAPTURE + ATORCH_CAPTURE[:7])
    sample = meter.read()
    assert (sample.reading.voltage_v, sample.poll_s) == (pytest.approx(4.61), 0.0)
    speaker.send(ATORCH_CAPTURE[7:])
    assert meter.read().frame == ATORCH_CAPTURE


@settings(max_examples=25, deadline=None)
@given(noise=st.binary(min_size=1, max_size=300), at=st.integers(0, 192))
def test_whatever_comes_is_a_reading_or_a_meter_error(noise, at):
    packet = tc66_packet(volts=50_000)
    speaker = Speaker(lambda asked: packet[:at] + noise + packet[at:])
    meter = serial_meter(speaker.path)
    try:
        sample = meter.read()
    except MeterError:
        pass
    else:
        assert sample.reading == tc66c.decode(packet)
    finally:
        meter.close()
        speaker.close()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("tc66d:///dev/ttyACM0", "did you mean tc66c://"),
        ("TC67C:///dev/ttyACM0", "did you mean tc66c://"),
        ("raple://", "did you mean rapl://"),
        ("/dev/ttyACM0", "choose from"),
        ("tc66c:/dev/ttyACM0", "no meter is called"),
        ("tc66c://ttyACM0", "three strokes"),
        ("tc66c://[", "is no URL"),
        ("emulated://tc66", "say what it draws"),
        ("emulated://tc66c?power_w=-1", "say what it draws"),
        ("emulated://tc66c?power_w=nan", "say what it draws"),
        ("emulated://tc66c?power_w=1&volts=5", "say what it draws"),
        ("emulated://um26c?power_w=1", "did you mean um2"),
    ],
)
def test_a_url_that_names_no_meter(url, says):
    with pytest.raises(UrlError, match=says):
        open_meter(url)


@given(
    scheme=st.sampled_from([*KINDS, "tc66", "emulated", ""]),
    rest=st.one_of(st.text(max_size=12), st.sampled_from(["///dev/\0", "//(", "//tc66c/(", "//[x]", "//\u2100"])),
)
def test_any_text_as_a_url_gives_a_meter_error(scheme, rest):
    with suppress(MeterError):
        open_meter(f"{scheme}:{rest}", machine=machine(Path("/no/such/sysfs"))).close()


def test_an_emulated_meter_by_its_url(plugged):
    meter = plugged(open_meter("emulated://um25c?power_w=3.25"))
    assert (meter.read().power_w, meter.source) == (pytest.approx(3.25), "emulated")
    emulator = plugged(constant("tc66"))
    there = plugged(open_meter(f"emulated://tc66c{emulator.path}"))
    assert (there.read().power_w, there.source) == (pytest.approx(4.2), "emulated")


def test_a_pseudo_terminal_is_emulated_whatever_the_url_says(plugged):
    emulator = plugged(constant("tc66c"))
    assert plugged(open_meter(f"tc66://{emulator.path}")).source == "emulated"


def test_a_power_that_the_meter_cannot_show_ends_the_emulator_and_says_so(plugged):
    emulator = plugged(constant("um25c", 60.0))
    meter = plugged(serial_meter(emulator.path, "um25c"))
    with pytest.raises(UnpluggedError):
        meter.read()
    assert "error" in emulator.trouble


def test_an_emulator_of_an_unknown_kind():
    with pytest.raises(MeterError, match="um34c"):
        Emulator("ct2", lambda start_s, end_s: 1.0)
