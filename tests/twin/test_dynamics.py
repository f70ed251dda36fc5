"""The answers in the headers of `scenarios/dynamics` are those that the scenarios give."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from answers import PREFIX, Answer, answers_of, found, parse, play

from twin.scenario import load_world

PROJECT = Path(__file__).parents[2]
SCENARIOS = sorted((PROJECT / "scenarios" / "dynamics").glob("*.yaml"))
TOLERANCE = 0.2
"""Percentage points by which a figure may differ: it is rounded to one digit, and a last digit of a machine may tip a
decision."""


@pytest.mark.slow
@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_the_answers_of_the_header_hold(path):
    summary = play(path)
    for answer in answers_of(path):
        assert found(answer, summary).percent == pytest.approx(answer.percent, abs=TOLERANCE, rel=0), answer.text


def test_there_is_one_question_per_file_of_dynamics():
    assert {path.stem for path in SCENARIOS} == {
        "wifi-walk",
        "lte-outages",
        "fog-under-load",
        "edge-throttled",
        "two-clients",
        "poisson-80",
        "direct-link",
        "whole-node-energy",
    }


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_the_scenarios_of_dynamics_ask_and_answer(path):
    world = load_world(path)
    assert world.name == path.stem
    assert world.question.endswith("?")
    assert world.replications >= 5
    labels = {spec.label for spec in world.policies}
    answers = answers_of(path)
    assert {"adaptive", "edge-only"} <= labels
    assert any(answer.policies[0] == "adaptive" and answer.quantities for answer in answers)
    for answer in answers:
        assert set(answer.policies) <= labels
        assert answer.text in path.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_the_table_in_the_docs_gives_the_figures_of_the_headers(path):
    page = (PROJECT / "docs" / "dynamics.md").read_text(encoding="utf-8")
    row = next(line for line in page.splitlines() if line.startswith(f"| [{path.stem}]"))
    known = {f"{x:+.1f}" for answer in answers_of(path) if answer.quantities for x in answer.percent}
    known |= {f"{x:.1f}" for answer in answers_of(path) if not answer.quantities for x in answer.percent}
    given = re.findall(r"[+-]?\d+\.\d", row)
    assert given
    assert set(given) <= known


def test_poisson_80_offers_80_percent_of_what_the_edge_can_serve():
    world = load_world(PROJECT / "scenarios" / "dynamics" / "poisson-80.yaml")
    problem = world.problem
    edge_only_s = float(problem.layer_time_s[0].sum() + problem.stage_overhead_s[0]) * problem.initial.slowdown[0]
    assert problem.demand.rate_rps == pytest.approx(0.8 / edge_only_s, rel=1e-3)


def test_the_direct_link_is_the_path_of_a_plan_without_fog():
    continuum = load_world(PROJECT / "scenarios" / "dynamics" / "direct-link.yaml").problem.continuum
    assert [hop.link for hop in continuum.path(0, 2)] == [2]


def test_an_answer_is_read_and_written():
    answers = (
        Answer(("adaptive", "edge-only"), ("mean latency", "score"), (-41.2, -44.0, -38.1, 3.0, -0.5, 6.5)),
        Answer(("adaptive", "best-at-start"), (), (0.4, 12.0)),
    )
    texts = (
        "# answer: adaptive against edge-only: mean latency -41.2 % [-44.0, -38.1], score +3.0 % [-0.5, +6.5]",
        "# answer: late requests: adaptive 0.4 %, best-at-start 12.0 %",
    )
    for answer, text in zip(answers, texts, strict=True):
        assert answer.text == text
        assert parse(text) == answer


@pytest.mark.parametrize(
    "text", ["adaptive: score -1 % [-2, 0]", "late requests: adaptive", "a against b: score -1 %", "a against b:"]
)
def test_what_is_no_answer_is_refused(text):
    with pytest.raises(ValueError, match="is no answer"):
        parse(f"{PREFIX}{text}")
