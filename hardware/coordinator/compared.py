"""Measured runs against their replays in the twin: from the run's own inputs, and with its own decisions too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.text import Text

from twin.comparison import compare, judge, words
from twin.comparison.page import as_json, write_comparison
from twin.comparison.table import show

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rich.console import Console

    from twin.comparison import Comparison, Requirement, Verdict

REPLAYED, DECIDED = "replayed", "replayed-decisions"
"""Folders of the two replays beside the measured runs: the policies decide anew, or as they did."""


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """The measured runs against one replay.

    Attributes:
        folder: Folder of the replay, in which the page is.
        comparison: The comparison.
        verdicts: What became of the requirements.
    """

    folder: Path
    comparison: Comparison
    verdicts: tuple[Verdict, ...]

    @property
    def holds(self) -> bool:
        """Whether every requirement holds."""
        return all(verdict.state == "holds" for verdict in self.verdicts)


def compare_all(out: Path, requirements: Sequence[Requirement]) -> tuple[Compared, ...]:
    """Hold the measured runs against both replays and write the pages.

    Args:
        out: Folder of the measured runs, with the replays in it.
        requirements: What must hold of the first replay.

    Raises:
        ComparisonError: The runs cannot be compared, or a requirement names nothing known.
        RunFolderError: A run cannot be read, or a page cannot be written.
    """
    found = []
    for name, wanted in ((REPLAYED, requirements), (DECIDED, ())):
        comparison = compare(out / name, out)
        verdicts = judge(comparison, wanted)
        write_comparison(out / name, comparison, verdicts)
        found.append(Compared(out / name, comparison, verdicts))
    return tuple(found)


def to_json(found: Sequence[Compared]) -> dict[str, Any]:
    """What `compare.json` says of each replay."""
    return {x.folder.name: as_json(x.comparison, x.verdicts) for x in found}


def tell(found: Sequence[Compared], console: Console) -> None:
    """Print the first comparison whole, and of the others the mean latency."""
    first, *others = found
    console.print()
    show(first.comparison, first.verdicts, console)
    for x in others:
        console.print(Text("with the measured decisions", "bold"))
        for pair in x.comparison.policies:
            mean = pair.quantity("latency_mean")
            error = "unknown" if mean is None else words.error(mean.error)
            console.print(Text(f"  {pair.label}: error of the mean latency {error}"))
    for x in found:
        console.print(f"comparison: {x.folder / 'compare.html'}", soft_wrap=True)
