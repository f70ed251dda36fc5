"""Where the difference of two mean latencies arises: steps that add up to it exactly."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from twin.comparison.estimate import Estimate, difference
from twin.comparison.sampled import mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twin.comparison.breakdown import Part
    from twin.comparison.pairing import Cut, Pairing
    from twin.comparison.sampled import Sampled


@dataclass(frozen=True, slots=True)
class Step:
    """One part of the latency on both sides, per counted request that was answered.

    Attributes:
        what: `hold`, `waiting`, `compute`, `transmission`, `propagation` or `other`.
        place: Name of the place; empty for `hold` and `other`.
        sim_s: Its mean on the first side.
        measured_s: Its mean on the second.
        difference_s: The first minus the second, with its interval.
    """

    what: str
    place: str
    sim_s: float
    measured_s: float
    difference_s: Estimate

    @property
    def delta_s(self) -> float:
        """By how much the first side is longer."""
        return self.sim_s - self.measured_s

    def to_json(self) -> dict[str, Any]:
        """The step as plain data."""
        return {
            "what": self.what,
            "place": self.place,
            "sim_s": self.sim_s,
            "measured_s": self.measured_s,
            "difference_s": {**self.difference_s.to_json(), "value": self.delta_s},
        }


def waterfall(pairing: Pairing, parts: tuple[Part, ...], places: Sequence[str]) -> tuple[Step, ...]:
    """The steps from the reference's mean latency to the other's; parts that neither side knows are left out.

    The mean is that of the replications' means, as that of the latency itself, so that the steps add up to the
    difference of the latencies whatever was dropped or lost on either side. Empty where nothing was answered.
    """
    if not all(len(cut.times) for cut in (*pairing.sim, *pairing.measured)):
        return ()
    found = []
    for column, part in enumerate(parts):
        own, reference = pairing.sampled(partial(_column, column))
        here_s, there_s = (float(np.mean([x.value for x in side])) for side in (own, reference))
        if any(x.value != 0 for x in (*own, *reference)):
            delta = difference(own, reference, joint=pairing.joint)
            found.append(Step(part.what, places[part.place] if part.place >= 0 else "", here_s, there_s, delta))
    return tuple(found)


def largest(steps: Sequence[Step]) -> Step | None:
    """The step that differs most; None where none does."""
    step = max(steps, key=lambda x: abs(x.delta_s), default=None)
    return step if step is not None and step.delta_s != 0 else None


def _column(column: int, cut: Cut) -> Sampled:
    return mean(cut.times.parts_s[:, column], cut.block, cut.taken)
