"""Which replication, which stretch of time and which request of one side belongs to which of the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from twin.comparison.blocks import block_length, block_of, draws, edges_s, number_of_blocks
from twin.comparison.breakdown import Breakdown, breakdown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twin.comparison.breakdown import Part
    from twin.comparison.sampled import Sampled
    from twin.comparison.side import Play

Mode = Literal["requests", "time", "apart"]
"""How two runs are paired: request by request, by stretches of time, or not at all."""

SAME_S = 1e-6
"""Difference up to which two arrivals are the same."""
_SAME_LENGTH = 0.1
"""Relative difference of two runs' lengths up to which the same time is the same stretch of both."""
_SEED = 6


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """One replication of one side, cut into blocks.

    Attributes:
        replication: Its number.
        times: Where the time of each request went.
        edges_s: Times that separate the blocks, shape [n_blocks - 1].
        block: Block of each request, shape [n].
        taken: How often each draw takes each block, shape [DRAWS, n_blocks].
    """

    replication: int
    times: Breakdown
    edges_s: np.ndarray
    block: np.ndarray
    taken: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class Pairing:
    """Two runs of a policy, replication by replication.

    Attributes:
        mode: How they are paired.
        sim: The replications of one side.
        measured: Those of the other; if paired, the k-th of both belong together and are drawn alike.
        matches: For requests that both answered, their rows on both sides, replication by replication; empty unless
            paired by request.
    """

    mode: Mode
    sim: tuple[Cut, ...]
    measured: tuple[Cut, ...]
    matches: tuple[tuple[np.ndarray, np.ndarray], ...]

    @property
    def joint(self) -> bool:
        """Whether the k-th replications of both sides belong together."""
        return self.mode != "apart"

    def sampled(self, figure: Callable[[Cut], Sampled]) -> tuple[list[Sampled], list[Sampled]]:
        """A figure of each replication of both sides."""
        return [figure(cut) for cut in self.sim], [figure(cut) for cut in self.measured]

    def describe(self) -> str:
        """The pairing in words."""
        n = len(self.measured)
        times = f"{n} replication{'s' if n != 1 else ''}"
        if self.mode == "requests":
            return f"paired request by request over {times}: arrivals agree, so that their luck is no error"
        if self.mode == "time":
            return f"paired by stretches of time over {times}: arrivals differ"
        return f"not paired: {len(self.sim)} against {times}"


def pair(sim: Play, measured: Play, parts: tuple[Part, ...]) -> Pairing:
    """Pair two runs of a policy as closely as their records allow, and cut them into blocks.

    Requests are paired where the arrivals of replications with the same numbers agree. Otherwise replications are
    paired by rank and time if there are as many of both, of about the same length; else not at all.
    """
    common = tuple(number for number in measured.replications if number in sim.replications)
    enough = len(common) > 1 or (common == measured.replications and common == sim.replications)
    if enough and all(_same_arrivals(sim, measured, number) for number in common):
        return _joint("requests", sim, common, measured, common, parts)
    if len(sim.replications) == len(measured.replications):
        found = _joint("time", sim, sim.replications, measured, measured.replications, parts)
        if all(_same_length(a.times, b.times) for a, b in zip(found.sim, found.measured, strict=True)):
            return found
    random = np.random.default_rng(_SEED)
    cuts = [
        tuple(_cut(times, number, None, random) for number, times in _times(play, play.replications, parts))
        for play in (sim, measured)
    ]
    return Pairing("apart", cuts[0], cuts[1], ())


def _joint(
    mode: Mode,
    sim: Play,
    of_sim: Sequence[int],
    measured: Play,
    of_measured: Sequence[int],
    parts: tuple[Part, ...],
) -> Pairing:
    random = np.random.default_rng(_SEED)
    own, reference, matches = [], [], []
    pairs = zip(_times(sim, of_sim, parts), _times(measured, of_measured, parts), strict=True)
    for (number, times), (other, there) in pairs:
        rows = np.intersect1d(times.request, there.request, return_indices=True)[1:]
        series = times.latency_s[rows[0]] - there.latency_s[rows[1]] if mode == "requests" else None
        lengths = [block_length(series)] if series is not None else []
        lengths += [block_length(x.latency_s) for x in (times, there)] if series is None else []
        cut = _cut(there, other, max(lengths), random)
        reference.append(cut)
        own.append(Cut(number, times, cut.edges_s, block_of(times.arrival_s, cut.edges_s), cut.taken))
        if mode == "requests":
            matches.append((rows[0], rows[1]))
    return Pairing(mode, tuple(own), tuple(reference), tuple(matches))


def _times(play: Play, numbers: Sequence[int], parts: tuple[Part, ...]) -> list[tuple[int, Breakdown]]:
    return [(number, breakdown(play.result, number, parts)) for number in numbers]


def _cut(times: Breakdown, number: int, length: int | None, random: np.random.Generator) -> Cut:
    """Cut a replication into blocks of about as many requests as given, or as its own latencies ask for."""
    length = block_length(times.latency_s) if length is None else length
    edges = edges_s(times.arrival_s, number_of_blocks(len(times), length))
    return Cut(number, times, edges, block_of(times.arrival_s, edges), draws(len(edges) + 1, random))


def _same_arrivals(sim: Play, measured: Play, number: int) -> bool:
    a, b = (play.result.requests.only(number).arrival_s for play in (sim, measured))
    return len(a) == len(b) and bool(np.all(np.abs(a - b) <= SAME_S))


def _same_length(a: Breakdown, b: Breakdown) -> bool:
    return abs(a.length_s - b.length_s) <= _SAME_LENGTH * max(a.length_s, b.length_s)
