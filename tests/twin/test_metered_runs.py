"""Runs with meters: their joules against those of the power states that the readings were made from."""

import json
from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
from readings import Meter, with_meters
from results import fading_results, fading_world, make_requests, make_run, make_spans
from rich.console import Console
from worlds import make_workload, make_world

from twin.energy import Window, accounting_window
from twin.errors import MeasurementError, RunFolderError
from twin.metering import measured_power, metered
from twin.metrics import replication_of, summarise
from twin.problem import BOUNDARIES
from twin.records import Kind, MeterReadings, RunResult
from twin.report import write_report
from twin.report.figures import pictures
from twin.report.table import show
from twin.runs.folder import plain, read_info, read_run, write_run
from twin.world import Fault

PI, LAPTOP, PC = 0, 1, 2
METERS = dict.fromkeys((PI, LAPTOP, PC), Meter())


def long_world(**changes):
    workload = make_workload(kind="poisson", clients=0, rate_rps=4.0, requests=None, duration_s=100.0, warm_up_s=3.0)
    return fading_world(workload=workload, **changes)


@pytest.fixture(scope="module")
def world():
    return long_world()


@pytest.fixture(scope="module")
def simulated(world):
    return fading_results(world)


@pytest.fixture(scope="module")
def measured(world, simulated):
    return [with_meters(world, result, METERS) for result in simulated]


@pytest.fixture(scope="module")
def summary(world, measured):
    return summarise(world, measured)


def entry_of(world, result, device, number=0):
    run = replication_of(result, number)
    return metered(world, run, accounting_window(world.workload, run.requests))[device]


def kinds(entry):
    return [caveat.kind for caveat in entry.caveats]


def test_joules_of_meters_are_those_of_the_states_within_their_uncertainty(world, simulated, summary):
    truth = summarise(world, simulated)
    for boundary in ("node", "marginal"):
        for ours, theirs in zip(summary.policies, truth.policies, strict=True):
            for device in range(3):
                for a, b in zip(ours.figures, theirs.figures, strict=True):
                    half_j = a.metered[device].joules[boundary].half_width_j / a.completed
                    assert abs(a.energy_j[boundary][device] - b.energy_j[boundary][device]) <= half_j
                    assert half_j < 0.15 * b.energy_j["node"][device]


def test_power_over_time_is_the_mean_of_readings(world, simulated, measured):
    for before, after in zip(simulated, measured, strict=True):
        run = replication_of(after, 1)
        power, states = measured_power(world, run), before.power.only(1)
        np.testing.assert_array_equal(power.t_s, states.t_s)
        np.testing.assert_array_equal(power.device, states.device)
        assert not np.isnan(power.power_w).any()
        # A reading is seen up to 0.2 s after the half second that it is the mean of.
        assert np.corrcoef(power.power_w[power.device == PI], states.power_w[states.device == PI])[0, 1] > 0.7
        assert power.power_w.mean() == pytest.approx(states.power_w.mean(), rel=0.01)


def test_no_meter_is_none_and_never_zero(world, simulated):
    some = [with_meters(world, result, {PI: Meter()}) for result in simulated]
    summary = summarise(world, some)
    policy = summary.policies[0]
    assert policy.energy_j("node", PI).mean > 0
    for boundary in BOUNDARIES:
        assert policy.energy_j(boundary, PC).mean is None
        assert policy.energy_j(boundary).mean is None
        assert policy.energy_half_width_j(boundary, PC) is None
    assert policy.score.mean is None
    data = summary.to_json()
    energy = data["policies"]["static"]["energy_j"]["node"]
    assert energy["devices"]["pc"] is None
    assert energy["half_width"]["devices"]["pc"] is None
    assert energy["total"] is None
    assert "laptop and pc: no meter gave readings, so the energy is not known." in summary.notes
    console = Console(file=StringIO(), width=200)
    show(summary, console)
    assert " – " in console.file.getvalue()  # noqa: RUF001 - as shown
    assert "not known" in next(x for x in pictures(world, some, summary) if x.name == "energy").image


def test_a_run_without_any_reading_has_no_joules(world, simulated):
    bare = [replace(result, source="measured") for result in simulated]
    summary = summarise(world, bare)
    assert all(x.total_j(boundary) is None for p in summary.policies for x in p.figures for boundary in BOUNDARIES)
    assert "energy" not in [picture.name for picture in pictures(world, bare, summary)]
    power = measured_power(world, replication_of(bare[0], 0))
    assert np.isnan(power.power_w).all()


