"""`python -m hardware.profile --testbed`: what is asked of the machines, and one real agent that does it."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from test_probe_command import agents, free_port, testbed_text

from hardware import profile
from hardware.agent_file import read_agent
from hardware.coordinator import profiling
from hardware.coordinator.profiling import Wish, profile_machines
from hardware.coordinator.remote import Reply
from hardware.inventory import read_inventory
from hardware.node.chores import Profiling
from hardware.profile import Settings, main
from twin.cli import guarded
from twin.errors import MachineError, TransportError
from twin.profiles import load_profile

SETTINGS = Settings("testbed", 1, 30, 2)
WISH = Wish(("alexnet",), None, None, SETTINGS)


def run(*arguments: object) -> int:
    return guarded(lambda: main([str(argument) for argument in arguments]))


class FakeTalk:
    """An agent that profiles in three questions."""

    def __init__(self, name: str, agent: FakeAgent) -> None:
        self.name, self._agent = name, agent

    def ask(self, do, blobs=(), timeout_s=10.0, **content) -> Reply:
        self._agent.asked.append((self.name, do, content))
        if do == "hello":
            return Reply(
                {
                    "name": self._agent.called.get(self.name, self.name),
                    "models": ["alexnet", "vgg16"],
                    "load_average": 0.25,
                },
                [],
            )
        if do == "status":
            if self._agent.breaks:
                self._agent.breaks -= 1
                raise TransportError("gone for a moment")
            self._agent.left = (self._agent.left or 4) - 1
            busy = {"model": "alexnet", "done": 4 - self._agent.left, "rounds": 32}
            return Reply({"profiling": busy if self._agent.left > 1 else None}, [])
        if do == "profiled":
            return Reply({}, [json.dumps(self._agent.profile).encode()])
        return Reply({}, [])

    def close(self) -> None:
        pass


class FakeAgent:
    def __init__(self, found, breaks: int = 0, called=None) -> None:
        self.asked: list = []
        self.profile, self.breaks, self.called, self.left = found, breaks, called or {}, 0

    def remotes(self, _testbed, names):
        return tuple(SimpleNamespace(name=name, dial=lambda name=name: FakeTalk(name, self)) for name in names)


@pytest.fixture
def inventory(tmp_path):
    path = tmp_path / "t.yaml"
    path.write_text(
        "schema: 1\ncurve: off\nmachines:\n"
        '  - {name: pi, address: "tcp://h:1", torch_threads: 4, accelerator: cpu}\n'
        '  - {name: laptop, address: "tcp://h:2", emulate: sleep}\n'
    )
    return read_inventory(path)


@pytest.fixture
def found():
    from pathlib import Path

    return json.loads(Path("data/profiles/raspberry-pi-5/alexnet.json").read_text())


def played(monkeypatch, agent, inventory, wish=WISH, only=None):
    monkeypatch.setattr(profiling, "remotes", agent.remotes)
    monkeypatch.setattr(profiling, "_POLL_S", 0.0)
    told = []
    return list(profile_machines(inventory, wish, only, lambda *row: told.append(row))), told


def test_every_machine_is_asked_with_what_the_testbed_file_says(monkeypatch, inventory, found, capsys):
    agent = FakeAgent(found)
    profiles, told = played(monkeypatch, agent, inventory)
    assert [one.model for one in profiles] == ["alexnet", "alexnet"]
    wishes = [(name, content) for name, do, content in agent.asked if do == "profile"]
    assert [(name, x["threads"], x["device"], x["load_before"]) for name, x in wishes] == [
        ("pi", 4, "cpu", 0.25),
        ("laptop", None, None, 0.25),
    ]
    assert told[0] == ("pi", "alexnet", 1, 32)
    assert "laptop: `emulate: sleep` lets it stand in for another device" in capsys.readouterr().err


def test_the_command_line_goes_before_the_testbed_file(monkeypatch, inventory, found):
    agent = FakeAgent(found)
    played(monkeypatch, agent, inventory, Wish(("alexnet",), 2, "cuda", SETTINGS), "pi")
    ((name, _, content),) = [row for row in agent.asked if row[1] == "profile"]
    assert (name, content["threads"], content["device"]) == ("pi", 2, "cuda")


def test_all_stands_for_what_a_machine_builds_and_others_are_refused_before_anything_runs(
    monkeypatch, inventory, found
):
    agent = FakeAgent(found)
    played(monkeypatch, agent, inventory, Wish(("all",), None, None, SETTINGS), "pi")
    assert [content["model"] for _, do, content in agent.asked if do == "profile"] == ["alexnet", "vgg16"]
    agent = FakeAgent(found)
    with pytest.raises(MachineError, match=r"pi does not build `resnet50`; add it to `models` in its agent\.yaml"):
        played(monkeypatch, agent, inventory, Wish(("alexnet", "resnet50"), None, None, SETTINGS))
    assert not [row for row in agent.asked if row[1] == "profile"]


def test_a_connection_that_breaks_for_a_while_loses_nothing(monkeypatch, inventory, found):
    profiles, _ = played(monkeypatch, FakeAgent(found, breaks=3), inventory, only="pi")
    assert len(profiles) == 1
    monkeypatch.setattr(profiling, "_PATIENCE_S", -1.0)
    with pytest.raises(TransportError):
        played(monkeypatch, FakeAgent(found, breaks=3), inventory, only="pi")


def test_another_machine_at_the_address_is_a_mistake(monkeypatch, inventory, found):
    with pytest.raises(MachineError, match=r"address of `pi` is called `tablet`"):
        played(monkeypatch, FakeAgent(found, called={"pi": "tablet"}), inventory)


def test_a_machine_profiles_one_model_at_a_time_and_tells_how_far_it_is(tmp_path, monkeypatch, found):
    config = tmp_path / "agent.yaml"
    config.write_text("{schema: 1, name: pi, curve: off, models: [alexnet]}")
    waiting = []
    node = SimpleNamespace(
        config=read_agent(config), tear_down=lambda: None, beside=lambda work, then: waiting.append((work, then))
    )
    mine, replies = Profiling(node), []

    def reply(answer, blobs=()):
        replies.append((answer, blobs))

    order = {
        "model": "alexnet",
        "threads": None,
        "device": None,
        "repeats": 30,
        "warm_up": 2,
        "batch": 1,
        "seed": 0,
        "load_before": 0.5,
    }
    seen = []

    def fake(model, name, settings, tick, load_before):
        seen.append((name, settings.name, settings.threads, settings.device, load_before))
        tick()
        return SimpleNamespace(to_json=lambda: found)

    monkeypatch.setattr(profile, "profile_model", fake)
    monkeypatch.setattr("hardware.models.build_model", lambda name, seed: None)
    with pytest.raises(MachineError, match="no profile to give"):
        mine.tell(reply, {}, [])
    with pytest.raises(MachineError, match="does not build `vgg16`"):
        mine.start(reply, {**order, "model": "vgg16"}, [])
    mine.start(reply, order, [])
    assert mine.progress == {"model": "alexnet", "done": 0, "rounds": 32}
    with pytest.raises(MachineError, match="pi is profiling alexnet already"):
        mine.start(reply, order, [])
    ((work, then),) = waiting
    made = work()
    assert mine.progress["done"] == 1
    assert seen == [("alexnet", "pi", 1, "cpu", 0.5)]
    then(made, None)
    assert mine.progress is None
    mine.tell(reply, {}, [])
    assert json.loads(replies[-1][1][0]) == found
    mine.start(reply, order, [])
    waiting[-1][1](None, MachineError("no room"))
    with pytest.raises(MachineError, match="no room"):
        mine.tell(reply, {}, [])


def test_without_a_testbed_name_and_threads_are_needed(capsys):
    assert run("--model", "alexnet", "--threads", 1) == 2
    assert "--name and --threads are needed" in capsys.readouterr().err


@pytest.mark.slow
def test_an_agent_profiles_as_the_local_command_does(tmp_path):
    ports = {"pi": free_port()}
    testbed = tmp_path / "t.yaml"
    testbed.write_text(testbed_text(ports))
    with agents(tmp_path, ports):
        arguments = ("--model", "mobilenet_v2", "--repeats", 30, "--warm-up", 2, "--out", tmp_path / "data")
        assert run("--testbed", testbed, *arguments) == 0
    made = load_profile(tmp_path / "data" / "profiles" / "pi" / "mobilenet_v2.json")
    assert run("--name", "here", "--threads", 1, *arguments) == 0
    here = load_profile(tmp_path / "data" / "profiles" / "here" / "mobilenet_v2.json")
    assert (made.device, made.source, made.threads, made.names) == ("pi", "measured", 1, here.names)
    assert made.provenance["host"] == here.provenance["host"]
    assert made.whole_model.n == 30
    assert set(made.to_json()) == set(here.to_json())
