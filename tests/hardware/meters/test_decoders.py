"""Captured and hand-made packets give their readings, and readings give their packets."""

from __future__ import annotations

import json
import struct
from contextlib import suppress

import pytest
from fake_meters import ATORCH_CAPTURE, UM24C_CAPTURE, crc_by_division, tc66_packet
from hypothesis import given
from hypothesis import strategies as st

from hardware.meters import atorch, ct2, tc66c, um
from hardware.meters.errors import DecodeError, MeterError, WrongMeterError
from hardware.meters.kinds import KINDS
from hardware.meters.protocol import Reading

U32 = st.integers(0, 2**32 - 1)
U16 = st.integers(0, 2**16 - 1)
TC66_VALUES = {
    "serial": 12345,
    "runs": 7,
    "volts": 50_213,
    "amps": 123_456,
    "watts": 61_991,
    "ohms": 407,
    "mah0": 403,
    "mwh0": 2016,
    "mah1": 5,
    "mwh1": 25,
    "celsius": 31,
    "d_plus": 306,
    "d_minus": 12,
}


def test_both_ways_to_the_checksum_give_its_published_check_value():
    assert tc66c.crc16_modbus(b"123456789") == crc_by_division(b"123456789") == 0x4B37


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_a_tc66c_packet_made_by_hand(order):
    reading = tc66c.decode(tc66_packet(order, **TC66_VALUES))
    assert reading.voltage_v == pytest.approx(5.0213)
    assert reading.current_a == pytest.approx(1.23456)
    assert reading.power_w == pytest.approx(6.1991)
    assert (reading.charge_ah, reading.energy_wh) == (pytest.approx(0.403), pytest.approx(2.016))
    assert reading.groups == ((pytest.approx(0.403), pytest.approx(2.016)), (0.005, 0.025))
    assert reading.counter_j == pytest.approx(2.041 * 3600)
    assert (reading.temperature_c, reading.resistance_ohm) == (31.0, pytest.approx(40.7))
    assert (reading.d_plus_v, reading.d_minus_v) == (pytest.approx(3.06), pytest.approx(0.12))
    assert (reading.device.model, reading.device.firmware, reading.device.serial) == ("TC66", "1.14", "12345")
    assert reading.extra == {"runs": 7}


def test_a_tc66c_below_zero():
    assert tc66c.decode(tc66_packet(negative=1, celsius=4)).temperature_c == -4.0


@given(st.fixed_dictionaries({name: U32 for name in TC66_VALUES if name != "celsius"}), st.integers(-60, 120))
def test_a_tc66c_packet_survives_decoding_and_encoding(values, celsius):
    packet = tc66_packet(celsius=abs(celsius), negative=int(celsius < 0), **values)
    assert tc66c.encode(tc66c.decode(packet)) == packet


@pytest.mark.parametrize("at", [0, 30, 61, 64, 100, 126, 130, 189])
def test_a_tc66c_packet_with_a_bit_turned_is_refused(at):
    with pytest.raises(DecodeError, match=r"checksum|blocks"):
        tc66c.decode(tc66_packet(spoil=at, **TC66_VALUES))


@pytest.mark.parametrize("order", [(0, 0, 1), (2, 2, 2)])
def test_a_tc66c_packet_needs_each_block(order):
    with pytest.raises(DecodeError, match="blocks"):
        tc66c.decode(tc66_packet(order))


def test_a_sound_packet_of_another_product_is_told_apart():
    with pytest.raises(WrongMeterError, match="TC99"):
        tc66c.decode(tc66_packet(product=b"TC99"))


def test_the_captured_um24c_reply():
    reading = um.decode(UM24C_CAPTURE)
    assert (reading.voltage_v, reading.current_a) == (pytest.approx(5.02), pytest.approx(0.05))
    assert reading.power_w == pytest.approx(0.251)
    assert (reading.temperature_c, reading.extra["temperature_f"], reading.extra["group"]) == (24.0, 75, 0)
    assert (reading.charge_ah, reading.energy_wh) == (pytest.approx(0.403), pytest.approx(2.016))
    assert reading.counter_j == pytest.approx(2.016 * 3600)
    assert (reading.d_plus_v, reading.d_minus_v) == (pytest.approx(3.06), 0.0)
    assert reading.resistance_ohm == pytest.approx(100.4)
    assert {name: reading.extra[name] for name in ("record_mah", "record_mwh", "threshold_ca", "record_s")} == {
        "record_mah": 403,
        "record_mwh": 2016,
        "threshold_ca": 3,
        "record_s": 13240,
    }
    assert [reading.extra[name] for name in ("recording", "screen_timeout_min", "brightness")] == [1, 3, 5]
    assert (reading.device.model, reading.warnings) == ("UM24C", ())
    assert um.encode(reading) == UM24C_CAPTURE


@given(model=st.sampled_from(um.MODELS), words=st.lists(U16, min_size=63, max_size=63), group=st.integers(0, 9))
def test_an_um_reply_survives_decoding_and_encoding(model, words, group):
    words = [model.number, *words, 0xFFF1]
    words[7] = group
    reply = struct.pack(">65H", *words)
    assert um.encode(um.decode(reply)) == reply