def test_what_is_not_covered_is_said_and_not_filled(world, measured):
    result = measured[0]
    gone = (result.meters.t_s > 40.0) & (result.meters.t_s < 50.0) & (result.meters.device == PI)
    entry = entry_of(world, replace(result, meters=result.meters.where(~gone)), PI)
    assert all(x.value_j is None and x.half_width_j is None for x in entry.joules.values())
    assert entry.covered == pytest.approx(0.89, abs=0.02)
    assert "incomplete" in kinds(entry)
    assert "readings cover 8" in entry.caveats[1].text
    assert entry.to_json()["window_j"]["node"] == {"value": None, "half_width": None}
    assert entry_of(world, result, LAPTOP).joules["node"].value_j is not None


def test_a_fault_that_takes_the_meter_away_is_like_readings_that_are_missing(measured):
    faulty = long_world(faults=(Fault("meter_gone", PI, 40.0, 50.0),))
    entry = entry_of(faulty, measured[0], PI)
    assert entry.joules["node"].value_j is None
    power = measured_power(faulty, replication_of(measured[0], 0))
    dark = np.isnan(power.power_w)
    assert set(power.device[dark].tolist()) == {PI}
    assert 39.0 < power.t_s[dark].min() < 41.0
    assert 49.0 < power.t_s[dark].max() < 52.0


def test_readings_that_a_counter_contradicts(world, simulated):
    result = with_meters(world, simulated[0], {PI: Meter()})
    wrong = replace(result, meters=replace(result.meters, power_w=1.2 * result.meters.power_w))
    right, entry = entry_of(world, result, PI), entry_of(world, wrong, PI)
    assert "counter" not in kinds(right)
    assert "counter" in kinds(entry)
    node = entry.joules["node"]
    assert abs(node.value_j - right.joules["node"].value_j) <= node.half_width_j


def test_a_meter_that_only_counts(world, simulated):
    result = with_meters(world, simulated[0], {PI: Meter(counter_step_j=1e-6)})
    nan = np.full(len(result.meters), np.nan)
    counted = replace(result, meters=replace(result.meters, power_w=nan, current_a=nan, voltage_v=nan))
    entry, full = entry_of(world, counted, PI), entry_of(world, result, PI)
    assert entry.joules["node"] == entry.counter
    both = full.joules["node"].half_width_j + entry.counter.half_width_j
    assert abs(entry.joules["node"].value_j - full.joules["node"].value_j) <= both
    assert entry.joules["compute_only"].value_j is None
    assert entry.joules["marginal"].value_j == pytest.approx(full.joules["marginal"].value_j, abs=2 * both)


def test_a_counter_that_resolves_each_reading_is_preferred(world, simulated):
    fine = with_meters(world, simulated[0], {PI: Meter(averages=False, counter_step_j=1e-3)})
    coarse = with_meters(world, simulated[0], {PI: Meter(averages=False)})
    (true_j,) = (x.energy_j["node"][PI] * x.completed for x in summarise(world, simulated[:1]).policies[0].figures[:1])
    for result, by_counter in ((fine, True), (coarse, False)):
        entry = entry_of(world, result, PI)
        assert (entry.joules["node"] == entry.counter) == by_counter
        assert abs(entry.joules["node"].value_j - true_j) <= entry.joules["node"].half_width_j
    halves_j = [entry_of(world, result, PI).joules["node"].half_width_j for result in (fine, coarse)]
    assert halves_j[0] < halves_j[1]


def test_short_windows_and_baselines_are_noted(world, simulated):
    brief = fading_world()
    entry = entry_of(brief, with_meters(brief, fading_results(brief)[0], METERS, idle_s=4.0), PI)
    assert kinds(entry) == ["emulated", "short", "idle"]
    result = with_meters(world, simulated[0], METERS)
    inside = replace(result, meters=result.meters.where(result.meters.t_s > -0.9))
    assert kinds(entry_of(world, inside, PI)) == ["emulated", "short", "one-sided"]
    last_s = float(np.nanmax(result.requests.done_s))
    inside = replace(inside, meters=inside.meters.where(inside.meters.t_s < last_s + 0.9))
    entry = entry_of(world, inside, PI, number=int(result.requests.replication[np.nanargmax(result.requests.done_s)]))
    assert kinds(entry) == ["emulated", "short", "baseline"]
    assert entry.joules["marginal"].value_j is None
    assert entry.joules["node"].value_j is not None


def test_compute_only_rests_on_readings_taken_while_computing():
    world = make_world(workload=make_workload(kind="poisson", clients=0, rate_rps=1.0, requests=None, duration_s=99.0))
    spans = make_spans([(k, 0, Kind.COMPUTE, PI, 10.0 * k, 10.0 * k + 6.0, 0) for k in range(10)])
    requests = make_requests([10.0 * k for k in range(10)], [10.0 * k + 6.0 for k in range(10)], [0] * 10)
    run = with_meters(world, make_run(world, requests, spans), METERS)
    window = Window(0.0, 96.0)
    pi, laptop, _ = metered(world, run, window)
    compute = pi.joules["compute_only"]
    assert compute.value_j == pytest.approx(12.0 * 60.0, rel=1e-3)
    assert abs(compute.value_j - 12.0 * 60.0) <= compute.half_width_j + 1e-9
    assert laptop.joules["compute_only"].value_j is None


