"""A FIFO station with one server, for many jobs at once: when each starts and when it is done.

    start = max(arrival, previous finish)        finish = first time at which the work since `start` is delivered

In the clock of delivered work, C(t), this is Lindley's recursion (Lindley 1952, Mathematical Proceedings of the
Cambridge Philosophical Society 48), which cumulated sums and running maxima solve at once. That answer carries their
rounding, so it only tells which jobs wait and in which piece of the rate each is served. The times themselves are then
added up in the order in which an event loop adds them, and checked: each is the same to the last bit. Jobs near a
change of the rate go through `Steps.finish`; should the check fail, all jobs do, one by one.
"""

from __future__ import annotations

import math
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from twin.engine.pieces import pieces_of, spread

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from twin.steps import Steps

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

_FEW = 24
"""Jobs below which a loop is quicker than arrays."""
_MANY = 4096
"""Waiting jobs from which on arrays are quicker than a loop."""
_LONG = 48
"""Length of queues from which on following each is quicker than a loop over all jobs."""
_ROUND = 16
"""Queues below which following each is quicker than one more round over all of them."""
_CROWD = 96
"""Jobs up to which one call each is quicker than one for all."""
_PIECES_PER_JOB = 2
"""Pieces of a rate per job above which most jobs meet a change of the rate."""
_NONE = np.empty(0, dtype=np.intp)
_ULPS = 16
"""Roundings of the latest time within which a job counts as near a change of the rate."""


def serve(arrived_s: Floats, amounts: Floats | float, free_s: float, rate: Steps) -> tuple[Floats, Floats]:
    """Start and finish of each job, equal to what `Station.admit` gives one by one.

    Args:
        arrived_s: Arrivals in the order of service, ascending, shape [n].
        amounts: Work of each job, >= 0, shape [n]; or one number for all.
        free_s: When the server is free of earlier jobs.
        rate: Work that the station delivers per second.

    Returns:
        Start and finish, each of shape [n]; infinite from the first job on that can never finish.

    Raises:
        TraceError: The rate ends before a job does and says `error`.
    """
    work = amounts if isinstance(amounts, np.ndarray) and amounts.ndim else np.full(len(arrived_s), float(amounts))
    if len(work) >= _FEW and rate.after_end != "error" and free_s < math.inf:
        setting = _setting(arrived_s, work, free_s, rate)
        finish_s = None if setting is None else _chained(setting)
        if setting is not None and finish_s is not None:
            return _starts(setting, finish_s), finish_s
    return _one_by_one(arrived_s.tolist(), work.tolist(), free_s, rate)


def _one_by_one(arrived_s: list[float], work: list[float], free_s: float, rate: Steps) -> tuple[Floats, Floats]:
    """What `Station.admit` does."""
    finish = rate.finish
    starts_s, ends_s = [], []
    for time_s, amount in zip(arrived_s, work, strict=True):
        start_s = max(free_s, time_s)
        free_s = finish(start_s, amount) if start_s < math.inf else math.inf
        starts_s.append(start_s)
        ends_s.append(free_s)
    return np.array(starts_s), np.array(ends_s)


class _Setting(NamedTuple):
    """What is known before times are added up; shapes [n].

    Attributes:
        arrived_s: Arrivals.
        amounts: Work.
        free_s: When the server is free of earlier jobs.
        rate: The rate.
        lasts_s: Service time of each job, all of it in one piece of the rate; not used for special ones.
        waits: Whether each job waits for the one before.
        special: Jobs that `Steps.finish` must serve, or None if there are none.
        least_s: No other job may start before this; None if the rate never changes.
        most_s: No other job may finish after this; None likewise.
    """

    arrived_s: Floats
    amounts: Floats
    free_s: float
    rate: Steps
    lasts_s: Floats
    waits: Flags
    special: Flags | None = None
    least_s: Floats | None = None
    most_s: Floats | None = None


