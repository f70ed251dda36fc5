"""`python -m twin.plan`: what it says, and that what it says agrees with the search."""

import json
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from worlds import make_graph, make_problem, make_world, tiny_project, tiny_scenario

from twin.cli import BAD_INPUT, guarded
from twin.errors import InfeasibleError, ScenarioError, TraceError
from twin.plan import main
from twin.planning.advice import advise
from twin.planning.breakeven import PRECISION, Axis, parse_axis, ranges_of
from twin.planning.view import WIDTH, as_text
from twin.problem import Objective
from twin.scenario import load_world
from twin.search import best, evaluate
from twin.topology import DOWN, UP


@pytest.fixture
def scenario(tmp_path) -> Path:
    return tiny_project(tmp_path)


def plan(capsys, *arguments):
    assert main([str(x) for x in arguments]) == 0
    return capsys.readouterr().out


def unwrapped(text):
    return " ".join(text.split())


def plan_json(capsys, *arguments):
    return json.loads(plan(capsys, *arguments, "--json"))


def test_the_text_fits_a_terminal_and_says_all_there_is(capsys, scenario):
    text = plan(capsys, scenario, "--vary", "links.0.rate_bps=1e5:1e9")
    assert max(len(line) for line in text.splitlines()) <= WIDTH
    for phrase in (
        "tiny: where to split tiny at 0 s",
        "layer times: pi measured",
        "pi-laptop 20.0 Mbit/s up, 10.0 down",
        "best: pc 0-3",
        "answer, 4.00 kB",
        "all on laptop",
        "static thirds",
        "no other beats in both latency and energy (node)",
        "as links.0.rate_bps goes from 0.1000 to 1000 Mbit/s",
        "leaving pi pays from 5.239 Mbit/s on",
        "splitting over several devices pays from 5.239 up to 16.33 Mbit/s",
    ):
        assert phrase in unwrapped(text)


def test_long_names_wrap_rather_than_run_over(capsys, tmp_path):
    devices = tiny_scenario()["devices"]
    names = ["raspberry-pi-5-in-the-kitchen", "laptop-in-the-living-room", "pc"]
    for device, name in zip(devices, names, strict=True):
        device["name"] = name
    links = [
        {"between": names[:2], "trace": "walk", "after_end": "loop"},
        {"between": names[1:], "trace": "lan"},
    ]
    path = tiny_project(tmp_path, devices=devices, links=links, policies={"static": {"kind": "static"}})
    text = plan(capsys, path, "--set", "devices.0.load=3")
    assert "kitchen slowed 3.00 times" in text
    assert max(len(line) for line in text.splitlines()) <= WIDTH + 20


def test_the_breakdown_adds_up_to_the_latency(capsys, scenario):
    data = plan_json(capsys, scenario)
    parts = [stage["service_s"] for stage in data["best"]["stages"]]
    parts += [x["transmit_s"] + x["delay_s"] for x in data["best"]["transfers"]]
    assert sum(parts) == pytest.approx(data["best"]["latency_s"])
    joules = sum(device["node_j"] for device in data["best"]["devices"].values())
    assert joules == pytest.approx(data["best"]["energy_j"])
    assert [x["answer"] for x in data["best"]["transfers"]] == [False, False, True, True]
    assert data["source"] == "simulated"
    assert [x["source"] for x in data["profiles"]] == ["measured"] * 3


def test_rivals_are_each_device_alone_and_thirds(capsys, scenario):
    data = plan_json(capsys, scenario)
    assert list(data["rivals"]) == ["all on pi", "all on laptop", "all on pc", "static thirds"]
    world = load_world(scenario)
    edge = evaluate(world.problem, world.problem.on_device(0), world.problem.initial)
    rival = data["rivals"]["all on pi"]
    assert rival["latency_s"] == pytest.approx(edge.latency_s)
    assert rival["excess"] == pytest.approx(edge.score / data["best"]["score"] - 1)
    assert min(x["excess"] for x in data["rivals"].values()) >= 0


def test_a_time_reads_the_traces_there(capsys, scenario):
    data = plan_json(capsys, scenario, "--at", "12")
    assert data["conditions"]["rate_bps"][0] == [2e6, 1e6]
    assert data["best"]["describe"] == "pi 0-3"
    assert data["objective"]["latency_ref_s"] == pytest.approx(0.1)


