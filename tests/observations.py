"""What a policy sees, made by hand, and a logged run shown to a policy again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from twin.control import Controller
from twin.problem import Observation, Samples

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from twin.control import Policy
    from twin.problem import Decision, Problem
    from twin.records import RunResult


def observe(problem: Problem, **changes: Any) -> Observation:
    """An observation at the start of a run, with nothing sampled; `changes` replace fields."""
    n, links = problem.n_devices, len(problem.continuum.links)
    values = {
        "t_s": 0.0,
        "samples": Samples.none(),
        "conditions": problem.initial,
        "age_s": np.zeros((links, 2)),
        "device_age_s": np.zeros(n),
        "queue_length": np.zeros(n, dtype=int),
        "link_queue": np.zeros((links, 2), dtype=int),
        "arrived": 0,
        "partition": None,
        "available": np.ones(n, dtype=bool),
        "link_up": np.ones(links, dtype=bool),
    }
    return Observation(**{**values, **changes})


def quiet_tick(controller: Controller, t_s: float, samples: Samples) -> Decision:
    """A tick of the default world with these samples, one arrival, empty queues and everything up."""
    return controller.tick(
        t_s,
        samples,
        queue_length=np.zeros(3, dtype=int),
        link_queue=np.zeros((2, 2), dtype=int),
        arrived=1,
        available=np.ones(3, dtype=bool),
        link_up=np.ones(2, dtype=bool),
    )


def replay(result: RunResult, policy: Policy[Any], problem: Problem) -> Iterator[tuple[Mapping[str, Any], Decision]]:
    """Each logged decision with the one that the policy takes when it is shown the same again."""
    controller = Controller(policy, problem)
    for entry in result.decisions:
        yield (
            entry,
            controller.tick(
                entry["t_s"],
                result.raw.samples(*entry["rows"]),
                queue_length=np.array(entry["queue_length"]),
                link_queue=np.array(entry["link_queue"]),
                arrived=entry["arrived"],
                available=np.array(entry["available"]),
                link_up=np.array(entry["link_up"], dtype=bool),
            ),
        )