def _setting(arrived_s: Floats, amounts: Floats, free_s: float, rate: Steps) -> _Setting | None:
    """Find out which jobs wait and where in the rate each is served; None if that is better done one by one."""
    if len(rate.tables.rates) == 1:
        if rate.tables.rates[0] == 0.0:
            return None
        lasts_s = amounts / rate.tables.rates[0]
        _, waits = _clocks(arrived_s, lasts_s, free_s)
        return _Setting(arrived_s, amounts, free_s, rate, lasts_s, waits)
    last_s = rate.finish(max(free_s, float(arrived_s[-1])), float(amounts.sum()))
    if last_s == math.inf:
        return None
    pieces = pieces_of(rate, max(free_s, float(arrived_s[0])), last_s, _PIECES_PER_JOB * len(arrived_s))
    return None if pieces is None else _in_pieces(arrived_s, amounts, free_s, rate, *pieces)


def _clocks(arrived: Floats, amounts: Floats, free: float) -> tuple[Floats, Flags]:
    """Lindley's recursion: start of each job, and whether it waits; all in the clock of delivered work."""
    before = np.cumsum(amounts)
    before -= amounts
    slack = arrived - before
    first = slack[0]
    latest = np.maximum.accumulate(slack)
    if free > first:
        np.maximum(latest, free, out=latest)
    return before + latest, latest > slack


def _in_pieces(
    arrived_s: Floats, amounts: Floats, free_s: float, rate: Steps, knots_s: Floats, rates: Floats
) -> _Setting:
    """The setting under a rate of several pieces that start at `knots_s`, the last of which ends at infinity.

    They need not reach back to arrivals from before the server was free: those wait, whenever it was that they came.
    """
    delivered = np.concatenate([[0.0], np.cumsum(np.diff(knots_s) * rates[:-1])])
    of_arrival = spread(np.searchsorted(arrived_s, knots_s[1:]), len(arrived_s))
    arrived = delivered[of_arrival] + rates[of_arrival] * (arrived_s - knots_s[of_arrival])
    from_s = max(free_s, float(arrived_s[0]))
    if free_s > arrived_s[0]:
        arrived[: np.searchsorted(arrived_s, free_s)] = -1.0
    position = int(np.searchsorted(knots_s, from_s, side="right")) - 1
    free = float(delivered[position] + rates[position] * (from_s - knots_s[position]))
    start, waits = _clocks(arrived, amounts, free)
    of_start = np.where(waits, spread(np.searchsorted(start, delivered[1:]), len(start)), of_arrival)
    own = rates[of_start]
    still = own == 0.0
    if still.any():
        own = np.where(still, 1.0, own)
    margin_s = _ULPS * np.spacing(max(knots_s[-1], arrived_s[-1]))
    least_s = knots_s[of_start] + margin_s
    most_s = np.append(knots_s[1:], math.inf)[of_start] - margin_s
    start_s = np.where(waits, knots_s[of_start] + (start - delivered[of_start]) / own, arrived_s)
    lasts_s = amounts / own
    special = still | (start_s < least_s) | (start_s + lasts_s > most_s)
    return _Setting(arrived_s, amounts, free_s, rate, lasts_s, waits, special, least_s, most_s)


def _chained(x: _Setting) -> Floats | None:
    """Add up the times as an event loop does; None if what was found out beforehand does not hold to the last bit."""
    finish_s = x.arrived_s + x.lasts_s
    if x.special is not None:
        alone = np.flatnonzero(x.special & ~x.waits)
        finish_s[alone] = x.rate.finish_many(x.arrived_s[alone], x.amounts[alone])
    waiting = np.flatnonzero(x.waits)
    if len(waiting) >= _MANY or len(waiting) > _LONG * np.count_nonzero(~x.waits[waiting - 1]):
        _in_rounds(x, finish_s, waiting)
    elif len(waiting):
        _in_turn(x, finish_s, waiting)
    return finish_s if _holds(x, finish_s) else None


