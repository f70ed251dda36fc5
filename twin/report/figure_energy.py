"""Energy of each policy by device and state, with and without the idle baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from twin.energy import State
from twin.report.drawing import INK, STATES, Picture, drawing, sample, svg
from twin.wording import METER_LEGEND, joules, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from twin.metrics.summary import PolicySummary, Summary
    from twin.problem import Boundary

_PARTS = (*STATES, ("read by a meter", "#c2563a", "..."))
"""Name, colour and hatch of each part of a bar."""
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
        figure.legend(handles, labels, loc="outside upper left", ncols=len(_PARTS))
        image = svg(figure, "energy")
    return Picture(
        "energy",
        "Energy by device and state",
        image,
        f"Joules per completed request of each device by what it did, mean over replications, {sample(summary)}. "
        "Boundary on the left node (all joules from the end of warm-up to the last answer), on the right marginal "
        f"(without the idle baseline); the scales differ. {_origin(summary)}",
    )


def _stacks(axes: Axes, summary: Summary, first: State) -> None:
    """Stacked bars of all policies and devices, from a state on."""
    y = _energy_positions(summary)
    start = np.zeros(y.shape)
    parts_j = _parts_j(summary, first)
    for part in range(first, len(_PARTS)):
        name, colour, hatch = _PARTS[part]
        joules_j = parts_j[:, :, part]
        drawn = joules_j > 0
        if not drawn.any():
            continue
        axes.barh(
            y[drawn],
            joules_j[drawn],
            left=start[drawn],
            height=0.8,
            color=colour,
            hatch=hatch,
            edgecolor=INK,
            linewidth=0.3,
            label=name,
        )
        start += joules_j
    boundary: Boundary = "node" if first == State.IDLE else "marginal"
    reach = 0.0
    for p, policy in enumerate(summary.policies):
        for device in range(len(summary.devices)):
            half_j = policy.energy_half_width_j(boundary, device) or 0.0
            if half_j:
                axes.errorbar(start[p, device], y[p, device], xerr=half_j, color=INK, linewidth=0.8, capsize=2)
            at = (float(start[p, device]) + half_j, y[p, device])
            text = _amount(policy, boundary, device)
            axes.annotate(text, at, xytext=(4, 0), textcoords="offset points", va="center", fontsize=8)
            reach = max(reach, at[0] * (1.3 if half_j else 1.18))
    axes.set_xlim(0.0, max(reach, 1e-12))


def _amount(policy: PolicySummary, boundary: Boundary, device: int) -> str:
    if policy.energy_j(boundary, device).mean is None:
        return "not known" if policy.metered else "power unknown"
    return joules(policy, boundary, device) if policy.metered else number(policy.energy_j(boundary, device).mean)


def _parts_j(summary: Summary, first: State) -> np.ndarray:
    """Joules per answer of each part of a bar, shape [n_policies, n_devices, n_parts]; 0 where there is none.

    A meter tells the idle baseline from what is above it, but not one activity from another.
    """
    parts_j = np.zeros((len(summary.policies), len(summary.devices), len(_PARTS)))
    for p, policy in enumerate(summary.policies):
        for device in range(len(summary.devices)):
            if not policy.metered:
                parts_j[p, device, :-1] = [policy.state_j(device, state) or 0.0 for state in State]
                continue
            node_j, marginal_j = (policy.energy_j(x, device).mean for x in ("node", "marginal"))
            if node_j is not None and marginal_j is not None:
                parts_j[p, device, State.IDLE], parts_j[p, device, -1] = node_j - marginal_j, max(marginal_j, 0.0)
            elif node_j is not None and first == State.IDLE:
                parts_j[p, device, -1] = node_j
    return parts_j


def _origin(summary: Summary) -> str:
    """Where the joules come from."""
    metered = [policy.metered for policy in summary.policies]
    if not any(metered):
        return "Power times time from the scenario's power states."
    text = "Read by power meters; bars with ± and a whisker: " + METER_LEGEND + "."
    return text if all(metered) else f"{text} Bars split by state: power times time from the scenario's power states."


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
