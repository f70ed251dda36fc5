"""Mistakes in a scenario file are told with the file, the line, the place and the remedy, never as a traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mistakes import POISSON, REMEDY, cases, complaint, edited
from worlds import tiny_project

from twin.scenario import load_world

PROJECT = Path(__file__).parents[2]

MISTAKES = r"""
profile: pi => profil: pi
    8: devices.0.profil: unknown key; did you mean `profile`?
margin: => margn:
    29: policies.adaptive.margn: unknown key; did you mean `margin`?
idle_w: 3.0 => idle: 3.0
    9: devices.0.power.idle: unknown key; did you mean `idle_w`?
rate_rps: 2.0 => rate_rps: .nan
    24: workload.rate_rps: is nan; it must be a finite number
rate_rps: 2.0 => rate_rps: 1e400
    24: workload.rate_rps: is inf; it must be a finite number
rate_rps: 2.0 => rate_rps: -2
    24: workload.rate_rps: is -2; it must be > 0
rate_rps: 2.0 => rate_rps: fast
    24: workload.rate_rps: is `fast`; it must be a number
rate_rps: 2.0 => rate_rps: true
    24: workload.rate_rps: is true; it must be a number
replications: 2 => replications: 2.5
    31: replications: is 2.5; it must be a whole number
model: tiny => model: 5
    4: model: is 5; it must be text; put it in quotes
model: tiny => model:
    4: model: is empty; it must be text
schema: 1 => schema: 2
    2: schema: is 2; it must be 1
schema: 1\n => (nothing)
    2: schema: is missing; add it (Version of this form, 1)
margin: 0.03 => margin: wide
    29: policies.adaptive.margin: is `wide`; it must be a number
margin: 0.03 => margin: .inf
    29: policies.adaptive.margin: is inf; it must be a finite number
kind: adaptive => kind: adaptve
    29: policies.adaptive.kind: there is no policy `adaptve`; did you mean `adaptive`?
, device: pi} => }
    30: policies.pi-only.device: is missing; `kind: device-only` needs it
device: pi} => device: pie}
    30: policies.pi-only: there is no device `pie`; the devices are pi, laptop, pc
split: thirds => after: [conv1, conv9]
    28: policies.static: tiny has no layer `conv9`: did you mean `conv3`?
[pi, laptop] => [laptop, pi]
    19: links.0.between: must name the device nearer to the edge first; write [pi, laptop]
[pi, laptop] => [pi, laptap]
    19: links.0.between.1: there is no device `laptap`; did you mean `laptop`?
[pi, laptop] => [pi]
    19: links.0.between.1: is missing; add it
[pi, laptop] => [laptop, pc]
    22: links.1.between: links.0 joins the same devices; remove one of them
trace: walk => rate_bps: -5
    20: links.0.rate_bps: is -5; it must be > 0
trace: walk => rate_bps: 1e6
    19: links.0.rtt_s: is missing; give the round-trip time beside the constant rate, such as 0.002
trace: walk => duplex: half
    19: links.0: does not say how fast the link is; give `trace`, or `rate_bps` and `rtt_s`, or `up_bps`,
    `down_bps` and `rtt_s`
trace: walk => trace: walk\n  rtt_s: 1
    20: links.0.trace: PROJECT/data/traces/walk.csv holds the round-trip time itself; remove `rtt_s`
trace: walk => trace: walk\n  up_bps: 1
    21: links.0.up_bps: the link already has a `trace`; give either the trace or constant rates
after_end: loop => start_s: 99
    20: links.0.trace: `start_s` is 99, but PROJECT/data/traces/walk.csv up_bps ends at 20 s; start earlier
trace: walk => trace: traces/x.csv
    20: links.0.trace: there is no file PROJECT/scenarios/traces/x.csv; paths start at the folder of the
    scenario
name: laptop => name: a.b
    10: devices.1.name: is `a.b`; it may hold only letters, digits, `-` and `_`, and must start with a letter
name: tiny => name: a/b
    3: name: is `a/b`; it may hold only letters, digits, `-`, `_`, `.` and `+`, and must start with a letter
    or digit
compute_w: 12.0 => compute_w: 2.0
    9: devices.0.power.compute_w: is 2, less than idle_w (3); give the whole power while computing
tier: edge => tier: edge\n  load: 0
    8: devices.0.load: is 0; it must be a factor > 0 or the name of a load trace
tier: edge => tier: edge\n  load: [1]
    8: devices.0.load: is [1]; it must be a factor > 0 or the name of a load trace
tier: edge => tier: edge\n  tier: fog
    8: devices.0.tier: the key is given twice, first on line 7; remove one of them
{latency: 1.0} => {latency: 0}
    25: objective: the weights `latency` and `energy` are both 0; give at least one of them
{every_s: 1.0} => {every_s: 1.0, every_requests: 5}
    26: control.every_requests: give either `every_s` or `every_requests`, not both
warm_up_s: 2.0 => warm_up_s: 25
    24: workload.warm_up_s: is 25; it must be less than duration_s (20), or nothing is counted
warm_up_s: 2.0 => warm_up_s: 2.0, warm_up_requests: 3
    24: workload.warm_up_requests: give either `warm_up_s` or `warm_up_requests`, not both
duration_s: 20.0,  => (nothing)
    24: workload: never ends; give `requests` or `duration_s`
(poisson) => kind: closed, requests: 5
    24: workload.clients: is missing; `kind: closed` needs it, such as `clients: 1`
(poisson) => kind: closed, clients: 0, requests: 5
    24: workload.clients: is 0; it must be >= 1
