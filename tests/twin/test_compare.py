"""`python -m twin.compare`: a twin made wrong on purpose is caught, and the waterfall names the part."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from comparisons import in_memory, project, simulated
from hypothesis import given, settings
from hypothesis import strategies as st
from results import make_requests, make_run, make_spans
from worlds import make_world

from twin.cli import BAD_INPUT, guarded
from twin.compare import FALLS_SHORT, main
from twin.comparison import compare
from twin.comparison.breakdown import breakdown, parts_of
from twin.comparison.decisions import decisions, stretches
from twin.comparison.pairing import pair
from twin.comparison.side import read_side
from twin.comparison.waterfall import largest, waterfall
from twin.cost import predict
from twin.errors import TwinError
from twin.partition import Partition
from twin.records import Kind, Outcome

PARTS = parts_of(3, 2)
PLACES = ["pi", "laptop", "pc", "pi-laptop", "laptop-pi", "laptop-pc", "pc-laptop"]


@pytest.fixture(scope="module")
def scenario(tmp_path_factory):
    return project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def reference(scenario):
    return simulated(scenario, scenario.parent.parent / "runs" / "reference")


@pytest.fixture(scope="module")
def wrong(scenario):
    """Plays the scenario with places set, each setting once."""
    known = {}

    def play(*changes):
        if changes not in known:
            known[changes] = simulated(scenario, scenario.parent.parent / "runs" / f"wrong{len(known)}", *changes)
        return known[changes]

    return play


def status(*arguments):
    return guarded(lambda: main([str(x) for x in arguments]))


def static(comparison):
    return next(x for x in comparison.policies if x.label == "static")


def test_a_result_against_itself(reference, capsys):
    comparison = compare(reference, reference)
    for policy in comparison.policies:
        assert policy.pairing.mode == "requests"
        for x in policy.quantities:
            assert (x.bias, x.error.value, x.error.half_width) == (0.0, 0.0, 0.0), x.name
            assert not x.mape
            assert not x.wasserstein
        assert all(step.delta_s == 0 for step in policy.steps)
        assert largest(policy.steps) is None
        assert policy.decisions.agreement.value == 1.0
        assert policy.decisions.cost.half_width == 0.0
    assert comparison.ranking.tau.value == 1.0
    assert comparison.differences == ()
    required = ["latency_mean<=0%", "latency_p99<=0", "compute<=0%", "transfer<=0%", "waiting<=0%", "throughput<=0%"]
    required += ["decision_cost<=0%", "decision_agreement>=100%", "energy_node<=0%", "energy_node.*<=0%", "ranking>=1"]
    assert status(reference, reference, "--require", *required) == 0
    assert "falls short" not in capsys.readouterr().out


def test_figures_are_those_of_the_summary(reference):
    summary = json.loads((reference / "summary.json").read_text(encoding="utf-8"))
    for policy in compare(reference, reference).policies:
        known = summary["policies"][policy.label]
        for name in ("mean", "p50", "p95", "p99"):
            assert policy.quantity(f"latency_{name}").measured == pytest.approx(known["latency_s"][name], rel=1e-12)
        assert policy.quantity("latency_mean").n_measured == known["n"]
        assert policy.quantity("energy_node").measured == pytest.approx(known["energy_j"]["node"]["total"])
        laptop_j, found = known["energy_j"]["marginal"]["devices"]["laptop"], policy.quantity("energy_marginal.laptop")
        assert (0.0 if found is None else found.measured) == pytest.approx(laptop_j)


def test_a_slow_device_is_caught(reference, wrong, capsys):
    slow = wrong("devices.laptop.load=1.2")
    policy = static(compare(slow, reference))
    assert policy.quantity("compute.laptop").error.value == pytest.approx(0.2)
    assert policy.quantity("compute.pi").error.value == pytest.approx(0.0, abs=1e-12)
    assert (largest(policy.steps).what, largest(policy.steps).place) == ("compute", "laptop")
    [difference] = compare(slow, reference).differences
    assert (difference.place, difference.sim, difference.measured) == ("devices.laptop.load", 1.2, 1.0)
    assert status(slow, reference, "--require", "compute.laptop@static<=3%") == FALLS_SHORT
    assert status(slow, reference, "--require", "compute.pi@static<=3%") == 0
    assert "devices.laptop.load" in capsys.readouterr().out


def test_a_doubled_round_trip_time_is_caught(reference, wrong):
    far = wrong("links.0.trace=far")
    policy = static(compare(far, reference))
    steps = {(step.what, step.place): step for step in policy.steps}
    for way in ("pi-laptop", "laptop-pi"):
        step = steps["propagation", way]
        assert step.sim_s == pytest.approx(2 * step.measured_s, rel=0.02)
    others = [abs(step.delta_s) for (what, _), step in steps.items() if what != "propagation"]
    assert largest(policy.steps).what == "propagation"
    assert min(steps["propagation", x].delta_s for x in ("pi-laptop", "laptop-pi")) > max(others)
    assert {x.place for x in compare(far, reference).differences} >= {"links.pi-laptop.trace"}
    assert status(far, reference, "--require", "transfer.laptop-pi@static<=5%") == FALLS_SHORT


def test_a_swapped_profile_is_caught(reference, wrong):
    swapped = wrong("devices.laptop.profile=pi")
    policy = static(compare(swapped, reference))
    assert policy.quantity("compute.laptop").error.value == pytest.approx(3.0)
    assert (largest(policy.steps).what, largest(policy.steps).place) == ("compute", "laptop")
    places = {x.place for x in compare(swapped, reference).differences}
    assert {"devices.laptop.profile", "files.data/profiles/laptop/tiny.json"} <= places


def test_a_difference_says_how_sure_it_is(reference, wrong):
    """The error of the mean latency follows from the slow device, and its interval is around it."""
    mean = static(compare(wrong("devices.laptop.load=1.2"), reference)).quantity("latency_mean")
    assert mean.error.low < mean.error.value < mean.error.high
    assert mean.error.low > 0
    assert mean.mape > 0
    assert mean.wasserstein == pytest.approx(mean.bias, rel=0.2)
    assert mean.repeatability > mean.scatter > 0


def test_other_seeds_are_compared_without_pairs_of_requests(reference, wrong):
    comparison = compare(wrong("seed=99"), reference)
    assert {x.place for x in comparison.differences} == {"seed"}
    policy = static(comparison)
    assert policy.pairing.mode == "time"
    assert policy.quantity("latency_mean").mape_over == "replications"
    error = policy.quantity("latency_mean").error
    assert error.low < 0 < error.high


def test_decisions_that_differ_have_a_price(scenario, reference, wrong):
    """A policy that stays put too long pays for it; by hand for a plan that is known."""
    lazy = wrong("policies.adaptive.margin=0.9", "policies.adaptive.dwell_s=30")
    made = next(x for x in compare(lazy, reference).policies if x.label == "adaptive").decisions
    assert made.agreement.value < 1
    assert made.cost.value > 0
    assert abs(made.gain) <= made.cost.value + 1e-12
    assert made.same_intervals < made.intervals
    assert made.measure == "score"


def test_cost_of_decisions_by_hand():
    edge, cloud = Partition((0, 0, 0, 0), 3), Partition((0, 0, 2, 2), 3)
    entries = [_decision(0.0, edge), _decision(4.0, cloud), _decision(6.0, edge)]
    found = stretches([_decision(0.0, edge)], entries, 10.0)
    assert [(x.start_s, x.length_s, x.sim == x.measured) for x in found] == [(0, 4, True), (4, 2, False), (6, 4, True)]
    assert [x.tick for x in found] == [0, 1, 2]


def test_the_price_follows_from_the_cost_model(monkeypatch):
    """The sides differ for 2 s of 10; the conditions are those that the reference had measured by its next decision."""
    world = make_world()
    edge, cloud = Partition((0, 0, 0, 0), 3), Partition((0, 0, 2, 2), 3)
    slow = replace(world.problem.initial, slowdown=np.array([2.0, 1.0, 1.0]))
    requests = make_requests([1.0, 10.0], [2.0, 11.0], [Outcome.OK] * 2)
    run = make_run(world, requests, make_spans([]))
    measured = [_decision(0.0, edge), _decision(4.0, cloud), _decision(6.0, edge, slow), _decision(8.0, edge)]
    plays = [in_memory(world, replace(run, decisions=x)) for x in (tuple(measured[:1]), tuple(measured))]
    monkeypatch.setattr("twin.comparison.decisions.world_of", lambda _: world)
    made = decisions(*plays, pair(*plays, PARTS))
    alone = [predict(world.problem, x, y).latency_s for x, y in ((edge, slow), (cloud, slow))]
    usual_s = predict(world.problem, edge, world.problem.initial).latency_s
    reference_s = 8 * usual_s + 2 * alone[1]
    assert made.agreement.value == pytest.approx(0.8)
    assert made.cost.value == pytest.approx(2 * abs(alone[0] - alone[1]) / reference_s)
    assert made.gain == pytest.approx(2 * (alone[0] - alone[1]) / reference_s)
    assert made.latency_s == pytest.approx(0.2 * (alone[0] - alone[1]))
    assert (made.intervals, made.same_intervals, made.measure) == (4, 3, "score")


def _decision(t_s, partition, conditions=None):
    return {
        "t_s": t_s,
        "partition": partition.to_json(),
        "replication": 0,
        "conditions": None if conditions is None else conditions.to_json(),
        "available": [True] * 3,
        "link_up": [True] * 2,
        "switched": False,
    }


def test_a_world_that_is_gone_leaves_the_cost_unknown(scenario, reference, wrong, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lazy = wrong("policies.adaptive.margin=0.9", "policies.adaptive.dwell_s=30")
    copies = [shutil.copytree(x, tmp_path / x.name) for x in (lazy, reference)]
    comparison = compare(*copies)
    made = next(x for x in comparison.policies if x.label == "adaptive").decisions
    assert made.cost.value is None
    assert made.agreement.value < 1
    assert any("cost of differing decisions is not known" in note for note in comparison.notes)
    assert status(*copies, "--require", "decision_cost@adaptive<=1%") == FALLS_SHORT


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("workload.rate_rps=4", "workload.rate_rps: 3.0 against 4.0"),
        ("objective.energy=0.5", "objective.energy: 0.0 against 0.5"),
        ("devices.pc.name=server", "device names: pi, laptop, pc against pi, laptop, server"),
        ("links.1.between=[pi, pc]", "link pairs: pi-laptop, laptop-pc against pi-laptop, pi-pc"),
        ("objective.deadline_s=3", "objective.deadline_s: not set against 3.0"),
    ],
)
def test_other_questions_are_refused(scenario, reference, tmp_path, capsys, setting, named):
    extra = ["links.1.between=[laptop, server]"] if "name" in setting else []
    other = simulated(scenario, tmp_path / "other", setting, *extra, policies=("static",))
    assert status(reference, other) == BAD_INPUT
    assert named in capsys.readouterr().err


def test_another_model_is_refused(reference, tmp_path, capsys):
    copy = shutil.copytree(reference, tmp_path / "copy")
    for path in copy.glob("*/run.json"):
        info = json.loads(path.read_text(encoding="utf-8"))
        info["scenario"]["model"] = "huge"
        path.write_text(json.dumps(info), encoding="utf-8")
    assert status(reference, copy) == BAD_INPUT
    assert "model: tiny against huge" in capsys.readouterr().err


def test_what_is_no_result_is_refused(reference, tmp_path, capsys):
    assert status(reference, tmp_path) == BAD_INPUT
    assert "holds no run" in capsys.readouterr().err
    assert status(reference / "static", reference / "adaptive") == BAD_INPUT
    assert "no policy is in both" in capsys.readouterr().err
    copy = shutil.copytree(reference, tmp_path / "copy")
    info = json.loads((copy / "static" / "run.json").read_text(encoding="utf-8"))
    (copy / "static" / "run.json").write_text(json.dumps({**info, "status": "incomplete"}), encoding="utf-8")
    assert status(reference, copy) == BAD_INPUT
    assert "stopped before everything was written" in capsys.readouterr().err


def test_one_run_folder_is_enough(reference):
    comparison = compare(reference / "static", reference)
    assert [x.label for x in comparison.policies] == ["static"]
    assert comparison.ranking is None
    assert "Only the second side played adaptive." in comparison.notes


def test_files_that_are_written(reference, wrong, tmp_path, capsys):
    slow = wrong("devices.laptop.load=1.2")
    out = tmp_path / "out"
    assert status(slow, reference, "--out", out, "--json", "--require", "latency_mean<=50%") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((out / "compare.json").read_text(encoding="utf-8"))
    assert printed["verdicts"][0]["verdict"] == "holds"
    steps = printed["policies"]["static"]["waterfall"]
    bias = printed["policies"]["static"]["quantities"][0]["bias"]
    assert sum(x["difference_s"]["value"] for x in steps) == pytest.approx(bias, rel=1e-9)
    page = (out / "compare.html").read_text(encoding="utf-8")
    for part in ("devices.laptop.load", "Where the difference arises", "prefers-color-scheme: dark", "holds"):
        assert part in page
    assert "http" not in page
    names = {x.name for x in (out / "figures").iterdir()}
    assert names == {f"compare-{x}.svg" for x in ("errors", "waterfall", "latencies", "residuals")}


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_the_waterfall_adds_up_whatever_happened(data):
    """Random spans, some of requests that were lost, on both sides: the steps add up to the difference."""
    world = make_world(replications=2)
    plays = []
    for _ in range(2):
        seed = data.draw(st.integers(0, 10**6))
        lost = data.draw(st.integers(0, 3))
        plays.append(in_memory(world, _random_run(world, np.random.default_rng(seed), lost)))
    pairing = pair(*plays, PARTS)
    steps = waterfall(pairing, PARTS, PLACES)
    sides = [[play.result.requests.only(k) for k in play.replications] for play in plays]
    means = [np.mean([x.latency_s[x.completed].mean() for x in side]) for side in sides]
    assert sum(step.delta_s for step in steps) == pytest.approx(means[0] - means[1], rel=1e-9, abs=1e-12)
    assert sum(step.sim_s for step in steps) == pytest.approx(means[0], rel=1e-9)


def _random_run(world, random, lost):
    runs = []
    for replication in range(world.replications):
        arrival_s = np.sort(random.random(12)) * 10
        done_s = arrival_s + random.random(12)
        outcome = np.full(12, int(Outcome.OK))
        outcome[: lost + replication] = Outcome.FAILED
        done_s[: lost + replication] = np.nan
        rows = []
        for _ in range(60):
            kind = random.choice(list(Kind))
            place = {Kind.HOLD: 0, Kind.COMPUTE: random.integers(3), Kind.QUEUE: random.integers(7)}
            start_s = 10 * random.random()
            where = place.get(kind, 3 + random.integers(4))
            rows.append((random.integers(-2, 12), 0, int(kind), where, start_s, start_s + random.random(), 0.0))
        requests = make_requests(arrival_s, done_s, outcome.tolist(), replication=replication)
        runs.append(make_run(world, requests, make_spans(rows, replication)))
    return type(runs[0]).concatenate(runs)


def test_a_breakdown_by_hand():
    world = make_world()
    rows = [
        (0, 0, Kind.HOLD, 0, 0.0, 0.1, 0.0),
        (0, 0, Kind.COMPUTE, 1, 0.1, 0.4, 0.0),
        (0, 0, Kind.TRANSMIT, 4, 0.4, 0.9, 10.0),
        (0, 0, Kind.PROPAGATE, 4, 0.9, 1.0, 0.0),
        (-1, 0, Kind.COMPUTE, 1, 0.0, 5.0, 0.0),
        (1, 0, Kind.COMPUTE, 1, 0.0, 5.0, 0.0),
    ]
    requests = make_requests([0.0, 0.5], [1.25, np.nan], [Outcome.OK, Outcome.FAILED])
    times = breakdown(make_run(world, requests, make_spans(rows)), 0, PARTS)
    assert len(times) == 1
    found = {(part.what, part.place): seconds for part, seconds in zip(PARTS, times.parts_s[0], strict=True) if seconds}
    expected = {("hold", -1): 0.1, ("compute", 1): 0.3, ("transmission", 4): 0.5, ("propagation", 4): 0.1}
    assert found == pytest.approx({**expected, ("other", -1): 0.25})


def test_runs_without_answers_or_decisions_are_compared_as_far_as_they_go():
    world = make_world()
    requests = make_requests([0.0], [np.nan], [Outcome.FAILED])
    play = in_memory(world, make_run(world, requests, make_spans([])))
    pairing = pair(play, play, PARTS)
    assert waterfall(pairing, PARTS, PLACES) == ()
    assert decisions(play, play, pairing) is None


def test_a_damaged_summary_is_an_error_of_the_project(reference, tmp_path):
    copy = shutil.copytree(reference, tmp_path / "copy")
    (copy / "static" / "summary.json").write_text("{}", encoding="utf-8")
    with pytest.raises(TwinError, match="is not the summary of a run"):
        read_side(copy)
    (copy / "static" / "summary.json").unlink()
    assert compare(copy / "static", reference / "static").policies[0].quantity("energy_node") is None
