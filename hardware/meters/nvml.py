"""Graphics cards of NVIDIA, by its management library.

Where the card counts its energy (Volta and later) the counter is what to rest on: it misses nothing between two polls.
The power that the library shows is a running mean of the driver's choosing; on A100 and H100 it is taken over a part of
the time only, so that short loads are missed or counted in full.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from hardware.meters.errors import AccessError, DecodeError, MeterError, UrlError
from hardware.meters.onboard import OnBoardMeter, number, pack, unpack
from hardware.meters.protocol import DeviceFacts, MeterKind, Reading
from twin import units

if TYPE_CHECKING:
    from collections.abc import Callable

_NAMES = ("name", "driver", "serial")


def decode(frame: bytes) -> Reading:
    """Read a frame.

    Raises:
        DecodeError: It holds neither power nor energy.
    """
    values = unpack(frame, "NVML")
    power_mw, energy_mj, celsius = (number(values, name, frame) for name in ("power_mw", "energy_mj", "temperature_c"))
    if power_mw is None and energy_mj is None:
        raise DecodeError("the card tells neither its power nor its energy; measure the machine with a meter", frame)
    energy_j = None if energy_mj is None else units.from_milli(energy_mj)
    return Reading(
        power_w=None if power_mw is None else units.from_milli(power_mw),
        energy_wh=None if energy_j is None else units.wh_from_j(energy_j),
        temperature_c=celsius,
        counter_j=energy_j,
        device=DeviceFacts(*(str(values.get(name) or "") for name in _NAMES)),
    )


KIND = MeterKind(
    name="nvml",
    label="NVIDIA graphics card",
    place="the graphics card's own measurement of itself; the machine around it is not in it",
    refresh_s=0.1,
    poll_s=0.05,
    decoder=lambda: decode,
    power_step_w=units.from_milli(1.0),
    counter_step_j=units.from_milli(1.0),
)


def import_nvml() -> Any:  # noqa: ANN401 - the library has no types
    """Return the library.

    Raises:
        AccessError: It is not installed.
    """
    try:
        return importlib.import_module("pynvml")
    except ImportError as error:
        raise AccessError(
            "nvml:// needs the package nvidia-ml-py; install it with `pip install 'continuum-twin[gpu]'`"
        ) from error


def open_nvml(url: str, index: str, library: Any, clock: Callable[[], float]) -> OnBoardMeter:  # noqa: ANN401 - as above
    """Open a graphics card by its number.

    Raises:
        MeterError: There is no such card, or no driver.
    """
    if index and not index.isdecimal():
        raise UrlError(f"`{url}` names no card; give its number, such as nvml://0")
    try:
        library.nvmlInit()
        card = library.nvmlDeviceGetHandleByIndex(int(index or 0))
        names = [_said(library, name, card) for name in ("nvmlDeviceGetName", "nvmlDeviceGetSerial")]
        driver = _said(library, "nvmlSystemGetDriverVersion")
    except library.NVMLError as error:
        raise AccessError(f"{url}: NVML says `{error}`; `nvidia-smi` shows the cards and whether they work") from error

    def fetch() -> bytes:
        try:
            said = {
                "power_mw": _said(library, "nvmlDeviceGetPowerUsage", card),
                "energy_mj": _said(library, "nvmlDeviceGetTotalEnergyConsumption", card),
                "temperature_c": _said(library, "nvmlDeviceGetTemperature", card, library.NVML_TEMPERATURE_GPU),
            }
        except library.NVMLError as error:
            raise MeterError(f"{url}: NVML says `{error}`; does `nvidia-smi` still answer?") from error
        return pack({**said, "name": names[0], "driver": driver, "serial": names[1]})

    return OnBoardMeter(url, KIND, fetch, clock, library.nvmlShutdown)


def _said(library: Any, function: str, *arguments: Any) -> Any:  # noqa: ANN401 - as above
    """What the library says; None where the card has no such thing."""
    try:
        said = getattr(library, function)(*arguments)
    except library.NVMLError_NotSupported:
        return None
    return said.decode() if isinstance(said, bytes) else said
