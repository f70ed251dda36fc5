"""What the terminal shows, at several widths."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO

import pytest
from results import fading_results, fading_world, make_requests, make_run, make_spans
from rich.console import Console
from worlds import make_world

from twin.metrics import summarise
from twin.metrics.intervals import Interval, Paired
from twin.report.table import show
from twin.wording import change, given, milliseconds, number, share, with_half_width, with_interval


@pytest.fixture(scope="module")
def summary():
    world = fading_world()
    return summarise(world, fading_results(world))


def printed(summary, width, **options):
    console = Console(file=StringIO(), width=width, **options)
    show(summary, console)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_no_line_is_too_long_and_nothing_is_cut(summary, width):
    text = printed(summary, width)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    assert "…" not in text


def test_one_table_where_it_fits_and_two_where_not(summary):
    def heads(text):
        return sum("policy" in line for line in text.splitlines())

    assert heads(printed(summary, 120)) == 1
    assert heads(printed(summary, 80)) == 2


def test_names_what_a_reader_needs(summary):
    text = printed(summary, 120)
    for part in (
        "Does adapting pay when the WiFi fades?",
        "source: simulated",
        "3 replications",
        "layer times: pi measured, laptop measured, pc measured",
        "latency, ms",
        "node energy, J/request",
        "req/s",
        "late",
        "switches",
        "n: answered requests",
        "[ ]: 95 % interval over replications",
    ):
        assert part in text
    assert "lost" not in text


def test_each_policy_against_the_first(summary):
    lines = printed(summary, 120).splitlines()
    row = next(line for line in lines if line.startswith("adaptive - static:"))
    assert "latency" in row
    assert "better in 3 of 3" in row
    assert sum("better in" in line for line in lines) == 6


def test_colours_tell_better_from_worse(summary):
    text = printed(summary, 120, force_terminal=True, color_system="standard")
    assert "\x1b[32m-82" in text
    assert "\x1b[31m+7" in text


def test_columns_line_up(summary):
    rows = [line for line in printed(summary, 120).splitlines() if line.startswith((" static ", " pi-only "))]
    assert len(rows) == 2
    assert len({len(line.rstrip()) for line in rows}) == 1


def test_lost_requests_are_shown():
    world = make_world()
    run = make_run(world, make_requests([0.0, 1.0], [0.1, float("nan")], [0, 3]), make_spans([]))
    text = printed(summarise(world, [run]), 80)
    assert "lost" in text
    assert "50.0" in text
    assert "! static: 1 of 2 requests were never answered" in text


def test_one_replication_shows_no_interval():
    world = fading_world(replications=1)
    text = printed(summarise(world, fading_results(world)), 120)
    assert "95 %" not in text.split("!")[0]
    assert "better in 1 of 1" in text


def test_names_in_brackets_are_not_markup(summary):
    policies = tuple(replace(policy, label=f"[bold]{policy.label}") for policy in summary.policies)
    assert "[bold]static" in printed(replace(summary, policies=policies, scenario="[red]x"), 120)
    assert "[red]x" in printed(replace(summary, scenario="[red]x"), 120)


def test_many_devices_become_rows(summary):
    figures = [
        replace(x, energy_j={boundary: values * 4 for boundary, values in x.energy_j.items()})
        for x in summary.policies[0].figures
    ]
    devices = tuple(f"device-number-{i}" for i in range(12))
    wide = replace(
        summary,
        devices=devices,
        profile_sources=("measured",) * 12,
        policies=(replace(summary.policies[0], figures=tuple(figures)),),
    )
    text = printed(wide, 80)
    assert "…" not in text
    assert all(any(line.strip().startswith(name) for line in text.splitlines()) for name in devices)


def test_nothing_answered():
    world = make_world()
    run = make_run(world, make_requests([0.0], [float("nan")], [3]), make_spans([]))
    assert "–" in printed(summarise(world, [run]), 80)  # noqa: RUF001 - the dash that is shown


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),  # noqa: RUF001 - the dash that is shown
        (0.0, "0"),
        (12.345, "12.3"),
        (0.0012345, "0.00123"),
        (0.9999, "1.00"),
        (9.996, "10.0"),
        (98765.4, "98765"),
        (-1.5, "-1.50"),
    ],
)
def test_numbers_have_three_digits(value, text):
    assert number(value) == text


def test_small_wording():
    assert milliseconds(0.0845) == "84.5"
    assert milliseconds(None) == number(None)
    assert given(30.0) == "30"
    assert share(1, 8) == "12.5"
    assert share(0, 0) == number(None)
    assert with_interval(Interval(0.0845, 0.08, 0.09, 5), as_ms=True) == "84.5 [80.0, 90.0]"
    assert with_interval(Interval(2.0, None, None, 1)) == "2.00"


def test_differences_in_words():
    absolute = Interval(-1.0, -2.0, 0.0, 5)
    assert (
        change(Paired(Interval(-0.123, -0.15, -0.091, 5), absolute, 5, 0)) == "-12.3 % [-15.0, -9.1], better in 5 of 5"
    )
    assert change(Paired(Interval(20.03, None, None, 5), absolute, 0, 0)) == "+2003 %, better in 0 of 5"
    assert change(Paired(Interval(0.0, 0.0, 0.0, 5), absolute, 0, 5)) == "the same in 5 of 5"
    assert change(Paired(Interval(None, None, None, 0), absolute, 0, 0)) == number(None)


@pytest.mark.parametrize(
    ("value", "half", "text"),
    [
        (0.9487, 0.0963, "0.949 ± 0.096"),
        (5.0812, 0.6612, "5.08 ± 0.66"),
        (364.2, 12.3, "364 ± 12"),
        (12345.6, 123.0, "12346 ± 123"),
        (3.0, 1.8e-5, "3.000 ± 0.000018"),
        (-1.3e-16, 1.8e-5, "0 ± 0.000018"),
        (-0.02, 0.5, "-0.02 ± 0.50"),
        (2.5, 0.0, "2.500"),
    ],
)
def test_a_figure_has_no_more_decimals_than_its_uncertainty(value, half, text):
    assert with_half_width(value, half) == text
