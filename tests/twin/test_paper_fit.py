"""Links from the static rows of the seed paper: polytopes against brute force, planted links, the published rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import make_links, make_problem, make_world

from twin.cost import predict
from twin.errors import InfeasibleError
from twin.partition import Partition
from twin.reproduction.fit import FASTEST_BPS, Equation, LinkPoint, equation_of, exact, feasible, least_error
from twin.reproduction.polytope import inside, vertices
from twin.reproduction.published import Row, read_published
from twin.reproduction.worlds import load_cases, with_links

PROJECT = Path(__file__).parents[2]
SIZES_BITS = ((25e6, 1e6), (1.5e6, 0.4e6), (0.4e6, 2e6))
LATENCIES_S = (0.5, 0.08, 0.1)


def equations(point, errors=(0.0, 0.0, 0.0)):
    """Three rows that the links would leave behind, each off by a share of its latency."""
    rows = []
    for bits, latency_s, error in zip(SIZES_BITS, LATENCIES_S, errors, strict=True):
        row = Equation("planted", bits, 0.0, latency_s)
        rows.append(replace(row, transfer_s=point.transfer_s(row) - error * latency_s))
    return rows


def box(n):
    """Limits of the unit cube."""
    return np.concatenate([np.eye(n), -np.eye(n)]), np.concatenate([np.ones(n), np.zeros(n)])


def test_the_vertices_of_a_cube_and_of_a_cut_square():
    assert vertices(*box(3)).tolist() == [[a, b, c] for a in (0, 1) for b in (0, 1) for c in (0, 1)]
    normals, limits = box(2)
    corners = vertices(np.vstack([normals, [1.0, 1.0]]), np.append(limits, 1.5))
    assert corners.tolist() == [[0, 0], [0, 1], [0.5, 1], [1, 0], [1, 0.5]]
    assert vertices(np.vstack([normals, [-1.0, -1.0]]), np.append(limits, -3.0)).shape == (0, 2)


@given(st.integers(0, 2**31 - 1), st.integers(2, 3), st.floats(1e-9, 1e9))
@settings(max_examples=40)
def test_no_point_of_a_polytope_lies_beyond_its_vertices(seed, n, unit):
    rng = np.random.default_rng(seed)
    normals, limits = box(n)
    extra = rng.normal(size=(3, n))
    normals, limits = np.vstack([normals, extra]), np.append(limits, extra @ rng.random(n) + 0.1)
    corners = vertices(normals / unit, limits) / unit
    assert (corners @ normals.T <= limits + 1e-6).all()
    points = rng.random((300, n))
    points = points[(points @ normals.T <= limits).all(axis=1)]
    for direction in rng.normal(size=(5, n)):
        assert (points @ direction).max(initial=-np.inf) <= (corners @ direction).max() + 1e-6


def test_points_inside_are_inside_and_seeded():
    corners = vertices(*box(3))
    drawn = inside(corners, 50, seed=7)
    assert ((drawn > 0) & (drawn < 1)).all()
    assert drawn.tolist() == inside(corners, 50, seed=7).tolist()
    assert drawn.tolist() != inside(corners, 50, seed=8).tolist()


def test_planted_links_are_found_but_not_which_hop_has_the_fixed_time():
    planted = LinkPoint((0.02, 0.01), (200e6, 50e6))
    rows = equations(planted)
    assert exact(rows) == pytest.approx([0.03, 1 / 200e6, 1 / 50e6])
    assert least_error(rows) == pytest.approx(0.0, abs=1e-9)
    found = feasible(rows, 1e-6)
    ranges = found.ranges()
    assert ranges["fixed_s"] == pytest.approx((0.03, 0.03), rel=1e-3)
    assert ranges["fixed_1_s"] == pytest.approx((0.0, 0.03), rel=1e-3)
    assert ranges["fixed_2_s"] == pytest.approx((0.0, 0.03), rel=1e-3)
    assert ranges["rate_1_bps"] == pytest.approx((200e6, 200e6), rel=1e-3)
    assert ranges["rate_2_bps"] == pytest.approx((50e6, 50e6), rel=1e-3)


@given(
    st.floats(0.0, 0.05),
    st.floats(50e6, 5e9),
    st.floats(50e6, 5e9),
    st.tuples(*[st.floats(-0.03, 0.03)] * 3),
)
@settings(max_examples=30)
def test_the_feasible_set_holds_what_made_the_rows(fixed_s, rate_1, rate_2, errors):
    planted = LinkPoint((fixed_s, 0.0), (rate_1, rate_2))
    rows = equations(planted, errors)
    tolerance = max(map(abs, errors)) + 1e-4
    found = feasible(rows, tolerance)
    assert least_error(rows) <= tolerance
    for point in (found.centre, *found.points(5, 1)):
        assert max(abs(point.error(row)) for row in rows) <= tolerance + 1e-7
        assert min(point.fixed_s) >= -1e-12
        assert max(point.rate_bps) <= FASTEST_BPS * (1 + 1e-6)
    low, high = found.ranges()["fixed_s"]
    assert low - 1e-9 <= fixed_s <= high + 1e-9


def test_the_vertices_are_those_of_the_set_in_all_four_unknowns():
    rows = equations(LinkPoint((0.02, 0.01), (200e6, 500e6)), (0.01, -0.01, 0.02))
    tolerance = 0.03
    matrix = np.array([[1.0, 1.0, *row.bits] for row in rows])
    target = np.array([row.transfer_s for row in rows])
    slack = tolerance * np.array([row.latency_s for row in rows])
    normals = np.concatenate([matrix, -matrix, -np.eye(4)])
    limits = np.concatenate([target + slack, slack - target, [0.0, 0.0, -1 / FASTEST_BPS, -1 / FASTEST_BPS]])
    whole = vertices(normals, limits)
    corners = feasible(rows, tolerance).corners
    assert len(whole) == len(corners)
    for corner in corners:
        assert np.isclose(whole, corner, rtol=1e-6, atol=1e-12).all(axis=1).any()


def test_the_least_error_is_no_more_than_that_of_any_links_on_a_grid():
    rows = equations(LinkPoint((0.02, 0.0), (200e6, 300e6)), (0.0, -0.08, 0.08))
    least = least_error(rows)
    assert 0.01 < least < 0.08
    for fixed_s in np.linspace(0.0, 0.05, 11):
        for rate_1 in np.geomspace(5e7, 1e10, 15):
            for rate_2 in np.geomspace(5e7, 1e10, 15):
                point = LinkPoint((fixed_s, 0.0), (rate_1, rate_2))
                assert max(abs(point.error(row)) for row in rows) >= least - 1e-9
    with pytest.raises(InfeasibleError, match=r"the least possible is .* raise --tolerance"):
        feasible(rows, 0.9 * least)
    assert len(feasible(rows, 1.001 * least).corners)


def test_the_equation_says_what_the_twin_spends_on_messages():
    plan, problem = Partition((0, 1, 1, 2), 3), make_problem()
    row = Row(latency_ms=100.0, edge_j=0.12, fog_j=0.3, cloud_j=0.032, total_j=0.452)
    equation = equation_of(problem.graph, plan, row, (12.0, 15.0, 32.0))
    assert equation.transfer_s == pytest.approx(0.1 - 0.01 - 0.02 - 0.001)
    assert equation.bits == pytest.approx((8 * (200_000 + 4_000), 8 * (10_000 + 4_000)))
    point = LinkPoint((0.02, 0.01), (50e6, 200e6))
    world = with_links(make_world(problem=problem, links=make_links()), point)
    foreseen = predict(world.problem, plan, world.problem.initial)
    assert sum(x.total_s for x in foreseen.transfers) == pytest.approx(point.transfer_s(equation))
    assert point.error(equation) == pytest.approx((point.transfer_s(equation) - 0.069) / 0.1)


@pytest.fixture(scope="module")
def rows():
    published = read_published(PROJECT / "data" / "published" / "deng-2026.yaml")
    cases = load_cases(PROJECT / "scenarios" / "paper", published)
    return [equation_of(x.world.problem.graph, x.static, x.figures.static, x.power_w) for x in cases]


def test_the_published_rows_leave_these_times_for_messages(rows):
    assert [row.transfer_s for row in rows] == pytest.approx([0.13919, 0.04062, 0.02737], abs=1e-5)


def test_alexnet_needs_more_time_for_fewer_bytes_than_mobilenet(rows):
    _, alexnet, mobilenet = rows
    assert sum(alexnet.bits) < sum(mobilenet.bits)
    assert alexnet.transfer_s > 1.4 * mobilenet.transfer_s
    assert exact(rows)[2] < 0
    assert least_error(rows) == pytest.approx(0.047, abs=5e-4)
