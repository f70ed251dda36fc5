"""Testbed files and agent files: what they become, and what a wrong one is answered with."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from mistakes import cases
from zmq.auth import create_certificates

from hardware.agent_file import BIND, AgentConfig, read_agent
from hardware.inventory import Inventory, Machine, RemoteWeights, read_inventory
from hardware.models import MODELS
from hardware.node.weights import WeightsFile
from hardware.transport.parcel import Limits
from twin.errors import MachineError, ScenarioError
from twin.scenario import read_scenario

PROJECT = Path(__file__).parents[2]

TESTBED = """\
# Three machines.
schema: 1
coordinator: {secret_key: keys/coordinator.key_secret}
detect_s: 1.5
machines:
  - name: pi
    address: tcp://192.168.1.20:5600
    meter: tc66c:///dev/ttyACM0
    meter_at: pc
    weights:
      alexnet: {file: a.pth, sha256: SHA}
  - {name: laptop, address: "tcp://laptop.local:5600", emulate: factor, factor: 2}
  - {name: pc, address: "tcp://[fe80::1]:5600", accelerator: cuda, torch_threads: 8}
links:
  - {between: [laptop, pc], dial: {pc: "tcp://10.0.0.2:5600"}}
""".replace("SHA", "A" * 64)

AGENT = """\
schema: 1
name: pi
secret_key: pi.key_secret
allowed_keys: keys
models: [alexnet, vgg16]
torch_threads: 4
meters: ["tc66c:///dev/ttyACM0"]
limits: {tensor_bytes: 1000, message_bytes: 2000, stage_cache_bytes: 3000}
"""


def written(folder: Path, text: str, *edits: tuple[str, str]) -> Path:
    for old, new in edits:
        assert text.count(old) >= 1, old
        text = text.replace(old, new, 1)
    path = folder / "file.yaml"
    path.write_text(text)
    return path


def test_a_testbed_file_becomes_machines(tmp_path):
    bed = read_inventory(written(tmp_path, TESTBED))
    assert bed.curve
    assert bed.secret_key == tmp_path / "keys/coordinator.key_secret"
    assert bed.detect_s == 1.5
    assert bed.machines == (
        Machine(
            "pi",
            "tcp://192.168.1.20:5600",
            meter="tc66c:///dev/ttyACM0",
            meter_at="pc",
            weights={"alexnet": RemoteWeights("a.pth", "a" * 64)},
        ),
        Machine("laptop", "tcp://laptop.local:5600", meter_at="laptop", emulate="factor", factor=2.0),
        Machine("pc", "tcp://[fe80::1]:5600", meter_at="pc", accelerator="cuda", torch_threads=8),
    )


def test_a_machine_is_reached_where_the_link_says_and_else_at_its_address(tmp_path):
    bed = read_inventory(written(tmp_path, TESTBED))
    assert bed.address("laptop", "pc") == "tcp://10.0.0.2:5600"
    assert bed.address("pi", "pc") == "tcp://[fe80::1]:5600"
    assert bed.address("pc", "laptop") == "tcp://laptop.local:5600"


def test_machines_come_in_the_order_of_the_devices(tmp_path):
    bed = read_inventory(written(tmp_path, TESTBED))
    assert [machine.name for machine in bed.in_order(["pc", "pi"])] == ["pc", "pi"]
    with pytest.raises(MachineError, match=r"file\.yaml: has no machine `lapto`; did you mean `laptop`\?"):
        bed.in_order(["pi", "lapto"])


def test_keys_come_from_a_file_from_text_or_from_beside_the_coordinators(tmp_path):
    keys = tmp_path / "keys"
    keys.mkdir()
    for name in ("laptop", "pi"):
        create_certificates(keys, name)
    (tmp_path / "other.key").write_bytes((keys / "laptop.key").read_bytes())
    as_text = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
    bed = read_inventory(
        written(
            tmp_path,
            TESTBED,
            ("emulate: factor, factor: 2", "public_key: other.key"),
            ("accelerator: cuda", f'public_key: "{as_text}"'),
        )
    )
    public = {line.split('"')[1] for name in ("laptop", "pi") for line in text_of(keys / f"{name}.key")}
    assert {bed.public_key("laptop").decode(), bed.public_key("pi").decode()} == public
    assert bed.public_key("laptop") != bed.public_key("pi")
    assert bed.public_key("pc") == as_text.encode()


def text_of(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line.strip().startswith("public-key")]


@pytest.mark.parametrize("content", [None, "nothing", 'curve\n    public-key = "short"\n'])
def test_a_missing_or_broken_key_says_how_to_make_one(tmp_path, content):
    (tmp_path / "keys").mkdir()
    if content is not None:
        (tmp_path / "keys" / "pi.key").write_text(content)
    with pytest.raises(MachineError, match=r"pi\.key: .*`python -m hardware\.keys NAME --out DIR`"):
        read_inventory(written(tmp_path, TESTBED)).public_key("pi")


def test_without_curve_there_are_no_keys(tmp_path):
    line = "coordinator: {secret_key: keys/coordinator.key_secret}"
    bed = read_inventory(written(tmp_path, TESTBED, (line, "curve: off")))
    assert not bed.curve
    with pytest.raises(MachineError, match="`curve` is off"):
        bed.public_key("pi")


MISTAKES = r"""
torch_threads => torch_thread
    13: machines.2.torch_thread: unknown key; did you mean `torch_threads`?
