"""How long messages take over a link: goodput, message overhead, slow start and round-trip time.

    one way = message overhead + slow start after a pause + transmission / goodput factor + rtt / 2

The transmission is that of the scenario's trace from the moment at which it began. The round-trip time comes from
receipts: in records of a testbed, from empty messages. Overhead and goodput are told apart by messages of different
size, and only a message above `BULK_BYTES` tells of goodput: of a small one, transmission is less than what delays
vary.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from twin.calibration.devices import blocks
from twin.calibration.regression import Data, regress
from twin.calibration.terms import LEAST_ROWS, Estimate, Term, fit_terms
from twin.conditions import BULK_BYTES
from twin.units import BITS_PER_BYTE
from twin.world import faulted_rates, link_outages_s

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twin.calibration.messages import Messages
    from twin.calibration.parts import Part
    from twin.calibration.regression import Floats
    from twin.topology import Link

_WAYS = ("goodput_up", "goodput_down")
_TURNS = 8
_SETTLED = 1e-9
_LEAST_SPREAD_S = 1e-7
_DECIMALS = 12
"""Of a difference of round-trip times; clocks tell less."""
_NO_RECEIPTS = "only its sum with half the rtt is known, for no receipts were timed; the scenario's rtt is assumed"


@dataclass(frozen=True, slots=True)
class LinkEstimates:
    """What was found of a link.

    Attributes:
        name: Its name.
        goodput_up: Goodput / that of the scenario's trace, towards the cloud.
        goodput_down: The same towards the edge.
        rtt_extra_s: What the round-trip time is longer than the scenario says; negative if it is shorter.
        message_overhead_s: Fixed time per message.
        slow_start_s: Extra time of a message that follows a pause.
        wild: Share of the messages that the fit does not count.
    """

    name: str
    goodput_up: Estimate
    goodput_down: Estimate
    rtt_extra_s: Estimate
    message_overhead_s: Estimate
    slow_start_s: Estimate
    wild: float


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Messages over one link in one part, without those that met an outage.

    Attributes:
        part: The part.
        link: Position of the link in it.
        table: The messages.
        rest_s: Time one way without half the round trip.
        block: Number of the stretch of time.
    """

    part: Part
    link: int
    table: Messages
    rest_s: Floats
    block: np.ndarray

    def transmission_s(self, factors: Sequence[float]) -> Floats:
        """Transmission times where goodput is so many times that of the scenario, by direction."""
        n, rates = self.part.world.problem.n_devices, faulted_rates(self.part.world)
        time_s = np.empty(len(self.rest_s))
        for direction, factor in enumerate(factors):
            own = self.table.direction == direction
            bits = self.table.size_bytes[own] * BITS_PER_BYTE / factor
            start_s = self.table.start_s[own]
            time_s[own] = rates[n + 2 * self.link + direction].finish_many(start_s, bits) - start_s
        return time_s


def fit_link(parts: Sequence[Part], name: str, *, is_robust: bool = True) -> LinkEstimates:
    """Fit one link.

    Args:
        parts: Runs; each has the link.
        name: Its name, such as `pi-laptop`.
        is_robust: Whether rows that are wild do not count.
    """
    rows = [_rows_of(part, name, number) for number, part in enumerate(parts)]
    link = parts[0].world.problem.continuum.links[rows[0].link]
    n = sum(len(x.rest_s) for x in rows)
    rtt = _rtt(rows, is_robust=is_robust)
    if n < LEAST_ROWS:
        why = f"{n} messages"
        kept = {key: Estimate.kept(1.0, why) for key in _WAYS}
        overhead, slow = Estimate.kept(link.message_overhead_s, why), Estimate.kept(link.slow_start_s, why)
        return LinkEstimates(name, kept[_WAYS[0]], kept[_WAYS[1]], rtt, overhead, slow, 0.0)
    found, wild = _fit(rows, link, is_robust=is_robust)
    overhead = found["message_overhead_s"]
    if overhead.determined and not any(np.isfinite(x.table.rtt_s).any() for x in rows):
        overhead = replace(overhead, note=_NO_RECEIPTS)
    return LinkEstimates(name, found[_WAYS[0]], found[_WAYS[1]], rtt, overhead, found["slow_start_s"], wild)


def _fit(rows: Sequence[_Rows], link: Link, *, is_robust: bool) -> tuple[dict[str, Estimate], float]:
    """Goodput, overhead and slow start, and the share of wild rows.

    Over and over, for how long it takes to send something at a changing rate depends on the factor itself.
    """
    every = _Every.of(rows)
    factors, spread = (1.0, 1.0), every.transmission_s((1.0, 1.0)) + np.median(every.rest_s)
    for turn in range(_TURNS):
        sent_s = every.transmission_s(factors)
        terms = every.terms(sent_s, link)
        answer = fit_terms(terms, every.rest_s, spread, every.block, is_log=False, is_robust=is_robust)
        if answer.fitted is not None:
            spread = _spread(np.abs(every.rest_s - answer.fitted.expected), sent_s)
        steps = [answer.estimates[name].value if answer.estimates[name].determined else 1.0 for name in _WAYS]
        if turn > 1 and all(abs(step - 1) < _SETTLED for step in steps):
            break
        if turn < _TURNS - 1:
            factors = (factors[0] / steps[0], factors[1] / steps[1])
    found = dict(answer.estimates)
    for name, factor in zip(_WAYS, factors, strict=True):
        if found[name].determined:
            found[name] = replace(found[name].inverted().mapped(factor), was=1.0)
    return found, 0.0 if answer.fitted is None else float(answer.fitted.wild.mean())


