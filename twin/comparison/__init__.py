"""Two results of one scenario, held against each other: how far they differ, where, and how sure that is."""

from twin.comparison.judge import Verdict, judge
from twin.comparison.outcome import Comparison
from twin.comparison.require import Requirement, parse
from twin.comparison.whole import compare

__all__ = ["Comparison", "Requirement", "Verdict", "compare", "judge", "parse"]
