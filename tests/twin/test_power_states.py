"""Power states from readings: known states are found again, and what cannot be told is not given a figure."""

from dataclasses import replace

import numpy as np
import pytest
from readings import Meter, with_meters
from results import make_requests, make_run, make_spans
from worlds import DEVICES, LAYER_TIME_S, LINKS, make_problem, make_workload, make_world

from twin.engine.choose import choose_engine
from twin.metering.activity import Activity
from twin.metering.fit import STATES, fit_device
from twin.playing import Play, play_all
from twin.policies import POLICIES
from twin.records import Kind
from twin.topology import Continuum, Device, PowerStates
from twin.traces import LinkTrace

PI = 0
TRUTH = PowerStates(2.7, 9.0, 3.9, 3.4)
TRUTH_W = np.array([TRUTH.idle_w, TRUTH.compute_w, TRUTH.transmit_w, TRUTH.receive_w])
UP0, DOWN0 = 3, 4


def slow_world(**changes):
    """A pi with the power states of `TRUTH` that computes, sends and receives for some tenths of a second each."""
    continuum = Continuum((Device("pi", "edge", TRUTH), *DEVICES[1:]), LINKS)
    values = {
        "problem": make_problem(continuum=continuum, layer_time_s=30 * LAYER_TIME_S),
        "links": (LinkTrace.constant(2e6, 0.004, down_bps=1e5), LinkTrace.constant(100e6, 0.002)),
        "workload": make_workload(kind="poisson", clients=0, rate_rps=0.5, requests=None, duration_s=600.0),
    }
    return make_world(**{**values, **changes})


def played(world, meter, replications=1):
    """The static policy of a world, played in the twin and read by a meter at the pi."""
    spec = world.policies[0]
    policy = POLICIES[spec.kind](**spec.options)
    plays = [Play(policy, spec.label, replication) for replication in range(replications)]
    results = play_all(world, plays, choose_engine(world, "auto"), lambda play: None)
    return [with_meters(world, result, {PI: meter}) for result in results]


def by_hand(world, rows, meter=None, idle_s=30.0):
    """Spans by hand, read by a meter at the pi."""
    end_s = max(row[5] for row in rows)
    requests = make_requests([0.0], [end_s], [0])
    return [with_meters(world, make_run(world, requests, make_spans(rows)), {PI: meter or Meter()}, idle_s)]


def fitted(world, runs):
    return fit_device(world.problem.continuum, runs, PI)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_known_states_are_found_within_three_percent(seed):
    world = slow_world(seed=seed)
    found = fitted(world, played(world, Meter(noise_w=0.05, power_step_w=0.001)))
    for state, power_w in zip(STATES, TRUTH_W, strict=True):
        assert found.states[state].power_w == pytest.approx(power_w, rel=0.03), state
    assert found.power() == {f"{name}_w": found.states[name].power_w for name in STATES}
    assert found.stretch.length_s == pytest.approx(0.5, rel=0.05)


def test_replications_together_tell_more():
    world = slow_world()
    runs = played(world, Meter(noise_w=0.05), replications=3)
    one, three = fitted(world, runs[:1]), fitted(world, runs)
    for state, power_w in zip(STATES, TRUTH_W, strict=True):
        assert three.states[state].power_w == pytest.approx(power_w, rel=0.02)
    widths = [x.states["compute"].high_w - x.states["compute"].low_w for x in (one, three)]
    assert widths[1] < widths[0]


def test_a_meter_that_samples_points_is_recognised():
    world = slow_world()
    found = fitted(world, played(world, Meter(averages=False), replications=2))
    assert found.stretch.length_s < 0.5
    for state, power_w in zip(STATES, TRUTH_W, strict=True):
        fit = found.states[state]
        assert fit.power_w is None or fit.power_w == pytest.approx(power_w, rel=0.05)
    assert found.states["idle"].power_w is not None


def test_intervals_hold_the_truth_more_often_than_not():
    world = slow_world(workload=make_workload(kind="poisson", clients=0, rate_rps=0.5, requests=None, duration_s=300.0))
    runs = played(world, Meter(noise_w=0.05), replications=12)
    inside = []
    for run in runs:
        states = fitted(world, [run]).states
        inside += [
            states[name].low_w <= power_w <= states[name].high_w
            for name, power_w in zip(STATES, TRUTH_W, strict=True)
            if states[name].power_w is not None
        ]
    assert len(inside) >= 24
    assert np.mean(inside) >= 0.85


