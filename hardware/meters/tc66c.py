"""RuiDeng TC66 and TC66C: 192 bytes, encrypted with a key that is public, in three blocks with a checksum each."""

from __future__ import annotations

import struct
from functools import cache
from typing import TYPE_CHECKING

from hardware.meters.errors import AccessError, DecodeError, WrongMeterError
from hardware.meters.port import Wire
from hardware.meters.protocol import MWH_IN_J, DeviceFacts, MeterKind, Reading

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers import Cipher
    from cryptography.hazmat.primitives.ciphers.modes import ECB

KEY = bytes.fromhex("5821fa5601b2f02687ff1204622a4fb086f40260816f9a0ba7f106619ab87288")
"""The same in every device; it hides nothing, but the wire speaks it."""
PRODUCT = "TC66"
_BLOCK = 64
_NAMES = (b"pac1", b"pac2", b"pac3")
PACKET = _BLOCK * len(_NAMES)
_FIRST = struct.Struct("<4s4s4sI28sI3I4x")
_SECOND = struct.Struct("<4s9I20x4x")
_VOLT, _AMP, _WATT = 1e-4, 1e-5, 1e-4
_OHM, _DATA_VOLT, _HOUR_STEP = 0.1, 0.01, 1e-3


def decode(packet: bytes) -> Reading:
    """Read a packet; its blocks may come in any order.

    `charge_ah` and `energy_wh` are those of group 0, as the packet does not say which group counts; `counter_j` is the
    sum of both, which grows whichever it is.

    Raises:
        DecodeError: The length, a block's name or a checksum is wrong.
        WrongMeterError: The packet is sound, but of another product.
    """
    if len(packet) != PACKET:
        raise DecodeError(f"a TC66C sends {PACKET} bytes, but {len(packet)} came", packet)
    blocks = _blocks(_cipher().decryptor().update(packet), packet)
    _, product, firmware, serial, _, runs, voltage, current, power = _FIRST.unpack(blocks[b"pac1"])
    _, ohm, *counters, negative, celsius, d_plus, d_minus = _SECOND.unpack(blocks[b"pac2"])
    if product != PRODUCT.encode():
        raise WrongMeterError(f"the meter says that it is a {_text(product)!r}, no {PRODUCT}; open it as such", packet)
    groups = tuple((mah * _HOUR_STEP, mwh * _HOUR_STEP) for mah, mwh in (counters[:2], counters[2:]))
    return Reading(
        voltage_v=voltage * _VOLT,
        current_a=current * _AMP,
        power_w=power * _WATT,
        charge_ah=groups[0][0],
        energy_wh=groups[0][1],
        temperature_c=float(-celsius if negative == 1 else celsius),
        resistance_ohm=ohm * _OHM,
        d_plus_v=d_plus * _DATA_VOLT,
        d_minus_v=d_minus * _DATA_VOLT,
        groups=groups,
        counter_j=(counters[1] + counters[3]) * MWH_IN_J,
        device=DeviceFacts(_text(product), _text(firmware), str(serial)),
        extra={"runs": runs},
    )


def encode(reading: Reading) -> bytes:
    """Make the packet that says `reading`, as the device would; what a packet holds beside it is zero."""
    celsius = round(reading.temperature_c or 0.0)
    first = _FIRST.pack(
        b"pac1",
        PRODUCT.encode(),
        reading.device.firmware.encode("latin-1"),
        int(reading.device.serial or 0),
        b"",
        reading.extra.get("runs", 0),
        *_steps((reading.voltage_v, _VOLT), (reading.current_a, _AMP), (reading.power_w, _WATT)),
    )
    counters = [number for group in reading.groups for number in group]
    second = _SECOND.pack(
        b"pac2",
        *_steps((reading.resistance_ohm, _OHM)),
        *_steps(*((number, _HOUR_STEP) for number in [*counters, 0.0, 0.0, 0.0, 0.0][:4])),
        int(celsius < 0),
        abs(celsius),
        *_steps((reading.d_plus_v, _DATA_VOLT), (reading.d_minus_v, _DATA_VOLT)),
    )
    return encrypt(b"".join(seal(block) for block in (first, second, b"pac3" + bytes(_BLOCK - 4))))


def seal(block: bytes) -> bytes:
    """Put the checksum of a block's first 60 bytes into its last four."""
    return block[:-4] + struct.pack("<I", crc16_modbus(block[:-4]))


def encrypt(plain: bytes) -> bytes:
    """Encrypt as the device does; the length is a multiple of 16."""
    return _cipher().encryptor().update(plain)


def crc16_modbus(data: bytes) -> int:
    """The checksum known as CRC-16/MODBUS: start at FFFF, polynomial A001, lowest bit first."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0xA001 if crc & 1 else crc >> 1
    return crc


def find(buffer: bytes) -> bytes | None:
    """The packet in what came, if there is one: where three blocks follow each other that begin with their names."""
    for start in range(len(buffer) - PACKET + 1):
        # One encrypted piece of 16 bytes stands alone, so that a block's name can be read without the rest.
        names = b"".join(buffer[start + at : start + at + 16] for at in range(0, PACKET, _BLOCK))
        plain = _cipher().decryptor().update(names)
        if {plain[at : at + 4] for at in (0, 16, 32)} == set(_NAMES):
            return buffer[start : start + PACKET]
    return None


def _blocks(plain: bytes, packet: bytes) -> dict[bytes, bytes]:
    blocks = {plain[at : at + 4]: plain[at : at + _BLOCK] for at in range(0, PACKET, _BLOCK)}
    if set(blocks) != set(_NAMES):
        raise DecodeError("the blocks are not those of a TC66C; is it another meter, or a noisy cable?", packet)
    for name, block in blocks.items():
        if struct.unpack("<I", block[-4:])[0] != crc16_modbus(block[:-4]):
            raise DecodeError(f"the checksum of block {name.decode()} is wrong; shorten or replace the cable", packet)
    return blocks


def _steps(*numbers: tuple[float | None, float]) -> list[int]:
    return [round((number or 0.0) / step) for number, step in numbers]


def _text(data: bytes) -> str:
    return data.rstrip(b"\0").decode("latin-1")


@cache
def _cipher() -> Cipher[ECB]:
    try:
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes  # noqa: PLC0415 - optional
    except ImportError as error:
        raise AccessError(
            "a TC66C needs the package cryptography; install it with `pip install 'continuum-twin[hardware]'`"
        ) from error
    return Cipher(algorithms.AES(KEY), modes.ECB())  # noqa: S305 - the device speaks it


KIND = MeterKind(
    name="tc66c",
    label="RuiDeng TC66C",
    place="in the USB-C supply of the device; fed at its male side it does not count its own draw",
    refresh_s=0.5,
    poll_s=0.2,
    decoder=lambda: decode,
    power_step_w=_WATT,
    current_step_a=_AMP,
    counter_step_j=MWH_IN_J,
)
WIRE = Wire(baud=115200, command=b"getva", length=PACKET, find=find)
