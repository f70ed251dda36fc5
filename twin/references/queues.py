"""Who is in the queues now, as far as an observation tells."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from twin.engine.plan import message_visit, work_visit
from twin.units import BITS_PER_BYTE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twin.engine.plan import Visit
    from twin.problem import Observation, Problem
    from twin.steps import Steps


@dataclass(slots=True, eq=False)
class Walker:
    """A request on its way.

    Attributes:
        visits: The stations that it passes.
        step: Position of the present visit.
        work: Work left at that visit; None: all of it.
        sent_s: When it arrived; NaN for one that was under way before.
    """

    visits: tuple[Visit, ...]
    step: int = 0
    work: float | None = None
    sent_s: float = math.nan

    @property
    def counts(self) -> bool:
        """Whether its latency counts."""
        return not math.isnan(self.sent_s)


def under_way(
    problem: Problem, rates: Sequence[Steps], observation: Observation, visits: tuple[Visit, ...]
) -> list[Walker]:
    """Those in the queues: what is being served has the rest of its work left, what waits has all of it.

    They are taken to follow the running plan. What is served at a station that this plan does not pass still has to
    leave it; what waits there is not known and left out.

    Args:
        problem: The problem.
        rates: Rate at which each place delivers work.
        observation: The present queues.
        visits: The stations of the running plan.
    """
    served = _served(problem, rates, observation)
    queues = [*observation.queue_length.tolist(), *observation.link_queue.reshape(-1).tolist()]
    walkers = []
    for place, queue in enumerate(queues):
        step = next((k for k, visit in enumerate(visits) if visit.place == place), None)
        works = served.get(place, [])
        if step is None:
            walkers += [Walker((_leaving(problem, place),), work=work) for work in works]
        else:
            waiting = [None] * max(queue - len(works), 0)
            walkers += [Walker(visits, step, work) for work in (*works, *waiting)]
    return walkers


def _served(problem: Problem, rates: Sequence[Steps], observation: Observation) -> dict[int, list[float]]:
    """Work that is left of what is being served, by place."""
    now = observation.samples
    places = np.concatenate([now.open_device, problem.n_devices + 2 * now.open_link + now.open_direction])
    amounts = np.concatenate([now.open_nominal_s, now.open_bytes * BITS_PER_BYTE])
    ages_s = np.concatenate([now.open_service_s, now.open_transfer_s])
    served: dict[int, list[float]] = {}
    for place, amount, since_s in zip(places.tolist(), amounts.tolist(), ages_s.tolist(), strict=True):
        done = rates[place].integral(max(observation.t_s - since_s, 0.0), observation.t_s)
        served.setdefault(place, []).append(max(amount - done, 0.0))
    return served


def _leaving(problem: Problem, place: int) -> Visit:
    """A visit that no other follows."""
    if place < problem.n_devices:
        return work_visit(place, 0.0)
    return message_visit(problem, *divmod(place - problem.n_devices, 2), 0.0)
