"""Power states and recorded spans -> joules, by device, state and accounting boundary.

    P(t) = idle + sum over the activities under way of (state - idle)

A compute span is an activity of its device. A transmit span is one of the sender (transmit) and one of the receiver
(receive). Waiting, propagation and being held back cost no more than idling. The boundaries differ in what they count:

- `node`: all joules of a device in the window, idle included;
- `marginal`: node minus the idle baseline;
- `compute_only`: compute power times compute time.

Whatever rests on a power that is not known is NaN in arrays and None elsewhere, never zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from twin.records import Kind, Power

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from twin.problem import Boundary, Problem
    from twin.records import Requests, Spans
    from twin.topology import Continuum
    from twin.workload import Workload
    from twin.world import World


class State(IntEnum):
    """What a device spends joules on; the first four are the columns of `Problem.power_w`."""

    IDLE = 0
    COMPUTE = 1
    TRANSMIT = 2
    RECEIVE = 3
    SWITCH = 4


_N_POWER_STATES = 4
INTERVAL_S = 1.0
"""Length of the intervals of power over time."""
_SLIVER = 1e-9
"""Share of an interval below which a last, shorter interval is taken as rounding."""


class Window(NamedTuple):
    """The stretch of time over which energy and throughput are counted."""

    start_s: float
    end_s: float

    @property
    def length_s(self) -> float:
        """How long it lasts."""
        return self.end_s - self.start_s


class Busy(NamedTuple):
    """What devices spent their time on, known without spans.

    Attributes:
        last_s: When the last span ends.
        seconds: Gives the seconds of computing, transmitting and receiving by device and bin, shape
            [n_devices, 3, n_bins], for given edges of the bins.
    """

    last_s: float
    seconds: Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, slots=True, eq=False)
class Energy:
    """Joules by device in one window of one replication.

    Attributes:
        window: The window.
        by_state_j: Joules by device and `State`, shape [n_devices, 5]; idle covers the whole window and the other
            states count what they add to it. NaN where a power is unknown.
        compute_only_j: Compute power times compute time, shape [n_devices].
    """

    window: Window
    by_state_j: np.ndarray
    compute_only_j: np.ndarray

    @property
    def node_j(self) -> np.ndarray:
        """All joules by device, idle included, shape [n_devices]."""
        return np.asarray(self.by_state_j.sum(axis=1))

    @property
    def marginal_j(self) -> np.ndarray:
        """Joules by device above its idle baseline, shape [n_devices]."""
        return np.asarray(self.by_state_j[:, State.COMPUTE :].sum(axis=1))

    def by_device_j(self, boundary: Boundary) -> np.ndarray:
        """Joules by device at an accounting boundary, shape [n_devices]; NaN where a power is unknown."""
        return {"node": self.node_j, "marginal": self.marginal_j, "compute_only": self.compute_only_j}[boundary]

    def total_j(self, boundary: Boundary) -> float | None:
        """Joules of all devices at an accounting boundary; None if the power of any of them is unknown."""
        total_j = float(self.by_device_j(boundary).sum())
        return None if math.isnan(total_j) else total_j


def accounting_window(workload: Workload, requests: Requests) -> Window | None:
    """The window from the end of warm-up to the last completion of one replication.

    Where a number of requests warms up, warm-up ends as the first counted request arrives.

    Returns:
        The window, or None if nothing was completed after warm-up.
    """
    start_s = workload.warm_up_s
    if workload.warm_up_requests > 0 and requests.counted.any():
        start_s = max(start_s, float(requests.arrival_s[requests.counted].min()))
    done_s = requests.done_s[requests.completed & requests.counted]
    if len(done_s) == 0 or done_s.max() <= start_s:
        return None
    return Window(start_s, float(done_s.max()))


def account(problem: Problem, spans: Spans, decisions: Iterable[Mapping[str, Any]], window: Window) -> Energy:
    """Count the joules of one replication in a window; spans that reach over its ends are clipped.

    Args:
        problem: Gives the power states and who sits at the ends of each link.
        spans: What the time was spent on, probes and loads of weights included.
        decisions: Entries whose `charged_j` (joules by device) falls due at their `t_s`.
        window: The window.
    """
    edges_s = np.array([window.start_s, window.end_s])
    busy = np.sum([_busy_s(problem, part, edges_s)[:, :, 0] for part in spans.parts()], axis=0)
    power_w = problem.power_w
    by_state_j = np.empty((problem.n_devices, len(State)))
    by_state_j[:, State.IDLE] = power_w[:, State.IDLE] * window.length_s
    by_state_j[:, State.COMPUTE : State.SWITCH] = _above_idle_w(power_w) * busy
    by_state_j[:, State.SWITCH] = _charged_j(problem.n_devices, decisions, np.array(window))[:, 0]
    return Energy(window, by_state_j, power_w[:, State.COMPUTE] * busy[:, 0])


def power_samples(
    world: World,
    requests: Requests,
    spans: Spans,
    decisions: Iterable[Mapping[str, Any]] = (),
    interval_s: float = INTERVAL_S,
    busy: Busy | None = None,
) -> Power:
    """Mean power of each device in each interval from 0 to the end of one replication.

    Exact: the samples add up to the energy of the run. A charge of a switch is spread over the interval in which it
    falls due. Where a scenario takes the meter away, the samples are NaN.

    Args:
        world: Gives the power states, the links and the faults of meters.
        requests: The requests of one replication.
        spans: What their time was spent on.
        decisions: Entries with the charges of switches.
        interval_s: Length of an interval; the last one may be shorter.
        busy: Where an engine can do without the spans.

    Returns:
        The samples by device, then by time.
    """
    problem = world.problem
    end_s = last_s(requests, spans.end_s if busy is None else np.array([busy.last_s]))
    edges_s = interval_edges_s(end_s, interval_s)
    widths_s = np.diff(edges_s)
    power_w = problem.power_w
    seconds = _busy_s(problem, spans, edges_s) if busy is None else busy.seconds(edges_s)
    extra_w = np.einsum("ds,dsb->db", _above_idle_w(power_w), seconds) / widths_s
    charged_w = _charged_j(problem.n_devices, decisions, edges_s) / widths_s
    mean_w = power_w[:, State.IDLE, None] + extra_w + charged_w
    for fault in world.faults:
        if fault.kind == "meter_gone":
            mean_w[fault.target, (edges_s[1:] > fault.start_s) & (edges_s[:-1] < fault.end_s)] = np.nan
    return power_table(int(requests.replication[0]) if len(requests) else 0, edges_s, mean_w)


def power_table(replication: int, edges_s: np.ndarray, mean_w: np.ndarray) -> Power:
    """Mean power by device and interval as rows by device, then by time.

    Args:
        replication: Number of the replication.
        edges_s: Edges of the intervals, shape [n + 1].
        mean_w: Mean power, shape [n_devices, n].
    """
    n_devices, n = mean_w.shape
    return Power(
        np.full(n_devices * n, replication, dtype=np.int32),
        np.repeat(np.arange(n_devices, dtype=np.int32), n),
        np.tile((edges_s[:-1] + edges_s[1:]) / 2, n_devices),
        np.tile(np.diff(edges_s), n_devices),
        mean_w.ravel(),
    )


def occupied_s(
    series: np.ndarray, n_series: int, start_s: np.ndarray, end_s: np.ndarray, edges_s: np.ndarray
) -> np.ndarray:
    """Time that stretches of several series occupy in each bin; stretches that overlap count each.

    Bins that a stretch fills are counted, not summed, so that nothing is lost to rounding.

    Args:
        series: Series of each stretch, 0 to n_series - 1, shape [n].
        n_series: Number of series.
        start_s: Start of each stretch, shape [n].
        end_s: End of each stretch, shape [n].
        edges_s: Edges of the bins, strictly ascending, shape [n_bins + 1].

    Returns:
        Seconds, shape [n_series, n_bins].
    """
    n_bins = len(edges_s) - 1
    if n_bins == 0:
        return np.zeros((n_series, 0))
    start_s, end_s = (np.clip(time_s, edges_s[0], edges_s[-1]) for time_s in (start_s, end_s))
    first = np.clip(np.searchsorted(edges_s, start_s, side="right") - 1, 0, n_bins - 1)
    last = np.maximum(np.searchsorted(edges_s, end_s, side="left") - 1, first)
    within = first == last
    row = series * (n_bins + 1)
    size = n_series * (n_bins + 1)
    opening = np.where(within, end_s, edges_s[first + 1]) - start_s
    seconds = np.bincount(row + first, opening, size)
    across = ~within
    seconds += np.bincount((row + last)[across], (end_s - edges_s[last])[across], size)
    filled = np.bincount((row + first)[across] + 1, minlength=size) - np.bincount((row + last)[across], minlength=size)
    full = np.cumsum(filled.reshape(n_series, n_bins + 1), axis=1)[:, :-1]
    return np.asarray(seconds.reshape(n_series, n_bins + 1)[:, :-1] + full * np.diff(edges_s))


def _above_idle_w(power_w: np.ndarray) -> np.ndarray:
    """What computing, transmitting and receiving add to idling, shape [n_devices, 3]."""
    return np.asarray(power_w[:, State.COMPUTE : State.SWITCH] - power_w[:, State.IDLE, None])


def busy_s(
    problem: Problem, place: np.ndarray, start_s: np.ndarray, end_s: np.ndarray, edges_s: np.ndarray
) -> np.ndarray:
    """Seconds of computing, transmitting and receiving by device and bin.

    Args:
        problem: Says who sits at the ends of each link.
        place: Where each service was, shape [n]; see `records.Spans`.
        start_s: When it started, shape [n].
        end_s: When it ended, shape [n].
        edges_s: Edges of the bins, shape [n_bins + 1].

    Returns:
        Seconds, shape [n_devices, 3, n_bins].
    """
    n = problem.n_devices
    series, rows = activities(problem.continuum, place)
    seconds = occupied_s(series, 3 * n, start_s[rows], end_s[rows], edges_s)
    return seconds.reshape(n, _N_POWER_STATES - 1, -1)


def activities(continuum: Continuum, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whose activity each service is: one of a device that computes, or one of each end of a link.

    Args:
        continuum: Says who sits at the ends of each link.
        place: Where each service was, shape [n]; see `records.Spans`.

    Returns:
        For each activity 3 device + 0, 1 or 2 for computing, transmitting and receiving, and the row of its service.
    """
    n = len(continuum)
    ends = np.array([(link.a, link.b) for link in continuum.links], dtype=np.int64).reshape(-1, 2)
    computes, transmits = np.flatnonzero(place < n), np.flatnonzero(place >= n)
    link, direction = np.divmod(place[transmits] - n, 2)
    series = np.concatenate(
        [
            3 * place[computes],
            3 * ends[link, direction] + 1,
            3 * ends[link, 1 - direction] + 2,
        ]
    ).astype(np.int64)
    return series, np.concatenate([computes, transmits, transmits])


