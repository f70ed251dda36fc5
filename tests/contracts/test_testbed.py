"""What every backend must keep: the testbed's records are those of the twin in form, in meaning and on disk."""

from __future__ import annotations

import json

import numpy as np
import pytest
from observations import replay

from tests.hardware.rigs import rig
from twin.engine.events import EventsEngine
from twin.metrics import summarise
from twin.policies import POLICIES
from twin.records import PROBE, Kind, Outcome
from twin.report import write_report
from twin.runs.folder import read_run, write_run
from twin.runs.timeline import timeline

pytestmark = pytest.mark.slow

SHORT = ["workload.duration_s=3", "control.every_s=0.5", "seed=5"]
LABELS = ("adaptive", "far", "edge")


@pytest.fixture(scope="module")
def testbed(tmp_path_factory):
    with rig(tmp_path_factory.mktemp("contract"), overrides=SHORT) as made:
        yield made


@pytest.fixture(scope="module")
def measured(testbed):
    return {label: testbed.play(label) for label in LABELS}


@pytest.fixture(scope="module")
def simulated(testbed):
    specs = {spec.label: POLICIES[spec.kind](**spec.options) for spec in testbed.world.policies}
    return {label: EventsEngine().run(testbed.world, specs[label], label, 0) for label in LABELS}


@pytest.mark.parametrize("label", LABELS)
def test_columns_are_of_the_same_kind(measured, simulated, label):
    for name in ("requests", "spans", "raw"):
        ours, theirs = getattr(measured[label], name).columns(), getattr(simulated[label], name).columns()
        assert {key: column.dtype for key, column in ours.items()} == {
            key: column.dtype for key, column in theirs.items()
        }


@pytest.mark.parametrize("label", LABELS)
def test_the_same_requests_arrive_and_each_ends_once(measured, simulated, label):
    ours, theirs = measured[label].requests, simulated[label].requests
    assert np.array_equal(ours.arrival_s, theirs.arrival_s)
    assert np.array_equal(ours.counted, theirs.counted)
    assert np.array_equal(ours.request, np.arange(len(ours)))
    tally = np.bincount(ours.outcome, minlength=4)
    assert tally.sum() == len(ours) > 10
    assert tally[Outcome.OK] == len(ours)
    assert np.all(ours.latency_s > 0)
    assert measured[label].facts["duplicates"] == 0


@pytest.mark.parametrize("label", LABELS)
def test_spans_lie_where_those_of_the_twin_do(measured, simulated, label):
    ours, theirs = (result.spans.where(result.spans.request >= 0) for result in (measured[label], simulated[label]))
    if label != "adaptive":
        busy = [Kind.COMPUTE, Kind.TRANSMIT]
        places = [
            {(kind, place) for kind, place in zip(x.kind, x.place, strict=True) if kind in busy} for x in (ours, theirs)
        ]
        assert places[0] == places[1]
    assert set(np.unique(ours.kind)) <= set(map(int, Kind))
    assert np.all((ours.place >= 0) & (ours.place < 3 + 2 * 2))
    assert np.all(ours.end_s > ours.start_s)
    assert np.all(ours.size_bytes[ours.kind == Kind.COMPUTE] == 0)
    assert np.all(ours.size_bytes[ours.kind == Kind.TRANSMIT] > 0)


@pytest.mark.parametrize("label", LABELS)
def test_spans_of_a_request_fill_its_latency(measured, label):
    requests, spans = measured[label].requests, measured[label].spans
    own = spans.where(spans.request >= 0)
    length_s = np.bincount(own.request, own.end_s - own.start_s, len(requests))
    # What is left out: handing over within a machine, and what clocks do not agree on.
    assert length_s == pytest.approx(requests.latency_s, abs=0.02, rel=0.2)
    first_s = np.full(len(requests), np.inf)
    np.minimum.at(first_s, own.request, own.start_s)
    assert np.all(first_s > requests.arrival_s - 1e-3)


@pytest.mark.parametrize("label", LABELS)
def test_stages_take_what_the_scenario_says(measured, testbed, label):
    spans = measured[label].spans
    raw = measured[label].raw
    assert np.all(spans.request >= PROBE)
    if label == "adaptive":
        samples = raw.samples(0, len(raw))
        # Machines that sleep are late, never early; the profiles have a spread of some percent.
        assert np.median(samples.service_s / samples.nominal_s) == pytest.approx(1.0, abs=0.15)


@pytest.mark.parametrize("label", LABELS)
def test_a_run_logged_and_fed_again_gives_the_same_decisions(measured, testbed, label):
    spec = next(spec for spec in testbed.world.policies if spec.label == label)
    entries = 0
    for entry, decision in replay(measured[label], POLICIES[spec.kind](**spec.options), testbed.world.problem):
        assert decision.partition.to_json() == entry["partition"]
        assert decision.reason == entry["reason"]
        entries += 1
    assert entries >= 6


@pytest.mark.parametrize("label", LABELS)
def test_the_log_has_what_that_of_the_twin_has(measured, simulated, label):
    ours, theirs = measured[label].decisions, simulated[label].decisions
    assert set(theirs[0]) <= set(ours[0])
    assert [entry["tick"] for entry in ours] == list(range(len(ours)))
    times_s = [entry["t_s"] for entry in ours]
    assert times_s[0] == 0.0
    assert times_s == sorted(times_s)
    assert sum(entry["arrived"] for entry in ours) <= len(measured[label].requests)
    for entry in ours:
        shown = measured[label].raw.samples(*entry["rows"])
        assert np.all(np.concatenate([shown.link_t_s, shown.stage_t_s, shown.done_t_s]) <= entry["t_s"])
        assert np.all(shown.open_service_s >= 0)
        assert np.all(shown.open_transfer_s >= 0)


def test_a_run_folder_reads_as_the_twins_does(measured, testbed, tmp_path):
    result = measured["adaptive"]
    write_run(tmp_path / "run", result, testbed.world)
    back = read_run(tmp_path / "run")
    assert back.source == "emulated"
    for name in ("requests", "spans", "raw", "power"):
        for key, column in getattr(result, name).columns().items():
            assert np.array_equal(column, getattr(getattr(back, name), key), equal_nan=column.dtype.kind == "f")
    assert len(back.decisions) == len(result.decisions)
    assert json.dumps(timeline(testbed.world, back))


def test_metrics_and_report_take_it(measured, testbed, tmp_path):
    results = [measured[label] for label in LABELS]
    figures = summarise(testbed.world, results).to_json()["policies"]
    assert set(figures) == set(LABELS)
    assert json.dumps(figures, allow_nan=False)
    write_report(tmp_path / "report.html", testbed.world, results, summarise(testbed.world, results))
    assert "emulated" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_what_a_run_knows_of_itself_is_recorded(measured):
    facts = measured["far"].facts
    assert facts["backend"] == "testbed"
    assert len(facts["machines"]) == len(facts["clocks"]) == 3
    assert facts["switches"][0]["active_s"] == 0.0
    assert all(clock["uncertainty_s"] < 0.01 for clock in facts["clocks"])