def test_activities_that_always_come_together_cannot_be_told_apart():
    rows = [
        row
        for k in range(100)
        for row in (
            (k, 0, Kind.COMPUTE, PI, 3.07 * k, 3.07 * k + 1.3, 0),
            (k, 0, Kind.TRANSMIT, UP0, 3.07 * k, 3.07 * k + 1.3, 100),
        )
    ]
    world = slow_world()
    found = fitted(world, by_hand(world, rows))
    assert found.states["idle"].power_w == pytest.approx(TRUTH.idle_w, rel=0.01)
    for state, other in (("compute", "transmit"), ("transmit", "compute")):
        assert found.states[state].power_w is None
        assert f"cannot be told from {other}" in found.states[state].reason
    assert found.states["receive"].reason.startswith("hardly ever busy: 0 s of")
    assert found.power() is None


def test_hardly_ever_busy():
    rows = [(k, 0, Kind.COMPUTE, PI, 3.07 * k, 3.07 * k + 1.3, 0) for k in range(100)]
    rows += [(0, 0, Kind.TRANSMIT, UP0, 2.0, 2.9, 100)]
    world = slow_world()
    found = fitted(world, by_hand(world, rows))
    assert found.states["compute"].power_w == pytest.approx(TRUTH.compute_w, rel=0.01)
    assert found.states["transmit"].reason.startswith("hardly ever busy: 0.9")
    assert set(found.power()) == {"idle_w", "compute_w"}


def test_a_device_that_never_rests_does_not_tell_idle_power():
    rows = [(0, 0, Kind.COMPUTE, PI, 0.0, 300.0, 0)]
    world = slow_world()
    (run,) = by_hand(world, rows)
    within = (run.meters.t_s > 1.0) & (run.meters.t_s < 299.0)
    busy = replace(run, meters=run.meters.where(within))
    found = fitted(world, [busy])
    assert "add idle time before and after" in found.states["idle"].reason
    assert "never changes" in found.states["compute"].reason
    rested = fitted(world, [run])
    assert rested.states["compute"].power_w == pytest.approx(TRUTH.compute_w, rel=0.01)
    assert rested.states["idle"].power_w == pytest.approx(TRUTH.idle_w, rel=0.01)


def test_a_counter_alone_will_do():
    world = slow_world()
    (run,) = played(world, Meter(refresh_s=0.02, counter_step_j=1e-4, poll_every_s=0.5))
    counted = replace(run, meters=replace(run.meters, power_w=np.full(len(run.meters), np.nan)))
    found = fitted(world, [counted])
    assert found.stretch.length_s is None
    for state, power_w in zip(STATES[:2], TRUTH_W, strict=False):
        assert found.states[state].power_w == pytest.approx(power_w, rel=0.02)


def test_without_a_meter_there_is_nothing_to_fit():
    world = slow_world()
    (run,) = played(world, Meter())
    assert fit_device(world.problem.continuum, [run], 1) is None


def test_the_same_data_give_the_same_fit():
    world = slow_world()
    runs = played(world, Meter(noise_w=0.05))
    assert fitted(world, runs).to_json() == fitted(world, runs).to_json()


def test_shares_of_a_device_by_hand():
    rows = [
        (0, 0, Kind.COMPUTE, PI, 0.0, 2.0, 0),
        (1, 0, Kind.COMPUTE, PI, 1.0, 2.0, 0),
        (0, 0, Kind.TRANSMIT, UP0, 2.0, 3.0, 9),
        (0, 0, Kind.PROPAGATE, UP0, 3.0, 3.5, 0),
        (0, 0, Kind.TRANSMIT, DOWN0, 4.0, 4.5, 9),
    ]
    activity = Activity.of(Continuum(DEVICES, LINKS), make_spans(rows), PI)
    shares = activity.shares(np.array([0.0, 1.0, 2.5, 9.0]), np.array([2.0, 2.0, 4.5, 10.0]))
    np.testing.assert_allclose(shares, [[1.5, 0, 0], [2.0, 0, 0], [0, 0.25, 0.25], [0, 0, 0]])
