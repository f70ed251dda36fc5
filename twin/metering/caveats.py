"""What to bear in mind with joules of a meter, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from twin.metering.baseline import SHORT_S

if TYPE_CHECKING:
    from twin.energy import Window
    from twin.metering.baseline import Baseline
    from twin.metering.facts import MeterFacts
    from twin.metering.measured import Joules

FEWEST_S = 60.0
"""Shortest window whose joules are a figure and not a hint."""
FEWEST_J = 720.0
"""Least energy likewise: 200 steps of a counter that moves in mWh (3.6 J)."""
_FULL = 0.9995


class Caveat(NamedTuple):
    """A caveat.

    Attributes:
        kind: The same for caveats that differ in their numbers only.
        text: A sentence without the name of the device.
    """

    kind: str
    text: str


NO_METER = Caveat("none", "no meter gave readings, so the energy is not known")


def incomplete(covered: float) -> Caveat:
    """Readings are missing."""
    share = f"{100 * covered:.1f}" if covered < _FULL else f"{100 * covered:.3f}"
    return Caveat("incomplete", f"readings cover {share} % of the window; gaps are not filled, so no energy is given")


def of(
    facts: MeterFacts,
    covered: float,
    window: Window,
    joules: tuple[Joules, Joules | None, Joules],
    baseline: Baseline | None,
) -> tuple[Caveat, ...]:
    """All caveats of a device, most important first.

    Args:
        facts: What the meter is.
        covered: Share of the window that readings cover.
        window: The window.
        joules: Energy of the window; by readings if the counter contradicts them, else None; by the counter.
        baseline: Idle power around the run.
    """
    node, shown, counted = joules
    said = []
    if facts.source == "emulated":
        said.append(Caveat("emulated", "the meter is emulated, so these joules are not measured"))
    if node.value_j is None:
        return (*said, incomplete(covered))
    if shown is not None:
        said.append(
            Caveat(
                "counter",
                f"readings add up to {shown.value_j:.4g} J, but the meter's own counter says {counted.value_j:.4g} J; "
                "the uncertainty spans both",
            )
        )
    if window.length_s < FEWEST_S or node.value_j < FEWEST_J:
        said.append(
            Caveat(
                "short",
                f"the window is {window.length_s:.3g} s and {node.value_j:.3g} J; below {FEWEST_S:.0f} s or "
                f"{FEWEST_J:.0f} J a figure is a hint, so mind its uncertainty",
            )
        )
    return (*said, *_of_baseline(baseline))


def _of_baseline(baseline: Baseline | None) -> list[Caveat]:
    if baseline is None:
        return [Caveat("baseline", "idle power was read neither before nor after the run: no marginal energy is given")]
    said = []
    if baseline.drift_w is None:
        known = "before" if baseline.before else "after"
        said.append(Caveat("one-sided", f"idle power was read only {known} the run, so a drift would go unseen"))
    if baseline.drifts and baseline.before and baseline.after:
        said.append(
            Caveat(
                "drift",
                f"idle power went from {baseline.before.mean_w:.4g} W before to {baseline.after.mean_w:.4g} W after "
                "the run; its marginal energy rests on the mean of both",
            )
        )
    shortest_s = min(idle.end_s - idle.start_s for idle in baseline.stretches)
    if shortest_s < SHORT_S:
        said.append(Caveat("idle", f"idle power was read for only {shortest_s:.2g} s before or after the run"))
    return said
