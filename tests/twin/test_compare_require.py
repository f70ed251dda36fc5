"""Requirements and verdicts, and what the terminal shows of them."""

# ruff: noqa: RUF001 - a dash stands for what is not known

from __future__ import annotations

from io import StringIO

import numpy as np
import pytest
from comparisons import project, simulated
from rich.console import Console

from twin.comparison import compare, judge, parse
from twin.comparison.estimate import Estimate
from twin.comparison.judge import judge_error, judge_least
from twin.comparison.ranking import kendall_tau
from twin.comparison.table import show
from twin.errors import ComparisonError


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    scenario = project(tmp_path_factory.mktemp("project"))
    runs = scenario.parent.parent / "runs"
    sim = simulated(scenario, runs / "sim", "devices.laptop.load=1.2")
    return compare(sim, simulated(scenario, runs / "reference"))


@pytest.mark.parametrize(
    ("value", "low", "high", "state"),
    [
        (0.02, 0.01, 0.03, "holds"),  # at most the bound
        (-0.02, -0.03, -0.01, "holds"),
        (0.03, 0.03, 0.03, "holds"),  # the bound itself
        (0.04, 0.02, 0.06, "holds"),  # the interval reaches the bound
        (-0.04, -0.06, -0.02, "holds"),
        (0.04, 0.035, 0.045, "falls short"),
        (-0.04, -0.045, -0.035, "falls short"),
        (0.0, -0.06, 0.06, "inconclusive"),  # half-width above 5 %
        (0.04, -0.02, 0.10, "inconclusive"),
        (0.0, -0.05, 0.05, "holds"),  # 5 % is not above 5 %
        (0.5, 0.4, 0.6, "falls short"),  # wide, and wholly beyond the bound
        (0.01, None, None, "inconclusive"),
        (None, None, None, "inconclusive"),
    ],
)
def test_the_rule_for_errors(value, low, high, state):
    assert judge_error(Estimate(value, low, high), 0.03)[0] == state


@pytest.mark.parametrize(
    ("low", "high", "widest", "state"),
    [
        (1.0, 1.0, None, "holds"),
        (0.3, 1.0, None, "inconclusive"),
        (0.3, 0.6, None, "falls short"),
        (0.93, 0.99, 0.05, "holds"),
        (0.7, 1.0, 0.05, "inconclusive"),
        (None, None, None, "inconclusive"),
    ],
)
def test_the_rule_for_what_should_be_large(low, high, widest, state):
    middle = 0.8 if low is None else (low + high) / 2
    assert judge_least(Estimate(middle, low, high), 0.95, widest=widest)[0] == state


@pytest.mark.parametrize(
    ("text", "name", "policy", "bound"),
    [
        ("latency_mean<=5%", "latency_mean", None, 0.05),
        (" compute.pi @ pi-only <= 0.03 ", "compute.pi", "pi-only", 0.03),
        ("transfer.pi-laptop@static<=2.5 %", "transfer.pi-laptop", "static", 0.025),
        ("energy_node.*<=1e1%", "energy_node.*", None, 0.1),
        ("ranking>=1", "ranking", None, 1.0),
    ],
)
def test_what_a_requirement_says(text, name, policy, bound):
    found = parse(text)
    assert (found.name, found.policy) == (name, policy)
    assert found.bound == pytest.approx(bound)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("latency_mean", "must read QUANTITY"),
        ("latency_mean<5%", "must read QUANTITY"),
        ("latency_mean>=5%", "write latency_mean<=5%"),
        ("ranking<=1", "write ranking>=1"),
        ("ranking@static>=1", "leave out @static"),
        ("latency_mean<=five", "is no number"),
        ("latency_mean<=-1%", "0 or more"),
        ("latency_mean<=nan", "0 or more"),
    ],
)
def test_requirements_that_cannot_be_read(text, named):
    with pytest.raises(ComparisonError, match=named.replace("(", r"\(")):
        parse(text)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("latency_man<=5%", "did you mean `latency_mean`?"),
        ("compute.laptob<=5%", "did you mean `compute.laptop`?"),
        ("latency_mean@statik<=5%", "did you mean `static`?"),
    ],
)
def test_unknown_names_have_a_nearest_known_one(comparison, text, named):
    with pytest.raises(ComparisonError, match=named.replace("?", r"\?")):
        judge(comparison, [parse(text)])


def test_groups_stand_for_every_place(comparison):
    verdicts = judge(comparison, [parse("compute@static<=3%")])
    assert [(x.name, x.state) for x in verdicts] == [
        ("compute.pi", "holds"),
        ("compute.laptop", "falls short"),
        ("compute.pc", "holds"),
    ]
    assert {x.policy for x in judge(comparison, [parse("latency_mean<=90%")])} == {"static", "adaptive"}
    [nowhere] = judge(comparison, [parse("hold@static<=1%")])
    assert (nowhere.state, nowhere.why) == ("holds", "0 on both sides")


def test_kendalls_tau_by_hand():
    assert kendall_tau(np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.0])) == pytest.approx(1 / 3)
    assert kendall_tau(np.array([1.0, 1.0]), np.array([1.0, 2.0])) is None
    assert kendall_tau(np.array([1.0]), np.array([1.0])) is None


def printed(comparison, width, *requirements):
    console = Console(file=StringIO(), width=width)
    show(comparison, judge(comparison, [parse(x) for x in requirements]), console)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_no_line_is_too_long_and_nothing_is_cut(comparison, width):
    text = printed(comparison, width, "compute<=3%", "ranking>=1")
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    assert "…" not in text


