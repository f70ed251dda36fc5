"""`--set` changes a place, and is named where it is at fault."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mistakes import REMEDY, cases, complaint
from worlds import tiny_project

from twin.scenario import load_world, read_scenario

OVERRIDES = r"""
devices.pi.load=-1
    devices.0.load: is -1; it must be a factor > 0 or the name of a load trace
devices.9.load=2
    devices.9: there is no such entry; choose from `pi`, `laptop`, `pc`, `0`, `1`, `2`
devices.pie.load=2
    devices.pie: there is no such entry; did you mean `pi`?
devices.pi.lod=2
    devices.0.lod: unknown key; did you mean `load`?
devices=5
    devices: is 5; it must be a list
polices.x=1
    polices: unknown key; did you mean `policies`?
policies.adaptive.margn=1
    policies.adaptive.margn: unknown key; did you mean `margin`?
policies.adptive.margin=1
    policies.adptive: there is no such policy; did you mean `adaptive`?
links.pi-laptop.rate_bps=1
    links.0.rate_bps: the link already has a `trace`; give either the trace or constant rates
links.pi-laptop.trace=null
    links.0: does not say how fast the link is; give `trace`, or `rate_bps` and `rtt_s`, or `up_bps`,
    `down_bps` and `rtt_s`
links.pi-laptop.rtt_s=1
    links.0.trace: PROJECT/data/traces/walk.csv holds the round-trip time itself; remove `rtt_s`
workload.warm_up_s=99
    workload.warm_up_s: is 99; it must be less than duration_s (20), or nothing is counted
seed.x=1
    seed is 1, so that `x` leads nowhere
seed=
    seed: is empty; it must be a whole number
seed=[
    is not YAML: expected the node content, but found '<stream end>' (while parsing a flow node)
seed
    must have the form PATH=VALUE, such as `devices.0.load=2`
=1
    must have the form PATH=VALUE, such as `devices.0.load=2`
pinned.features.0=pi
    pinned.features.0: tiny has no layer `features.0`: its first layer is `conv1`
"""


@pytest.mark.parametrize(("override", "message"), cases(OVERRIDES))
def test_bad_overrides_name_the_override(tmp_path, override, message):
    assert complaint(tiny_project(tmp_path), [override]) == f"tiny.yaml: --set {override}: {message}"


def test_an_override_can_be_at_fault_for_what_the_file_says(tmp_path):
    source = "tiny.yaml: --set workload.kind=closed: workload"
    assert complaint(tiny_project(tmp_path), ["workload.kind=closed"]).splitlines() == [
        f"{source}.rate_rps: {REMEDY}",
        f"{source}.clients: is missing; `kind: closed` needs it, such as `clients: 1`",
    ]


@given(value=st.floats(1e-3, 1e3) | st.integers(1, 1000))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
def test_overrides_round_trip(tmp_path, value):
    path = tmp_path / "scenarios" / "tiny.yaml"
    if not path.exists():
        tiny_project(tmp_path)
    by_name = read_scenario(path, [f"devices.laptop.load={value}"]).scenario
    by_position = read_scenario(path, [f"devices.1.load={value!r}"]).scenario
    assert by_name.devices[1].load == by_position.devices[1].load == value


def test_overrides_reach_every_kind_of_place(tmp_path):
    overrides = [
        "links.laptop-pc={between: [laptop, pc], rate_bps: 1e6, rtt_s: 0}",
        "policies.static.split=best",
        "policies.new={kind: device-only, device: pc}",
        "pinned.conv1=pi",
        "switch.downtime_s=0.5",
        "seed=7",
        "seed=8",
    ]
    world = load_world(tiny_project(tmp_path), overrides)
    assert world.problem.initial.rate_bps[1].tolist() == [1e6, 1e6]
    assert world.policies[0].options["split"] == "best"
    assert world.policies[3].label == "new"
    assert (world.problem.pinned, world.problem.switch.downtime_s, world.seed) == ({0: 0}, 0.5, 8)
