"""The generator of traces: the committed files come out again, and the models do what they say."""

import subprocess
import sys
from dataclasses import replace
from itertools import groupby, pairwise
from pathlib import Path

import numpy as np
import pytest

from twin.errors import TraceError
from twin.tracegen import csv_text, main, meta_text
from twin.tracemodels.catalog import CATALOG, EDGE_THROTTLED, LTE_OUTAGES, WIFI_WALK
from twin.tracemodels.markov import generate
from twin.traces import load_link_trace, load_load_trace

COMMITTED = Path(__file__).parents[2] / "data" / "traces"
LINKS = [name for name, model in CATALOG.items() if "rtt_s" in model.columns]
LOADS = [name for name in CATALOG if name not in LINKS]


def sampled(steps):
    return steps.at_many(np.arange(0.0, steps.end_s, 0.5))


@pytest.mark.parametrize("name", CATALOG)
def test_the_committed_files_come_out_again_byte_for_byte(name, tmp_path, capsys):
    assert main(["--out", str(tmp_path), "--only", name]) == 0
    made = sorted(path.name for path in tmp_path.iterdir())
    assert made == [f"{name}.csv", f"{name}.meta.yaml"]
    for file in made:
        assert (tmp_path / file).read_bytes() == (COMMITTED / file).read_bytes()
    assert f"{name}.csv" in capsys.readouterr().out


def test_every_committed_trace_has_a_model():
    assert {path.stem for path in COMMITTED.glob("*.csv")} >= set(CATALOG)


@pytest.mark.parametrize("name", LINKS)
def test_link_traces_are_read(name):
    link = load_link_trace(COMMITTED / f"{name}.csv", "loop")
    assert link.source == "derived"
    assert link.up.end_s == CATALOG[name].duration_s
    assert {"generator", "seed", "states", "parameter_sources"} <= set(link.provenance)


@pytest.mark.parametrize("name", LOADS)
def test_load_traces_are_read(name):
    load = load_load_trace(COMMITTED / f"{name}.csv", "loop")
    assert load.slowdown.end_s == CATALOG[name].duration_s
    assert min(load.slowdown.values) == 1.0
    assert max(load.slowdown.values) > 1.5


def test_another_seed_gives_another_trace():
    assert csv_text(replace(WIFI_WALK, seed=1)) != csv_text(WIFI_WALK)
    assert csv_text(replace(EDGE_THROTTLED, seed=1)) != csv_text(EDGE_THROTTLED)


def test_lan_steady_stays_below_what_gigabit_ethernet_can_carry():
    link = load_link_trace(COMMITTED / "lan-steady.csv")
    limit_bps = 1e9 * 1448 / 1538
    assert max(*link.up.values, *link.down.values) < limit_bps
    assert min(*link.up.values, *link.down.values) > 0.9 * limit_bps


def test_wifi_walk_fades_and_comes_back():
    link = load_link_trace(COMMITTED / "wifi-walk.csv")
    down, rtt = sampled(link.down), sampled(link.rtt)
    assert down[:16].mean() > 80e6
    assert down[120:136].mean() < 6e6
    assert down.min() < 3e6
    assert down[-16:].mean() > 80e6
    assert rtt[:16].max() < 0.005
    assert rtt.max() > 0.02


def test_lte_outages_last_one_to_six_seconds():
    link = load_link_trace(COMMITTED / "lte-outages.csv")
    up, down = sampled(link.up), sampled(link.down)
    assert np.array_equal(up == 0.0, down == 0.0)
    outages = [len(list(run)) * 0.5 for dead, run in groupby(down == 0.0) if dead]
    assert len(outages) >= 5
    assert min(outages) >= 1.0
    assert 4.0 <= max(outages) <= 6.0


def test_throttled_changes_between_two_rates_a_few_times():
    link = load_link_trace(COMMITTED / "throttled.csv")
    assert set(link.up.values) == {320e6, 5e6}
    assert 6 <= len(link.up.times_s) <= 16


def test_dwell_times_follow_the_model():
    model = replace(LTE_OUTAGES, duration_s=100_000.0, spread={})
    rows = generate(model)
    ends = [*(row[0] for row in rows[1:]), model.duration_s]
    rates = {state.values["down_bps"]: state for state in model.states}
    lasted = {rate: [] for rate in rates}
    for (start, _, down_bps, _), end in zip(rows, ends, strict=True):
        lasted[down_bps].append(end - start)
    for rate, state in rates.items():
        if state.name != "outage":
            assert np.mean(lasted[rate]) == pytest.approx(state.dwell_s, rel=0.1)
        assert state.shortest_s <= min(lasted[rate][:-1])
        assert max(lasted[rate]) <= state.longest_s


def test_what_follows_follows_the_model():
    model = replace(LTE_OUTAGES, duration_s=100_000.0, spread={})
    names = {state.values["down_bps"]: state.name for state in model.states}
    visits = [names[row[2]] for row in generate(model)]
    after = [b for a, b in pairwise(visits) if a == "median"]
    assert after.count("outage") / len(after) == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize("model", CATALOG.values(), ids=CATALOG)
def test_probabilities_add_up_and_every_parameter_has_a_source(model):
    for state in model.states:
        assert sum(state.follow.values()) == pytest.approx(1.0 if model.route is None else 0.0)
        assert set(state.follow) <= {other.name for other in model.states}
        assert state.name not in state.follow
    assert model.sources
    assert "parameter_sources" in meta_text(model)


def test_an_unknown_name_is_refused():
    with pytest.raises(TraceError, match="--only moon: no such trace; use one of lan-steady"):
        main(["--only", "moon"])


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(TraceError, match="cannot be written"):
        main(["--out", str(tmp_path / "file"), "--only", "throttled"])


def test_the_command_says_what_is_wrong_and_leaves_with_2():
    done = subprocess.run(
        [sys.executable, "-m", "twin.tracegen", "--only", "moon"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: --only moon")
