"""Meters for tests: a clock that can be moved, bad cables, machines with on-board sources, packets made by hand."""

from __future__ import annotations

import os
import pty
import select
import struct
import threading
import time
import tty
from dataclasses import replace
from types import SimpleNamespace

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from hardware.meters.emulated import Emulator
from hardware.meters.errors import MeterError
from hardware.meters.kinds import SERIAL
from hardware.meters.open import Machine
from hardware.meters.protocol import PowerSample
from hardware.meters.serialmeter import SerialMeter

UM24C_CAPTURE = bytes.fromhex(
    "096301f60032000000fb0018004b000000000193000007e0"
    + "00" * 72
    + "01320000000000000193000007e00003000033b8000100030005000003ec0000fff1"
)
ATORCH_CAPTURE = bytes.fromhex("FF5501030001CD00007F003CC80000554E0009000A00000047300D3C000000000000008F")
TC66_KEY = bytes.fromhex("5821fa5601b2f02687ff1204622a4fb086f40260816f9a0ba7f106619ab87288")


class Clock:
    """This machine's clock, which a test can put forward."""

    def __init__(self):
        self.ahead_s = 0.0

    def __call__(self):
        return time.monotonic() + self.ahead_s

    def advance(self, by_s):
        self.ahead_s += by_s


class Stopped:
    """A clock that only moves when told to."""

    def __init__(self, now_s=100.0):
        self.now_s = now_s

    def __call__(self):
        return self.now_s

    def advance(self, by_s):
        self.now_s += by_s


class Scripted:
    """A meter that gives what a script holds: readings, errors, None; a poll takes 10 ms."""

    url = "scripted://"
    source = "emulated"

    def __init__(self, kind, clock, script):
        self.kind = kind
        self.clock = clock
        self.script = list(script)
        self.closed = 0

    def read(self):
        start_s = self.clock()
        self.clock.advance(0.01)
        outcome = self.script.pop(0) if self.script else MeterError("the script is over")
        if isinstance(outcome, Exception):
            raise outcome
        return outcome and PowerSample(start_s + 0.005, 0.01, outcome, b"")

    def close(self):
        self.closed += 1


class Speaker:
    """A pseudo-terminal behind which `answer(bytes)` sits."""

    def __init__(self, answer=lambda asked: b""):
        self.master, self.slave = pty.openpty()
        tty.setraw(self.slave)
        self.path = os.ttyname(self.slave)
        self._answer = answer
        self._end_read, self._end = os.pipe()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def send(self, data):
        os.write(self.master, data)

    def _serve(self):
        while True:
            ready, _, _ = select.select([self.master, self._end_read], [], [])
            if self._end_read in ready:
                break
            os.write(self.master, self._answer(os.read(self.master, 256)))
        for end in (self.master, self.slave, self._end_read):
            os.close(end)

    def close(self):
        if self.thread.is_alive():
            os.write(self._end, b"x")
            self.thread.join()
            os.close(self._end)


def serial_meter(path, kind="tc66c", timeout_s=1.0, clock=time.monotonic, *, patient=False):
    """A meter on a port, with a time limit of its own."""
    entry, wire = SERIAL[kind]
    wire = replace(wire, timeout_s=timeout_s)
    return SerialMeter(f"{kind}://{path}", entry, wire, str(path), "emulated", patient=patient, clock=clock)


def constant(kind, power_w=4.2, **options):
    """An emulator under a constant load."""
    return Emulator(kind, lambda start_s, end_s: power_w, **options)


def crc_by_division(data):
    """CRC-16/MODBUS by division of the whole message, highest bit first: another way than the driver's."""
    bits = [(byte >> k) & 1 for byte in data for k in range(8)]
    message = [bit ^ 1 if k < 16 else bit for k, bit in enumerate([*bits, *[0] * 16])]
    for k in range(len(bits)):
        if message[k]:
            for offset in (0, 1, 14, 16):  # x^16 + x^15 + x^2 + 1
                message[k + offset] ^= 1
    return sum(bit << k for k, bit in enumerate(message[-16:]))


