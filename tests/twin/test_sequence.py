"""The dynamic programme against every sequence, and prices as they are compared."""

from __future__ import annotations

from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.policies.sequence import Price, least_totals

SCORES = st.sampled_from([0.0, 0.25, 1.0, 1.5, 4.0, 20.0])
RARELY = st.sampled_from([0, 0, 0, 1])
PRICES = st.builds(Price, RARELY, RARELY, st.sampled_from([0.0, 0.5]), SCORES)


@st.composite
def tables(draw):
    """Prices by step and choice, and changes by step and both choices."""
    steps, choices = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    prices = [[draw(PRICES) for _ in range(choices)] for _ in range(steps)]
    change = [[[0.0 if i == j else draw(SCORES) for j in range(choices)] for i in range(choices)] for _ in range(steps)]
    return prices, change


def total(prices, change, sequence):
    price = Price()
    for step, choice in enumerate(sequence):
        price = price.plus(prices[step][choice])
    return price.plus_score(sum(change[step + 1][i][j] for step, (i, j) in enumerate(pairwise(sequence))))


@given(tables())
def test_it_finds_the_cheapest_of_all_sequences(table):
    prices, change = table
    choices = range(len(prices[0]))
    found = least_totals(prices, lambda step, old, new: change[step][old][new])
    for first in choices:
        sequences = ((first, *rest) for rest in product(choices, repeat=len(prices) - 1))
        least = min(total(prices, change, x) for x in sequences)
        assert found[first] == pytest.approx(least)


@given(tables())
def test_without_changes_to_pay_for_each_step_takes_its_best(table):
    prices, _ = table
    rest = [min(row) for row in prices[1:]]
    for first, found in enumerate(least_totals(prices)):
        expected = prices[0][first]
        for price in rest:
            expected = expected.plus(price)
        assert found == pytest.approx(expected)


def test_to_serve_comes_before_the_deadline_and_that_before_the_score():
    ordered = [Price(0, 0, 0.0, 9.0), Price(0, 0, 0.1, 0.0), Price(0, 1, 0.0, 1.0), Price(1, 0, 0.0, 0.0)]
    assert sorted([ordered[2], ordered[0], ordered[3], ordered[1]]) == ordered
    assert ordered[1].plus(ordered[3]) == Price(1, 0, 0.1, 0.0)


def test_by_hand():
    # from a (1, 5) to b (4, 1) a change costs 2: a-b costs 1 + 2 + 1, b-b costs 4 + 1
    prices = [[Price(score=1.0), Price(score=4.0)], [Price(score=5.0), Price(score=1.0)]]
    assert [x.score for x in least_totals(prices, lambda step, old, new: 2.0 * (old != new))] == [4.0, 5.0]
