"""The answers in the headers of scenario files, played again.

    python tests/answers.py [--write] scenarios/dynamics/*.yaml

An answer is a comment line at the top of the file, of one of two forms:

    # answer: adaptive against edge-only: mean latency -41.2 % [-44.0, -38.1], score -10.3 % [-12.0, -8.7]
    # answer: late requests: adaptive 0.4 %, edge-only 6.8 %

The first is the mean relative difference over replications with its paired 95 % interval; the second the share of
counted requests that were answered late or never.
"""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from twin.engine.choose import choose_engine
from twin.metrics import summarise
from twin.metrics.intervals import paired
from twin.policies import POLICIES
from twin.records import RunResult
from twin.scenario import load_world

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twin.metrics.summary import PolicySummary, Summary

PAGE = Path(__file__).parents[1] / "docs" / "dynamics.md"
PREFIX = "# answer: "
LATE = "late requests"
_NUMBER = r"[+-]?\d+(?:\.\d+)?"
_DIFFERENCE = re.compile(rf"([a-z0-9_ ]+?) ({_NUMBER}) % \[({_NUMBER}), ({_NUMBER})\]")
_SHARE = re.compile(rf"(\S+) ({_NUMBER}) %")


@dataclass(frozen=True, slots=True)
class Answer:
    """One line of a header.

    Attributes:
        policies: The policy and the one that it is compared with, or those whose late requests are given.
        quantities: What is compared; empty for late requests.
        percent: The figures: mean, low and high for each quantity, or one for each policy.
    """

    policies: tuple[str, ...]
    quantities: tuple[str, ...]
    percent: tuple[float, ...]

    @property
    def text(self) -> str:
        """The line as it stands in the header."""
        if not self.quantities:
            shares = [f"{label} {x:.1f} %" for label, x in zip(self.policies, self.percent, strict=True)]
            return f"{PREFIX}{LATE}: {', '.join(shares)}"
        triples = zip(self.quantities, *(self.percent[k::3] for k in range(3)), strict=True)
        parts = [f"{name} {mean:+.1f} % [{low:+.1f}, {high:+.1f}]" for name, mean, low, high in triples]
        return f"{PREFIX}{self.policies[0]} against {self.policies[1]}: {', '.join(parts)}"


def parse(line: str) -> Answer:
    """Read one line.

    Raises:
        ValueError: It has neither form.
    """
    who, _, what = line.removeprefix(PREFIX).rpartition(": ")
    pattern = _SHARE if who == LATE else _DIFFERENCE
    parts = [pattern.fullmatch(part) for part in re.split(r", (?![+-]?\d)", what)]
    policies = tuple(who.split(" against "))
    if None in parts or (who != LATE and len(policies) != 2):
        raise ValueError(f"{line!r} is no answer; see the docstring of {__name__}")
    groups = [part.groups() for part in parts if part]
    names, percent = tuple(x[0] for x in groups), tuple(float(x) for group in groups for x in group[1:])
    return Answer(names, (), percent) if who == LATE else Answer(policies, names, percent)


def answers_of(path: Path) -> list[Answer]:
    """The answers in the header of a scenario file."""
    return [parse(line) for line in path.read_text(encoding="utf-8").splitlines() if line.startswith(PREFIX)]


def play(path: Path) -> Summary:
    """Play the policies that the answers of a scenario name, each as often and as long as the file says."""
    world = load_world(path)
    named = {label for answer in answers_of(path) for label in answer.policies}
    engine = choose_engine(world)
    results = [
        RunResult.concatenate(
            [engine.run(world, POLICIES[x.kind](**x.options), x.label, k) for k in range(world.replications)]
        )
        for x in world.policies
        if x.label in named
    ]
    return summarise(world, results)


def found(answer: Answer, summary: Summary) -> Answer:
    """The same answer with the figures of a summary."""
    by_label = {policy.label: policy for policy in summary.policies}
    policies = [by_label[label] for label in answer.policies]
    if not answer.quantities:
        return Answer(answer.policies, (), tuple(100 * _late(policy) for policy in policies))
    percent: list[float] = []
    for name in answer.quantities:
        relative = paired(*(_values(policy, name) for policy in policies)).relative
        if relative.mean is None or relative.low is None or relative.high is None:
            raise ValueError(f"{name}: {summary.scenario} gives no interval")
        percent += [100 * relative.mean, 100 * relative.low, 100 * relative.high]
    return Answer(answer.policies, answer.quantities, tuple(x + 0.0 for x in percent))


def _late(policy: PolicySummary) -> float:
    return 1.0 - policy.requests["ok"] / policy.requests["arrived"]


def _values(policy: PolicySummary, name: str) -> Sequence[float | None]:
    """One value per replication."""
    if name == "score":
        return [x.score for x in policy.figures]
    kind, _, noun = name.partition(" ")
    if noun == "latency":
        return [x.latency_s[kind] for x in policy.figures]
    return [x.total_j(kind) for x in policy.figures]  # type: ignore[arg-type]


def written(text: str, old: Answer, new: Answer) -> str:
    """A text with the figures of an answer replaced: its line in a header, or its figures in a table."""
    text = text.replace(old.text, new.text)
    if not old.quantities:
        return text.replace(_against(old), _against(new))
    for k in range(0, len(old.percent), 3):
        text = text.replace(_triple(old.percent[k : k + 3]), _triple(new.percent[k : k + 3]))
    return text


def _against(answer: Answer) -> str:
    """Late requests as a table gives them: of the first policy against the second."""
    return " against ".join(f"{x:.1f}" for x in answer.percent[:2])


def _triple(percent: Sequence[float]) -> str:
    mean, low, high = percent
    return f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]"


def _write(path: Path, pairs: Sequence[tuple[Answer, Answer]]) -> None:
    """Put new figures into the header of a scenario and into its row of the table in the docs."""
    header, lines = path.read_text(encoding="utf-8"), PAGE.read_text(encoding="utf-8").splitlines()
    row = next(k for k, line in enumerate(lines) if line.startswith(f"| [{path.stem}]"))
    for old, new in pairs:
        header, lines[row] = written(header, old, new), written(lines[row], old, new)
    path.write_text(header, encoding="utf-8")
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Print the answers of scenario files as they should read; with `--write`, put them there and into the docs."""
    parser = argparse.ArgumentParser(description="Play the answers in the headers of scenario files again.")
    parser.add_argument("scenario", nargs="+", type=Path)
    parser.add_argument("--write", action="store_true", help="put the figures into the headers and docs/dynamics.md")
    options = parser.parse_args()
    for path in options.scenario:
        summary = play(path)
        pairs = [(answer, found(answer, summary)) for answer in answers_of(path)]
        sys.stdout.write(f"{path}\n" + "".join(f"{new.text}\n" for _, new in pairs))
        if options.write:
            _write(path, pairs)


if __name__ == "__main__":
    main()
