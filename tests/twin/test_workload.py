"""Arrivals come as asked for, and the same luck comes back for the same seed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.errors import ScenarioError
from twin.problem import Demand
from twin.scenario_file.arrivals import read_arrivals
from twin.workload import ServiceNoise, Workload, stream


def poisson(rate_rps: float = 5.0, **changes: object) -> Workload:
    return Workload(**{"kind": "poisson", "rate_rps": rate_rps, **changes})


def test_poisson_has_the_rate_asked_for():
    times_s = poisson(duration_s=10_000.0).arrivals_s(seed=1, replication=0)
    expected = 5.0 * 10_000
    assert abs(len(times_s) - expected) < 4 * math.sqrt(expected)
    gaps_s = np.diff(times_s)
    assert gaps_s.mean() == pytest.approx(0.2, rel=0.02)
    assert gaps_s.std() == pytest.approx(0.2, rel=0.03)
    assert times_s[-1] < 10_000


@given(short=st.integers(1, 3000), longer=st.integers(1, 3000), seed=st.integers(0, 5))
def test_a_longer_poisson_run_starts_with_the_same_arrivals(short, longer, seed):
    first = poisson(requests=short).arrivals_s(seed, 0)
    second = poisson(requests=short + longer).arrivals_s(seed, 0)
    assert len(first) == short
    np.testing.assert_array_equal(first, second[:short])


def test_ending_by_time_and_by_number_agree():
    by_time = poisson(duration_s=100.0).arrivals_s(3, 0)
    by_number = poisson(requests=len(by_time)).arrivals_s(3, 0)
    np.testing.assert_array_equal(by_time, by_number)
    both = poisson(duration_s=100.0, requests=10).arrivals_s(3, 0)
    np.testing.assert_array_equal(both, by_time[:10])


def test_seeds_and_replications_have_their_own_arrivals():
    runs = [tuple(poisson(requests=5).arrivals_s(seed, replication)) for seed in (1, 2) for replication in (0, 1)]
    assert len(set(runs)) == 4


def test_periodic_counts():
    assert poisson(kind="periodic", rate_rps=4.0, duration_s=2.0).arrivals_s(0, 0).tolist() == [i / 4 for i in range(8)]
    assert len(poisson(kind="periodic", rate_rps=3.0, duration_s=2.1).arrivals_s(0, 0)) == 7
    assert poisson(kind="periodic", rate_rps=4.0, requests=3).arrivals_s(0, 0).tolist() == [0.0, 0.25, 0.5]


@given(rate_rps=st.floats(0.1, 100.0), n=st.integers(1, 200))
def test_periodic_arrivals_lie_before_the_end_and_none_is_missing(rate_rps, n):
    duration_s = n / rate_rps
    times_s = Workload("periodic", rate_rps=rate_rps, duration_s=duration_s).arrivals_s(0, 0)
    assert len(times_s) == n
    assert times_s[-1] < duration_s


def test_replay_ends_by_its_file_or_earlier():
    times_s = np.array([0.0, 1.0, 1.0, 4.0])
    assert Workload("replay", times_s=times_s).arrivals_s(0, 0).tolist() == [0.0, 1.0, 1.0, 4.0]
    assert Workload("replay", times_s=times_s, duration_s=4.0).arrivals_s(0, 0).tolist() == [0.0, 1.0, 1.0]
    assert Workload("replay", times_s=times_s, requests=2).arrivals_s(0, 0).tolist() == [0.0, 1.0]


def test_demand_tells_the_mean_rate_or_the_clients():
    times_s = np.array([0.0, 1.0, 1.0, 4.0, 100.0])
    assert poisson(2.5, requests=1).demand == Demand(2.5)
    assert Workload("closed", clients=3, think_time_s=0.5).demand == Demand(None, 3, 0.5)
    assert Workload("replay", times_s=times_s, requests=4).demand == Demand(1.0)
    assert Workload("replay", times_s=times_s, duration_s=10.0).demand == Demand(0.4)
    assert Workload("replay", times_s=times_s, requests=4, duration_s=10.0).demand == Demand(1.0)
    assert Workload("replay", times_s=times_s[1:], duration_s=0.5).demand == Demand(0.0)
    assert Workload("replay", times_s=times_s[:1]).demand == Demand(1.0)


@pytest.mark.parametrize(
    ("workload", "message"),
    [
        (Workload("closed", clients=1), "a closed loop has no arrival times of its own"),
        (Workload("poisson", rate_rps=1.0), "give `requests` or `duration_s`"),
        (Workload("replay"), "at least one arrival time"),
    ],
)
def test_arrivals_that_cannot_be_made(workload, message):
    with pytest.raises(ScenarioError, match=message):
        workload.arrivals_s(0, 0)


def test_noise_has_mean_one_and_the_spread_asked_for():
    noise = ServiceNoise(np.array([0.2]), seed=1, replication=0)
    factors = np.array([noise.factor(0, request) for request in range(50_000)])
    assert factors.mean() == pytest.approx(1.0, abs=4 * 0.2 / math.sqrt(50_000))
    assert np.log(factors).std() == pytest.approx(0.2, rel=0.02)


def test_noise_is_keyed_by_seed_device_and_request():
    sigma = np.array([0.1, 0.1])
    asked = ServiceNoise(sigma, seed=1, replication=0)
    backwards = {request: asked.factor(1, request) for request in (2000, 3, 0)}
    again = ServiceNoise(sigma, seed=1, replication=0)
    again.factor(0, 17)
    assert {request: again.factor(1, request) for request in (0, 3, 2000)} == backwards
    others = [ServiceNoise(sigma, seed, replication).factor(1, 3) for seed, replication in ((2, 0), (1, 1))]
    assert len({backwards[3], again.factor(0, 3), *others}) == 4


def test_no_spread_means_no_noise():
    assert ServiceNoise(np.array([0.0]), seed=1, replication=0).factor(0, 5) == 1.0


def test_streams_do_not_shift_each_other():
    first = stream(1, 0, 0).random()
    stream(1, 0, 1).random(100)
    assert stream(1, 0, 0).random() == first
    assert stream(1, 0, 1).random() != first


def test_arrivals_are_read_from_lines_and_from_csv(tmp_path):
    lines = tmp_path / "arrivals.txt"
    lines.write_text("# seconds\n0.0\n\n1.5  # a comment\n1.5\n")
    table = tmp_path / "arrivals.csv"
    table.write_text("request,arrival_s\n0,0.25\n1,2\n")
    assert read_arrivals(lines).tolist() == [0.0, 1.5, 1.5]
    assert read_arrivals(table, "arrival_s").tolist() == [0.25, 2.0]


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("", None, ": holds no arrival times; give at least one"),
        ("1\n0.5\n", None, ", line 2: 0.5 s follows 1 s; sort the arrival times"),
        ("-1\n", None, ", line 1: the arrival time is -1; it must be a finite number >= 0"),
        ("nan\n", None, ", line 1: the arrival time is nan; it must be a finite number >= 0"),
        ("soon\n", None, ", line 1: `soon` is no arrival time in seconds"),
        ("0,1\n", None, ", line 1: `0,1` is no arrival time in seconds; name the column of a CSV file with `column`"),
        ("id,time_s\n0,1\n", "times_s", ", line 1: there is no column `times_s`; did you mean `time_s`?"),
        ("id,time_s\n0\n", "time_s", ", line 2: `` is no arrival time in seconds"),
    ],
)
def test_bad_arrival_files(tmp_path, text, column, message):
    path = tmp_path / "arrivals.txt"
    path.write_text(text)
    with pytest.raises(ScenarioError) as caught:
        read_arrivals(path, column)
    assert str(caught.value) == f"{path}{message}"


def test_an_arrival_file_that_cannot_be_read(tmp_path):
    with pytest.raises(ScenarioError, match=r"missing.txt: cannot be read \(No such file or directory\)"):
        read_arrivals(tmp_path / "missing.txt")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ScenarioError, match="binary: is not a text file"):
        read_arrivals(tmp_path / "binary")
