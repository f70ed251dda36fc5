"""Energy that meters read: its uncertainty over replications, and what to say of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from twin.metering import MeteredEnergy
    from twin.metering.caveats import Caveat
    from twin.metrics.intervals import Interval
    from twin.metrics.summary import Figures, PolicySummary
    from twin.problem import Boundary


def half_width_j(figures: Figures, boundary: Boundary, device: int | None = None) -> float | None:
    """Half-width of the joules per answer of one device, or of all of them; None where no meter says.

    Meters of different devices err independently, so that their half-widths add up as squares.

    Args:
        figures: One replication.
        boundary: The accounting boundary.
        device: The device; None for all of them.
    """
    if figures.metered is None or figures.completed == 0:
        return None
    entries = figures.metered if device is None else figures.metered[device : device + 1]
    halves_j = [entry.joules[boundary].half_width_j for entry in entries]
    known_j = [half_j for half_j in halves_j if half_j is not None]
    return math.hypot(*known_j) / figures.completed if len(known_j) == len(halves_j) else None


def over_replications(repeats: Interval, halves_j: Sequence[float | None]) -> float | None:
    """Half-width of a mean over replications: what the meters leave open, and what repeats scatter by.

    Both add up as squares. What a meter leaves open is not divided by the number of replications, because much of it
    is the same in each: the figure errs on the wide side.

    Args:
        repeats: The mean and its interval over replications.
        halves_j: Half-width of each replication.
    """
    known_j = [half_j for half_j in halves_j if half_j is not None]
    if repeats.mean is None or not known_j:
        return None
    scatter_j = 0.0 if repeats.high is None else repeats.high - repeats.mean
    return math.hypot(scatter_j, math.sqrt(sum(half_j**2 for half_j in known_j) / len(known_j)))


def meter_notes(devices: Sequence[str], policies: Sequence[PolicySummary]) -> list[str]:
    """What the meters make a reader bear in mind; what differs in its numbers or its device only is said once."""
    said: dict[tuple[int, str], list[tuple[str, Caveat]]] = {}
    total: dict[int, int] = {}
    for where, device, entry in _entries(policies):
        total[device] = total.get(device, 0) + 1
        for caveat in entry.caveats:
            said.setdefault((device, caveat.kind), []).append((where, caveat))
    texts: dict[str, list[str]] = {}
    for (device, _), found in sorted(said.items(), key=lambda item: item[0][0]):
        texts.setdefault(f"{found[0][1].text}{_where(found, total[device])}", []).append(devices[device])
    return [f"{listed(names)}: {text}." for text, names in texts.items()]


def listed(names: Sequence[str]) -> str:
    """Names in a row, such as `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _entries(policies: Sequence[PolicySummary]) -> Iterator[tuple[str, int, MeteredEnergy]]:
    for policy in policies:
        for figures in policy.figures:
            for device, entry in enumerate(figures.metered or ()):
                yield f"{policy.label}, replication {figures.replication}", device, entry


def _where(found: Sequence[tuple[str, Caveat]], total: int) -> str:
    """In which replications; nothing where a caveat says the same everywhere."""
    if len(found) == total and len({caveat.text for _, caveat in found}) == 1:
        return ""
    return f" ({found[0][0]})" if len(found) == 1 else f" ({found[0][0]}; in {len(found)} of {total} plays in all)"
