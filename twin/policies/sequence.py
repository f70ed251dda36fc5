"""The cheapest sequence of partitions over a few steps, by dynamic programming (Bellman 1957)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Price(NamedTuple):
    """What a step costs; compared field by field in this order, and added up the same way.

    Attributes:
        lost: Steps in which no request can be answered.
        late: Steps in which requests miss the deadline.
        overload_s: Sum of the bottlenecks of the steps in which queues grow without end.
        score: Sum of the scores of requests, and of the costs of changes.
    """

    lost: int = 0
    late: int = 0
    overload_s: float = 0.0
    score: float = 0.0

    def plus(self, other: Price) -> Price:
        """The sum of both."""
        return Price(
            self.lost + other.lost,
            self.late + other.late,
            self.overload_s + other.overload_s,
            self.score + other.score,
        )

    def plus_score(self, score: float) -> Price:
        """The same with some score added."""
        return self._replace(score=self.score + score)


def least_totals(
    prices: Sequence[Sequence[Price]], change: Callable[[int, int, int], float] | None = None
) -> list[Price]:
    """Price of the cheapest sequence that begins with each choice.

    Args:
        prices: What each choice costs in each step: the steps in order, each with the same choices.
        change: Score of a change at the beginning of a step, from one choice to another; None: changes are free.

    Returns:
        One price per choice. The change to the first choice is not in it.
    """
    totals = list(prices[-1])
    for step in range(len(prices) - 2, -1, -1):
        row = prices[step]
        if change is None:
            least = min(totals)
            totals = [price.plus(least) for price in row]
        else:
            following = [
                min(total.plus_score(change(step + 1, old, new)) for new, total in enumerate(totals))
                for old in range(len(row))
            ]
            totals = [price.plus(least) for price, least in zip(row, following, strict=True)]
    return totals
