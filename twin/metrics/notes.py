"""What a reader should bear in mind with the figures of a comparison, in sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twin.metrics.meters import listed, meter_notes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twin.metrics.summary import PolicySummary
    from twin.profiles import Profile, Source
    from twin.records import RunResult
    from twin.world import World

_P99_NEEDS = 100
"""Answers below which the 99th percentile is hardly more than the largest value."""
_UNSTEADY = 0.3
"""Standard deviation of the logarithm of a stage's time above which one time in ten is off by a factor of 1.6."""
_KEEPS_UP = 0.9
"""Share of the offered rate below which a policy is said not to keep up: a backlog of a tenth of the run."""


def profile_source(profile: Profile) -> str:
    """Where layer times are known from: `measured`, `derived` or `extrapolated`."""
    return "extrapolated" if profile.extrapolated else profile.source


def notes(world: World, policies: Sequence[PolicySummary], run_source: Source) -> list[str]:
    """What a reader should bear in mind, most important first."""
    said = [note for policy in policies for note in _policy_notes(policy)]
    said += meter_notes(world.problem.continuum.names, policies)
    answers = min((x.requests["ok"] + x.requests["late"] for policy in policies for x in policy.figures), default=0)
    if 0 < answers < _P99_NEEDS:
        said.append(f"p99 rests on as few as {answers} answers per replication, so it is close to the maximum.")
    names = world.problem.continuum.names
    for source in ("extrapolated", "derived"):
        devices = [n for n, x in zip(names, world.profiles, strict=True) if profile_source(x) == source]
        if devices:
            how = "published figures" if source == "derived" else "published figures of other models"
            said.append(f"The layer times of {listed(devices)} are {source} from {how}, not measured.")
    drifting = [n for n, x in zip(names, world.profiles, strict=True) if x.provenance.get("unsteady")]
    if drifting:
        said.append(
            f"The layer times of {listed(drifting)} were measured while the machine drifted by some percent; "
            "`steadiness` in the profile says how much."
        )
    unknown = [device.name for device in world.problem.continuum.devices if device.power is None]
    if unknown and any(x.metered is None for policy in policies for x in policy.figures):
        said.append(f"The power of {listed(unknown)} is not known, so no total energy is given.")
    if world.without_dispersion:
        said.append(f"No spread of stage times was measured for {listed(world.without_dispersion)}: none is simulated.")
    unsteady = [n for n, sigma in zip(names, world.dispersion.tolist(), strict=True) if sigma > _UNSTEADY]
    if unsteady:
        said.append(f"The stage times of {listed(unsteady)} were measured on an unsteady machine; so they vary here.")
    if len(policies[0].figures) < 2:
        remedy = "set `replications: 5`" if run_source == "simulated" else "give `--repeats 5`"
        said.append(f"There is one replication, so no interval can be given; {remedy} or more.")
    return said


def backend_notes(results: Sequence[RunResult]) -> list[str]:
    """What the backend says of itself: caveats of a testbed, and which engine played where it was chosen, not given."""
    caveats = dict.fromkeys(str(text) for result in results for text in result.facts.get("caveats", ()))
    chosen = {(str(x.facts["engine"]), str(x.facts["engine_why"])) for x in results if "engine_why" in x.facts}
    return [*caveats, *(f"Played by the {engine} engine: {why}." for engine, why in sorted(chosen))]


def _policy_notes(policy: PolicySummary) -> list[str]:
    said = []
    requests = policy.requests
    lost = requests["dropped"] + requests["failed"]
    if lost:
        said.append(
            f"{policy.label}: {lost} of {requests['arrived']} requests were never answered; "
            "its latency is that of the others."
        )
    offered_rps, served_rps = policy.offered_rps.mean, policy.throughput_rps.mean
    if offered_rps and served_rps is not None and served_rps < _KEEPS_UP * offered_rps and not lost:
        said.append(
            f"{policy.label}: answers {served_rps:.3g} of {offered_rps:.3g} requests per second; it may not keep up, "
            "and its latency then grows with the length of the run."
        )
    return said
