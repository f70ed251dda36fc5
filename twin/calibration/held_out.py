"""How wrong the twin is on runs that were not fitted: with the scenario's parameters, and with the calibration's.

The twin replays them: their arrivals and their decisions, over the links and loads of the scenario.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from twin.calibration.apply import calibrated
from twin.calibration.calibration import HeldOutError
from twin.calibration.inputs import Inputs
from twin.calibration.parts import Part
from twin.calibration.replay import replay
from twin.records import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from twin.calibration.calibration import Calibration
    from twin.calibration.fit import SplitFolder
    from twin.world import World

_INPUTS = Inputs(arrivals=True, links=False, loads=False, decisions=True)
_LEAST = 3


def held_out_errors(folders: Sequence[SplitFolder], calibration: Calibration) -> tuple[HeldOutError, ...]:
    """Errors of all quantities of all policies that were held out."""
    return tuple(error for folder in folders for part in folder.held_out for error in _of(folder, part, calibration))


def _of(folder: SplitFolder, part: Part, calibration: Calibration) -> Iterator[HeldOutError]:
    measured = _quantities(part)
    before = _quantities(_replayed(part.world, part))
    after = _quantities(_replayed(calibrated(part.world, calibration), part))
    for name, (value, n) in measured.items():
        yield HeldOutError(
            folder.folder.path.resolve().name,
            part.result.label,
            name,
            n,
            value,
            before[name][0] / value - 1 if name in before else None,
            after[name][0] / value - 1 if name in after else None,
        )


def _replayed(world: World, part: Part) -> Part:
    return Part(world, replay(world, part.result, _INPUTS), part.window)


def _quantities(part: Part) -> dict[str, tuple[float, int]]:
    """Mean and tail of the latency, mean compute of each device, mean time of each hop.

    The time of a hop has the waiting for its link in it: on a testbed, a sender does not see when the other direction
    of a half-duplex link has the medium, so that waiting and transmission cannot be told apart there.

    Returns:
        Value in seconds and number of rows by name; what was too rare is not there.
    """
    requests = part.result.requests
    counted = requests.completed & requests.counted & part.counted(requests.arrival_s)
    latency_s = requests.latency_s[counted]
    rows: dict[str, np.ndarray] = {"latency mean": latency_s}
    continuum = part.world.problem.continuum
    for device, name in enumerate(continuum.names):
        rows[f"compute {name}"] = part.stages.time_s[part.stages.device == device]
    for link, joined in enumerate(continuum.links):
        names = continuum.names[joined.a], continuum.names[joined.b]
        for direction, (sender, receiver) in enumerate((names, names[::-1])):
            rows[f"hop {sender}>{receiver}"] = _hop_s(part, len(continuum) + 2 * link + direction)
    found = {name: (float(times_s.mean()), len(times_s)) for name, times_s in rows.items() if len(times_s) >= _LEAST}
    if len(latency_s) >= _LEAST:
        found["latency p95"] = (float(np.percentile(latency_s, 95)), len(latency_s))
    return found


def _hop_s(part: Part, place: int) -> np.ndarray:
    """Time that each answered request of the window spent at a link direction, shape [n_requests that came by]."""
    requests, spans = part.result.requests, part.result.spans
    counted = requests.completed & (requests.replays == 0) & part.counted(requests.arrival_s)
    spans = spans.where((spans.place == place) & (spans.request >= 0) & (spans.kind != Kind.HOLD))
    width = int(requests.request.max(initial=0)) + 1
    wanted = requests.replication[counted].astype(np.int64) * width + requests.request[counted]
    number = spans.replication.astype(np.int64) * width + spans.request
    inside = np.isin(number, wanted)
    _, position = np.unique(number[inside], return_inverse=True)
    return np.bincount(position.ravel(), weights=(spans.end_s - spans.start_s)[inside])