@pytest.mark.parametrize("aim", ["latency", "energy", "throughput"])
def test_an_objective_replaces_that_of_the_scenario(capsys, scenario, aim):
    data = plan_json(capsys, scenario, "--objective", aim)
    world = load_world(scenario)
    expected = best(world.problem, world.problem.initial, objective=aim)
    assert data["best"]["partition"] == expected.partition.to_json()
    assert data["objective"]["minimises"] == {"throughput": "bottleneck"}.get(aim, aim)
    assert {"latency": "latency", "energy": "energy (node)", "throughput": "bottleneck"}[aim] in plan(
        capsys, scenario, "--objective", aim
    )


def test_overrides_reach_the_search(capsys, scenario):
    text = plan(capsys, scenario, "--set", "devices.pc.load=1000", "--set", "objective.deadline_s=0.5")
    assert "pc slowed 1000 times" in text
    assert "all on pc" in text
    assert "misses the deadline" in text


def test_an_overload_is_said(capsys, scenario):
    text = plan(capsys, scenario, "--set", "workload.rate_rps=1000")
    assert "1000 requests/s are more than it can serve" in unwrapped(text)


def test_rivals_that_cannot_be_chosen_say_why():
    world = make_world(problem=make_problem(pinned={0: 0}))
    text = as_text(advise(world))
    assert "moves a pinned layer" in text


def test_unknown_power_leaves_the_energy_open(capsys, tmp_path):
    devices = tiny_scenario()["devices"]
    del devices[0]["power"]
    data = plan_json(capsys, tiny_project(tmp_path, devices=devices))
    assert data["front"] is None
    assert data["best"]["energy_j"] is None
    path = tmp_path / "scenarios" / "tiny.yaml"
    assert "give devices.*.power of every device" in plan(capsys, path)


def test_a_deadline_that_nothing_meets_is_one_message_and_status_2(capsys, scenario):
    arguments = [str(scenario), "--set", "objective.deadline_s=0.07", "--at", "12"]
    with pytest.raises(InfeasibleError, match=r"tiny\.yaml: at 12 s .*least possible latency is 0\.1 s; raise"):
        main(arguments)
    assert guarded(lambda: main(arguments)) == BAD_INPUT
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--at", "-1"], "--at -1"),
        (["--at", "nan"], "--at nan"),
        (["--vary", "links.0.colour=1:2"], "what can: links.I.rate_bps"),
        (["--vary", "links.7.rate_bps=1:2"], r"there is no `7`; there are 0 \(pi-laptop\), 1 \(laptop-pc\)"),
        (["--vary", "devices.moon.slowdown=1:2"], r"there is no `moon`; there are 0 \(pi\)"),
        (["--vary", "links.0.rate_bps=2:1"], "0 < first < second"),
        (["--vary", "links.0.rate_bps=0:1"], "0 < first < second"),
        (["--vary", "links.0.rate_bps=1:inf"], "0 < first < second"),
        (["--vary", "links.0.rate_bps=slow:fast"], "is not two numbers"),
        (["--vary", "links.0.rate_bps"], "is not two numbers"),
    ],
)
def test_bad_arguments_name_the_remedy(scenario, arguments, message):
    with pytest.raises(ScenarioError, match=message):
        main([str(scenario), *arguments])


def test_a_trace_that_has_run_out_is_an_error(tmp_path):
    links = [{"between": ["pi", "laptop"], "trace": "walk", "after_end": "error"}, tiny_scenario()["links"][1]]
    path = tiny_project(tmp_path, links=links, workload={"kind": "poisson", "rate_rps": 2.0, "duration_s": 5.0})
    with pytest.raises(TraceError):
        main([str(path), "--at", "1000"])


def test_links_and_devices_can_be_named(scenario):
    problem = load_world(scenario).problem
    assert parse_axis("links.laptop-pc.rtt_s=0.001:0.1", problem) == Axis(
        "links.laptop-pc.rtt_s", "rtt_s", 1, 0.001, 0.1
    )
    assert parse_axis("devices.pc.slowdown=1:9", problem).index == 2


def test_varying_changes_only_what_it_names():
    conditions = make_problem().initial
    up = Axis("links.0.up_bps", "up_bps", 0, 1.0, 2.0).at(conditions, 7.0)
    assert up.rate_bps[0, UP] == 7
    assert up.rate_bps[0, DOWN] == conditions.rate_bps[0, DOWN]
    assert Axis("", "rate_bps", 1, 1.0, 2.0).at(conditions, 7.0).rate_bps[1].tolist() == [7, 7]
    assert Axis("", "rtt_s", 1, 1.0, 2.0).at(conditions, 7.0).rtt_s.tolist() == [0.004, 7]
    assert Axis("", "slowdown", 2, 1.0, 2.0).at(conditions, 7.0).slowdown.tolist() == [1, 1, 7]
    assert conditions.rate_bps[0, UP] == 20e6