(poisson) => kind: replay, file: none.txt
    24: workload.file: there is no file PROJECT/scenarios/none.txt; choose from `tiny.yaml`
seed: 1 => seed: 1\nfiles: {data/models/tiny.json: abc}
    33: files.data/models/tiny.json: the file has changed since the scenario was resolved; remove `files` to
    accept it
seed: 1 => pinned: {conv7: pc}
    32: pinned.conv7: tiny has no layer `conv7`: did you mean `conv3`?
seed: 1 => pinned: {conv1: px}
    32: pinned.conv1: there is no device `px`; choose from `pi`, `laptop`, `pc`
seed: 1 => switch: {weights_from: px}
    32: switch.weights_from: there is no device `px`; choose from `pi`, `laptop`, `pc`
seed: 1 => seed: !!python/object:os.system 1
    32: seed: the tag `tag:yaml.org,2002:python/object:os.system` is not supported; remove it
seed: 1 => seed: [1
    33: is not YAML: expected ',' or ']', but got '<stream end>' (while parsing a flow sequence)
"""


@pytest.mark.parametrize(("old", "new", "message"), cases(MISTAKES))
def test_one_mistake(tmp_path, old, new, message):
    assert complaint(edited(tmp_path, (old, new))) == f"tiny.yaml:{message}"


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("kind: link_down, link: [pi, pc]", "link: no link joins [pi, pc]; choose [pi, laptop] or [laptop, pc]"),
        ("kind: link_down, device: pi, link: [pi, laptop]", "device: does not go with `kind: link_down`; remove it"),
        ("kind: device_down", "device: is missing; `kind: device_down` needs it"),
        ("kind: device_down, device: pcc", "device: there is no device `pcc`; did you mean `pc`?"),
        ("kind: device_slow, device: pc", "slowdown: is missing; `kind: device_slow` needs it"),
        ("kind: device_down, device: pc, end_s: 1", "end_s: is 1; it must be later than start_s (3)"),
    ],
)
def test_faults(tmp_path, fault, message):
    times = "start_s: 3" if "end_s" in fault else "start_s: 3, end_s: 9"
    path = edited(tmp_path, ("seed: 1", f"faults:\n- {{{fault}, {times}}}"))
    assert complaint(path) == f"tiny.yaml:33: faults.0.{message}"


def test_faults_that_overlap(tmp_path):
    faults = [
        {"kind": "device_down", "device": "pc", "start_s": start_s, "end_s": start_s + 5} for start_s in (0, 5, 9)
    ]
    path = tiny_project(tmp_path, faults=faults)
    assert complaint(path).endswith(": faults.2: overlaps with faults.1 on the same target; make them one")


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(tmp_path):
    path = edited(tmp_path, ("seed: 1", "seed: -1"), ("tier: edge", "teir: edge"), ("kind: poisson", "kind: poison"))
    assert complaint(path).splitlines() == [
        "tiny.yaml:7: devices.0.teir: unknown key; did you mean `tier`?",
        "tiny.yaml:24: workload.kind: is `poison`; it must be 'closed', 'periodic', 'poisson' or 'replay'",
        "tiny.yaml:32: seed: is -1; it must be >= 0",
    ]


def test_a_key_of_another_kind_of_workload(tmp_path):
    path = edited(tmp_path, ("kind: poisson", "kind: closed, clients: 2"))
    assert complaint(path) == f"tiny.yaml:24: workload.rate_rps: {REMEDY}"


def test_a_closed_loop_whose_clients_would_spin(tmp_path):
    path = edited(
        tmp_path, (POISSON, "kind: closed, clients: 3, requests: 5"), ("tier: fog", "tier: fog\n  queue_limit: 2")
    )
    assert complaint(path) == (
        "tiny.yaml:12: devices.1.queue_limit: is 2, less than the 3 clients of the closed loop, which would ask again "
        "at once when dropped; raise it or remove it"
    )
    assert load_world(path, ["devices.laptop.queue_limit=3"]).problem.continuum.devices[1].queue_limit == 3


def test_energy_without_power(tmp_path):
    path = edited(tmp_path, ("  power: {idle_w: 4.0, compute_w: 15.0, transmit_w: 4.0, receive_w: 4.0}\n", ""))
    assert load_world(path).problem.objective.energy == 0
    message = "objective.energy: is 0.5, but the power of `laptop` is not known; give its `power` or weigh it 0"
    assert complaint(path, ["objective.energy=0.5"]) == f"tiny.yaml: --set objective.energy=0.5: {message}"


def test_a_name_that_is_used_twice(tmp_path):
    path = edited(tmp_path, ("name: laptop", "name: pi"))
    assert complaint(path).splitlines()[0] == (
        "tiny.yaml:10: devices.1.name: `pi` is also the name of devices.0; give it its own"
    )


def test_a_device_that_no_link_reaches(tmp_path):
    text = tiny_project(tmp_path).read_text()
    path = edited(tmp_path / "again", (text[text.index("- between: [laptop, pc]") : text.index("workload:")], ""))
    assert complaint(path) == "tiny.yaml:14: devices.2: no link leads to `pc`; add one to `links`"


def run_command(*arguments: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "twin.scenario", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, check=False)


def test_the_command_says_one_message_and_leaves_with_status_2(tmp_path):
    path = edited(tmp_path, ("profile: pi", "profil: pi"))
    result = run_command(path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == f"error: {path}:8: devices.0.profil: unknown key; did you mean `profile`?\n"