@dataclass(frozen=True, slots=True, eq=False)
class _Every:
    """The rows of all parts.

    Attributes:
        rows: The parts.
        rest_s: Time one way without half the round trip, shape [n].
        block: Number of the stretch of time, shape [n].
        direction: Direction, shape [n].
        is_big: Whether a message tells of goodput, shape [n].
        pause_s: Time since the message before, shape [n].
    """

    rows: Sequence[_Rows]
    rest_s: Floats
    block: np.ndarray
    direction: np.ndarray
    is_big: np.ndarray
    pause_s: Floats

    @classmethod
    def of(cls, rows: Sequence[_Rows]) -> _Every:
        """Join parts."""
        return cls(
            rows,
            np.concatenate([x.rest_s for x in rows]),
            np.concatenate([x.block for x in rows]),
            np.concatenate([x.table.direction for x in rows]),
            np.concatenate([x.table.size_bytes for x in rows]) > BULK_BYTES,
            np.concatenate([x.table.pause_s for x in rows]),
        )

    def transmission_s(self, factors: tuple[float, float]) -> Floats:
        """Transmission times with factors on the goodput of each direction."""
        return np.concatenate([x.transmission_s(factors) for x in self.rows])

    def terms(self, sent_s: Floats, link: Link) -> list[Term]:
        """What is fitted."""
        paused = (self.pause_s > link.slow_start_idle_s).astype(float)
        ways = [
            Term(name, sent_s * (self.direction == at), 1.0, "factor", _why_not(self.is_big, self.direction == at))
            for at, name in enumerate(_WAYS)
        ]
        overhead = Term("message_overhead_s", np.ones(len(sent_s)), link.message_overhead_s, "part")
        return [*ways, overhead, Term("slow_start_s", paused, link.slow_start_s, "part", _one_sided(paused))]


def _spread(errors_s: Floats, sent_s: Floats) -> Floats:
    """Size of the errors, as a line over the transmission time: of delays that vary, and of a rate that does."""
    from scipy.optimize import nnls  # noqa: PLC0415 - slow to import

    capped_s = np.minimum(errors_s, 6 * np.median(errors_s) + _LEAST_SPREAD_S)
    scale_s = max(float(sent_s.max()), _LEAST_SPREAD_S)
    (fixed, growing), _ = nnls(np.stack([np.ones(len(sent_s)), sent_s / scale_s], axis=1), capped_s)
    return np.asarray(fixed + growing * sent_s / scale_s + _LEAST_SPREAD_S)


def _why_not(big: np.ndarray, own: np.ndarray) -> str:
    n = int((big & own).sum())
    return "" if n >= LEAST_ROWS else f"{n} messages above {BULK_BYTES} bytes went that way; {LEAST_ROWS} are needed"


def _one_sided(paused: Floats) -> str:
    after, close = int(paused.sum()), int(len(paused) - paused.sum())
    if min(after, close) >= LEAST_ROWS:
        return ""
    return f"{after} messages followed a pause and {close} did not; {LEAST_ROWS} of each are needed"


def _rtt(rows: Sequence[_Rows], *, is_robust: bool) -> Estimate:
    """What the round-trip time is longer than the scenario says."""
    extra_s, block = [], []
    for x in rows:
        known = np.isfinite(x.table.rtt_s)
        said_s = x.part.world.links[x.link].rtt.at_many(x.table.finish_s[known])
        extra_s.append(x.table.rtt_s[known] - said_s)
        block.append(x.block[known])
    values_s, numbers = np.concatenate(extra_s), np.concatenate(block)
    if len(values_s) < LEAST_ROWS:
        return Estimate.kept(0.0, f"{len(values_s)} receipts were timed; {LEAST_ROWS} are needed")
    n = len(values_s)
    data = Data(np.ones((n, 1)), np.zeros(n), values_s, np.ones(n), numbers, is_log=False, is_robust=is_robust)
    fitted = regress(data, np.array([float(np.median(values_s))]))
    value_s, half_s = round(float(fitted.theta[0]), _DECIMALS), max(float(fitted.half[0]), _LEAST_SPREAD_S)
    return Estimate(value_s, value_s - half_s, value_s + half_s, n, determined=True, was=0.0)


def _rows_of(part: Part, name: str, number: int) -> _Rows:
    continuum = part.world.problem.continuum
    link = next(at for at in range(len(continuum.links)) if continuum.link_name(at) == name)
    table = part.messages.where(part.messages.link == link)
    for from_s, to_s in link_outages_s(part.world, link):
        table = table.where((table.there_s < from_s) | (table.start_s > to_s))
    said_s = part.world.links[link].rtt.at_many(table.finish_s)
    rest_s = table.one_way_s - np.where(np.isfinite(table.rtt_s), table.rtt_s, said_s) / 2
    table, rest_s = table.where(rest_s > 0), rest_s[rest_s > 0]
    return _Rows(part, link, table, rest_s, blocks(number, table.replication, table.start_s))
