"""Namespaces: the commands against a recorded tool, and the real thing where the kernel allows it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from processes import HERE, commands, gone
from sender import Client
from worlds import DEVICES, make_links, make_problem, make_world

from hardware.emulation import namespaces, netns
from hardware.emulation.namespaces import Namespaces, missing, remove, remove_leftovers
from hardware.emulation.netns import NetnsTestbed
from hardware.emulation.queues import Queue, burst_bytes, free_block
from hardware.emulation.timetable import changes
from hardware.emulation.tool import run_tool
from twin.errors import EmulationError
from twin.steps import Steps
from twin.topology import Continuum, Link

if TYPE_CHECKING:
    from pathlib import Path


class Tool:
    """Stands for `ip` and `tc`: keeps the commands, answers some, and refuses some."""

    def __init__(self, answers: dict[str, str] | None = None, refuse: str = "\0") -> None:
        self.lines: list[str] = []
        self._answers = answers or {}
        self._refuse = refuse

    def __call__(self, *command: str) -> str:
        line = " ".join(command)
        self.lines.append(line)
        if self._refuse in line:
            raise EmulationError(f"`{line}` failed: refused")
        return self._answers.get(line, "")


def test_a_rate_is_played_by_tbf_and_changed_in_place() -> None:
    tool = Tool()
    queue = Queue(tool, "ns", "link0", netem=False)
    queue.play(9.56e6, 0.01)
    queue.play(191.2e6, 0.01)
    queue.play(0.0, 0.01)
    queue.play(9.56e6, 0.01)
    start = "tc -n ns qdisc"
    assert tool.lines == [
        f"{start} replace dev link0 root handle 1: tbf rate 10000000bit burst 4000 latency 200ms",
        f"{start} change dev link0 root handle 1: tbf rate 200000000bit burst 16000 latency 200ms",
        f"{start} replace dev link0 root bfifo limit 1",
        f"{start} replace dev link0 root handle 1: tbf rate 10000000bit burst 4000 latency 200ms",
    ]


def test_a_delay_is_played_by_netem_where_there_is_one() -> None:
    tool = Tool()
    Queue(tool, "ns", "link0", netem=True).play(9.56e6, 0.0125)
    assert tool.lines[1] == ("tc -n ns qdisc replace dev link0 parent 1:1 handle 10: netem delay 12.500ms limit 196")


@given(st.floats(1e3, 1e11), st.floats(1e3, 1e11))
def test_a_burst_grows_with_the_rate(one_bps: float, other_bps: float) -> None:
    low, high = sorted((one_bps, other_bps))
    assert 4000 <= burst_bytes(low) <= burst_bytes(high)


def test_addresses_in_use_are_left_alone() -> None:
    taken = (
        "2: eth0    inet 10.201.3.4/24 brd 10.201.3.255 scope global eth0\n3: x    inet 192.168.0.1/24 scope global x\n"
    )
    assert free_block("") == 201
    assert free_block(taken) == 202
    with pytest.raises(EmulationError, match="in use"):
        free_block("".join(f"inet 10.{block}.0.1/8\n" for block in range(256)))


def test_devices_are_joined_like_the_continuum() -> None:
    tool, pid = Tool(), os.getpid()
    spaces = Namespaces(Continuum(DEVICES, (Link(0, 1), Link(0, 2))), tool)
    spaces.open()
    assert [f"ip netns add ctwin{pid}-{k}" for k in range(3)] == [x for x in tool.lines if "netns add" in x]
    assert f"ip link add link1 netns ctwin{pid}-0 type veth peer name link1 netns ctwin{pid}-2" in tool.lines
    assert f"ip -n ctwin{pid}-2 addr add 10.201.1.2/30 dev link1" in tool.lines
    assert spaces.hosts == [f"10.201.{128 + k}.2" for k in range(3)]
    assert all(len(word) <= 15 for line in tool.lines for word in line.split() if word.startswith("ctwin"))


def test_only_what_dead_runs_left_is_removed() -> None:
    dead, alive = 4_194_999, os.getpid()
    tool = Tool(
        {
            "ip netns list": f"ctwin{dead}-0 (id: 0)\nctwin{alive}-0\nother\nctwin{dead}-try\n",
            "ip -o link": f"7: ctwin{dead}m0@if2: <UP>\n8: ctwin{alive}m0@if2: <UP>\n9: eth0: <UP>\n",
        }
    )
    assert remove_leftovers(tool) == [dead]
    assert [line for line in tool.lines if " del " in line] == [
        f"ip netns del ctwin{dead}-0",
        f"ip netns del ctwin{dead}-try",
        f"ip link del ctwin{dead}m0",
    ]


def test_what_is_missing_is_said_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tx\nCapEff:\t0000000000000000\n", encoding="ascii")
    monkeypatch.setattr(namespaces.shutil, "which", lambda _: None)
    monkeypatch.setattr(namespaces.os, "geteuid", lambda: 1000)
    words = "\n".join(missing(Tool(), status))
    for word in ("`ip`", "`tc`", "not root", "CAP_NET_ADMIN", "CAP_SYS_ADMIN"):
        assert word in words
    assert "not Linux" in missing(Tool(), tmp_path / "absent")[0]


@pytest.mark.parametrize(("refuse", "words"), [("netns add", "namespaces"), ("veth", "veth"), ("tbf", "tbf")])
def test_a_kernel_that_refuses_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refuse: str, words: str
) -> None:
    status = tmp_path / "status"
    status.write_text("CapEff:\t000001ffffffffff\n", encoding="ascii")
    monkeypatch.setattr(namespaces.shutil, "which", lambda tool: tool)
    monkeypatch.setattr(namespaces.os, "geteuid", lambda: 0)
    tool = Tool(refuse=refuse)
    assert words in missing(tool, status)[0]
    assert tool.lines[-1] == f"ip netns del ctwin{os.getpid()}-try"
    assert missing(Tool(), status) == []


def test_without_rights_a_testbed_does_not_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netns, "missing", lambda _: ["this user is not root; run with sudo"])
    with pytest.raises(EmulationError, match=r"not root.*--emulate netns"):
        NetnsTestbed(make_world(), commands(), tmp_path, run=Tool()).open()


def test_a_tool_that_fails_is_quoted() -> None:
    assert run_tool("echo", "well") == "well\n"
    with pytest.raises(EmulationError, match="cannot run `/nowhere/ip`"):
        run_tool("/nowhere/ip")
    with pytest.raises(EmulationError, match=r"`ls /nowhere` failed: .*nowhere"):
        run_tool("ls", "/nowhere")


def test_changes_of_a_loop_go_on_for_ever() -> None:
    found = changes(Steps((0.0, 1.0, 2.0), (5.0, 6.0, 7.0), "loop", 4.0, 1.0))
    assert [next(found) for _ in range(6)] == [(0.0, 5.0), (1.0, 6.0), (2.0, 7.0), (4.0, 6.0), (5.0, 7.0), (7.0, 6.0)]
    assert list(changes(Steps((0.0, 1.0), (5.0, 6.0)))) == [(0.0, 5.0), (1.0, 6.0)]


@pytest.fixture
def _namespaces() -> None:
    lacks = missing()
    if lacks:
        pytest.skip("; ".join(lacks))


def left_of(pid: int) -> str:
    """What a run has made and not removed."""
    made = run_tool("ip", "netns", "list") + run_tool("ip", "-o", "link")
    return "".join(line for line in made.splitlines() if f"ctwin{pid}" in line)


@pytest.mark.root
@pytest.mark.usefixtures("_namespaces")
def test_agents_in_namespaces_answer_and_nothing_is_left(tmp_path: Path) -> None:
    with NetnsTestbed(make_world(), commands(listen=NetnsTestbed.listen), tmp_path) as testbed:
        for (host, port), name in zip(testbed.addresses, ("pi", "laptop", "pc"), strict=True):
            client = Client(port, host)
            client.send(100)
            assert client.ack().decode().strip() == name
            client.close()
        testbed.start(time.monotonic())
        testbed.cut(0)
        testbed.heal(0)
        testbed.freeze(1)
        assert testbed.restart(2) == testbed.addresses[2]
        testbed.check()
    assert left_of(os.getpid()) == ""
    remove(os.getpid())


PARENT = """
import os, sys, time
sys.path[:0] = sys.argv[2:]
from pathlib import Path
from hardware.emulation.netns import NetnsTestbed
from processes import children_of, commands
from worlds import make_world