def _in_turn(x: _Setting, finish_s: Floats, waiting: NDArray[np.intp]) -> None:
    """Serve the waiting jobs one after the other."""
    rate, before_s = x.rate, finish_s[waiting - 1]
    lasts_s = x.lasts_s[waiting]
    if waiting[0] == 0:
        before_s[0] = x.free_s
    before_s[1:][waiting[1:] == waiting[:-1] + 1] = -1.0
    if x.special is not None:
        lasts_s[x.special[waiting]] = -1.0
    ends_s, end_s = [], 0.0
    for job, first_s, last_s in zip(waiting.tolist(), before_s.tolist(), lasts_s.tolist(), strict=True):
        start_s = end_s if first_s < 0.0 else first_s
        if last_s < 0.0:
            end_s = rate.finish(max(start_s, float(x.arrived_s[job])), float(x.amounts[job]))
        else:
            end_s = start_s + last_s
        ends_s.append(end_s)
    finish_s[waiting] = ends_s


def _in_rounds(x: _Setting, finish_s: Floats, waiting: NDArray[np.intp]) -> None:
    """Serve the waiting jobs by their position in the queue: all seconds at once, then all thirds, and so on."""
    n = len(finish_s)
    now = waiting[(waiting == 0) | ~x.waits[waiting - 1]]
    while len(now) > _ROUND:
        before_s = finish_s[now - 1]
        if now[0] == 0:
            before_s[0] = x.free_s
        start_s = np.maximum(x.arrived_s[now], before_s)
        finish_s[now] = start_s + x.lasts_s[now]
        if x.special is not None and (special := x.special[now].nonzero()[0]).size:
            jobs = now[special]
            finish_s[jobs] = _finished(x.rate, start_s[special], x.amounts[jobs])
        now = now[now < n - 1] + 1
        now = now[x.waits[now]]
    for job in now.tolist():
        _in_runs(x, finish_s, job)


def _finished(rate: Steps, starts_s: Floats, amounts: Floats) -> Floats | list[float]:
    """When jobs end that meet a change of the rate."""
    if len(starts_s) > _CROWD:
        return rate.finish_many(starts_s, amounts)
    return [rate.finish(start_s, amount) for start_s, amount in zip(starts_s.tolist(), amounts.tolist(), strict=True)]


def _in_runs(x: _Setting, finish_s: Floats, job: int) -> None:
    """Serve one long queue from `job` on: sums in order between jobs that meet a change of the rate."""
    served = x.waits[job:].argmin()
    stop = len(finish_s) if x.waits[job + served] else job + int(served)
    before_s = float(finish_s[job - 1]) if job else x.free_s
    sums_s = x.lasts_s[job:stop].copy()
    sums_s[0] += max(float(x.arrived_s[job]), before_s)
    special = np.flatnonzero(x.special[job:stop]) if x.special is not None else _NONE
    if not special.size:
        np.add.accumulate(sums_s, out=finish_s[job:stop])
        return
    lasts_s, ends_s, jobs = sums_s.tolist(), list[float](), job + special
    for position, arrived_s, amount in zip(
        special.tolist(), x.arrived_s[jobs].tolist(), x.amounts[jobs].tolist(), strict=True
    ):
        ends_s.extend(accumulate(lasts_s[len(ends_s) : position], initial=ends_s.pop() if ends_s else None))
        ends_s.append(x.rate.finish(max(arrived_s, ends_s[-1] if ends_s else before_s), amount))
    ends_s.extend(accumulate(lasts_s[len(ends_s) :], initial=ends_s.pop() if ends_s else None))
    finish_s[job:stop] = ends_s


def _holds(x: _Setting, finish_s: Floats) -> bool:
    """Whether each time follows from the one before, so that by induction all are those of an event loop."""
    start_s = _starts(x, finish_s)
    if x.special is None:
        return bool((start_s + x.lasts_s == finish_s).all())
    assert x.least_s is not None  # noqa: S101 - set together with `special`
    assert x.most_s is not None  # noqa: S101 - likewise
    plain = (start_s + x.lasts_s == finish_s) & (start_s >= x.least_s) & (finish_s <= x.most_s)
    special = x.special & (x.waits | (start_s == x.arrived_s))
    return bool((plain | special).all())


def _starts(x: _Setting, finish_s: Floats) -> Floats:
    start_s = np.empty_like(finish_s)
    start_s[0] = x.free_s
    start_s[1:] = finish_s[:-1]
    return np.maximum(start_s, x.arrived_s, out=start_s)