@pytest.mark.parametrize(
    "text", ["links.0.rate_bps=1e5:1e9", "links.0.up_bps=1e5:1e9", "links.1.rtt_s=1e-4:1", "devices.2.slowdown=1:100"]
)
@pytest.mark.parametrize("objective", [Objective(), Objective(0.5, 0.5), Objective(deadline_s=0.09)])
def test_ranges_hold_the_best_partition_at_every_value(text, objective):
    problem = make_problem(objective=objective)
    axis = parse_axis(text, problem)
    ranges = ranges_of(problem, problem.initial, axis)
    assert ranges[0].low == pytest.approx(axis.low)
    assert ranges[-1].high == pytest.approx(axis.high)
    for before, after in pairwise(ranges):
        assert before.high < after.low <= before.high * (1 + 2 * PRECISION)
    for value in np.geomspace(axis.low * 1.001, axis.high * 0.999, 150):
        here = next(x for x in ranges if x.low * (1 - 1e-4) <= value <= x.high * (1 + 1e-4))
        plan = best(problem, axis.at(problem.initial, value), or_nearest=True)
        if here.low * 1.001 < value < here.high / 1.001:
            assert plan.partition == here.first.partition
            assert plan.feasible == here.first.feasible


def test_a_break_even_point_by_hand():
    """All on the pi takes 100 ms; only the head elsewhere 77.5 ms of computing beside 10 kB up and 4 kB down."""
    problem = make_problem(objective=Objective(latency=1.0))
    axis = parse_axis("links.0.rate_bps=1e6:1e8", problem)
    first = ranges_of(problem, problem.initial, axis)[0]
    beside_s = 0.070 + 0.0015 + 0.004 + 0.002 + (10_000 + 4_000) * 8 / 100e6
    assert first.first.partition == problem.on_device(0)
    assert first.high == pytest.approx((10_000 + 4_000) * 8 / (0.1 - beside_s), rel=1e-4)


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("links.0.rate_bps=1e3:1e4", "leaving pi pays nowhere in this range; splitting {} nowhere in this range"),
        ("links.0.rate_bps=7e6:12e6", "leaving pi pays in the whole range; splitting {} in the whole range"),
        ("links.0.rate_bps=1e6:12e6", "leaving pi pays from 5.239 Mbit/s on; splitting {} from 5.239 Mbit/s on"),
        ("links.0.rate_bps=7e6:1e9", "leaving pi pays in the whole range; splitting {} up to 16.33 Mbit/s"),
        (
            "devices.0.slowdown=0.05:50",
            "leaving pi pays from 0.5273 times on; splitting {} from 0.5273 up to 0.8500 times",
        ),
    ],
)
def test_the_verdict_says_from_where_splitting_pays(text, verdict):
    world = make_world()
    said = unwrapped(as_text(advise(world, axis=parse_axis(text, world.problem))))
    assert verdict.format("over several devices pays") in said


def test_ranges_in_which_the_deadline_is_missed_say_so():
    world = make_world(objective=Objective(deadline_s=0.07))
    advice = advise(world, axis=parse_axis("links.0.rate_bps=1e6:1e8", world.problem))
    assert not advice.ranges[0].first.feasible
    assert "(misses the deadline)" in as_text(advice)
    assert advice.to_json()["vary"]["ranges"][0]["feasible"] is False


def test_long_fronts_are_thinned_in_the_text_only():
    rng = np.random.default_rng(3)
    sizes = rng.integers(1_000, 90_000, 60).tolist()
    graph = make_graph(sizes)
    times_s = rng.uniform(0.001, 0.01, 60) / np.array([[1.0], [1.5], [2.0]])
    problem = make_problem(graph=graph, layer_time_s=times_s, objective=Objective(0.5, 0.5, "compute_only"))
    advice = advise(make_world(problem=problem, objective=problem.objective))
    assert advice.front is not None
    assert len(advice.front) > 12
    assert f"12 of {len(advice.front)}, --json has all" in unwrapped(as_text(advice))
    assert len(advice.to_json()["front"]) == len(advice.front)
    assert math.isfinite(advice.sojourn_s)
