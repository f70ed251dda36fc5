"""Figures by hand, intervals against published quantiles, and no figure where there is no sample."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from results import fading_results, fading_world, make_decision, make_requests, make_result, make_run, make_spans
from worlds import make_problem, make_workload, make_world

from twin.engine.events import EventsEngine
from twin.metrics import replication_of, summarise
from twin.metrics.intervals import Interval, interval, paired, t_central, t_quantile
from twin.partition import Partition, thirds
from twin.policies.static import Static
from twin.problem import BOUNDARIES, Objective
from twin.records import Kind, RunResult
from twin.search import references
from twin.topology import Continuum


@pytest.fixture(scope="module")
def world():
    return fading_world()


@pytest.fixture(scope="module")
def summary(world):
    return summarise(world, fading_results(world))


@pytest.mark.parametrize(
    ("probability", "degrees", "expected"),
    [
        (0.975, 1, 12.706205),
        (0.975, 2, 4.302653),
        (0.975, 3, 3.182446),
        (0.975, 4, 2.776445),
        (0.975, 9, 2.262157),
        (0.975, 30, 2.042272),
        (0.975, 100, 1.983972),
        (0.995, 4, 4.604095),
        (0.95, 7, 1.894579),
        (0.75, 1, 1.0),
        (0.5, 5, 0.0),
    ],
)
def test_t_quantiles_are_the_published_ones(probability, degrees, expected):
    assert t_quantile(probability, degrees) == pytest.approx(expected, abs=1e-6)


def test_t_tends_to_the_normal_distribution():
    assert t_central(1.959964, 5000) == pytest.approx(0.95, abs=1e-4)


@pytest.mark.parametrize(("probability", "degrees"), [(0.4, 3), (1.0, 3), (0.9, 0)])
def test_no_such_quantile(probability, degrees):
    with pytest.raises(ValueError, match="no quantile"):
        t_quantile(probability, degrees)


def test_interval_by_hand():
    found = interval([1.0, 2.0, 3.0, None])
    half = 4.302653 * 1.0 / math.sqrt(3)
    assert (found.mean, found.n) == (2.0, 3)
    assert (found.low, found.high) == (pytest.approx(2.0 - half, abs=1e-6), pytest.approx(2.0 + half, abs=1e-6))
    assert interval([1.0, 2.0, 3.0], floor=0.0).low == 0.0


def test_intervals_cover_as_often_as_they_say():
    random = np.random.default_rng(0)
    covered = [
        found.low <= 3.0 <= found.high
        for found in (interval(random.normal(3.0, 2.0, 5).tolist()) for _ in range(4000))
        if found.low is not None and found.high is not None
    ]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.012)


def test_too_few_values_for_an_interval():
    assert interval([]).mean is None
    assert interval([None]).n == 0
    assert interval([2.0]) == Interval(2.0, None, None, 1)


def test_paired_difference_by_hand():
    found = paired([9.0, 8.0, 11.0, None], [10.0, 10.0, 10.0, 1.0])
    assert (found.better, found.equal, found.n) == (2, 0, 3)
    assert found.relative.mean == pytest.approx(-2 / 30)
    assert found.absolute.mean == pytest.approx(-2 / 3)
    assert not found.relative.excludes_zero
    assert paired([1.0, 1.0], [1.0, 1.0]).equal == 2


def test_paired_to_zero_has_no_ratio():
    found = paired([1.0], [0.0])
    assert found.relative.mean is None
    assert found.absolute.mean == 1.0


def two_replications():
    """Latencies 1, 2, 3 s and 4, 5, 6 s on the pi alone; one late, one dropped, one failed; the first is warm-up."""
    problem = make_problem()
    world = make_world(
        workload=make_workload(warm_up_s=0.5), objective=Objective(0.5, 0.5, deadline_s=5.5), replications=2
    )
    runs = []
    for replication, latencies_s in enumerate([(1.0, 2.0, 3.0), (4.0, 5.0, 6.0)]):
        arrival_s = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
        ends = [0, 0, 0, int(latencies_s[2] > 5.5), 2, 3]
        done_s = [0.25, *(a + x for a, x in zip(arrival_s[1:], latencies_s, strict=False)), math.nan, math.nan]
        requests = make_requests(arrival_s, done_s, ends, replication=replication, warm_up_s=0.5)
        spans = make_spans([(1, 0, Kind.COMPUTE, 0, 1.0, 2.0, 0)], replication)
        decision = make_decision(0.0, problem.on_device(0), replication=replication)
        switch = {**decision, "t_s": 2.0, "switched": True, "charged_j": {0: 6.0}}
        runs.append(make_run(world, requests, spans, [decision, *[switch] * replication]))
    return world, RunResult.concatenate(runs)


def test_figures_by_hand():
    world, result = two_replications()
    policy = summarise(world, [result]).policies[0]
    assert policy.requests == {"arrived": 10, "ok": 5, "late": 1, "dropped": 2, "failed": 2}
    first, second = policy.figures
    assert first.latency_s["mean"] == 2.0
    assert first.latency_s["p95"] == pytest.approx(2.9)
    assert policy.latency_s("mean").mean == 3.5
    assert policy.latency_s("p50").mean == 3.5
    assert tuple(first.window) == (0.5, 6.0)
    assert tuple(second.window) == (0.5, 9.0)
    assert first.throughput_rps == pytest.approx(3 / 5.5)
    assert first.energy_j["node"][0] == pytest.approx((3.0 * 5.5 + 9.0) / 3)
    assert first.energy_j["marginal"] == (pytest.approx(3.0), 0.0, 0.0)
    assert first.energy_j["compute_only"][0] == pytest.approx(4.0)
    assert second.energy_j["node"][0] == pytest.approx((3.0 * 8.5 + 9.0 + 6.0) / 3)
    assert sum(second.states_j[0]) == pytest.approx(second.energy_j["node"][0])
    assert (first.switches, second.switches, policy.switches) == (0, 1, 1)


def test_score_is_the_objective_with_frozen_references():
    world, result = two_replications()
    first = summarise(world, [result]).policies[0].figures[0]
    known = references(world.problem)
    expected = 0.5 * 2.0 / known.latency_s + 0.5 * first.total_j("node") / known.energy_j
    assert first.score == pytest.approx(expected)


def test_an_answer_to_a_request_of_the_warm_up_counts_for_the_window_only():
    world = make_world(workload=make_workload(warm_up_s=1.0))
    requests = make_requests([0.9, 1.1, 1.2], [1.5, 1.6, 3.0], [0, 0, 0], warm_up_s=1.0)
    figures = summarise(world, [make_run(world, requests, make_spans([]))]).policies[0].figures[0]
    assert figures.requests["arrived"] == 2
    assert figures.completed == 3
    assert figures.throughput_rps == pytest.approx(1.5)


def test_energy_of_a_request_agrees_with_the_cost_model():
    from twin.cost import predict

    world = make_world(workload=make_workload(requests=20))
    run = EventsEngine().run(world, Static(split="thirds"), "static", 0)
    policy = summarise(world, [run]).policies[0]
    expected = predict(world.problem, thirds(4, 3), world.problem.initial)
    assert policy.latency_s("mean").mean == pytest.approx(expected.latency_s)
    for boundary in BOUNDARIES:
        for device in range(3):
            found = policy.energy_j(boundary, device).mean
            assert found == pytest.approx(expected.energy_by_device_j(boundary)[device]), (boundary, device)


def test_json_has_what_the_format_promises(summary, world):
    data = json.loads(json.dumps(summary.to_json(), allow_nan=False))
    assert (data["schema"], data["scenario"], data["source"]) == (1, world.name, "simulated")
    assert list(data["policies"]) == ["static", "adaptive", "pi-only"]
    for policy in data["policies"].values():
        assert list(policy["requests"]) == ["arrived", "ok", "late", "dropped", "failed"]
        assert {"mean", "p50", "p95", "p99"} < set(policy["latency_s"])
        for boundary in BOUNDARIES:
            energy = policy["energy_j"][boundary]
            assert list(energy["devices"]) == ["pi", "laptop", "pc"]
            assert energy["total"] == pytest.approx(sum(energy["devices"].values()))
        assert policy["throughput_rps"] > 0
        assert isinstance(policy["switches"], int)
    assert data["layer_times"] == {"pi": "measured", "laptop": "measured", "pc": "measured"}


def test_every_request_ends_once(summary):
    for policy in summary.policies:
        counts = policy.requests
        assert counts["arrived"] == sum(counts[x] for x in ("ok", "late", "dropped", "failed"))
        assert counts["arrived"] > 0


def test_differences_are_paired_by_replication(summary):
    static, adaptive = summary.policies[:2]
    found = summary.against_first(adaptive, "latency")
    ratios = [
        a.latency_s["mean"] / b.latency_s["mean"] - 1 for a, b in zip(adaptive.figures, static.figures, strict=True)
    ]
    assert found.relative.mean == pytest.approx(np.mean(ratios))
    assert found.better == 3
    data = summary.to_json()["policies"]
    assert data["static"]["against_first"] is None
    assert data["adaptive"]["against_first"]["latency"]["better"] == 3


def test_percentiles_are_means_of_the_replications(world, summary):
    result = fading_results(world)[0]
    values = []
    for number in range(3):
        requests = replication_of(result, number).requests
        values.append(np.percentile(requests.latency_s[requests.counted & requests.completed], 99))
    assert summary.policies[0].latency_s("p99").mean == pytest.approx(np.mean(values))


def test_nothing_was_answered():
    world = make_world(replications=2)
    requests = make_requests([0.0, 1.0], [np.nan, np.nan], [3, 2])
    summary = summarise(world, [make_run(world, requests, make_spans([]))])
    policy = summary.to_json()["policies"]["static"]
    assert policy["requests"] == {"arrived": 2, "ok": 0, "late": 0, "dropped": 1, "failed": 1}
    assert policy["latency_s"]["mean"] is None
    assert policy["latency_s"]["ci"]["p99"] is None
    assert policy["energy_j"]["node"]["total"] is None
    assert policy["throughput_rps"] is None
    assert policy["score"]["mean"] is None
    assert any("never answered" in note for note in summary.notes)


def test_unknown_power_leaves_the_total_unknown(world):
    devices = world.problem.continuum.devices
    continuum = Continuum((devices[0], replace(devices[1], power=None), devices[2]), world.problem.continuum.links)
    problem = replace(world.problem, continuum=continuum, objective=Objective(1.0, 0.0))
    blind = replace(world, problem=problem)
    summary = summarise(blind, [make_result(blind, "static", [(0.0, thirds(4, 3))])])
    energy = summary.to_json()["policies"]["static"]["energy_j"]["node"]
    assert energy["total"] is None
    assert energy["devices"]["laptop"] is None
    assert energy["devices"]["pi"] > 0
    assert summary.policies[0].score.mean is not None
    assert any("power of laptop is not known" in note for note in summary.notes)


def test_notes_name_what_is_not_measured(world):
    profiles = (
        replace(world.profiles[0], source="derived"),
        replace(world.profiles[1], source="derived", extrapolated=True),
        world.profiles[2],
    )
    mixed = replace(world, profiles=profiles)
    summary = summarise(mixed, fading_results(mixed))
    assert summary.profile_sources == ("derived", "extrapolated", "measured")
    notes = " ".join(summary.notes)
    assert "times of pi are derived" in notes
    assert "times of laptop are extrapolated" in notes


def test_notes_say_when_a_policy_does_not_keep_up():
    work = make_workload(kind="poisson", clients=0, rate_rps=40.0, requests=None, duration_s=10.0)
    world = fading_world(workload=work, replications=1)
    result = make_result(world, "pi-only", [(0.0, Partition.on_device(4, 0, 3))])
    notes = summarise(world, [result]).notes
    assert any("may not keep up" in note for note in notes)
    assert any("one replication" in note for note in notes)


def test_one_replication_of_many(world):
    result = fading_results(world)[0]
    one = replication_of(result, 1)
    assert set(one.requests.replication) == set(one.spans.replication) == {1}
    assert {entry["replication"] for entry in one.decisions} == {1}
    assert replication_of(one, 1) is one
