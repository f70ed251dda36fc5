"""RuiDeng UM24C, UM25C and UM34C: 130 bytes, big-endian, over Bluetooth serial."""

from __future__ import annotations

import struct
from functools import partial, reduce
from operator import xor
from typing import NamedTuple

from hardware.meters.errors import DecodeError, WrongMeterError
from hardware.meters.port import Wire
from hardware.meters.protocol import MWH_IN_J, DeviceFacts, MeterKind, Reading

REPLY = 130
N_GROUPS = 10
_FORM = struct.Struct(">3HI3H20I3H2IHI3HI2H")
_TAIL = 0xFFF1
_MILLI = 1e-3
_CENTI = 1e-2
_OHM = 0.1
_EXTRAS = (
    "charging_mode", "record_mah", "record_mwh", "threshold_ca", "record_s", "recording", "screen_timeout_min",
    "brightness", "ohm", "screen", "tail",
)  # fmt: skip
"""Names of what follows the data lines, in order; a threshold in hundredths of an ampere."""


class Model(NamedTuple):
    """How one model differs from the others.

    Attributes:
        name: Its name.
        number: What its replies begin with.
        volt: Step of its voltage.
        amp: Step of its current.
        sealed: Whether its replies end in a fixed mark.
    """

    name: str
    number: int
    volt: float
    amp: float
    sealed: bool


MODELS = (
    Model("UM24C", 0x0963, 1e-2, 1e-3, sealed=True),
    Model("UM25C", 0x09C9, 1e-3, 1e-4, sealed=True),
    Model("UM34C", 0x0D4C, 1e-2, 1e-3, sealed=False),
)

_SEALED = {model.number: model.sealed for model in MODELS}


def decode(reply: bytes) -> Reading:
    """Read a reply of any of the three models.

    `charge_ah` and `energy_wh` are those of the selected group; `counter_j` is the sum of all groups, which grows
    whichever is selected.

    Raises:
        DecodeError: The length, the model or the last bytes are wrong.
    """
    if len(reply) != REPLY:
        raise DecodeError(f"a UM24C, UM25C or UM34C sends {REPLY} bytes, but {len(reply)} came", reply)
    number, volts, amps, milliwatts, celsius, fahrenheit, selected, *rest = _FORM.unpack(reply)
    model = _model(number, reply)
    if model.sealed and rest[-1] != _TAIL:
        raise DecodeError(f"a reply of a {model.name} ends in fff1, this one in {reply[-2:].hex()}", reply)
    groups = tuple((rest[2 * k] * _MILLI, rest[2 * k + 1] * _MILLI) for k in range(N_GROUPS))
    if selected >= N_GROUPS:
        raise DecodeError(f"the reply selects group {selected} of {N_GROUPS}; shorten the distance", reply)
    d_plus, d_minus, *others = rest[2 * N_GROUPS :]
    extra = dict(zip(_EXTRAS, others, strict=True))
    return Reading(
        voltage_v=volts * model.volt,
        current_a=amps * model.amp,
        power_w=milliwatts * _MILLI,
        charge_ah=groups[selected][0],
        energy_wh=groups[selected][1],
        temperature_c=float(celsius),
        resistance_ohm=extra.pop("ohm") * _OHM,
        d_plus_v=d_plus * _CENTI,
        d_minus_v=d_minus * _CENTI,
        groups=groups,
        counter_j=sum(rest[1 : 2 * N_GROUPS : 2]) * MWH_IN_J,
        device=DeviceFacts(model.name),
        extra={"temperature_f": fahrenheit, "group": selected, **extra},
        warnings=_warnings(reply, model),
    )


def encode(reading: Reading) -> bytes:
    """Make the reply that says `reading`, as the model that it names would."""
    model = next(model for model in MODELS if model.name == reading.device.model)
    extra = {"ohm": _steps(reading.resistance_ohm, _OHM), **reading.extra}
    groups = [*reading.groups, *[(0.0, 0.0)] * N_GROUPS][:N_GROUPS]
    celsius = reading.temperature_c or 0.0
    reply = _FORM.pack(
        model.number,
        _steps(reading.voltage_v, model.volt),
        _steps(reading.current_a, model.amp),
        _steps(reading.power_w, _MILLI),
        round(celsius),
        extra.get("temperature_f", round(celsius * 9 / 5 + 32)),
        extra.get("group", 0),
        *(_steps(number, _MILLI) for group in groups for number in group),
        _steps(reading.d_plus_v, _CENTI),
        _steps(reading.d_minus_v, _CENTI),
        *(extra.get(name, _TAIL if name == "tail" else 0) for name in _EXTRAS),
    )
    return reply if model.sealed or "tail" in extra else reply[:-1] + bytes([reduce(xor, reply[:-1])])


def find(buffer: bytes) -> bytes | None:
    """The reply in what came, if there is one: what begins with the number of a model."""
    for start in range(len(buffer) - REPLY + 1):
        reply = buffer[start : start + REPLY]
        sealed = _SEALED.get(int.from_bytes(reply[:2]))
        if sealed is False or (sealed and reply.endswith(_TAIL.to_bytes(2))):
            return reply
    return None


def _model(number: int, reply: bytes) -> Model:
    for model in MODELS:
        if model.number == number:
            return model
    raise DecodeError(f"the reply is from no UM24C, UM25C or UM34C: it begins with {number:04x}", reply)


def _warnings(reply: bytes, model: Model) -> tuple[str, ...]:
    # Captures disagree about what this byte is computed from, so that a reply is not refused for it.
    if not model.sealed and reply[-1] != reduce(xor, reply[:-1]):
        return (f"the last byte of a {model.name} does not fit the others",)
    return ()


def _steps(number: float | None, step: float) -> int:
    return round((number or 0.0) / step)


def _decode_as(model: str, reply: bytes) -> Reading:
    reading = decode(reply)
    found = reading.device.model
    if found != model:
        raise WrongMeterError(f"the meter is a {found}, no {model}; open it as {found.lower()}://", reply)
    return reading


def _kind(model: Model) -> MeterKind:
    return MeterKind(
        name=model.name.lower(),
        label=f"RuiDeng {model.name}",
        place="in the USB supply of the device",
        refresh_s=0.5,
        poll_s=0.35,
        decoder=lambda: partial(_decode_as, model.name),
        power_step_w=_MILLI,
        current_step_a=model.amp,
        counter_step_j=MWH_IN_J,
    )


KINDS = tuple(_kind(model) for model in MODELS)
WIRE = Wire(baud=9600, command=b"\xf0", length=REPLY, find=find)
