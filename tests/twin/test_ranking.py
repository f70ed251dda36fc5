"""In worlds that no policy was tuned on, `adaptive` ranks as the project says it does; exceptions are listed here."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from held_apart import (
    LAN,
    SEED_SHIFT,
    SETTINGS,
    SLOW_CHANGE,
    Drawn,
    best_changes,
    changed,
    columns_of,
    largest_change,
    play_all,
    table,
    world_of,
)

from twin.tracemodels.catalog import CATALOG

NEVER_WORSE = 0.02
WITHIN_CLAIRVOYANT = 0.05
OVER_TWO_PERCENT = {
    "lte": (
        0.053,
        "outages come often: in some replications it stays away from the link, in others it returns too early",
    ),
    "throttled": (0.064, "fewer joules, but what it has sent as the line falls waits longer, by luck; not significant"),
}
"""Worlds in which `adaptive` is further behind its best rival, by how much, and why."""
NOT_BETTER = {
    "walk": "idle joules, most of the score, are the same for all; what is left is the cost of its caution",
    **{name: why for name, (_, why) in OVER_TWO_PERCENT.items()},
}
"""Worlds whose best partition changes, but in which `adaptive` is not strictly better than its best rival."""
TOLERANCE = 0.003
"""Difference of a mean score from the docs, relative: they are rounded, and a last digit may tip a decision."""


@pytest.fixture(scope="module")
def standings():
    return {standing.name: standing for standing in play_all()}


@pytest.mark.slow
@pytest.mark.parametrize("name", [setting.name for setting in SETTINGS])
def test_adaptive_is_never_more_than_two_percent_worse_than_the_best_other(standings, name):
    standing = standings[name]
    assert standing.lost["adaptive"] == 0
    if name in OVER_TWO_PERCENT:
        assert standing.worse == pytest.approx(OVER_TWO_PERCENT[name][0], abs=TOLERANCE)
    else:
        assert standing.worse <= NEVER_WORSE, f"{standing.worse:+.1%} against {standing.rival}"


@pytest.mark.slow
@pytest.mark.parametrize("name", [setting.name for setting in SETTINGS])
def test_adaptive_is_strictly_better_where_the_best_partition_changes(standings, name):
    standing = standings[name]
    if not standing.changes:
        pytest.skip("one partition stays within the margin of the best at all times")
    against = standing.against_rival.relative
    assert (against.high < 0) == (name not in NOT_BETTER), f"{standing.rival}: {against}"


@pytest.mark.slow
@pytest.mark.parametrize("name", [setting.name for setting in SETTINGS if setting.name.startswith("slow-")])
def test_adaptive_is_within_five_percent_of_clairvoyant_where_changes_are_slow(standings, name):
    assert standings[name].is_slow
    assert standings[name].regret <= WITHIN_CLAIRVOYANT


@pytest.mark.slow
@pytest.mark.parametrize("name", [setting.name for setting in SETTINGS])
def test_the_table_in_the_docs_is_that_of_the_worlds(standings, name):
    lines = (Path(__file__).parents[2] / "docs" / "dynamics.md").read_text(encoding="utf-8").splitlines()
    row = next(line for line in lines if line.startswith(f"| {name} |"))
    expected = table([standings[name]]).splitlines()[-1]
    figures, now = (np.array(re.findall(r"[+-]?\d+\.\d+", text), dtype=float) for text in (row, expected))
    assert figures == pytest.approx(now, rel=TOLERANCE, abs=0.3)
    assert re.findall(r"[a-z]+", row) == re.findall(r"[a-z]+", expected)


def test_the_worlds_cover_all_traces_three_networks_and_both_kinds_of_loop():
    kinds = {drawn.kind for x in SETTINGS for drawn in (*x.links, *x.loads.values())}
    assert kinds == set(CATALOG)
    assert {x.model for x in SETTINGS} == {"alexnet", "mobilenet_v2", "vgg16"}
    worlds = [world_of(x) for x in SETTINGS]
    assert {x.workload.kind for x in worlds} == {"poisson", "closed"}
    assert {x.problem.objective.boundary for x in worlds} == {"node", "marginal", "compute_only"}


def test_slow_worlds_are_slow_and_the_best_partition_changes_in_them():
    for setting in SETTINGS:
        world = world_of(setting)
        assert (largest_change(world) <= SLOW_CHANGE) == setting.name.startswith("slow-"), setting.name
        assert best_changes(world) == (setting.name not in {"lte-behind", "steady"}), setting.name


@pytest.mark.parametrize("kind", CATALOG)
def test_no_trace_is_a_committed_one(kind):
    model, other = CATALOG[kind], changed(Drawn(kind, 1.5, 0.5), SEED_SHIFT)
    assert other.seed not in {known.seed for known in CATALOG.values()}
    assert other.spread == {column: 0.5 * value for column, value in model.spread.items()}
    assert [x.dwell_s for x in other.states] == [1.5 * x.dwell_s for x in model.states]


def test_a_smoothed_trace_keeps_its_geometric_mean_on_the_way():
    held, smooth = (columns_of(Drawn("throttled", smooth_s=x), 1)["up_bps"] for x in (0.0, 21.0))
    middle_s = np.arange(100.0, 121.0)
    expected = np.exp(np.mean([np.log(held.at(float(t_s))) for t_s in middle_s]))
    assert smooth.at(110.0) == pytest.approx(expected)


def test_a_trace_is_drawn_the_same_each_time():
    assert columns_of(LAN, 7) == columns_of(LAN, 7)
    assert columns_of(LAN, 7) != columns_of(LAN, 8)
