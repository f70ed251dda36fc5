"""Which policy is the best where, by hand-made rows; what the terminal and the figures make of it."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from sweeps import outcome, row

from twin.errors import RunFolderError
from twin.sweeping.breaks import between, breaks_of, is_wide
from twin.sweeping.cache import Cache
from twin.sweeping.campaign import Timing
from twin.sweeping.figures import pictures
from twin.sweeping.grid import Axis
from twin.sweeping.quantities import percent_text, scale_of
from twin.sweeping.row import QUANTITIES, Row
from twin.sweeping.table import records_of, to_csv
from twin.sweeping.verdict import cells_of
from twin.sweeping.view import cost, show
from twin.wording import UNKNOWN

RATE = Axis(("links.pi-laptop.rate_bps",), ((1e6,), (1e7,), (1e8,)))
LOAD = Axis(("devices.pi.load",), ((1.0,), (2.0,)))
ARRIVALS = Axis(("workload.rate_rps",), ((1,), (2,), (4,), (8,)))
FAILED = Row("b", error="no way")


def one_axis(axis, *pairs):
    return outcome([axis], {(i,): [row("a", a), row("b", b)] for i, (a, b) in enumerate(pairs)})


def test_the_least_mean_wins_by_its_share_of_the_second():
    cells = cells_of(one_axis(LOAD, ([2.0, 2.0], [4.0, 4.0]), ([3.0, 5.0], [1.0, 2.0])))
    assert [(cell.best, cell.second, cell.gain, cell.apart) for cell in cells.values()] == [
        ("a", "b", 0.5, True),
        ("b", "a", pytest.approx(0.625), False),
    ]


def test_pairs_decide_whether_two_can_be_told_apart():
    spread = cells_of(one_axis(LOAD, ([1.0, 5.0], [1.1, 5.1]), ([1.0, 5.0], [1.1, 4.9])))
    assert [cell.apart for cell in spread.values()] == [True, False]
    equal = cells_of(one_axis(LOAD, ([1.0, 2.0], [1.0, 2.0]), ([1.0], [2.0])))
    assert [(cell.gain, cell.apart) for cell in equal.values()] == [(0.0, False), (0.5, None)]


def test_a_policy_that_loses_requests_does_not_win():
    rows = [row("a", [1.0, 1.0], lost=5), row("b", [2.0, 2.0], lost=1)]
    slightly = [row("a", [1.0, 1.0], lost=2), row("b", [2.0, 2.0], lost=1)]
    cells = cells_of(outcome([LOAD], {(0,): rows, (1,): slightly}))
    assert [(cell.best, cell.second) for cell in cells.values()] == [("b", None), ("a", "b")]


def test_what_failed_or_is_not_known_does_not_compete():
    cells = cells_of(outcome([LOAD], {(0,): [row("a", [1.0]), FAILED], (1,): [row("a", [None]), FAILED]}))
    assert [(cell.best, cell.second, cell.gain) for cell in cells.values()] == [("a", None, None), (None, None, None)]


def test_seeds_are_pooled():
    axes, rows = [LOAD], {(0,): [row("a", [1.0, 3.0]), row("b", [4.0, 4.0])], (1,): [row("a", [1.0]), row("b", [2.0])]}
    cell = cells_of(outcome(axes, rows, seeds=(1, 2, 3)))[(0,)]
    assert cell.values["a"] == (1.0, 3.0) * 3
    assert cell.mean("a") == 2.0


def test_a_break_even_lies_where_straight_lines_cross():
    """On the axis of loads a falls from 1 below b to 3 above it: level after a quarter of the way."""
    result = one_axis(LOAD, ([1.0, 1.0], [2.0, 2.0]), ([5.0, 5.0], [2.0, 2.0]))
    found = breaks_of(LOAD, list(cells_of(result).values()))
    assert [(b.before, b.low, b.high, b.apart) for b in found] == [(0, "a", "b", True)]
    assert found[0].value == pytest.approx(1.25)
    wide = one_axis(RATE, ([1.0, 1.0], [2.0, 2.0]), ([3.0, 3.0], [2.0, 2.0]), ([3.0, 3.0], [2.0, 2.0]))
    assert is_wide(RATE)
    assert not is_wide(LOAD)
    assert breaks_of(RATE, list(cells_of(wide).values()))[0].value == pytest.approx(10**6.5)


def test_no_value_where_one_of_two_was_not_played_or_the_axis_has_no_numbers():
    rows = {(0,): [row("a", [1.0]), FAILED], (1,): [Row("a", error="no"), row("b", [2.0])]}
    assert [b.value for b in breaks_of(LOAD, list(cells_of(outcome([LOAD], rows)).values()))] == [None]
    words = Axis(("model",), (("vgg16",), ("alexnet",)))
    result = one_axis(words, ([1.0], [2.0]), ([2.0], [1.0]))
    assert [b.value for b in breaks_of(words, list(cells_of(result).values()))] == [None]


@given(st.lists(st.floats(1e-3, 1e9), min_size=2, max_size=5, unique=True), st.floats(0, 1))
def test_between_two_positions_lies_between_their_values(values, share):
    axis = Axis(("x",), tuple((value,) for value in values))
    for position in range(len(values) - 1):
        low, high = sorted(values[position : position + 2])
        assert low * (1 - 1e-9) <= between(axis, position + share) <= high * (1 + 1e-9)
    assert between(axis, len(values) - 1) == pytest.approx(values[-1])


@pytest.mark.parametrize(
    ("path", "values", "title", "text"),
    [
        ("links.0.rate_bps", (1e6, 2.5e7), "links.0.rate, Mbit/s", "25"),
        ("links.0.rtt_s", (0.001, 0.02), "links.0.rtt, ms", "20"),
        ("workload.duration_s", (1.0, 90.0), "workload.duration, s", "90"),
        ("devices.pi.memory_bytes", (1e6, 2e6), "devices.pi.memory, MB", "2"),
        ("devices.pi.load", (1.0, "busy"), "devices.pi.load", "busy"),
        ("links.0.rate_bps", (None, "x"), "links.0.rate_bps", "x"),
    ],
)
def test_places_in_words(path, values, title, text):
    scale = scale_of(Axis((path,), tuple((value,) for value in values)))
    assert scale.title == title
    assert scale.text(values[-1]) == text


def test_small_gains_are_not_called_none():
    assert [percent_text(x) for x in (0.0, 1e-6, 0.004, 0.0051, 0.126)] == ["0", "<1", "<1", "1", "13"]


def two_axes(**changes):
    rows = {(i, j): [row("a", [1.0 + i, 1.1 + i]), row("b", [1.0 + j, 1.1 + j])] for i in range(3) for j in range(4)}
    rows[2, 0] = [Row("a", error="no"), Row("b", error="no")]
    rows[0, 3] = [row("a", [1.0, 1.1]), row("b", [4.0, 4.1], lost=50)]
    return outcome([RATE, ARRIVALS], rows, **changes)


def shown(result, width):
    console = Console(file=io.StringIO(), width=width)
    show(result, console)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_the_terminal_shows_the_head_the_map_and_what_failed(width):
    text = shown(two_axes(), width)
    assert max(len(line) for line in text.splitlines()) <= width
    flat = " ".join(text.split())
    assert "made: Which one?" in flat
    assert "3 x 4 points x 2 policies = 24 results (0 reused, 2 failed)" in flat
    assert "the first 8 of 24 rows" in flat
    assert "A a at 9 of 12 points; at 3 of them not told apart from the next" in flat
    assert re.search(r"^8 +A +A 49% +A 25%$", text, re.MULTILINE), text
    assert "! 2 failed: no" in flat
    assert "24 results in 10.0 s on 2 workers on this machine, ready after 1.00 s; scheduling took 5.0 % of" in flat


def test_regions_of_one_axis_in_words():
    text = shown(one_axis(RATE, ([1.0, 1.1], [2.0, 2.1]), ([3.0, 3.1], [2.0, 2.1]), ([3.0, 3.0], [2.0, 2.9])), 80)
    assert "  1: a (break-even at 3.162 Mbit/s)\n  10 to 100: b\n" in text


def test_nothing_played_costs_nothing():
    assert cost(Timing()) is None
    assert Timing(2, "x", 1.0, 10.0, 21.0, 3).scheduling_share == 0.0
    assert Timing(2, "x", 1.0, 10.0, 19.0, 3).scheduling_share == pytest.approx(0.05)


def drawn(result):
    found = pictures(result)
    for picture in found:
        root = ET.fromstring(picture.alone())
        texts = [text for element in root.iter() if (text := (element.text or "").strip())]
        yield picture, " ".join(texts)


def test_a_map_names_axes_units_policies_gains_n_and_source():
    ((picture, text),) = drawn(two_axes())
    assert picture.name == "best"
    for part in ("links.pi-laptop.rate, Mbit/s", "workload.rate, requests/s", "100", "a", "b", UNKNOWN, "level with"):
        assert part in text
    for part in ("n = 2 replications per point and policy", "12 points", "source: simulated", "Dash:", "No number:"):
        assert part in picture.caption
        assert part.split()[0] in text


def test_further_axes_have_a_panel_each_or_are_named():
    for n, expected in ((2, "devices.pi.load 2"), (7, "Drawn at devices.pi.load 4, one of 7 combinations")):
        third = Axis(("devices.pi.load",), tuple((float(x),) for x in range(1, n + 1)))
        rows = {
            (i, j, k): [row("a", [1.0 + i]), row("b", [1.0 + j + k])]
            for i in range(3)
            for j in range(4)
            for k in range(n)
        }
        ((_, text),) = drawn(outcome([RATE, ARRIVALS, third], rows))
        assert expected in text


def test_lines_along_one_axis_show_every_policy_and_the_break_even():
    result = one_axis(RATE, ([1.0, 1.1], [2.0, 2.1]), ([3.0, 3.1], [2.0, 2.1]), ([3.0, 3.0], [2.0, 2.9]))
    ((picture, text),) = drawn(result)
    assert picture.name == "lines"
    assert "Vertical: break-even" in picture.caption
    for part in ("score", "links.pi-laptop.rate, Mbit/s", "a", "b"):
        assert part in text
    words = Axis(("model",), (("vgg16",), ("alexnet",)))
    ((_, text),) = drawn(one_axis(words, ([1.0], [2.0]), ([2.0], [1.0])))
    assert "alexnet" in text


def test_no_figure_where_nothing_varies_or_nothing_was_played():
    single = Axis(("devices.pi.load",), ((1.0,),))
    assert pictures(outcome([single], {(0,): [row("a", [1.0])]})) == []
    assert pictures(outcome([LOAD], {(0,): [FAILED], (1,): [FAILED]})) == []


def test_rows_come_back_from_the_cache_as_they_were(tmp_path):
    path, kept = tmp_path / "new" / "results.jsonl", row("a", [1.0, None, 1 / 3])
    assert Cache(path).get("ab") is None
    Cache(path).put("ab", row("a", [2.0]))
    Cache(path).put("ab", kept)
    assert Cache(path).get("ab") == kept
    assert Cache(path).damaged == 0


def test_a_cache_that_cannot_be_used_says_so(tmp_path):
    with pytest.raises(RunFolderError, match="cannot be read"):
        Cache(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(RunFolderError, match="cannot be written"):
        Cache(tmp_path / "file" / "results.jsonl").put("ab", row("a", [1.0]))


def test_texts_with_commas_and_lists_survive_the_preview():
    axis = Axis(("a", "b"), ((["x", "y"], 1), (None, True)))
    rows = {(0,): [row("a", [1.0]), Row("b", error='no, "never"\nnot')], (1,): [row("a", [1.0]), FAILED]}
    text = to_csv(records_of(outcome([axis], rows)))
    assert '"[""x"", ""y""]",1' in text
    assert '"no, ""never""\nnot"' in text
    assert len(QUANTITIES) == sum(name.endswith("_by_replication") for name in records_of(outcome([axis], rows))[0])