def tc66_packet(order=(0, 1, 2), product=b"TC66", spoil=None, **values):
    """A TC66C packet from the table of offsets, not from the driver."""
    plain = bytearray(192)
    table = {"serial": 12, "runs": 44, "volts": 48, "amps": 52, "watts": 56, "ohms": 68, "mah0": 72, "mwh0": 76,
             "mah1": 80, "mwh1": 84, "negative": 88, "celsius": 92, "d_plus": 96, "d_minus": 100}  # fmt: skip
    for name, at in ((b"pac1", 0), (product, 4), (b"1.14", 8), (b"pac2", 64), (b"pac3", 128)):
        plain[at : at + 4] = name
    for name, value in values.items():
        struct.pack_into("<I", plain, table[name], value)
    for start in (0, 64, 128):
        struct.pack_into("<I", plain, start + 60, crc_by_division(plain[start : start + 60]))
    if spoil is not None:
        plain[spoil] ^= 0x10
    blocks = [bytes(plain[64 * k : 64 * k + 64]) for k in order]
    encryptor = Cipher(algorithms.AES(TC66_KEY), modes.ECB()).encryptor()  # noqa: S305 - what the device speaks
    return encryptor.update(b"".join(blocks)) + encryptor.finalize()


def write_files(folder, files):
    """Write small files, as the system shows its devices."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")


def add_rapl(sysfs, counter_uj=1_000_000, range_uj=262_143_328_850):
    """A laptop's domains, with all that must not be counted twice."""
    names = {"intel-rapl:0": "package-0", "intel-rapl:0:0": "core", "intel-rapl:0:1": "uncore", "intel-rapl:1": "psys",
             "intel-rapl-mmio:0": "package-0"}  # fmt: skip
    for folder, name in names.items():
        files = {"name": name, "energy_uj": counter_uj, "max_energy_range_uj": range_uj}
        write_files(sysfs / "class/powercap" / folder, files)
    return sysfs / "class/powercap"


def add_battery(sysfs, name="BAT0", **files):
    """A battery in use."""
    there = {"type": "Battery", "status": "Discharging", "voltage_now": 11_400_000, "power_now": 7_500_000,
             "energy_now": 40_000_000, "manufacturer": "ACME", "model_name": "B1", "serial_number": "77"}  # fmt: skip
    write_files(sysfs / "class/power_supply" / name, {**there, **files})
    return sysfs / "class/power_supply" / name


PMIC_SAYS = b"""   3V7_WL_SW_A current(0)=0.10000000A
   VDD_CORE_A current(7)=2.00000000A
   3V7_WL_SW_V volt(8)=3.70000000V
   VDD_CORE_V volt(15)=0.75000000V
   EXT5V_V volt(24)=5.10000000V
   BATT_V volt(25)=0.00000000V
"""


class NVMLError(Exception):
    """As the library's."""


class NotSupportedError(NVMLError):
    """As the library's."""


def nvml_library(power_mw=31_500, energy_mj=9_000_000, cards=1):
    """NVIDIA's library with one card; None where the card has no such thing."""

    def said(value):
        if value is None:
            raise NotSupportedError("Not Supported")
        return value

    def handle(index):
        if index >= cards:
            raise NVMLError("Invalid Argument")
        return index

    return SimpleNamespace(
        NVMLError=NVMLError,
        NVMLError_NotSupported=NotSupportedError,
        NVML_TEMPERATURE_GPU=0,
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetHandleByIndex=handle,
        nvmlDeviceGetName=lambda card: b"Card 1",
        nvmlDeviceGetSerial=lambda card: said(None),
        nvmlSystemGetDriverVersion=lambda: "550.1",
        nvmlDeviceGetPowerUsage=lambda card: said(power_mw),
        nvmlDeviceGetTotalEnergyConsumption=lambda card: said(energy_mj),
        nvmlDeviceGetTemperature=lambda card, sensor: 45,
    )


def machine(sysfs, **changes):
    """A machine with whatever `sysfs` holds, a Raspberry Pi's power chip and a graphics card."""
    return Machine(**{"sysfs": sysfs, "vcgencmd": lambda: PMIC_SAYS, "nvml": nvml_library, **changes})
