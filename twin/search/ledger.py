"""What every plan for up to three devices uses of each resource, in a form that prices all of them at once.

With D0 the down-set after the first device and D1 that after the second, whatever a plan with a non-empty middle
stage uses is a sum of something that depends on D0 and something that depends on D1. So one table of what each D0,
each D1 and each plan with an empty middle stage uses is enough: prices times table gives every quantity of every
plan, as rows plus columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from twin.cost import COMPUTE, IDLE, RECEIVE, TRANSMIT, is_sporadic, station_of
from twin.problem import BOUNDARIES
from twin.units import BITS_PER_BYTE

if TYPE_CHECKING:
    from twin.problem import Boundary, Problem
    from twin.search.space import Situation, Space

NEVER_S = 1e30
"""Stands for an infinite time in sums where infinity itself would turn into NaN; no plan takes as long."""
LATENCY, ENERGY, STATIONS = 0, 1, 2
"""Rows of the quantities: latency, energy without the idle share, then the time that each station is held."""


@dataclass(frozen=True, slots=True, eq=False)
class Ledger:
    """Uses of resources, and how they add up to quantities.

    Resources, in order: nominal seconds on each device (K), visits of each device (K), bytes over each link direction
    (2 L), messages over each link (L). R is the number of choices of D0, C of D1, X of plans whose middle stage is
    empty.

    Attributes:
        rows: Down-set of each choice of D0, shape [R].
        columns: Down-set of each choice of D1, shape [C].
        diagonal: Row and column of each plan whose middle stage is empty, shape [2, X].
        uses: Use of each resource by each D0, then each D1, then each plan with an empty middle stage,
            shape [3 K + 3 L - K, R + C + X].
        weights: By boundary, how much of each resource's time counts in each quantity,
            shape [2 + number of stations, 2 K + 3 L].
        row_stations: Quantities of stations whose load D0 alone decides (where the middle stage is not empty).
        column_stations: Quantities of stations whose load D1 alone decides.
        mixed_stations: Quantities of the other stations.
        delay_s: Message overhead and slow start of each link, shape [L].
    """

    rows: np.ndarray
    columns: np.ndarray
    diagonal: np.ndarray
    uses: np.ndarray
    weights: dict[Boundary, np.ndarray]
    row_stations: slice
    column_stations: slice
    mixed_stations: slice
    delay_s: np.ndarray

    def price(self, situation: Situation, boundary: Boundary) -> np.ndarray:
        """Every quantity of each part of the plans under given conditions.

        Returns:
            Shape [2 + number of stations, R + C + X]: seconds, in the row `ENERGY` joules.
        """
        conditions = situation.conditions
        rate_bps = conditions.rate_bps.ravel()
        per_byte_s = np.full(len(rate_bps), NEVER_S)
        np.divide(BITS_PER_BYTE, rate_bps, out=per_byte_s, where=rate_bps > 0)
        times_s = np.concatenate(
            (
                conditions.slowdown,
                np.where(situation.device_up, 0.0, NEVER_S),
                per_byte_s,
                self.delay_s + conditions.rtt_s * 0.5,
            )
        )
        return np.asarray((self.weights[boundary] * times_s) @ self.uses)


class _Book:
    """Adds up what plans use, one column per plan or part of a plan."""

    def __init__(self, problem: Problem, size: int) -> None:
        self.problem = problem
        self.devices = problem.n_devices
        self.uses = np.zeros((2 * self.devices + 3 * len(problem.continuum.links), size))

    def run(self, device: int, seconds: np.ndarray | float) -> None:
        """Nominal time on a device."""
        self.uses[device] += seconds

    def visit(self, device: int, seconds: np.ndarray | float, when: np.ndarray | float = 1.0) -> None:
        """A stage with its overhead."""
        self.uses[device] += when * (seconds + float(self.problem.stage_overhead_s[device]))
        self.uses[self.devices + device] += when

    def send(self, source: int, target: int, size_bytes: np.ndarray | float, when: np.ndarray | float = 1.0) -> None:
        """A message along the path between two devices."""
        for hop in self.problem.continuum.path(source, target):
            self.uses[2 * self.devices + 2 * hop.link + hop.direction] += when * size_bytes
            self.uses[2 * self.devices + 2 * len(self.problem.continuum.links) + hop.link] += when

    def finish(self, device: int, cut: np.ndarray, work_s: np.ndarray, when: np.ndarray) -> None:
        """The last stage, on `device`, with decoding what it receives, and the answer."""
        self.visit(device, work_s[-1] - work_s + cut * float(self.problem.codec_s_per_byte[device]), when)
        self.send(device, 0, self.problem.graph.output_bytes, when)


def ledger_of(problem: Problem, space: Space) -> Ledger:
    """Write the ledger of a problem with at most three devices."""
    n_sets = len(space.lattice)
    everything = np.arange(n_sets - 1, n_sets)
    rows = np.arange(n_sets) if problem.n_devices > 1 else everything
    columns = np.arange(n_sets) if problem.n_devices > 2 else everything
    shared = np.intersect1d(rows, columns)
    uses = np.concatenate(
        (
            _first_stage(problem, space, rows),
            _middle_stage(problem, space, columns),
            _no_middle_stage(problem, space, shared),
        ),
        axis=1,
    )
    held, groups = _stations(problem, uses, len(rows), len(columns))
    return Ledger(
        rows=rows,
        columns=columns,
        diagonal=np.array([np.searchsorted(rows, shared), np.searchsorted(columns, shared)]),
        uses=uses,
        weights={boundary: np.vstack((_prices(problem, boundary), held)) for boundary in BOUNDARIES},
        row_stations=groups[0],
        column_stations=groups[1],
        mixed_stations=groups[2],
        delay_s=np.array(
            [
                link.message_overhead_s
                + (link.slow_start_s if is_sporadic(problem.demand, link.slow_start_idle_s) else 0.0)
                for link in problem.continuum.links
            ]
        ),
    )


def _first_stage(problem: Problem, space: Space, rows: np.ndarray) -> np.ndarray:
    """What D0 decides where the middle stage is not empty: the first stage and the hop to the second device."""
    book = _Book(problem, len(rows))
    if problem.n_devices == 1:
        return book.uses
    cut = space.lattice.cut_bytes[rows]
    codec = problem.codec_s_per_byte
    book.visit(0, space.work_s[0, rows] + cut * codec[0], (space.lattice.size[rows] > 0).astype(float))
    book.send(0, 1, cut)
    book.run(1, cut * codec[1] - space.work_s[1, rows])
    return book.uses


def _middle_stage(problem: Problem, space: Space, columns: np.ndarray) -> np.ndarray:
    """What D1 decides where the middle stage is not empty: its end, the last stage and the answer."""
    book = _Book(problem, len(columns))
    if problem.n_devices == 1:
        return book.uses
    cut = space.lattice.cut_bytes[columns]
    whole = (space.lattice.size[columns] == problem.n_layers).astype(float)
    book.visit(1, space.work_s[1, columns])
    book.send(1, 0, problem.graph.output_bytes, whole)
    if problem.n_devices > 2:
        book.run(1, (1 - whole) * cut * float(problem.codec_s_per_byte[1]))
        book.send(1, 2, cut, 1 - whole)
        book.finish(2, cut, space.work_s[2], 1 - whole)
    return book.uses


def _no_middle_stage(problem: Problem, space: Space, shared: np.ndarray) -> np.ndarray:
    """What a plan uses whose middle stage is empty: the first device, then the third."""
    book = _Book(problem, len(shared))
    cut = space.lattice.cut_bytes[shared]
    whole = (space.lattice.size[shared] == problem.n_layers).astype(float)
    started = (space.lattice.size[shared] > 0).astype(float)
    encoded = (1 - whole) * cut * float(problem.codec_s_per_byte[0])
    book.visit(0, space.work_s[0, shared] + encoded, started)
    if problem.n_devices > 2:
        book.send(0, 2, cut, 1 - whole)
        book.finish(2, cut, space.work_s[2], 1 - whole)
    return book.uses


def _prices(problem: Problem, boundary: Boundary) -> np.ndarray:
    """How much of each resource's time counts in the latency and, in watts, in the energy; unknown power counts 0."""
    n, links = problem.n_devices, problem.continuum.links
    prices = np.zeros((2, 2 * n + 3 * len(links)))
    prices[LATENCY] = 1.0
    power_w = np.nan_to_num(problem.power_w, nan=0.0)
    if boundary == "compute_only":
        prices[ENERGY, :n] = power_w[:, COMPUTE]
        return prices
    extra_w = power_w - power_w[:, IDLE, None]
    prices[ENERGY, :n] = extra_w[:, COMPUTE]
    for position, link in enumerate(links):
        for direction, (sender, receiver) in enumerate(((link.a, link.b), (link.b, link.a))):
            place = 2 * n + 2 * position + direction
            prices[ENERGY, place] = extra_w[sender, TRANSMIT] + extra_w[receiver, RECEIVE]
    return prices


def _stations(problem: Problem, uses: np.ndarray, n_rows: int, n_columns: int) -> tuple[np.ndarray, list[slice]]:
    """How each resource's time holds each station, with the stations grouped by what decides their load."""
    n, n_links = problem.n_devices, len(problem.continuum.links)
    held = np.zeros((n + 2 * n_links, 2 * n + 3 * n_links))
    for device, d in enumerate(problem.continuum.devices):
        held[device, device] = 1 / d.slots
    for link in range(n_links):
        for direction in range(2):
            held[n + station_of(problem, link, direction), 2 * n + 2 * link + direction] = 1.0
    touched = held @ np.abs(uses) > 0
    by_row = touched[:, :n_rows].any(axis=1)
    by_column = touched[:, n_rows : n_rows + n_columns].any(axis=1)
    idle = ~touched.any(axis=1)
    orders = [np.flatnonzero(group & ~idle) for group in (~by_column, by_column & ~by_row, by_column & by_row)]
    bounds = np.cumsum([STATIONS, *(len(order) for order in orders)])
    groups = [slice(int(bounds[i]), int(bounds[i + 1])) for i in range(3)]
    return held[np.concatenate(orders)], groups