testbed = NetnsTestbed(make_world(), commands(listen=NetnsTestbed.listen), Path(sys.argv[1]))
testbed.open()
testbed.freeze(1)
print(*children_of(os.getpid()), flush=True)
time.sleep(60)
"""


@pytest.mark.root
@pytest.mark.usefixtures("_namespaces")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_namespace_survives_its_run(tmp_path: Path, number: signal.Signals) -> None:
    places = [str(HERE), str(HERE.parent.parent), str(HERE.parent.parent.parent)]
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path), *places],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert parent.stdout is not None
    with parent.stdout as output:
        pids = [int(word) for word in output.readline().split()]
    assert len(pids) == 4
    assert left_of(parent.pid)
    parent.send_signal(number)
    parent.wait(timeout=10.0)
    assert all(gone(pid) for pid in pids)
    assert left_of(parent.pid) == ""


@pytest.mark.root
@pytest.mark.usefixtures("_namespaces")
def test_a_delay_that_the_kernel_cannot_play_is_noted(tmp_path: Path) -> None:
    half = Continuum(DEVICES, (Link(0, 1, duplex="half"), Link(1, 2)))
    world = make_world(problem=make_problem(continuum=half), links=make_links())
    with NetnsTestbed(world, commands(listen=NetnsTestbed.listen), tmp_path) as testbed:
        delays = "netem" in run_tool("tc", "-n", testbed.spaces.names[0], "qdisc")
        assert any("netem" in note for note in testbed.notes) != delays
        assert any("half-duplex" in note and "pi-laptop" in note for note in testbed.notes)
    assert left_of(os.getpid()) == ""
