"""Atorch USB meters (UD18, UD24, J7-C): frames of 36 bytes that they send by themselves about once a second.

The frame begins FF 55, message 01 (report), device 03 (USB meter); numbers are big-endian. Units beyond voltage and
current follow the description of the protocol at https://github.com/CursedHardware/atorch-console.
"""

from __future__ import annotations

import struct

from hardware.meters.errors import DecodeError, WrongMeterError
from hardware.meters.port import Wire
from hardware.meters.protocol import DeviceFacts, MeterKind, Reading
from twin import units

_START = b"\xff\x55\x01"
_USB = 3
FRAME = 36
_CENTI = 1e-2
_TAIL = struct.Struct(">I4HBB8xB")


def decode(frame: bytes) -> Reading:
    """Read a frame; its power is the product of voltage and current, as a USB meter sends none.

    Raises:
        DecodeError: The length, the first bytes or the checksum is wrong.
        WrongMeterError: The frame is of a meter for mains or for direct current.
    """
    if len(frame) != FRAME:
        raise DecodeError(f"an Atorch meter sends {FRAME} bytes, but {len(frame)} came", frame)
    if frame[:3] != _START:
        raise DecodeError(f"a report of an Atorch meter begins with ff5501, this one with {frame[:3].hex()}", frame)
    if frame[-1] != checksum(frame):
        raise DecodeError("the checksum of the frame is wrong; shorten the distance to the meter", frame)
    if frame[3] != _USB:
        raise WrongMeterError(
            f"the meter is of type {frame[3]}, no USB meter (type {_USB}); only those are read", frame
        )
    volts, amps, mah = (int.from_bytes(frame[at : at + 3]) for at in (4, 7, 10))
    centiwatthours, d_minus, d_plus, celsius, hours, minutes, seconds, _ = _TAIL.unpack(frame[13:])
    voltage_v, current_a = volts * _CENTI, amps * _CENTI
    return Reading(
        voltage_v=voltage_v,
        current_a=current_a,
        power_w=voltage_v * current_a,
        charge_ah=units.from_milli(mah),
        energy_wh=centiwatthours * _CENTI,
        temperature_c=float(celsius),
        d_plus_v=d_plus * _CENTI,
        d_minus_v=d_minus * _CENTI,
        counter_j=units.j_from_wh(centiwatthours * _CENTI),
        device=DeviceFacts("Atorch USB meter"),
        extra={"time_s": (hours * 60 + minutes) * 60 + seconds},
    )


def checksum(frame: bytes) -> int:
    """The last byte of a frame: the sum of what lies between FF 55 and it, XOR 44."""
    return (sum(frame[2:-1]) & 0xFF) ^ 0x44


def find(buffer: bytes) -> bytes | None:
    """The first whole frame in what came."""
    start = buffer.find(_START)
    return buffer[start : start + FRAME] if start >= 0 and len(buffer) >= start + FRAME else None


KIND = MeterKind(
    name="atorch",
    label="Atorch USB meter",
    place="in the USB supply of the device",
    refresh_s=1.0,
    poll_s=0.25,
    decoder=lambda: decode,
    current_step_a=_CENTI,
    counter_step_j=units.j_from_wh(_CENTI),
)
WIRE = Wire(baud=9600, command=b"", length=FRAME, find=find, timeout_s=1.5)
