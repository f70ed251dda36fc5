"""Energy of each policy by device and state, with and without the idle baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from twin.energy import State
from twin.report.drawing import INK, STATES, Picture, drawing, sample, svg
from twin.wording import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from twin.metrics.summary import Summary
    from twin.problem import Boundary

_GAP = 1.7
"""Space between the bars of two policies, in bars; holds a policy's name."""


def energy(summary: Summary) -> Picture | None:
    """Joules per request by device and state, with and without the idle baseline."""
    n_policies, n_devices = len(summary.policies), len(summary.devices)
    if all(policy.energy_j("node", d).mean is None for policy in summary.policies for d in range(n_devices)):
        return None
    with drawing(0.22 * n_policies * (n_devices + _GAP) + 1.1) as figure:
        left, right = figure.subplots(1, 2, sharey=True)
        for axes, first, title in (
            (left, State.IDLE, "node: idle included"),
            (right, State.COMPUTE, "marginal: above idle"),
        ):
            _stacks(axes, summary, first)
            axes.set_title(title)
            axes.set_xlabel("J per completed request")
            axes.grid(visible=False, axis="y")
        _energy_rows(left, summary)
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=len(STATES))
        image = svg(figure, "energy")
    return Picture(
        "energy",
        "Energy by device and state",
        image,
        f"Joules per completed request of each device by what it did, mean over replications, {sample(summary)}. "
        "Boundary on the left node (all joules from the end of warm-up to the last answer), on the right marginal "
        "(without the idle baseline); the scales differ. Power times time from the scenario's power states.",
    )


def _stacks(axes: Axes, summary: Summary, first: State) -> None:
    """Stacked bars of all policies and devices, from a state on."""
    y = _energy_positions(summary)
    start = np.zeros(y.shape)
    for state in range(first, len(State)):
        name, colour, hatch = STATES[state]
        joules = np.array(
            [
                [policy.state_j(device, state) or 0.0 for device in range(len(summary.devices))]
                for policy in summary.policies
            ]
        )
        drawn = joules > 0
        if not drawn.any():
            continue
        axes.barh(
            y[drawn],
            joules[drawn],
            left=start[drawn],
            height=0.8,
            color=colour,
            hatch=hatch,
            edgecolor=INK,
            linewidth=0.3,
            label=name,
        )
        start += joules
    boundary: Boundary = "node" if first == State.IDLE else "marginal"
    for p, policy in enumerate(summary.policies):
        for device in range(len(summary.devices)):
            known = policy.energy_j(boundary, device).mean
            text = "power unknown" if known is None else number(known)
            at = (start[p, device], y[p, device])
            axes.annotate(text, at, xytext=(4, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_xlim(0.0, max(float(start.max()) * 1.18, 1e-12))


def _energy_positions(summary: Summary) -> np.ndarray:
    """Height of each bar, shape [n_policies, n_devices]: devices together, a gap between policies."""
    n_policies, n_devices = len(summary.policies), len(summary.devices)
    return np.asarray(np.arange(n_policies)[:, None] * (n_devices + _GAP) + np.arange(n_devices)[None, :])


def _energy_rows(axes: Axes, summary: Summary) -> None:
    """Names of the devices beside their bars, and of each policy above its own."""
    y = _energy_positions(summary)
    axes.set_yticks(y.ravel(), [*summary.devices] * len(summary.policies))
    for policy, top in zip(summary.policies, y[:, 0], strict=True):
        axes.text(0.0, top - 0.65, policy.label, weight="bold", va="bottom", ha="left")
    axes.set_ylim(y.max() + 0.8, -1.7)
    axes.tick_params(axis="y", length=0)