def test_an_um25c_shows_finer_steps():
    reply = bytearray(UM24C_CAPTURE)
    reply[:2] = b"\x09\xc9"
    reading = um.decode(bytes(reply))
    assert (reading.voltage_v, reading.current_a) == (pytest.approx(0.502), pytest.approx(0.005))


def test_an_um34c_with_an_odd_last_byte_is_only_warned_of():
    reply = bytearray(UM24C_CAPTURE)
    reply[:2] = b"\x0d\x4c"
    assert um.decode(bytes(reply)).warnings
    sound = um.encode(Reading(5.0, 1.0, 5.0, device=um.decode(bytes(reply)).device))
    assert um.decode(sound).warnings == ()


@pytest.mark.parametrize(("at", "value", "says"), [(129, 0, "fff1"), (0, 0, "no UM24C"), (15, 12, "group 12")])
def test_an_um_reply_that_cannot_be_is_refused(at, value, says):
    reply = bytearray(UM24C_CAPTURE)
    reply[at] = value
    with pytest.raises(DecodeError, match=says) as caught:
        um.decode(bytes(reply))
    assert caught.value.frame == bytes(reply)


def test_the_other_model_of_the_family_is_named():
    with pytest.raises(WrongMeterError, match="um24c://"):
        KINDS["um25c"].decoder()(UM24C_CAPTURE)


def test_the_captured_atorch_frame():
    reading = atorch.decode(ATORCH_CAPTURE)
    assert (reading.voltage_v, reading.current_a) == (pytest.approx(4.61), pytest.approx(1.27))
    assert reading.power_w == pytest.approx(4.61 * 1.27)
    assert reading.charge_ah == pytest.approx(15.56)
    assert reading.extra["time_s"] == (71 * 60 + 48) * 60 + 13


@pytest.mark.parametrize("at", range(2, 36))
def test_an_atorch_frame_with_a_wrong_byte_is_refused(at):
    frame = bytearray(ATORCH_CAPTURE)
    frame[at] ^= 1
    with pytest.raises(DecodeError):
        atorch.decode(bytes(frame))


def test_an_atorch_meter_for_mains_is_told_apart():
    frame = bytearray(ATORCH_CAPTURE)
    frame[3] = 1
    frame[-1] = (sum(frame[2:-1]) & 0xFF) ^ 0x44
    with pytest.raises(WrongMeterError, match="type 1"):
        atorch.decode(bytes(frame))


def test_a_ct2_reply():
    reply = struct.pack("<5f", 5.0, 2.0, 10.0, 0.6, 0.5)
    reading = ct2.decode(reply)
    assert (reading.voltage_v, reading.current_a, reading.power_w) == (5.0, 2.0, 10.0)
    assert (reading.d_plus_v, reading.d_minus_v) == (pytest.approx(0.6), 0.5)
    assert (ct2.encode(reading), reading.warnings) == (reply, ())
    assert ct2.decode(struct.pack("<5f", 5.0, 2.0, 100.0, 0.6, 0.5)).warnings
    with pytest.raises(DecodeError, match="no number"):
        ct2.decode(struct.pack("<5f", 5.0, float("nan"), 10.0, 0.6, 0.5))


SEEDS = (
    tc66_packet(**TC66_VALUES),
    UM24C_CAPTURE,
    ATORCH_CAPTURE,
    struct.pack("<5f", 5.0, 2.0, 10.0, 0.6, 0.5),
    b'{"package-0":[1,2]}',
    b'{"power_mw":1,"status":"Discharging","power_now":1}',
    b" VDD_CORE_A current(7)=2.0A\n VDD_CORE_V volt(15)=0.75V\n",
)


@st.composite
def spoilt(draw):
    """A sound frame, cut, prolonged or with bytes changed; or any bytes at all."""
    frame = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(0, 3))):
        frame[draw(st.integers(0, len(frame) - 1))] = draw(st.integers(0, 255))
    return bytes(frame)[: draw(st.integers(0, len(frame)))] + draw(st.binary(max_size=8))


@pytest.mark.parametrize("kind", sorted(KINDS))
@given(frames=st.lists(st.one_of(spoilt(), st.binary(max_size=200), st.sampled_from(SEEDS)), min_size=1, max_size=4))
def test_any_bytes_give_a_reading_or_a_meter_error(kind, frames):
    decode = KINDS[kind].decoder()
    for frame in frames:
        with suppress(MeterError):
            assert isinstance(decode(frame), Reading)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize("kind", ["rapl", "nvml", "battery"])
@given(
    values=st.dictionaries(st.sampled_from(["package-0", "power_mw", "energy_mj", "power_now", "voltage_now"]), JSON)
)
def test_any_values_give_a_reading_or_a_meter_error(kind, values):
    decode = KINDS[kind].decoder()
    with suppress(MeterError):
        assert isinstance(decode(json.dumps({"status": "Discharging", **values}).encode()), Reading)
