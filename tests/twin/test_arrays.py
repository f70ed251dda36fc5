"""The arrays engine against the events engine: the same records, to the last bit, on any world that both play."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from itertools import combinations
from unittest.mock import patch

import numpy as np
import pytest
from engines import assert_same, canonical
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from players import Blind, Fixed, Script, Watched
from worlds import make_graph, make_problem, make_workload, make_world, tiny_project

from twin.cli import guarded
from twin.engine import floor, lindley, open_loop
from twin.engine.arrays import ArraysEngine
from twin.engine.choose import choose_engine
from twin.engine.events import EventsEngine
from twin.engine.lindley import serve
from twin.engine.plan import make_plan
from twin.engine.routes import Group, Routes
from twin.engine.station import Job, Station
from twin.errors import EngineError
from twin.partition import Partition
from twin.policies import POLICIES
from twin.problem import LinkProbe, Objective, StageProbe, SwitchCost
from twin.records import PROBE, Kind
from twin.simulate import main
from twin.steps import Steps
from twin.topology import Continuum, Device, Link, PowerStates
from twin.traces import LinkTrace, LoadTrace
from twin.workload import ServiceNoise
from twin.world import Control, Fault

EXACT_S = st.integers(1, 16).map(lambda n: n / 64)
ANY_S = st.floats(0.001, 0.2)
SOME_S = st.sampled_from([0.0, 0.0, 1 / 128, 1 / 16])
SIZES = st.sampled_from([0, 1024, 2048, 3072, 8192, 40_000])
RATES_BPS = st.sampled_from([2.0**16, 2.0**18, 2.0**20, 3e5])
POWER = PowerStates(3.0, 12.0, 4.0, 3.5)


def both(world, policy, replication=0):
    """The result of both engines, which must be the same."""
    events = EventsEngine().run(world, policy, "test", replication)
    arrays = ArraysEngine().run(world, policy, "test", replication)
    assert_same(events, arrays)
    return arrays


@st.composite
def steps(draw, values, gap):
    """One to six pieces, some of them a gap; it holds or loops, sometimes from within."""
    n = draw(st.integers(0, 5))
    times_s = np.cumsum([0, *(draw(st.integers(1, 32)) for _ in range(n))]) / 16
    rates = [draw(st.one_of(values, values, st.just(gap))) for _ in range(n)]
    rates.append(draw(st.one_of(values, values, values, values, values, st.just(gap))))
    if draw(st.booleans()) and any(rate not in (0.0, np.inf) for rate in rates):
        start_s = times_s[0] if len(set(rates)) > 1 else draw(st.sampled_from(list(times_s)))
        return Steps(tuple(times_s), tuple(rates), "loop", float(times_s[-1]) + 0.5, float(start_s))
    return Steps(tuple(times_s), tuple(rates))


@st.composite
def workloads(draw):
    """Closed or open, at times that meet the ticks or at any."""
    kind = draw(st.sampled_from(["closed", "periodic", "poisson", "replay"]))
    ends = {"requests": draw(st.one_of(st.none(), st.integers(0, 120)))}
    if ends["requests"] is None or draw(st.booleans()):
        ends["duration_s"] = draw(st.sampled_from([0.5, 3.0, 6.0]))
    if kind == "closed":
        ends["requests"] = ends["requests"] or None
        ends.setdefault("duration_s", None if ends["requests"] else 3.0)
        return make_workload(clients=draw(st.integers(1, 5)), think_time_s=draw(SOME_S), **ends)
    if kind == "replay":
        times_s = np.sort(draw(st.lists(st.integers(0, 96), min_size=1, max_size=60))) / 16
        return make_workload(kind=kind, clients=0, times_s=times_s, **ends)
    return make_workload(kind=kind, clients=0, rate_rps=draw(st.sampled_from([2.0, 10.0, 16.0, 50.0])), **ends)


@st.composite
def worlds(draw):
    """Any small world without slots, queue limits, losses and weights to load."""
    n = draw(st.integers(2, 4))
    devices = [Device(f"d{k}", "", POWER) for k in range(n)]
    pairs = {(draw(st.sampled_from([0, k - 1])), k) for k in range(1, n)}
    pairs |= set(draw(st.lists(st.sampled_from(list(combinations(range(n), 2))), max_size=5 - len(pairs))))
    half = draw(st.sampled_from([("full",), ("full", "half")]))
    links = [Link(a, b, draw(st.sampled_from(half)), draw(SOME_S), draw(SOME_S)) for a, b in sorted(pairs)]
    layers = draw(st.lists(SIZES, min_size=1, max_size=5))
    times_s = draw(st.sampled_from([EXACT_S, ANY_S, st.just(0.05)]))
    problem = make_problem(
        continuum=Continuum(tuple(devices), tuple(links)),
        graph=make_graph(layers, draw(SIZES)),
        layer_time_s=np.array([[draw(times_s) for _ in layers] for _ in devices]),
        stage_overhead_s=np.array([draw(SOME_S) for _ in devices]),
        codec_s_per_byte=np.array([draw(st.sampled_from([0.0, 2.0**-16])) for _ in devices]),
        switch=SwitchCost(draw(st.sampled_from([0.0, 0.0, 0.25, 1.5])), None, draw(st.sampled_from([0.0, 2.0]))),
    )
    rtts = st.sampled_from([Steps.constant(0.0), Steps.constant(1 / 32), Steps((0.0, 1.5), (1 / 8, 1 / 64))])
    lines = st.builds(LinkTrace, st.just("link"), steps(RATES_BPS, 0.0), steps(RATES_BPS, 0.0), rtts)
    loads = st.builds(LoadTrace, st.just("load"), steps(st.sampled_from([0.5, 1.0, 4.0, 0.1]), np.inf))
    slow = Fault("device_slow", draw(st.integers(0, n - 1)), 0.5, 2.0, slowdown=3.0)
    gone = Fault("meter_gone", 0, 1.0, 2.5)
    return make_world(
        problem=problem,
        links=[draw(lines) for _ in links],
        loads=[draw(loads) for _ in devices],
        workload=draw(workloads()),
        objective=Objective(deadline_s=draw(st.sampled_from([None, 0.5, 2.0]))),
        dispersion=np.array([draw(st.sampled_from([0.0, 0.2])) for _ in devices]),
        control=draw(st.sampled_from([Control(1.0), Control(0.25), Control(None, 7), Control(None, 1), Control(None)])),
        drain_s=draw(st.sampled_from([0.0, 1.5, 60.0, 60.0])),
        faults=tuple(draw(st.sets(st.sampled_from([slow, gone])))),
        seed=draw(st.integers(0, 99)),
    )


@st.composite
def partitions(draw, problem):
    devices = sorted(draw(st.integers(0, problem.n_devices - 1)) for _ in range(problem.n_layers))
    return Partition(tuple(devices), problem.n_devices)


@st.composite
def scripts(draw, problem):
    """A partition per tick, with probes of links and of stages at some ticks."""
    link = st.integers(0, len(problem.continuum.links) - 1)
    messages = st.builds(LinkProbe, link, st.integers(0, 1), st.sampled_from([0.0, 1000.0, 20_000.0]))
    stages = st.builds(StageProbe, st.integers(0, problem.n_devices - 1), st.just((0,)))
    probes = st.lists(st.one_of(messages, stages), max_size=3).map(tuple)
    plans = draw(st.lists(partitions(problem), min_size=1, max_size=6))
    return Script(plans, draw(st.dictionaries(st.integers(0, 8), probes, max_size=5)))


@st.composite
def games(draw):
    world = draw(worlds())
    return world, draw(scripts(world.problem))


@settings(max_examples=200, deadline=None)
@given(games())
def test_switching_and_probing_at_will(game):
    both(*game)


@settings(max_examples=200, deadline=None)
@given(games())
def test_few_requests_at_once_are_no_different(game):
    with patch.object(floor, "_FEW", 0), patch.object(lindley, "_FEW", 2), patch.object(lindley, "_MANY", 4):
        both(*game)


@settings(max_examples=150, deadline=None)
@given(games(), st.sampled_from([1, 20, 1 << 15]))
def test_intervals_that_nobody_looks_into_are_no_different(game, block):
    world, script = game
    with patch.object(open_loop, "_BLOCK", block), patch.object(floor, "_FEW", 0):
        blind = both(world, Blind(script.partitions, script.probes))
    seen = ArraysEngine().run(world, script, "test", 0)
    assert np.array_equal(blind.requests.done_s, seen.requests.done_s, equal_nan=True)
    assert np.array_equal(canonical(blind.spans), canonical(seen.spans))
    assert len(blind.raw) == 0
    for own, other in zip(blind.decisions, seen.decisions, strict=True):
        unseen = dict.fromkeys(("conditions", "queue_length", "link_queue"))
        assert own == {**other, **unseen, "rows": [0, 0]}


@dataclass(frozen=True)
class Impatient(Script):
    """A script that asks for its own intervals, in seconds and in requests at once."""

    next_s: float | None = None
    next_requests: int | None = None

    def decide(self, observation, state):
        decision, state = super().decide(observation, state)
        return replace(decision, next_s=self.next_s, next_requests=self.next_requests), state


@settings(max_examples=60, deadline=None)
@given(
    world=worlds(),
    next_s=st.sampled_from([None, 0.25, 1.0]),
    next_requests=st.sampled_from([None, 1, 4, 16]),
    data=st.data(),
)
def test_intervals_that_a_policy_asks_for(world, next_s, next_requests, data):
    plans = tuple(data.draw(partitions(world.problem)) for _ in range(2))
    both(world, Impatient(plans, None, None, next_s, next_requests))


def test_a_tick_by_the_clock_goes_before_one_by_arrivals():
    # Requests come every 1/16 s, so that the timer and the 4th arrival since the last tick meet each time.
    workload = make_workload(kind="periodic", clients=0, rate_rps=16.0, requests=40)
    plans = (Partition((0, 0, 0, 0), 3), Partition((1, 1, 1, 1), 3), Partition((0, 0, 1, 2), 3))
    result = both(make_world(workload=workload), Impatient(plans, None, None, 0.25, 4))
    assert [entry["t_s"] for entry in result.decisions][:4] == [0.0, 0.25, 0.5, 0.75]


def test_a_probe_that_ends_with_the_run_is_cut_off():
    # 125 bytes at 1 kbit/s take the whole second, without delay; the clock ends the run before the message is there.
    links = (LinkTrace.constant(1000.0, 0.0), LinkTrace.constant(100e6, 0.002))
    workload = make_workload(kind="replay", clients=0, times_s=np.array([0.25]), requests=None, duration_s=1.0)
    world = make_world(links=links, workload=workload, control=Control(5.0))
    edge = Partition((0, 0, 0, 0), 3)
    result = both(world, Script((edge,), {0: (LinkProbe(0, 0, 125.0),)}))
    probe = result.spans.where(result.spans.request == PROBE)
    assert [(int(kind), float(end_s)) for kind, end_s in zip(probe.kind, probe.end_s, strict=True)] == [
        (Kind.TRANSMIT, 1.0)
    ]


@settings(max_examples=60, deadline=None)
@given(world=worlds(), kind=st.sampled_from(["adaptive", "robust", "neurosurgeon"]))
def test_policies_that_look(world, kind):
    assume(np.isfinite(world.problem.initial.slowdown).all())
    both(world, POLICIES[kind]())


def busy_world(**changes):
    """Thousands of requests over links that fade and fail, with noise and slow start, near what they can carry."""
    links = tuple(Link(a, b, "full", 0.001, 0.004, 0.02) for a, b in ((0, 1), (1, 2)))
    problem = make_problem(continuum=Continuum(make_problem().continuum.devices, links))
    up = Steps((0.0, 3.0, 4.5, 11.0), (20e6, 0.0, 14e6, 30e6), "loop", 13.0)
    fading = LinkTrace("walk", up, up.scaled(0.5), Steps((0.0, 4.0, 6.0), (0.004, 0.03, 0.004)), "derived")
    values = {
        "problem": problem,
        "links": (fading, LinkTrace.constant(100e6, 0.002)),
        "loads": (*(LoadTrace.constant(1.0),) * 2, LoadTrace("busy", Steps((0.0, 7.0), (1.0, 3.0), "loop", 9.0))),
        "workload": make_workload(kind="poisson", clients=0, rate_rps=30.0, requests=9000),
        "dispersion": np.array([0.1, 0.0, 0.3]),
        "objective": Objective(deadline_s=0.25),
        "control": Control(None, 5000),
    }
    return make_world(**{**values, **changes})


@pytest.mark.parametrize("placement", [(0, 0, 1, 2), (1, 1, 1, 1), (0, 0, 0, 0), (0, 2, 2, 2)])
def test_many_requests_at_once(placement):
    # The placements go from stations that keep up to ones whose queue grows all the time.
    for policy in (Fixed, Watched):
        both(busy_world(), policy(Partition(placement, 3)))


def test_few_requests_between_ticks_and_many_are_the_same():
    partition = Partition((0, 0, 1, 2), 3)
    results = [
        ArraysEngine().run(busy_world(control=c), Fixed(partition), "test", 0) for c in (Control(0.1), Control(None))
    ]
    assert np.array_equal(results[0].requests.done_s, results[1].requests.done_s)


@st.composite
def jobs(draw):
    n = draw(st.sampled_from([1, 5, 30, 100, 300, 9000]))
    random = np.random.default_rng(draw(st.integers(0, 999)))
    gaps_s = random.exponential(1.0, n) if draw(st.booleans()) else random.integers(0, 8, n) / 4
    amounts = random.choice([0.0, 0.25, 0.5, 1.0, 2.0], n) * draw(st.sampled_from([0.3, 1.0, 1.7, 4.0]))
    rate = draw(steps(st.sampled_from([0.5, 1.0, 3.7]), 0.0))
    return np.cumsum(gaps_s), amounts, draw(st.sampled_from([0.0, 3.5, 80.0])), rate


@settings(max_examples=150, deadline=None)
@given(jobs())
def test_a_station_serves_many_jobs_as_it_serves_each(given_jobs):
    arrived_s, amounts, free_s, rate = given_jobs
    station, plan = Station(), None
    station._free_s = [free_s]
    times_s = []
    for now_s, amount in zip(arrived_s.tolist(), amounts.tolist(), strict=True):
        job = Job(0, plan, None)
        station.admit(job, now_s, rate.finish, amount)
        times_s.append((job.start_s, job.finish_s))
    start_s, finish_s = serve(arrived_s, amounts, free_s, rate)
    assert np.array_equal(np.column_stack([start_s, finish_s]), times_s)


def test_the_recursion_at_once_is_not_given_up_without_need():
    # Poisson arrivals meet no tie, so that no job has to be served again one by one.
    random = np.random.default_rng(1)
    arrived_s, amounts = np.cumsum(random.exponential(1.0, 20_000)), random.lognormal(-0.5, 0.3, 20_000)
    for rate in (Steps.constant(1.0), Steps((0.0, 40.0, 90.0), (1.0, 0.0, 3.0), "loop", 200.0)):
        setting = lindley._setting(arrived_s, amounts, 0.0, rate)
        assert lindley._chained(setting) is not None


def test_noise_of_many_requests_is_that_of_each():
    one, many = (ServiceNoise(np.array([0.0, 0.3]), 7, 2) for _ in range(2))
    requests = np.array([5, 2000, 0, 3000])
    assert many.factors(1, requests).tolist() == [one.factor(1, request) for request in requests.tolist()]
    assert many.factors(0, requests) == one.factor(0, 5) == 1.0


def refused_world():
    """A world with everything that the arrays engine does not play."""
    base = make_problem()
    pi, laptop, pc = base.continuum.devices
    devices = (replace(pi, queue_limit=3), laptop, replace(pc, slots=2))
    problem = make_problem(continuum=Continuum(devices, base.continuum.links), switch=SwitchCost(0.0, 2))
    workload = make_workload(kind="periodic", clients=0, rate_rps=5.0)
    return make_world(problem=problem, workload=workload, faults=(Fault("link_down", 0, 1.0, 5.0),))


def test_what_is_not_supported_is_refused_by_name():
    with pytest.raises(EngineError) as caught:
        ArraysEngine().run(refused_world(), Fixed(Partition((0, 0, 0, 0), 3)), "test", 0)
    for part in ("devices.pi.queue_limit: 3", "devices.pc.slots: 2", "faults.0.kind: link_down", "weights_from: pc"):
        assert part in str(caught.value)
    assert "--engine events" in str(caught.value)
    with pytest.raises(EngineError):
        choose_engine(refused_world(), "arrays")


def test_auto_takes_arrays_where_it_plays_everything():
    policy = Fixed(Partition((0, 0, 0, 0), 3))
    names = {}
    sparse = make_world(workload=make_workload(kind="periodic", clients=0, rate_rps=2.0, requests=10))
    worlds = {"can": make_world(), "cannot": refused_world(), "need not": sparse, "blind": sparse}
    for name, world in worlds.items():
        played = Watched(policy.partition) if name == "need not" else policy
        facts = choose_engine(world).run(world, played, "test", 0).facts
        names[name] = facts["engine"], facts["engine_why"]
    assert names["can"] == ("arrays", "it plays the whole scenario, and is the quicker one")
    assert names["cannot"][0] == names["need not"][0] == "events"
    assert names["blind"][0] == "arrays"
    assert "look at nothing measured" in names["blind"][1]
    assert "2 requests per control interval" in names["need not"][1]
    assert "devices.pc.slots: 2" in names["cannot"][1]
    assert choose_engine(make_world(), "events").run(make_world(), policy, "test", 0).facts["engine"] == "events"


def test_routes_that_come_back_are_worked_off_together():
    half = Continuum(make_problem().continuum.devices, (Link(0, 1, "half"), Link(1, 2)))
    orders = {}
    for name, problem in (("full", make_problem()), ("half", make_problem(continuum=half))):
        routes = Routes(7)
        routes.add(make_plan(problem, Partition((0, 1, 1, 1), 3), 0))
        orders[name] = routes.order
    assert orders["full"] == (Group((0,), False), Group((3,), False), Group((1,), False), Group((4,), False))
    assert orders["half"] == (Group((0,), False), Group((1, 3), True))


def test_the_command_line_says_which_engine_played(tmp_path, capsys):
    scenario = tiny_project(tmp_path)
    summaries = {}
    for engine in ("arrays", "events"):
        out = tmp_path / engine
        assert main([str(scenario), "--out", str(out), "--engine", engine, "--no-report"]) == 0
        facts = json.loads((out / "static" / "run.json").read_text())["facts"]
        assert facts["engine"] == engine
        summaries[engine] = json.loads((out / "summary.json").read_text())
        assert any(f"Played by the {facts['engine']} engine" in note for note in summaries[engine].pop("notes"))
    assert summaries["arrays"] == summaries["events"]


def test_the_command_line_refuses_what_arrays_does_not_play(tmp_path, capsys):
    scenario = tiny_project(tmp_path)
    options = [str(scenario), "--engine", "arrays", "--set", "devices.pc.slots=2"]
    assert guarded(lambda: main(options)) == 2
    assert "devices.pc.slots: 2" in capsys.readouterr().err
