"""Fits of devices, links and changes: known parameters come back, and what the data do not tell is left alone."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from measuring import (
    LINK_NAMES,
    MODEL,
    NAMES,
    Truth,
    as_measured,
    believed_world,
    measured,
    random_truth,
    simulated,
    varied,
)
from players import Fixed
from worlds import make_profile

from twin.calibration.apply import calibrated
from twin.calibration.devices import fit_device
from twin.calibration.downtime import fit_downtime
from twin.calibration.links import fit_link
from twin.calibration.messages import messages
from twin.calibration.parts import EVERYTHING, Part, split
from twin.calibration.tables import stage_visits
from twin.errors import CalibrationError
from twin.partition import Partition
from twin.records import Kind
from twin.route import route_of
from twin.traces import LoadTrace

LINK_KEYS = ("goodput_up", "goodput_down", "rtt_extra_s", "message_overhead_s", "slow_start_s")


def estimates(world, result, truth=None):
    """All parameters with what they are, by name."""
    truth, parts = truth or Truth(), [Part(world, result)]
    for at, name in enumerate(NAMES):
        device = fit_device(parts, name)
        yield f"{name} stage_overhead_s", device.stage_overhead_s, truth.overhead_s[at]
        yield f"{name} additivity", device.additivity[MODEL], truth.additivity[at]
        yield f"{name} codec_s_per_byte", device.codec_s_per_byte, truth.codec_s_per_byte[at]
        yield f"{name} dispersion", device.dispersion, truth.dispersion[at]
    for at, name in enumerate(LINK_NAMES):
        link = fit_link(parts, name)
        for key in LINK_KEYS:
            yield f"{name} {key}", getattr(link, key), getattr(truth, key)[at]
    yield "switch downtime_s", fit_downtime(parts), truth.downtime_s


def test_parameters_that_are_known_come_back_within_their_intervals():
    world, result = measured(Truth(), 3)
    found = list(estimates(world, result))
    outside = [name for name, x, true in found if not x.determined or not x.low <= true <= x.high]
    assert len(found) == 23
    assert len(outside) <= 2
    for name, x, true in found:
        assert x.value == pytest.approx(true, rel=0.5, abs=1e-8), name


def counted(runs):
    """Of each parameter: in how many runs it is determined, and in how many of these its interval holds the truth."""
    inside, known = defaultdict(int), defaultdict(int)
    for found in runs:
        for name, x, true in found:
            known[name] += x.determined
            inside[name] += x.determined and x.low - 1e-12 <= true <= x.high + 1e-12
    print("\n".join(f"{name:32} {inside[name]:4} of {known[name]}" for name in known))
    return inside, known


@pytest.mark.slow
@pytest.mark.parametrize("wild", [0.0, 0.05])
def test_intervals_hold_the_truth_in_90_of_100_runs(wild):
    inside, known = counted(estimates(*measured(Truth(), seed, wild=wild)) for seed in range(100))
    for name in known:
        assert known[name] >= 90, name
        assert inside[name] >= 0.9 * known[name], name


@pytest.mark.slow
def test_intervals_hold_a_truth_that_is_drawn_anew_for_each_run():
    def run(seed):
        truth = random_truth(seed)
        return estimates(*measured(truth, seed), truth)

    inside, known = counted(run(seed) for seed in range(100))
    for name in known:
        assert inside[name] >= 0.9 * known[name], name


@pytest.mark.slow
def test_intervals_hold_a_slowdown_in_90_of_100_runs():
    def run(seed):
        load = float(np.random.default_rng(seed).uniform(0.6, 3.0))
        world, result = one_plan(load=load, seed=seed, dispersion=np.array([0.05, 0.08, 0.03]))
        return [(name, fit_device([Part(world, result)], name).slowdown, load) for name in NAMES]

    inside, known = counted(run(seed) for seed in range(100))
    for name in known:
        assert known[name] == 100
        assert inside[name] >= 90, name


def test_one_wild_row_in_twenty_moves_nothing_beyond_its_interval():
    plain, spoilt = (list(estimates(*measured(Truth(), 5, wild=wild))) for wild in (0.0, 0.05))
    for (name, x, _), (_, y, _) in zip(plain, spoilt, strict=True):
        assert x.low <= y.value <= x.high, name


def one_plan(truth=None, load=1.0, seed=1, **changes):
    """A run that never changes its plan, on devices that are so many times slower than believed."""
    believed = believed_world(seed, **changes)
    world = believed if truth is None else calibrated(believed, truth.calibration)
    loads = tuple(LoadTrace.constant(load) for _ in NAMES)
    plan = Fixed(Partition.from_cuts((1, 3), 4))
    world = replace(world, loads=loads)
    return believed, as_measured(world, simulated(world, plan), seed)


def test_stages_of_one_length_tell_a_slowdown_and_nothing_else():
    world, result = one_plan(load=1.3)
    found = fit_device([Part(world, result)], "laptop")
    assert found.slowdown.determined
    assert found.slowdown.value == pytest.approx(1.3, rel=1e-6)
    for kept in (found.stage_overhead_s, found.codec_s_per_byte, found.additivity[MODEL]):
        assert not kept.determined
        assert kept.value == kept.was
        assert "stages of different length are needed" in kept.note


def test_a_slowdown_that_the_scenario_knows_is_taken_out():
    world, result = one_plan(load=1.3)
    world = replace(world, loads=tuple(LoadTrace.constant(1.3) for _ in NAMES))
    assert fit_device([Part(world, result)], "pi").slowdown.value == pytest.approx(1.0, rel=1e-6)


def test_a_direction_without_large_messages_has_no_goodput():
    world, result = one_plan(Truth())
    found = fit_link([Part(world, result)], "pi-laptop")
    assert not found.goodput_down.determined
    assert found.goodput_down.value == 1.0
    assert found.goodput_down.note == "0 messages above 8000 bytes went that way; 8 are needed"
    assert found.goodput_up.determined


def test_an_unused_link_and_device_keep_what_the_scenario_says():
    world = believed_world(2)
    stay = as_measured(world, simulated(world, Fixed(Partition.from_cuts((4, 4), 4))), 2)
    device, link = fit_device([Part(world, stay)], "pc"), fit_link([Part(world, stay)], "laptop-pc")
    assert not any(x.determined for x in (device.slowdown, device.dispersion, link.goodput_up, link.rtt_extra_s))
    assert device.slowdown.note == "0 stage visits; 8 are needed"
    assert link.message_overhead_s.note == "0 messages"


def test_additivity_is_that_of_each_model():
    world, result = measured(Truth(), 4)
    other = Truth(additivity=(1.4, 1.3, 1.2))
    graph = replace(world.problem.graph, model="other")
    profiles = tuple(
        replace(make_profile(name, row), model="other")
        for name, row in zip(NAMES, world.problem.layer_time_s, strict=True)
    )
    true_world, result2 = measured(other, 5)
    world2 = replace(true_world, problem=replace(true_world.problem, graph=graph), profiles=profiles)
    found = fit_device([Part(world, result), Part(world2, result2)], "pi")
    assert found.additivity[MODEL].value == pytest.approx(1.15, rel=0.05)
    assert found.additivity["other"].value == pytest.approx(1.4, rel=0.05)
    assert found.stage_overhead_s.low <= 0.004 <= found.stage_overhead_s.high


def test_simulated_runs_tell_the_same_where_receipts_were_timed():
    truth = Truth(dispersion=(0.0, 0.0, 0.0))
    believed = believed_world(0)
    result = simulated(calibrated(believed, truth.calibration), varied())
    found = fit_link([Part(believed, result)], "pi-laptop")
    for key in LINK_KEYS:
        assert getattr(found, key).value == pytest.approx(getattr(truth, key)[0], rel=1e-4), key


def test_changes_without_holds_have_no_downtime():
    world, result = measured(Truth(downtime_s=0.0), 0)
    found = fit_downtime([Part(world, result)])
    assert (found.value, found.determined) == (0.0, True)
    assert 0 < found.high < 0.2


def test_few_changes_tell_no_downtime():
    world, result = one_plan(Truth())
    found = fit_downtime([Part(world, result)])
    assert not found.determined
    assert found.note == "0 changes of the partition; 3 are needed"


def test_tables_hold_every_visit_and_message_of_a_request():
    world, result = measured(Truth(), 1)
    visits, sent = stage_visits(world, result), messages(world, result)
    entry = result.decisions[0]
    first = int(result.requests.request[result.requests.epoch == entry["epoch"]][0])
    route = route_of(world.problem, Partition.from_json(entry["partition"]))
    own, ways = visits.where(visits.request == first), sent.where(sent.request == first)
    assert own.device.tolist() == [stage[0] for stage in route.stages]
    assert own.layers_s == pytest.approx([stage[2] for stage in route.stages])
    assert sorted(ways.size_bytes.tolist()) == sorted(size for _, size in route.messages)
    latency_s = result.spans.where(result.spans.request == first)
    spent_s = float((latency_s.end_s - latency_s.start_s)[latency_s.kind != Kind.QUEUE].sum())
    assert float(own.time_s.sum() + ways.one_way_s.sum()) == pytest.approx(spent_s)


def test_several_replications_are_split_whole_and_one_in_time():
    world = believed_world(0)
    policy = Fixed(Partition.from_cuts((1, 3), 4))
    several = simulated(world, policy, replications=3)
    fitted, held_out = split(world, [several], 0.5)
    assert (fitted[0].replications, held_out[0].replications) == ((0, 1), (2,))
    assert fitted[0].window == held_out[0].window == EVERYTHING
    one = simulated(world, policy)
    (early,), (late,) = split(world, [one], 0.25)
    arrival_s = one.requests.arrival_s
    assert early.counted(arrival_s).sum() == int(0.25 * len(arrival_s))
    assert np.all(early.counted(arrival_s) ^ late.counted(arrival_s))
    assert len(early.stages.time_s) + len(late.stages.time_s) == len(stage_visits(world, one).time_s)
    assert split(world, [one], 1.0)[1] == []


@pytest.mark.parametrize("share", [0.0, -1.0, 1.5])
def test_a_split_is_a_share(share):
    with pytest.raises(CalibrationError, match="--split"):
        split(believed_world(0), [], share)
