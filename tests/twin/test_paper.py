"""The seed paper in the twin: the scenario files, every published cell, and the figures that docs/paper.md states."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from twin import paper
from twin.cli import BAD_INPUT, guarded
from twin.errors import ScenarioError
from twin.partition import Partition
from twin.reproduction.discrepancy import best_roofline_error, fog_in_the_chain
from twin.reproduction.fit import LinkPoint, equation_of, feasible
from twin.reproduction.nearest import nearest
from twin.reproduction.predict import fixed, played
from twin.reproduction.published import Row, read_published
from twin.reproduction.study import reproduce, steps, to_json
from twin.reproduction.table import _error, _published, show
from twin.reproduction.why import UNEXPLAINED
from twin.reproduction.worlds import CHAIN, PLAIN, RIVALS, load_cases, world_of
from twin.scenario import load_world
from twin.wording import number

PROJECT = Path(__file__).parents[2]
SCENARIOS = PROJECT / "scenarios" / "paper"
PUBLISHED = PROJECT / "data" / "published" / "deng-2026.yaml"
MODELS = ("vgg16", "alexnet", "mobilenet_v2")
ROWS = {"edge-only": 2, "fog-only": 2, "cloud-only": 2, "static": 5, "adaptive": 5, "reduction": 3}
"""Cells of each row; the third reduction has the waiting counted."""


@pytest.fixture(scope="module")
def published():
    return read_published(PUBLISHED)


@pytest.fixture(scope="module")
def cases(published):
    return load_cases(SCENARIOS, published)


@pytest.fixture(scope="module")
def links(cases):
    rows = [equation_of(x.world.problem.graph, x.static, x.figures.static, x.power_w) for x in cases]
    return feasible(rows, 0.06)


@pytest.fixture(scope="module")
def study(published, cases):
    calls = []
    made = reproduce(published, cases, tolerance=0.06, inside=0, seed=1, advance=lambda: calls.append(1))
    assert len(calls) == steps(cases, 0.06, 0)
    return made


def cell(study, model, row, quantity, variant="plain"):
    (found,) = [x for x in study.cells if (x.model, x.row, x.quantity, x.variant) == (model, row, quantity, variant)]
    return found


@pytest.mark.parametrize("path", sorted(SCENARIOS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_scenario_files_are_what_they_say(path, published, links):
    world = load_world(path)
    assert world.name == path.stem
    assert world.question.endswith("?")
    assert (world.workload.kind, world.workload.clients, world.workload.requests) == ("closed", 1, 500)
    assert {profile.source for profile in world.profiles} == {"derived"}
    assert world.problem.objective.boundary == "compute_only"
    assert world.control.every_requests == 100
    assert world.problem.power_w[:, 1].round(2).tolist() == [
        round(x, 2) for x in published.power_w(world.problem.graph.model)
    ]
    for link, trace in enumerate(world.links):
        assert trace.rtt.values[0] == pytest.approx(links.centre.fixed_s[link], rel=1e-3)
        assert trace.up.values[0] == trace.down.values[0] == pytest.approx(links.centre.rate_bps[link], rel=1e-3)


@pytest.mark.parametrize(
    ("model", "edge", "fog", "first_of_cloud"),
    [
        ("vgg16", "features.10", "features.30", "avgpool"),
        ("alexnet", "features.9", "avgpool", "classifier.1"),
        ("mobilenet_v2", "features.9.add", "features.18.1", "adaptive_avg_pool2d"),
    ],
)
def test_the_static_splits_are_those_of_the_paper(cases, model, edge, fog, first_of_cloud):
    (case,) = [x for x in cases if x.model == model]
    graph, cuts = case.world.problem.graph, [len(case.static.down_set(k)) for k in (0, 1)]
    assert [cut - 1 for cut in cuts] == [graph.find(edge), graph.find(fog)]
    assert graph.layers[cuts[1]].name == first_of_cloud
    assert set(cuts) <= set(case.cuts)


def test_every_published_cell_is_there_and_says_what_it_is_for(study):
    for model in MODELS:
        for row, n in ROWS.items():
            own = [x for x in study.cells if (x.model, x.row) == (model, row)]
            assert len(own) == n * (1 if row.endswith("only") else 2)
    assert {x.use for x in study.cells if x.row.endswith("only")} == {"derived-from"}
    assert {x.use for x in study.cells if x.row in {"adaptive", "reduction"}} == {"predicted"}
    for variant, fitted in (("plain", {"latency"}), ("chain", {"latency", "fog", "cloud", "total"})):
        own = [x for x in study.cells if (x.row, x.variant) == ("static", variant)]
        assert {x.quantity for x in own if x.use == "fitted"} == fitted
        assert {x.use for x in own if x.quantity not in fitted} == {"predicted"}


def test_what_does_not_match_has_a_tested_hypothesis_or_is_unexplained(study):
    holding = {x.key for x in study.hypotheses if x.holds}
    for x in study.cells:
        assert (x.why is None) == x.matches
        assert x.why is None or x.why == UNEXPLAINED or x.why in holding
    assert {x.why for x in study.cells} >= {None, UNEXPLAINED}


def test_single_devices_are_met_but_for_the_residuals_of_the_roofline(study):
    for model in MODELS:
        assert abs(cell(study, model, "edge-only", "time").error) <= 0.10
        assert abs(cell(study, model, "fog-only", "time").error) <= 0.01
    gpu = [cell(study, model, "cloud-only", "time").error for model in MODELS]
    assert gpu == pytest.approx([0.11, -0.25, 0.06], abs=0.005)


def test_static_edge_energies_are_predicted_within_15_percent(study):
    for variant in ("plain", "chain"):
        errors = [cell(study, model, "static", "edge", variant).error for model in MODELS]
        assert errors == pytest.approx([0.05, -0.032, 0.059], abs=0.002)


def test_static_latencies_are_met_within_10_percent_over_the_whole_feasible_set(study):
    for model in MODELS:
        found = cell(study, model, "static", "latency", "chain")
        assert abs(found.error) <= 0.10
        assert 0.9 * found.published <= found.simulated.low <= found.simulated.high <= 1.1 * found.published
    plain = [cell(study, model, "static", "latency").error for model in MODELS]
    assert plain == pytest.approx([-0.191, -0.274, -0.054], abs=0.002)


def test_the_fog_discrepancy_is_named_and_no_law_explains_it(study):
    fog, cloud = study.discrepancies
    assert fog.name == "the fog in the chain"
    assert [1e3 * x.published_s for x in fog.stages] == pytest.approx([166.07, 5.47, 17.87], abs=0.01)
    assert [1e3 * x.derived_s for x in fog.stages] == pytest.approx([84.3, 1.08, 5.23], abs=0.05)
    assert [x.factor for x in fog.stages] == pytest.approx([1.97, 5.07, 3.42], abs=0.01)
    assert fog.explained(0.15).text == "one time per byte received and another per byte sent"
    hypotheses = {x.key: x for x in study.hypotheses}
    assert not hypotheses["b"].holds
    assert "40.8 % off" in hypotheses["b"].text
    assert all(cell(study, model, "static", "fog").why == UNEXPLAINED for model in MODELS)
    assert cloud.explained(0.15).worst == pytest.approx(0.068, abs=0.001)
    assert [x.factor for x in cloud.stages] == pytest.approx([91.4, 58.5, 20.6], abs=0.1)


def test_no_roofline_meets_all_three_times_of_the_gpu(cases):
    assert best_roofline_error(cases, 1) == pytest.approx(0.0, abs=1e-6)
    assert best_roofline_error(cases, 0) == pytest.approx(0.085, abs=0.001)
    assert best_roofline_error(cases, 2) == pytest.approx(0.186, abs=0.001)


def test_the_reductions_that_docs_state(study):
    expected = {
        "vgg16": {"latency": (6.34, -2.4), "energy": (35.82, 59.2), "node": (15.4, 16.5)},
        "alexnet": {"latency": (22.92, 0.1), "energy": (35.70, 32.8), "node": (26.3, 9.3)},
        "mobilenet_v2": {"latency": (14.20, 6.5), "energy": (27.09, 64.4), "node": (18.5, 22.9)},
    }
    for model, rows in expected.items():
        for quantity, (value, simulated) in rows.items():
            found = cell(study, model, "reduction", quantity, "chain")
            assert found.published == pytest.approx(value, abs=0.05)
            assert found.simulated.centre == pytest.approx(simulated, abs=0.1)
            assert found.source == ("derived" if quantity == "node" else "published")


def test_a_fixed_split_meets_the_adaptive_rows_of_two_models(study):
    worst = {model: [x.worst for x in study.nearest[model]] for model in MODELS}
    assert [worst[model][1] for model in MODELS] == pytest.approx([0.046, 0.482, 0.090], abs=0.001)
    for model in ("vgg16", "mobilenet_v2"):
        others = [error for variant, error in zip(RIVALS, worst[model], strict=True) if variant is not CHAIN]
        assert min(others) > 0.15
        assert study.nearest[model][1].rank > 10


def test_adaptive_runs_cannot_use_less_cloud_than_the_static_head(study, cases):
    alexnet = cases[1]
    assert alexnet.figures.adaptive.cloud_j < alexnet.figures.static.cloud_j
    assert max(alexnet.cuts) == len(alexnet.static.down_set(1))
    assert cell(study, "alexnet", "adaptive", "cloud", "chain").why == UNEXPLAINED


def test_the_best_fixed_plan_leaves_a_device_out_and_beats_the_chain(study):
    names = ("static", "reap", "cloud-only", "least latency", "least node J")
    for model in MODELS:
        for prediction in study.found[model].values():
            for static, reap, cloud, fastest, least in zip(*(prediction.outcomes[x] for x in names), strict=True):
                assert len(fastest.plan.visited) <= 2
                assert fastest.latency_s < min(static.latency_s, reap.latency_s)
                assert least.node_j < min(static.node_j, reap.node_j)
                assert cloud.total_j < min(static.total_j, reap.total_j)
                if model != "alexnet":
                    assert cloud.latency_s < min(static.latency_s, reap.latency_s)
    (mobilenet,) = [x for x in study.cases if x.model == "mobilenet_v2"]
    assert mobilenet.figures.edge_only.latency_ms < mobilenet.figures.adaptive.latency_ms


def line(study, first):
    """The line of docs/paper.md on a figure, given its first cell."""
    own = [x for x in study.cells if (x.model, x.row, x.quantity) == (first.model, first.row, first.quantity)]
    marks = {None: "", UNEXPLAINED: "?"}
    figures = [f"{number(x.simulated.centre)} | {f'{_error(x)} {marks.get(x.why, x.why)}'.strip()}" for x in own]
    figures += [" | "] * (2 - len(own))
    uses = " / ".join(dict.fromkeys(x.use for x in own))
    return f"| {first.row} {first.quantity}, {first.unit} | {_published(first)} | {' | '.join(figures)} | {uses} |"


def test_docs_state_every_cell(study):
    parts = re.split(r"^### (.*)$", (PROJECT / "docs" / "paper.md").read_text(), flags=re.MULTILINE)
    assert parts[1::2] == ["VGG16", "AlexNet", "MobileNetV2"]
    for model, text in zip(MODELS, parts[2::2], strict=True):
        stated = re.findall(r"^\| (?:[a-z]+-only|static|adaptive|reduction) .*\|$", text, flags=re.MULTILINE)
        assert stated == list(dict.fromkeys(line(study, x) for x in study.cells if x.model == model))


@pytest.mark.parametrize("variant", [PLAIN, CHAIN], ids=lambda x: x.name)
def test_a_plan_that_never_changes_is_played_as_it_is_predicted(cases, links, variant):
    world = world_of(cases[1], variant, links.centre)
    foreseen, seen = fixed(world, cases[1].static), played(world, "static")
    assert seen.latency_s == pytest.approx(foreseen.latency_s)
    assert seen.stages_j == pytest.approx(foreseen.stages_j)
    assert seen.node_j == pytest.approx(foreseen.node_j)
    assert seen.plan == foreseen.plan == cases[1].static


def test_the_chain_has_the_published_stage_times(cases, links):
    for case in cases:
        outcome = fixed(world_of(case, CHAIN, links.centre), case.static)
        assert outcome.stages_j[1:] == pytest.approx(case.figures.static.by_device_j[1:], rel=2e-4)
        assert outcome.stages_j[0] == pytest.approx(12.0 * case.derived_s[0])
        both = fixed(world_of(case, RIVALS[3], links.centre), case.static)
        assert both.stages_j == pytest.approx(outcome.stages_j)


def test_a_planted_split_is_found(cases, links):
    case = cases[1]
    planted = Partition.from_cuts(case.cuts[2:4], case.world.problem.n_layers)
    outcome = fixed(world_of(case, CHAIN, links.centre), planted)
    edge, fog, cloud = outcome.stages_j
    row = Row(latency_ms=1e3 * outcome.latency_s, edge_j=edge, fog_j=fog, cloud_j=cloud, total_j=outcome.total_j)
    found = nearest(replace(case, figures=case.figures.model_copy(update={"adaptive": row})), CHAIN, links.centre)
    assert found.outcome.plan == planted
    assert found.worst == pytest.approx(0.0, abs=1e-9)
    assert 1 <= found.rank <= found.candidates == len(case.cuts) * (len(case.cuts) - 1) // 2


def test_time_per_byte_of_the_fog_is_time_and_joules(cases, links):
    case, law = cases[0], fog_in_the_chain(cases).laws[-1]
    graph = case.world.problem.graph
    moved = [graph.cut_bytes(case.static.down_set(k)) for k in (0, 1)]
    extra_s = moved[0] * law.values[0] + moved[1] * law.values[1]
    assert case.derived_s[1] + extra_s == pytest.approx(case.published_s[1], rel=law.worst + 1e-9)


def test_the_tables_fit_80_columns(study, capsys):
    show(study, Console(width=80, force_terminal=False))
    narrow = capsys.readouterr().out
    assert max(map(len, narrow.splitlines())) <= 80
    assert "…" not in narrow
    for word in ("published", "derived", "simulated", "fitted", "predicted", "the fog in the chain", "edge alone"):
        assert word in narrow
    show(study, Console(width=120, force_terminal=False))
    assert "pi 0-6 | laptop 7-17 | pc 18-21" in capsys.readouterr().out


def test_the_command_prints_and_writes_json(study, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(paper, "_study", lambda options: study)
    assert paper.main(["--json", "--out", str(tmp_path / "new")]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (
        printed == json.loads((tmp_path / "new" / "paper.json").read_text()) == json.loads(json.dumps(to_json(study)))
    )
    assert len(printed["cells"]) == len(study.cells)
    assert printed["cells"][0]["simulated"]["source"] == "simulated"
    assert printed["cells"][0]["published"]["source"] == "published"
    assert paper.main(["--out", str(tmp_path / "new")]) == 0
    assert "written: " in capsys.readouterr().out
    (tmp_path / "file").write_text("")
    assert guarded(lambda: paper.main(["--out", str(tmp_path / "file" / "x")])) == BAD_INPUT


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tolerance", "1.5"], "must lie between 0 and 1"),
        (["--points", "-1"], "must be 0 or more"),
        (["--published", "none.yaml"], "none.yaml"),
        (["--scenarios", str(PROJECT / "docs")], "holds no scenario of vgg16, alexnet, mobilenet_v2"),
        (["--tolerance", "0.02"], "the least possible is 4.70%"),
    ],
)
def test_bad_input_is_refused(arguments, message, monkeypatch, capsys):
    monkeypatch.chdir(PROJECT)
    assert guarded(lambda: paper.main(arguments)) == BAD_INPUT
    assert message in capsys.readouterr().err


def test_a_scenario_without_the_policies_that_are_needed_is_refused(published, tmp_path):
    text = (SCENARIOS / "alexnet.yaml").read_text()
    (tmp_path / "data").symlink_to(PROJECT / "data")
    (tmp_path / "alexnet.yaml").write_text(re.sub(r"  static: .*\n", "", text))
    only = published.model_copy(update={"models": {"alexnet": published.models["alexnet"]}})
    with pytest.raises(ScenarioError, match="needs an edge, a fog and a cloud, and the policies"):
        load_cases(tmp_path, only)
    (tmp_path / "alexnet.yaml").write_text(text.replace("  adaptive: {kind: adaptive}\n", ""))
    (case,) = load_cases(tmp_path, only)
    with pytest.raises(ScenarioError, match="has no policy `adaptive`"):
        played(world_of(case, PLAIN, LinkPoint((0.01, 0.01), (1e8, 1e8))), "adaptive")