machines: => machine:
    5: machine: unknown key; did you mean `machines`?
tcp://192.168.1.20:5600 => 192.168.1.20:5600
    7: machines.0.address: is `192.168.1.20:5600`; it must be an address such as tcp://192.168.1.20:5600
tcp://192.168.1.20:5600 => tcp://192.168.1.20:99999
    7: machines.0.address: is `tcp://192.168.1.20:99999`; it must be an address such as tcp://192.168.1.20:5600
tcp://192.168.1.20 => tcp://*
    7: machines.0.address: is `tcp://*:5600`; `*` stands for no machine; give its name or number
sha256: A => sha256: x
    11: machines.0.weights.alexnet.sha256: is `xAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA...; it must
    be 64 hexadecimal digits, as `sha256sum FILE` prints them
alexnet: => alexnt:
    11: machines.0.weights.alexnt: no model is called so; did you mean `alexnet`?
meter_at: pc => meter_at: pcc
    9: machines.0.meter_at: there is no machine `pcc`; did you mean `pc`?
meter: tc66c:///dev/ttyACM0\n => torch_threads: 4\n
    9: machines.0.meter_at: there is no `meter` to read; add one or remove this key
, factor: 2 => (nothing)
    12: machines.1.emulate: `factor` is missing; say how many times as long a stage takes
emulate: factor, => (nothing)
    12: machines.1.factor: goes with `emulate: factor` only; remove it or add that
emulate: factor => emulate: fast
    12: machines.1.emulate: is `fast`; it must be 'factor', 'profile' or 'sleep'
factor: 2 => factor: 0.5
    12: machines.1.factor: is 0.5; it must be >= 1
name: pc => name: pi
    13: machines.2.name: `pi` is also the name of machines.0; give it its own
tcp://laptop.local:5600 => tcp://192.168.1.20:5600
    12: machines.1.address: machines.0 has the same address; each agent needs a port of its own
coordinator: {secret_key: keys/coordinator.key_secret}\n => (nothing)
    2: coordinator: is missing; `curve: on` needs {secret_key: FILE}, made by `python -m hardware.keys`
[laptop, pc] => [laptop, tv]
    15: links.0.between.1: there is no machine `tv`; choose from `pi`, `laptop`, `pc`
dial: {pc: => dial: {tv:
    15: links.0.dial.tv: is no end of this link; choose from `laptop`, `pc`
[laptop, pc] => [pc, pc]
    15: links.0.between: names one machine twice; a link joins two
detect_s: 1.5 => detect_s: 0
    4: detect_s: is 0; it must be > 0
schema: 1 => schema: 2
    2: schema: is 2; it must be 1
"""

AGENT_MISTAKES = r"""
vgg16 => vgg61
    5: models.1: no model is called `vgg61`; did you mean `vgg16`?
secret_key: pi.key_secret\n => (nothing)
    1: secret_key: is missing; `curve: on` needs it: make one with `python -m hardware.keys`
allowed_keys: keys\n => (nothing)
    1: allowed_keys: is missing; `curve: on` needs it: name the folder with the public keys of the other machines
message_bytes: 2000 => message_bytes: 20
    8: limits.message_bytes: is less than `tensor_bytes`, 1000; a message must hold at least one tensor
tensor_bytes => tensor_byte
    8: limits.tensor_byte: unknown key; did you mean `tensor_bytes`?
name: pi => name: pi\nbind: 5600
    3: bind: is 5600; it must be text; put it in quotes
torch_threads: 4 => torch_threads: 0
    6: torch_threads: is 0; it must be >= 1
"""


def complaint(reading, path: Path) -> str:
    with pytest.raises(ScenarioError) as caught:
        reading(path)
    return str(caught.value).replace(f"{path}:", "")


@pytest.mark.parametrize(("old", "new", "message"), cases(MISTAKES))
def test_a_mistake_in_a_testbed_file_is_told_with_line_place_and_remedy(tmp_path, old, new, message):
    message_lines = complaint(read_inventory, written(tmp_path, TESTBED, (old, new))).splitlines()
    assert message in message_lines
    # What follows from the first mistake may be said too.
    assert len(message_lines) <= 3


def test_links_that_are_given_twice_are_refused(tmp_path):
    again = '  - {between: [pc, laptop], dial: {laptop: "tcp://10.0.0.1:5600"}}\n'
    message = complaint(read_inventory, written(tmp_path, TESTBED + again))
    assert message == "16: links.1.between: links.0 joins the same machines; put both together"


@pytest.mark.parametrize("reading", [read_inventory, read_agent])
def test_an_empty_file_says_where_to_look(tmp_path, reading):
    message = complaint(reading, written(tmp_path, ""))
    assert message.endswith("is empty; docs/testbed.md shows what it holds")


def test_an_agent_file_becomes_a_configuration(tmp_path):
    path = written(tmp_path, AGENT)
    assert read_agent(path) == AgentConfig(
        path=path,
        name="pi",
        bind=BIND,
        secret_key=tmp_path / "pi.key_secret",
        allowed_keys=tmp_path / "keys",
        models=("alexnet", "vgg16"),
        weights=tmp_path / "weights",
        torch_threads=4,
        accelerator="cpu",
        meters=("tc66c:///dev/ttyACM0",),
        limits=Limits(tensor_bytes=1000, message_bytes=2000),
        stage_cache_bytes=3000,
    )


def test_what_an_agent_file_leaves_out(tmp_path):
    config = read_agent(written(tmp_path, "schema: 1\nname: pi\ncurve: off\n"))
    assert config.models == tuple(MODELS)
    assert config.limits == Limits()
    assert (config.secret_key, config.allowed_keys, config.meters) == (None, None, ())


@pytest.mark.parametrize(("old", "new", "message"), cases(AGENT_MISTAKES))
def test_a_mistake_in_an_agent_file_is_told_with_line_place_and_remedy(tmp_path, old, new, message):
    assert complaint(read_agent, written(tmp_path, AGENT, (old, new))) == message


def test_an_agent_refuses_what_its_owner_did_not_allow(tmp_path):
    config = read_agent(written(tmp_path, AGENT))
    config.check_model("vgg16")
    config.check_meter("tc66c:///dev/ttyACM0")
    with pytest.raises(MachineError, match="pi does not build `resnet50`; add it to `models`"):
        config.check_model("resnet50")
    with pytest.raises(MachineError, match="pi does not open the meter rapl://; add it to `meters`"):
        config.check_meter("rapl://")


def test_weights_are_read_in_their_folder_only(tmp_path):
    config = read_agent(written(tmp_path, AGENT))
    wanted = RemoteWeights("vgg/v.pth", "0" * 64)
    assert config.weights_file(wanted) == WeightsFile(tmp_path.resolve() / "weights/vgg/v.pth", "0" * 64)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "way-out").symlink_to(tmp_path)
    for outside in ("../v.pth", "/etc/passwd", "a/../../v.pth", "way-out/v.pth"):
        with pytest.raises(MachineError, match=r"reads weights in .* only"):
            config.weights_file(RemoteWeights(outside, "0" * 64))


def test_the_committed_testbeds_fit_the_quickstart():
    scenario = read_scenario(PROJECT / "scenarios" / "quickstart.yaml").scenario
    devices = [device.name for device in scenario.devices]
    three = read_inventory(PROJECT / "scenarios/testbeds/pi-laptop-pc.yaml")
    assert [machine.name for machine in three.in_order(devices)] == ["pi", "laptop", "pc"]
    assert three.address("pc", "laptop") != three.machine("laptop").address
    local = read_inventory(PROJECT / "scenarios/testbeds/local.yaml")
    assert isinstance(local, Inventory)
    agents = [read_agent(PROJECT / f"scenarios/testbeds/local-agents/{name}.yaml") for name in devices]
    assert [(agent.name, agent.bind) for agent in agents] == [(x.name, x.address) for x in local.in_order(devices)]
    assert local.curve == any(agent.secret_key for agent in agents)


def test_reading_files_needs_neither_torch_nor_sockets():
    code = (
        "import sys, hardware.inventory, hardware.agent_file; sys.exit('torch' in sys.modules or 'zmq' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_agent_file_of_the_guide_can_be_read(tmp_path):
    guide = (PROJECT / "docs" / "testbed.md").read_text()
    block = textwrap.dedent(guide.split("```yaml\n")[1].split("```")[0])
    config = read_agent(written(tmp_path, block))
    assert (config.name, config.models) == ("pi", ("mobilenet_v2", "alexnet"))
    assert config.limits.tensor_bytes == 16_000_000
