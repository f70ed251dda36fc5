"""A calibration as tables on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from twin.units import kilobytes_from_bytes, ms_from_s, us_from_s
from twin.wording import UNKNOWN, number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from twin.calibration.calibration import Calibration
    from twin.calibration.terms import Estimate

_WILD = 0.01
"""Share of wild rows from which on a reader is told."""


def show(calibration: Calibration, console: Console) -> None:
    """Print parameters, what is to be known of them, and errors on what was held out."""
    table = Table("", "parameter", "value", "95 % interval", "scenario", "n", box=None, pad_edge=False)
    for column in table.columns[:4]:
        column.no_wrap = True
    notes: dict[str, list[str]] = {}
    last = ""
    for place, name, estimate in _parameters(calibration):
        interval = UNKNOWN if estimate.low is None else f"{number(estimate.low)} to {number(estimate.high)}"
        value = number(estimate.value) if estimate.determined else "not known"
        cells = (place if place != last else "", name, value, interval, number(estimate.was), str(estimate.n))
        table.add_row(*(Text(cell) for cell in cells))
        if estimate.note:
            notes.setdefault(estimate.note, []).append(f"{place} {name.partition(',')[0]}")
        last = place
    console.print(table)
    console.print("not known: the data do not determine it, so the twin keeps the value of the scenario")
    for note, places in notes.items():
        console.print(f"! {', '.join(places)}: {note}.", highlight=False, markup=False)
    for name, share in _wild(calibration):
        console.print(f"! {name}: {100 * share:.1f} % of the rows are wild and do not count.", highlight=False)
    if calibration.validation:
        console.print(_errors(calibration))


def _parameters(calibration: Calibration) -> Iterator[tuple[str, str, Estimate]]:
    for name, device in calibration.devices.items():
        for model, estimate in device.additivity.items():
            yield name, "additivity" if len(device.additivity) == 1 else f"additivity of {model}", estimate
        yield name, "slowdown", device.slowdown
        yield name, "stage overhead, ms", device.stage_overhead_s.mapped(ms_from_s(1.0))
        yield name, "codec, µs/kB", device.codec_s_per_byte.mapped(us_from_s(1.0) / kilobytes_from_bytes(1.0))
        yield name, "dispersion", device.dispersion
        for state, estimate in calibration.power.get(name, {}).items():
            yield name, f"{state.removesuffix('_w')}, W", estimate
    for name, link in calibration.links.items():
        yield name, "goodput up", link.goodput_up
        yield name, "goodput down", link.goodput_down
        yield name, "rtt, more by ms", link.rtt_extra_s.mapped(ms_from_s(1.0))
        yield name, "message overhead, ms", link.message_overhead_s.mapped(ms_from_s(1.0))
        yield name, "slow start, ms", link.slow_start_s.mapped(ms_from_s(1.0))
    yield "switch", "downtime, ms", calibration.downtime_s.mapped(ms_from_s(1.0))


def _wild(calibration: Calibration) -> Iterator[tuple[str, float]]:
    devices = [(x.name, x.wild) for x in calibration.devices.values()]
    links = [(x.name, x.wild) for x in calibration.links.values()]
    yield from ((name, share) for name, share in (*devices, *links) if share >= _WILD)


def _errors(calibration: Calibration) -> Table:
    """Simulated / measured - 1 by policy and quantity."""
    table = Table("held out", "quantity", "n", "measured, ms", "error before", "after", box=None)
    for column in table.columns[:2]:
        column.no_wrap = True
    several, last = len(calibration.folders) > 1, ""
    for x in calibration.validation:
        place = f"{x.folder}/{x.policy}" if several else x.policy
        errors = [UNKNOWN if error is None else f"{100 * error:+.1f} %" for error in (x.before, x.after)]
        cells = (place if place != last else "", x.quantity, str(x.n), number(ms_from_s(x.measured)), *errors)
        table.add_row(*(Text(cell) for cell in cells))
        last = place
    return table
