"""The controller: raw samples in, a decision out; the same object in the twin and on the testbed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from twin.conditions import Estimator
from twin.errors import PartitionError
from twin.problem import LinkProbe, Observation, Samples
from twin.records import RawSamples
from twin.shown import Shown

if TYPE_CHECKING:
    from twin.partition import Partition
    from twin.problem import Decision, Probe, Problem

S = TypeVar("S")

_NO_SAMPLES = Samples.none()


class Policy(Protocol[S]):
    """Decides which partition new requests run on. Pure: no input or output, no clock, no hidden state.

    A class may say `looks: ClassVar[bool] = False`: it never looks at anything measured, that is samples, estimates,
    ages and queues. Nothing is sampled or estimated for it, which saves most of the time of a run: it is shown no
    samples, the first conditions and empty queues, and still the time, arrivals and what is lost.
    """

    def init(self, problem: Problem) -> S:
        """Return the first state."""
        ...

    def decide(self, observation: Observation, state: S) -> tuple[Decision, S]:
        """Return a decision and the next state."""
        ...


def looks(policy: Policy[Any]) -> bool:
    """Whether a policy looks at anything measured; true for a policy that does not say."""
    return bool(getattr(policy, "looks", True))


class Controller:
    """Turns samples into estimates, asks the policy, checks its answer and keeps the log.

    Attributes:
        looks: Whether the policy looks at anything measured; if not, the log holds none of it.
        partition: The partition last decided on.
        epoch: Plan epoch of it.
        log: One entry per decision, as plain data.

    Args:
        policy: The policy.
        problem: The problem.
        replication: Number of the replication, for the log.
    """

    def __init__(self, policy: Policy[Any], problem: Problem, replication: int = 0) -> None:
        self._policy = policy
        self._problem = problem
        self._replication = replication
        self._state = policy.init(problem)
        self.looks = looks(policy)
        self._estimator = Estimator(problem) if self.looks else None
        self._no_queues = np.zeros(problem.n_devices, dtype=np.int64)
        self._no_links = np.zeros((len(problem.continuum.links), 2), dtype=np.int64)
        self._shown = Shown(replication)
        self.partition: Partition | None = None
        self.epoch = -1
        self.log: list[dict[str, Any]] = []

    def tick(
        self,
        t_s: float,
        samples: Samples,
        *,
        queue_length: np.ndarray,
        link_queue: np.ndarray,
        arrived: int,
        available: np.ndarray,
        link_up: np.ndarray,
    ) -> Decision:
        """Make one decision; the plan epoch rises by one where the partition changes.

        A policy that does not look is shown neither samples nor queues, whatever is given.

        Args:
            t_s: Time since the start of the run.
            samples: Raw measurements since the last tick.
            queue_length: Requests waiting or in service by device, shape [n_devices].
            link_queue: Messages waiting or being sent per link and direction, shape [n_links, 2].
            arrived: Requests that arrived since the last tick.
            available: Whether each device answers, shape [n_devices].
            link_up: Whether each link is up, shape [n_links].

        Raises:
            PartitionError: The policy chose a partition that is not legal.
        """
        if self._estimator is None:
            samples, conditions = _NO_SAMPLES, self._problem.initial
            age_s, device_age_s = np.full(self._no_links.shape, t_s), np.full(self._no_queues.shape, t_s)
            queue_length, link_queue = self._no_queues, self._no_links
        else:
            conditions = self._estimator.update(samples)
            age_s, device_age_s = self._estimator.ages_s(t_s)
        observation = Observation(
            t_s,
            samples,
            conditions,
            age_s,
            device_age_s,
            queue_length,
            arrived,
            self.partition,
            available,
            link_up,
            link_queue,
        )
        decision, self._state = self._policy.decide(observation, self._state)
        if decision.partition is not self.partition:
            self._check(decision.partition)
        switched = self.partition is not None and decision.partition != self.partition
        if decision.partition != self.partition:
            self.epoch += 1
            self.partition = decision.partition
        self._record(observation, decision, switched=switched)
        return decision

    @property
    def raw(self) -> RawSamples:
        """All samples that the policy was shown."""
        return RawSamples.deferred([self._shown])

    def _check(self, partition: Partition) -> None:
        partition.check(self._problem.graph)
        if partition.n_devices != self._problem.n_devices or not self._problem.allows(partition):
            names = self._problem.continuum.names
            raise PartitionError(
                f"the policy chose `{partition.describe(names)}`, which breaks a memory limit or moves a pinned layer"
            )

    def _record(self, observation: Observation, decision: Decision, *, switched: bool) -> None:
        first, looks = self._shown.most_rows, self.looks
        if looks:
            self._shown.add(observation.samples, observation.t_s)
        self.log.append(
            {
                "replication": self._replication,
                "tick": len(self.log),
                "t_s": observation.t_s,
                "epoch": self.epoch,
                "rows": [first, self._shown.most_rows],
                "conditions": observation.conditions.to_json() if looks else None,
                "queue_length": observation.queue_length.tolist() if looks else None,
                "link_queue": observation.link_queue.tolist() if looks else None,
                "arrived": observation.arrived,
                "available": observation.available.tolist(),
                "link_up": observation.link_up.tolist(),
                "candidates": [
                    {
                        "placement": list(x.partition.placement),
                        "score": x.score,
                        "latency_s": x.latency_s,
                        "energy_j": x.energy_j,
                    }
                    for x in decision.candidates
                ],
                "partition": decision.partition.to_json(),
                "switched": switched,
                "probes": [_probe(probe) for probe in decision.probes],
                "reason": decision.reason,
                "charged_j": {},
            }
        )


def _probe(probe: Probe) -> dict[str, Any]:
    if isinstance(probe, LinkProbe):
        return {"link": probe.link, "direction": probe.direction, "size_bytes": probe.size_bytes}
    return {"device": probe.device, "layers": list(probe.layers)}