def test_a_meter_that_nobody_describes_is_an_error(world, measured):
    with pytest.raises(MeasurementError, match="no facts of its meter"):
        summarise(world, [replace(measured[0], facts={})])


def test_a_meter_that_comes_late_is_known_to_the_joined_run(world, simulated, measured):
    first, *later = (replication_of(measured[0], number) for number in range(world.replications))
    bare = replace(first, meters=MeterReadings.none(), facts={**first.facts, "meters": []})
    joined = RunResult.concatenate([bare, *later])
    assert joined.facts["meters"] == measured[0].facts["meters"]
    figures = summarise(world, [joined]).policies[0].figures
    assert [x.total_j("node") is None for x in figures] == [True, False, False]


class TestShown:
    def test_the_uncertainty_stands_beside_each_energy(self, summary):
        console = Console(file=StringIO(), width=220)
        show(summary, console)
        text = console.file.getvalue()
        assert text.count("±") == 4 * 3 + 1
        assert "±: about 95 % uncertainty of meters (resolution, sampling, idle baseline) and repeats" in text
        assert "pi, laptop and pc: the meter is emulated, so these joules are not measured" in text

    def test_the_summary_holds_it(self, summary):
        data = json.loads(json.dumps(summary.to_json(), allow_nan=False))
        policy = data["policies"]["static"]
        half = policy["energy_j"]["node"]["half_width"]
        assert half["total"] == pytest.approx(summary.policies[0].energy_half_width_j("node"))
        assert 0 < half["devices"]["pi"] < half["total"]
        pi = policy["replications"][0]["meters"][0]
        assert pi["meter"]["model"] == "TC66C"
        assert pi["covered"] == 1.0
        assert pi["window_j"]["node"]["value"] > pi["window_j"]["marginal"]["value"] > 0
        assert pi["idle"]["before_w"] == pytest.approx(3.0, abs=0.01)

    def test_simulated_runs_have_none(self, world, simulated):
        data = summarise(world, simulated).to_json()["policies"]["static"]
        assert "half_width" not in data["energy_j"]["node"]
        assert "meters" not in data["replications"][0]

    def test_the_report_names_the_meters(self, world, measured, summary, tmp_path):
        write_report(tmp_path / "report.html", world, measured, summary)
        page = (tmp_path / "report.html").read_text(encoding="utf-8")
        for text in ("<h3>Meters</h3>", "between the power supply and the board", "±", "Read by power meters"):
            assert text in page
        assert page.count("<td>TC66C (tc66c)</td>") == 3


class TestFolder:
    def test_there_and_back(self, world, measured, tmp_path):
        write_run(tmp_path, measured[0], world)
        back = read_run(tmp_path)
        for name, column in measured[0].meters.columns().items():
            np.testing.assert_array_equal(column, getattr(back.meters, name), err_msg=name)
        assert summarise(world, [back]).to_json() == summarise(world, [measured[0]]).to_json()
        assert back.facts == plain(measured[0].facts)

    def test_no_meters_no_file(self, world, simulated, tmp_path):
        write_run(tmp_path, simulated[0], world)
        assert not (tmp_path / "meters.parquet").exists()
        assert "meters" not in read_info(tmp_path)["rows"]
        assert len(read_run(tmp_path).meters) == 0

    def test_a_file_of_an_earlier_run_is_removed(self, world, simulated, measured, tmp_path):
        write_run(tmp_path, measured[0], world)
        write_run(tmp_path, simulated[0], world)
        assert len(read_run(tmp_path).meters) == 0

    def test_a_lost_file_is_noticed(self, world, measured, tmp_path):
        write_run(tmp_path, measured[0], world)
        (tmp_path / "meters.parquet").unlink()
        with pytest.raises(RunFolderError, match=r"meters\.parquet: is missing"):
            read_run(tmp_path)
        assert len(read_run(tmp_path, allow_incomplete=True).meters) == 0

    def test_an_empty_table(self):
        assert len(MeterReadings.none()) == 0


def test_facts_that_differ_between_replications_are_kept_by_replication(measured):
    runs = [
        replace(measured[0], facts={"backend": "testbed", "caveats": ["a", text], "switches": [number]})
        for number, text in enumerate(("b", "c"))
    ]
    facts = RunResult.concatenate(runs).facts
    assert facts["backend"] == "testbed"
    assert facts["caveats"] == ["a", "b", "c"]
    assert facts["by_replication"] == [{"switches": [0]}, {"switches": [1]}]
