"""Power states of a device by its meter, as parameters of a calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twin.calibration.parts import EVERYTHING
from twin.calibration.terms import Estimate
from twin.metering.fit import fit_device
from twin.metrics import replication_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twin.calibration.parts import Part
    from twin.metering.fit import StateFit

_STATES = ("idle", "compute", "transmit", "receive")


def fit_power(parts: Sequence[Part], name: str) -> dict[str, Estimate]:
    """Power states of a device, by the names that a scenario gives them; empty without a meter.

    Of a run that is split in time all readings count: a split of readings would cut off the idle stretch at its end.

    Args:
        parts: Runs; each has the device.
        name: Its name.
    """
    world = parts[0].world
    device = world.problem.continuum.position(name)
    power = world.problem.continuum.devices[device].power
    runs = [replication_of(part.result, number) for part in parts for number in part.replications]
    gone_s = [(x.start_s, x.end_s) for x in world.faults if x.kind == "meter_gone" and x.target == device]
    found = fit_device(world.problem.continuum, runs, device, gone_s) if any(len(run.meters) for run in runs) else None
    if found is None or power is None:
        return {}
    whole = all(part.window == EVERYTHING for part in parts)
    note = "" if whole else "of whole runs, what is held out too"
    was = (power.idle_w, power.compute_w, power.transmit_w, power.receive_w)
    return {
        f"{state}_w": _estimate(found.states[state], old_w, found.readings, note)
        for state, old_w in zip(_STATES, was, strict=True)
    }


def _estimate(state: StateFit, was: float, n: int, note: str) -> Estimate:
    if state.power_w is None:
        return Estimate.kept(was, state.reason, n)
    return Estimate(state.power_w, state.low_w, state.high_w, n, determined=True, was=was, note=note)
