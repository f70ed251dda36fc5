"""`python -m twin.benchmark`: its figures, what they look like, and what it says against them."""

import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from twin import benchmark
from twin.benchmarking import suite
from twin.benchmarking.decisions import PolicyTime, SearchTime, in_turn, problem_of
from twin.benchmarking.figure import picture
from twin.benchmarking.pipeline import split_of, steady, world_of
from twin.benchmarking.rounds import Entrant, Repeats, rates_rps
from twin.benchmarking.suite import BARE, LEAF, PLAIN, Extent, Ratio, Report
from twin.benchmarking.view import show
from twin.benchmarking.work import PLAYERS, Point, Task, Work, measure, over_devices, over_requests
from twin.cli import guarded

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {
    "cpu": "Intel(R) Xeon(R) Processor @ 2.60GHz",
    "cpus": 2,
    "system": "Linux 6.1",
    "machine": "x86_64",
    "python": "3.11.7",
    "numpy": "2.4.6",
    "simpy": "4.1.2",
    "load_before": 0.1,
    "load_after": 1.05,
    "date": "2026-01-01T00:00:00+00:00",
}


def a_report(times=(60.0, 61.0, 62.0), load=0.1):
    rate = Repeats((1.0e6, 1.1e6, 1.2e6))
    ratios = (
        Ratio("arrays, static", PLAIN, rate, Repeats(times), 50.0),
        Ratio("arrays, static", LEAF, rate, None),
        Ratio("arrays, constant rates", BARE, rate, Repeats((0.2, 0.21, 0.22)), 0.15),
    )
    points = [Point(player, 10**k, 3, rate, 0.1, 80_000_000) for player in PLAYERS for k in (3, 7)]
    devices = [Point(PLAYERS[0], 10**5, k, rate, 0.1, 80_000_000) for k in range(2, 9)]
    return Report(
        {**ENVIRONMENT, "load_before": load},
        ratios,
        {PLAIN: Repeats((20_000.0,)), LEAF: None, BARE: rate},
        (SearchTime("efficientnet_b0", 181, Repeats((0.0003,)), Repeats((0.0001, 0.00012))),),
        (PolicyTime("neurosurgeon", Repeats((0.002, 0.003, 0.01))),),
        Work(tuple(points), tuple(devices)),
    )


def shown(report, width):
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123 - closed below
    show(report, console)
    console.file.close()
    return console.export_text()


@pytest.mark.parametrize("width", [80, 120])
def test_the_tables_fit(width):
    text = shown(a_report(), width)
    assert max(map(len, text.splitlines())) <= width
    for piece in ("not installed", "61.0", "[60.0, 62.0]", ">= 50", "efficientnet_b0", "10 000 000", "80 MB"):
        assert piece in text
    assert "!" not in text


def test_it_says_what_speaks_against_its_figures():
    text = shown(a_report(times=(40.0, 60.0, 80.0), load=1.8), 120)
    assert "other programs were at work (load 1.8 on 2 processors)" in text
    assert "arrays, static against plain SimPy: 67%" in text


def test_the_data_and_the_figure():
    data = json.loads(json.dumps(a_report().to_json(), allow_nan=False))
    assert data["ratios"][0]["ratio"] == {"median": 61.0, "least": 60.0, "largest": 62.0, "n": 3}
    assert data["ratios"][1]["ratio"] is None
    assert data["rivals_rps"][LEAF] is None
    assert len(data["work"]["over_devices"]) == 7
    drawn = picture(a_report())
    assert "n = 3 plays" in drawn.caption
    assert all(f">{text}</text>" in drawn.image for text in (*PLAYERS, "1 000", "10 000 000"))


def test_ratios_are_taken_round_by_round():
    assert Repeats((2.0, 9.0)).over(Repeats((1.0, 3.0))) == Repeats((2.0, 3.0))
    order = []
    entrants = [Entrant(name, 10, lambda name=name: lambda: order.append(name)) for name in "ab"]
    rates = rates_rps(entrants, 3, lambda _: None)
    assert order == list("ababab")
    assert [len(rates[name].values) for name in "ab"] == [3, 3]


def test_the_split_of_the_pipeline():
    for n_devices in (2, 3, 8):
        world = world_of(10, steady(), n_devices=n_devices)
        partition = split_of(n_devices).init(world.problem)[1]
        counts = [len(stage.layers) for stage in partition.stages]
        assert counts == [1, 2, *[1] * (n_devices - 2)]


def test_conditions_differ_from_one_decision_to_the_next():
    problem = problem_of(ROOT / "data" / "models" / "alexnet.json")
    decide = in_turn(lambda _, conditions: conditions.rate_bps, problem)
    assert not np.array_equal(decide(), decide())


def test_what_is_played():
    assert {task.requests for task in over_requests(10**6, 3)} == {10**3, 10**4, 10**5, 10**6}
    assert max(task.requests for task in over_requests(10**7, 3)) == 10**7
    assert {task.devices for task in over_devices(10**6, 3)} == set(range(2, 9))
    point = measure(ROOT, Task("events, static", 300, 4, 2))
    assert (point.requests, point.devices, len(point.rate.values)) == (300, 4, 2)
    assert point.memory_bytes > 10**7


@pytest.fixture
def small(monkeypatch):
    """Everything once and short, in this process."""
    monkeypatch.setattr(suite, "QUICK", Extent(0.02, 1, 1, 2.0, 10**3))
    monkeypatch.setattr(suite, "MODELS", ("alexnet",))
    monkeypatch.setattr(suite, "points", lambda folder, todo, _: (measure(folder, task) for task in todo[:2]))
    monkeypatch.chdir(ROOT)


def test_the_command(small, capsys, tmp_path):
    assert benchmark.main(["--quick", "--json", "--figure", str(tmp_path / "cost.svg")]) == 0
    data = json.loads(capsys.readouterr().out)
    assert {x["against"] for x in data["ratios"]} == {PLAIN, LEAF, BARE}
    assert [x["model"] for x in data["searches_s"]] == ["alexnet"]
    assert len(data["policies_s"]) == 8
    assert data["environment"]["python"]
    assert (tmp_path / "cost.svg").read_text().startswith("<svg ")


def test_without_data_it_says_what_is_missing(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    assert guarded(lambda: benchmark.main(["--quick"])) == 2
    assert "no folder `data` was found" in capsys.readouterr().err


def test_a_figure_without_a_folder(capsys):
    assert guarded(lambda: benchmark.main(["--figure", "nowhere/cost.svg"])) == 2
    assert "there is no folder nowhere" in capsys.readouterr().err