def served(spans: Spans) -> np.ndarray:
    """Whether each span is a service, which costs more than idling."""
    return np.asarray((spans.kind == Kind.COMPUTE) | (spans.kind == Kind.TRANSMIT))


def _busy_s(problem: Problem, spans: Spans, edges_s: np.ndarray) -> np.ndarray:
    """Seconds of computing, transmitting and receiving by device and bin, shape [n_devices, 3, n_bins]."""
    rows = served(spans)
    return busy_s(problem, spans.place[rows], spans.start_s[rows], spans.end_s[rows], edges_s)


def _charged_j(n_devices: int, decisions: Iterable[Mapping[str, Any]], edges_s: np.ndarray) -> np.ndarray:
    """Joules charged for switches by device and bin, shape [n_devices, n_bins]; the last edge belongs to its bin."""
    charged_j = np.zeros((n_devices, len(edges_s) - 1))
    if len(edges_s) == 1:
        return charged_j
    for entry in decisions:
        for device, joules in entry.get("charged_j", {}).items():
            if edges_s[0] <= entry["t_s"] <= edges_s[-1]:
                position = min(int(np.searchsorted(edges_s, entry["t_s"], side="right")), len(edges_s) - 1) - 1
                charged_j[int(device), position] += joules
    return charged_j


def last_s(requests: Requests, ends_s: np.ndarray) -> float:
    """When the last thing of a replication happened, given the ends of its spans."""
    columns = (requests.arrival_s, requests.done_s, ends_s)
    return max((float(np.nanmax(c)) for c in columns if np.isfinite(c).any()), default=0.0)


def interval_edges_s(end_s: float, interval_s: float = INTERVAL_S) -> np.ndarray:
    """Edges of the intervals of a run from 0 to its end; the last interval may be shorter."""
    n = max(math.ceil(end_s / interval_s - _SLIVER), 0)
    if n == 0:
        return np.zeros(1)
    return np.append(np.arange(n) * interval_s, end_s)
