"""AVHzY CT-2: five numbers of 32 bits in the byte order of a PC, with neither a name nor a checksum."""

from __future__ import annotations

import math
import struct

from hardware.meters.errors import DecodeError
from hardware.meters.port import Wire
from hardware.meters.protocol import MeterKind, Reading

_FORM = struct.Struct("<5f")
REPLY = _FORM.size
_OFF_W, _OFF_SHARE = 0.05, 0.05


def decode(reply: bytes) -> Reading:
    """Read a reply: V, A, W, D+ and D-.

    Raises:
        DecodeError: The length is wrong, or a number is not finite.
    """
    if len(reply) != REPLY:
        raise DecodeError(f"a CT-2 sends {REPLY} bytes, but {len(reply)} came", reply)
    numbers = _FORM.unpack(reply)
    if not all(math.isfinite(number) for number in numbers):
        raise DecodeError("the reply holds what is no number; is it a CT-2?", reply)
    voltage_v, current_a, power_w, d_plus_v, d_minus_v = numbers
    off_w = abs(abs(power_w) - abs(voltage_v * current_a))
    # Nothing else in the reply would tell bytes that were lost on the way.
    odd = off_w > _OFF_W + _OFF_SHARE * abs(voltage_v * current_a)
    return Reading(
        voltage_v=voltage_v,
        current_a=current_a,
        power_w=power_w,
        d_plus_v=d_plus_v,
        d_minus_v=d_minus_v,
        warnings=("the power is not the product of voltage and current",) if odd else (),
    )


def encode(reading: Reading) -> bytes:
    """Make the reply that says `reading`."""
    numbers = (reading.voltage_v, reading.current_a, reading.power_w, reading.d_plus_v, reading.d_minus_v)
    return _FORM.pack(*(number or 0.0 for number in numbers))


def find(buffer: bytes) -> bytes | None:
    """The reply: as nothing marks it, what came must be as long as one."""
    return buffer if len(buffer) == REPLY else None


KIND = MeterKind(
    name="ct2",
    label="AVHzY CT-2",
    place="in the USB supply of the device",
    refresh_s=0.02,
    poll_s=0.1,
    decoder=lambda: decode,
)
WIRE = Wire(baud=115200, command=b"Get Meter Data", length=REPLY, find=find)