def rows(comparison, width):
    """The table of the policy `static`, blanks at the end of lines left out."""
    text = printed(comparison, width)
    lines = [line.rstrip() for line in text.splitlines()]
    first = next(k for k, line in enumerate(lines) if line.startswith("static:"))
    last = next(k for k, line in enumerate(lines[first:], start=first) if line.startswith("decisions:"))
    return "\n".join(line for line in lines[first : last + 1] if line)


def test_golden_80(comparison):
    assert rows(comparison, 80) == GOLDEN_80


def test_golden_120(comparison):
    assert rows(comparison, 120) == GOLDEN_120


GOLDEN_80 = """\
static: paired request by request over 3 replications: arrivals agree, so that
their luck is no error
                                     error, %                 repeats  MAPE
 quantity                              [95 %]  first  second        %     %
 ──────────────────────────────────────────────────────────────────────────
 latency_mean, ms           +0.5 [+0.3, +0.7]    596     593      3.9   1.8
 latency_p50, ms            +2.5 [-0.3, +5.4]    121     118      1.8   2.5
 latency_p95, ms            +0.1 [+0.1, +0.1]   2517    2514      4.4   0.1
 latency_p99, ms            +0.1 [+0.1, +0.1]   3021    3018      9.0   0.1
 compute.pi, ms             +0.0 [+0.0, +0.0]   10.0    10.0      0.0   0.0
 compute.laptop, ms      +20.0 [+20.0, +20.0]   18.0    15.0      0.0  20.0
 compute.pc, ms             +0.0 [+0.0, +0.0]   1.50    1.50      0.0   0.0
 transfer.pi-laptop, ms     +0.0 [+0.0, +0.0]    154     154      8.0   0.0
 transfer.laptop-pi, ms     -0.1 [-0.4, +0.2]   8.61    8.62      6.4   0.1
 transfer.laptop-pc, ms     +0.0 [+0.0, +0.0]   1.80    1.80      0.0   0.0
 transfer.pc-laptop, ms     +0.0 [+0.0, +0.0]   1.32    1.32      0.0   0.0
 waiting.pi-laptop, ms      +0.0 [+0.0, +0.0]    401     401      7.8   0.0
 throughput, req/s          -0.0 [-0.0, -0.0]   2.97    2.97      8.4   0.0
 energy_node, J             +0.4 [+0.3, +0.4]   9.58    9.55      8.6   0.4
 energy_node.pi, J          +0.0 [+0.0, +0.0]   1.26    1.26      8.2   0.0
 energy_node.laptop, J      +2.2 [+1.8, +2.6]   1.55    1.52      7.9   2.2
 energy_node.pc, J          +0.0 [+0.0, +0.0]   6.78    6.78      8.9   0.0
mean latency +2.99 ms; its largest part is compute on laptop: +3.00 ms (18.0
against 15.0)
  compute on laptop     +3.00 ms
  12 smaller parts   -0.00763 ms
decisions: same partition in 100.0 % of the time and at 120 of 120 decisions"""
GOLDEN_120 = """\
static: paired request by request over 3 replications: arrivals agree, so that their luck is no error
                                     error, %                 repeats  MAPE  scatter
 quantity                              [95 %]  first  second        %     %        %       W1    n
 ─────────────────────────────────────────────────────────────────────────────────────────────────
 latency_mean, ms           +0.5 [+0.3, +0.7]    596     593      3.9   1.8      0.0     2.99  338
 latency_p50, ms            +2.5 [-0.3, +5.4]    121     118      1.8   2.5      0.0        –  338
 latency_p95, ms            +0.1 [+0.1, +0.1]   2517    2514      4.4   0.1      0.0        –  338
 latency_p99, ms            +0.1 [+0.1, +0.1]   3021    3018      9.0   0.1      0.0        –  338
 compute.pi, ms             +0.0 [+0.0, +0.0]   10.0    10.0      0.0   0.0      0.0        0  338
 compute.laptop, ms      +20.0 [+20.0, +20.0]   18.0    15.0      0.0  20.0      0.0     3.00  338
 compute.pc, ms             +0.0 [+0.0, +0.0]   1.50    1.50      0.0   0.0      0.0        0  338
 transfer.pi-laptop, ms     +0.0 [+0.0, +0.0]    154     154      8.0   0.0      0.0        0  338
 transfer.laptop-pi, ms     -0.1 [-0.4, +0.2]   8.61    8.62      6.4   0.1      0.2  0.00799  338
 transfer.laptop-pc, ms     +0.0 [+0.0, +0.0]   1.80    1.80      0.0   0.0      0.0        0  338
 transfer.pc-laptop, ms     +0.0 [+0.0, +0.0]   1.32    1.32      0.0   0.0      0.0        0  338
 waiting.pi-laptop, ms      +0.0 [+0.0, +0.0]    401     401      7.8   0.0      0.0        0  338
 throughput, req/s          -0.0 [-0.0, -0.0]   2.97    2.97      8.4   0.0      0.0        –    3
 energy_node, J             +0.4 [+0.3, +0.4]   9.58    9.55      8.6   0.4      0.0        –    3
 energy_node.pi, J          +0.0 [+0.0, +0.0]   1.26    1.26      8.2   0.0      0.0        –    3
 energy_node.laptop, J      +2.2 [+1.8, +2.6]   1.55    1.52      7.9   2.2      0.2        –    3
 energy_node.pc, J          +0.0 [+0.0, +0.0]   6.78    6.78      8.9   0.0      0.0        –    3
mean latency +2.99 ms; its largest part is compute on laptop: +3.00 ms (18.0 against 15.0)
  compute on laptop     +3.00 ms
  12 smaller parts   -0.00763 ms
decisions: same partition in 100.0 % of the time and at 120 of 120 decisions"""
