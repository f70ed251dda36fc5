"""What the `reap` policy keeps of its samples: stages and answers of one phase, and receipts of probes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from twin.policies.reap_model import N_NODES, LinkModel, two_point

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twin.problem import Samples

_SAME = 1e-9
"""Differences below this are rounding: of a profiled time, relative; of the time of a message, in seconds."""
Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Tally:
    """Stages and answers of one phase, as the sums that a fit needs.

    Attributes:
        seen: Stage samples by node, the warm-up included.
        work: Sum of share * measured time by node, in seconds.
        square: Sum of share squared by node.
        answered: Answers, the warm-up included.
        counted: Answers that count.
        latency_s: Sum of their latencies.
    """

    seen: tuple[int, int, int] = (0, 0, 0)
    work: Triple = (0.0, 0.0, 0.0)
    square: Triple = (0.0, 0.0, 0.0)
    answered: int = 0
    counted: int = 0
    latency_s: float = 0.0

    @property
    def mean_latency_s(self) -> float | None:
        """Mean latency; None where no answer counts."""
        return self.latency_s / self.counted if self.counted else None

    def take(self, samples: Samples, nominal_s: np.ndarray, shares: np.ndarray, epoch: int, skip: int) -> Tally:
        """Add what belongs to the phase's own split, its first runs left out.

        A stage sample does not say its split, but its profiled time does; an answer says its plan epoch. The tail of
        the split before is so left out.

        Args:
            samples: The samples of one tick.
            nominal_s: Profiled time of the split's stages, shape [3].
            shares: Share of each of its stages, shape [3].
            epoch: Plan epoch of the split.
            skip: Runs at the start of the phase that do not count.
        """
        seen, work, square = list(self.seen), list(self.work), list(self.square)
        for node in range(N_NODES):
            own = (samples.device == node) & np.isclose(samples.nominal_s, nominal_s[node], rtol=_SAME, atol=0.0)
            times_s = samples.service_s[own][max(skip - seen[node], 0) :]
            seen[node] += int(own.sum())
            work[node] += float(shares[node] * times_s.sum())
            square[node] += float(shares[node] ** 2 * len(times_s))
        mine = samples.latency_s[samples.done_epoch == epoch]
        counted = mine[max(skip - self.answered, 0) :]
        return Tally(
            (seen[0], seen[1], seen[2]),
            (work[0], work[1], work[2]),
            (square[0], square[1], square[2]),
            self.answered + len(mine),
            self.counted + len(counted),
            self.latency_s + float(counted.sum()),
        )


def fit(tallies: Sequence[Tally], profiled_s: np.ndarray) -> np.ndarray:
    """Time by node per unit share, by least squares through zero, shape [3]; the profiled one without a sample."""
    work = np.sum([tally.work for tally in tallies], axis=0)
    square = np.sum([tally.square for tally in tallies], axis=0)
    known = square > 0
    return np.where(known, work / np.where(known, square, 1.0), profiled_s)


@dataclass(frozen=True, slots=True)
class Echoes:
    """Receipts of one round of probes.

    Attributes:
        asked_s: When the probes were asked for.
        small_s: Times of the small messages by link direction.
        large_s: Times of the large messages by link direction.
    """

    asked_s: float
    small_s: tuple[tuple[float, ...], ...]
    large_s: tuple[tuple[float, ...], ...]

    @classmethod
    def none(cls, asked_s: float, n: int) -> Echoes:
        """No receipt yet of probes over `n` link directions."""
        return cls(asked_s, ((),) * n, ((),) * n)

    def take(self, samples: Samples, stations: Sequence[tuple[int, int]], sizes_bytes: tuple[float, float]) -> Echoes:
        """Add the receipts of messages of the probes' sizes that were sent after the probes were asked for."""
        fresh = samples.link_t_s - samples.transfer_s >= self.asked_s - _SAME
        found: list[list[tuple[float, ...]]] = [[], []]
        for kind, size_bytes in enumerate(sizes_bytes):
            for (link, direction), before in zip(stations, (self.small_s, self.large_s)[kind], strict=True):
                own = fresh & (samples.link == link) & (samples.direction == direction)
                times_s = samples.transfer_s[own & (samples.size_bytes == size_bytes)]
                found[kind].append((*before, *times_s.tolist()))
        return replace(self, small_s=tuple(found[0]), large_s=tuple(found[1]))

    def complete(self, repeats: int) -> bool:
        """Whether every probe has its receipt."""
        return all(len(times_s) >= repeats for times_s in (*self.small_s, *self.large_s))

    def links(self, old: Sequence[LinkModel], sizes_bytes: tuple[float, float]) -> tuple[LinkModel, ...]:
        """The new link models; the old one where a size has no receipt or the times make no sense."""
        rows = zip(self.small_s, self.large_s, old, strict=True)
        return tuple(
            two_point(sizes_bytes, (sum(small) / len(small), sum(large) / len(large)), before)
            if small and large
            else before
            for small, large, before in rows
        )
