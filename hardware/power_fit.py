"""`python -m hardware.power fit RUN_FOLDER`: the power states of devices from what meters read in a run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twin.errors import MeasurementError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from rich.table import Table

    from twin.metering.fit import DeviceFit
    from twin.topology import Continuum

HELP = "fit the power states of devices to a measured run, for the twin"


def fit_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `fit`."""
    parser.add_argument("folder", type=Path, metavar="RUN_FOLDER", help="folder of a measured run, with run.json")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the states, too; .json, .yaml or .yml")


def fit(options: argparse.Namespace) -> int:
    """Fit the power states of all devices with a meter, and show them.

    Raises:
        TwinError: The folder is not a run, or no device has enough readings.
    """
    if options.out is not None and options.out.suffix not in (".json", ".yaml", ".yml"):
        raise MeasurementError(f"--out {options.out}: the name must end in .json, .yaml or .yml")
    fits = fit_folder(options.folder)
    from rich.console import Console  # noqa: PLC0415 - not needed for --help

    console = Console()
    console.print(_table(fits))
    for found in fits:
        console.print(_pasted(found), soft_wrap=True, markup=False, highlight=False)
    if options.out is not None:
        _write(options.out, options.folder, fits)
        sys.stdout.write(f"written: {options.out}\n")
    return 0


def fit_folder(folder: Path) -> list[DeviceFit]:
    """Fit the power states of all devices of a run folder that have a meter.

    Raises:
        RunFolderError: The folder is not a run.
        MeasurementError: No device has enough readings.
    """
    from twin.metering.fit import fit_device  # noqa: PLC0415 - numpy is not needed for --help
    from twin.metrics import replication_of  # noqa: PLC0415 - likewise
    from twin.runs.folder import read_info, read_run  # noqa: PLC0415 - likewise

    info, result = read_info(folder), read_run(folder)
    scenario = info["scenario"]
    continuum = _continuum(scenario)
    runs = [replication_of(result, number) for number in info["replications"]]
    fits = [fit_device(continuum, runs, device, _gone_s(scenario, name)) for device, name in enumerate(continuum.names)]
    found = [entry for entry in fits if entry is not None]
    if not found:
        raise MeasurementError(
            f"{folder}: no device has enough meter readings (the run is {result.source}); measure a run with a meter, "
            "see docs/energy.md"
        )
    return found


def _continuum(scenario: Mapping[str, Any]) -> Continuum:
    """Devices and links of a resolved scenario: who sits at the ends of each link is all that a fit needs."""
    from twin.topology import Continuum, Device, Link  # noqa: PLC0415 - not needed for --help

    names = [device["name"] for device in scenario["devices"]]
    devices = tuple(Device(device["name"], device["tier"]) for device in scenario["devices"])
    pairs = [sorted(names.index(name) for name in link["between"]) for link in scenario["links"]]
    return Continuum(devices, tuple(Link(a, b) for a, b in pairs))


def _gone_s(scenario: Mapping[str, Any], name: str) -> list[tuple[float, float]]:
    """Stretches in which the scenario takes the meter of a device away."""
    faults = scenario.get("faults", ())
    return [
        (fault["start_s"], fault["end_s"])
        for fault in faults
        if fault["kind"] == "meter_gone" and fault.get("device") == name
    ]


def _table(fits: Sequence[DeviceFit]) -> Table:
    from rich.table import Table  # noqa: PLC0415 - not needed for --help
    from rich.text import Text  # noqa: PLC0415 - likewise

    from twin.wording import UNKNOWN, number  # noqa: PLC0415 - likewise

    table = Table("device", "state", "power, W", "95 % interval", "time in it, s", "", box=None)
    for found in fits:
        for position, (name, state) in enumerate(found.states.items()):
            ends = UNKNOWN if state.low_w is None else f"{number(state.low_w)} to {number(state.high_w)}"
            who = found.device if position == 0 else ""
            cells = (who, name, number(state.power_w), ends, number(state.busy_s), state.reason)
            table.add_row(*(Text(cell) for cell in cells))
    return table


def _pasted(found: DeviceFit) -> str:
    """A line for the device in a scenario, and what to know of it."""
    power = found.power()
    if power is None:
        return f"# {found.device}: idle and compute are both needed for a scenario; see the reasons above"
    pairs = ", ".join(f"{name}: {watts:.4g}" for name, watts in power.items())
    source = "measured" if found.meter.source == "measured" else "emulated, so not measured"
    return f"power: {{{pairs}}}  # {found.device}, {found.meter.model}, {found.readings} readings, {source}"


def _write(out: Path, folder: Path, fits: Sequence[DeviceFit]) -> None:
    from twin.runs.folder import write_text  # noqa: PLC0415 - not needed for --help

    data = {"schema": 1, "run": str(folder), "devices": [found.to_json() for found in fits]}
    if out.suffix == ".json":
        write_text(out, json.dumps(data, indent=2, allow_nan=False) + "\n")
        return
    import yaml  # noqa: PLC0415 - not needed for --help

    write_text(out, yaml.safe_dump(data, sort_keys=False))
