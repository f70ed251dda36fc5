"""The comparison of two result folders."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from twin.comparison.alike import check_alike, differences
from twin.comparison.breakdown import parts_of
from twin.comparison.decisions import decisions
from twin.comparison.outcome import Comparison, Origin, PolicyPair
from twin.comparison.pairing import pair
from twin.comparison.quantities import quantities
from twin.comparison.ranking import ranking
from twin.comparison.side import read_side
from twin.comparison.waterfall import waterfall
from twin.errors import ComparisonError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from twin.comparison.side import Play

_FEW = 3
"""Replications below which an interval says little of how runs differ."""


def compare(sim: Path, measured: Path) -> Comparison:
    """Hold two results of one scenario against each other, policy by policy.

    Args:
        sim: Folder of a result, or of one policy's run; it may be simulated, emulated or measured.
        measured: Likewise; the reference.

    Raises:
        ComparisonError: The folders hold no runs, no policy of the same name, or runs that cannot be compared.
        RunFolderError: A run is incomplete or malformed.
    """
    own, reference = read_side(sim), read_side(measured)
    labels = [label for label in _order(reference) if label in own]
    if not labels:
        raise ComparisonError(
            f"{sim} and {measured}: no policy is in both; the first has {', '.join(own)}, the second "
            f"{', '.join(reference)}; play the same policies"
        )
    for label in labels:
        check_alike(label, own[label], reference[label])
    pairs = tuple(_pair(label, own[label], reference[label]) for label in labels)
    found = list(chain.from_iterable(differences(label, own[label], reference[label]) for label in labels))
    first = reference[labels[0]]
    objective = first.scenario["objective"]
    return Comparison(
        scenario=first.info["name"],
        model=first.scenario["model"],
        boundary=objective.get("boundary", "node"),
        deadline_s=objective.get("deadline_s"),
        devices=tuple(first.info["devices"]),
        ways=tuple(place_names(first.info)[len(first.info["devices"]) :]),
        sim=_origin(sim, [own[label] for label in labels]),
        measured=_origin(measured, [reference[label] for label in labels]),
        policies=pairs,
        ranking=ranking({x: own[x] for x in labels}, {x: reference[x] for x in labels}),
        differences=tuple(x for position, x in enumerate(found) if x not in found[:position]),
        notes=tuple(_notes(own, reference, pairs)),
    )


def place_names(info: Mapping[str, Any]) -> list[str]:
    """Names of the places as a comparison writes them: `pi`, and `pi-laptop` for the direction from pi to laptop."""
    names, ends = list(info["devices"]), [link["between"] for link in info["scenario"]["links"]]
    pairs = [sorted(pair, key=names.index) for pair in ends]
    return [*names, *chain.from_iterable((f"{a}-{b}", f"{b}-{a}") for a, b in pairs)]


def _order(side: Mapping[str, Play]) -> list[str]:
    """Labels in the order of the scenario; references, which it does not name, come last."""
    known = list(next(iter(side.values())).scenario["policies"])
    return sorted(side, key=lambda label: known.index(label) if label in known else len(known))


def _pair(label: str, sim: Play, measured: Play) -> PolicyPair:
    places = place_names(measured.info)
    parts = parts_of(len(measured.info["devices"]), len(measured.scenario["links"]))
    paired = pair(sim, measured, parts)
    return PolicyPair(
        label,
        paired,
        quantities(sim, measured, paired, parts, places),
        waterfall(paired, parts, places),
        decisions(sim, measured, paired),
    )


def _origin(folder: Path, plays: Sequence[Play]) -> Origin:
    sources = list(dict.fromkeys(play.result.source for play in plays))
    most = max(len(play.replications) for play in plays)
    return Origin(str(folder), " and ".join(sources), most, plays[0].info["seed"])


def _notes(own: Mapping[str, Play], reference: Mapping[str, Play], pairs: Sequence[PolicyPair]) -> Iterator[str]:
    for side, other, which in ((own, reference, "first"), (reference, own, "second")):
        alone = [label for label in side if label not in other]
        if alone:
            yield f"Only the {which} side played {', '.join(alone)}."
    fewest = min(len(x.pairing.measured) for x in pairs)
    if fewest > 1 and any(len(x.pairing.sim) == 1 for x in pairs):
        yield "One replication of the first side: there are no intervals; play two or more."
    if fewest == 1:
        yield "One run of the reference: how far runs differ is not known, so there are no intervals; make two or more."
    elif fewest < _FEW:
        yield f"{fewest} measured runs: intervals of what is known by run only, such as energy, are wide."
    if any(x.decisions is not None and x.decisions.why for x in pairs):
        why = next(x.decisions.why for x in pairs if x.decisions is not None and x.decisions.why)
        yield f"The cost of differing decisions is not known: {why}."
    uneven = [x.label for x in pairs if _lost(own[x.label]) != _lost(reference[x.label])]
    if uneven:
        yield f"The sides lost different numbers of requests ({', '.join(uneven)}): latencies are of those answered."


def _lost(play: Play) -> float:
    """Share of the counted requests that were not answered."""
    requests = play.result.requests
    counted = int(requests.counted.sum())
    return 1 - int((requests.counted & requests.completed).sum()) / counted if counted else 0.0
