"""The testbed on one machine with real processes: a stand-in for each agent, and the real shaper."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from processes import HERE, children_of, commands, gone
from sender import Client
from worlds import make_world

from hardware.emulation import child
from hardware.emulation.local import LocalTestbed
from twin.errors import EmulationError
from twin.world import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def testbed(tmp_path: Path) -> Iterator[LocalTestbed]:
    with LocalTestbed(make_world(), commands(), tmp_path) as opened:
        yield opened


def ask(client: Client) -> str:
    """Who answers."""
    client.send(100)
    return client.ack().decode().strip()


def dial(testbed: LocalTestbed, *route: object) -> Client:
    """Connect along a route."""
    return Client(testbed.routes[route][1])  # type: ignore[index]


def silent(client: Client) -> bool:
    """Whether nothing comes back for a while."""
    client.socket.settimeout(0.04)
    try:
        client.ack()
    except TimeoutError:
        return True
    finally:
        client.socket.settimeout(10.0)
    return False


def check_for_a_while(testbed: LocalTestbed) -> None:
    """Look after a testbed for some seconds."""
    for _ in range(500):
        testbed.check()
        time.sleep(0.01)


def test_every_route_leads_to_its_device(testbed: LocalTestbed) -> None:
    found = {}
    for route in testbed.routes:
        client = dial(testbed, *route)
        found[route] = ask(client)
        client.close()
    assert found == {
        (0, 0, "data"): "laptop",
        (0, 1, "data"): "pi",
        (0, 0, "control"): "laptop",
        (1, 0, "data"): "pc",
        (1, 1, "data"): "laptop",
        (1, 0, "control"): "pc",
    }
    assert testbed.report()["chunks"] > 0
    testbed.check()


def test_a_frozen_agent_is_silent_and_goes_on_when_thawed(testbed: LocalTestbed) -> None:
    client = dial(testbed, 0, 0, "control")
    assert ask(client) == "laptop"
    testbed.freeze(1)
    client.send(100)
    assert silent(client)
    testbed.check()
    testbed.thaw(1)
    assert client.ack().decode().strip() == "laptop"
    client.close()


def test_a_cut_link_is_silent_and_the_others_are_not(testbed: LocalTestbed) -> None:
    first, second = dial(testbed, 0, 0, "control"), dial(testbed, 1, 0, "control")
    assert (ask(first), ask(second)) == ("laptop", "pc")
    testbed.cut(0)
    first.send(100)
    assert silent(first)
    assert ask(second) == "pc"
    testbed.heal(0)
    assert first.ack().decode().strip() == "laptop"
    first.close()
    second.close()


def test_a_killed_agent_comes_back_under_the_same_routes(testbed: LocalTestbed) -> None:
    client = dial(testbed, 1, 0, "data")
    assert ask(client) == "pc"
    testbed.kill(2)
    assert client.socket.recv(1) == b""
    client.close()
    testbed.check()
    host, port = testbed.restart(2)
    assert testbed.addresses[2] == (host, port)
    again = dial(testbed, 1, 0, "data")
    assert ask(again) == "pc"
    again.close()


def test_faults_are_played_at_their_times(tmp_path: Path) -> None:
    faults = (Fault("device_down", 1, 0.0, 0.10), Fault("device_down", 1, 0.05, 0.15), Fault("link_down", 1, 0.0, 0.10))
    with LocalTestbed(make_world(faults=faults), commands(), tmp_path) as testbed:
        past, through = Client(testbed.addresses[1][1]), dial(testbed, 1, 0, "control")
        assert (ask(past), ask(through)) == ("laptop", "pc")
        t0_s = time.monotonic()
        testbed.start(t0_s)
        time.sleep(0.02)
        through.send(100)
        past.send(100)
        through.ack()
        assert time.monotonic() - t0_s >= 0.10
        past.ack()
        assert time.monotonic() - t0_s >= 0.15
        testbed.check()
        past.close()
        through.close()


def test_an_agent_that_dies_early_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(EmulationError, match=r"(?s)agent of `laptop`: ended early \(status 3\).*no weights\nin this"):
        LocalTestbed(make_world(), commands("", "early"), tmp_path).open()


@pytest.mark.parametrize(("how", "words"), [("babble", "not a JSON object"), ("portless", "no `port`")])
def test_an_agent_that_says_something_else_is_quoted(tmp_path: Path, how: str, words: str) -> None:
    with pytest.raises(EmulationError, match=f"agent of `pc`.*{words}"):
        LocalTestbed(make_world(), commands("", "", how), tmp_path).open()


def test_a_program_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(EmulationError, match="cannot start `/nowhere`"):
        LocalTestbed(make_world(), [["/nowhere"]] * 3, tmp_path).open()
    with pytest.raises(EmulationError, match="one command per device"):
        LocalTestbed(make_world(), [["/nowhere"]], tmp_path)


def test_an_agent_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    quiet = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    with pytest.raises(EmulationError, match=r"said nothing for 0.01 s"):
        LocalTestbed(make_world(), [quiet] * 3, tmp_path, startup_s=0.01).open()


def pid_of_agent(testbed: LocalTestbed, device: int) -> int:
    return testbed.agents._children[device].process.pid


def test_a_crash_of_the_edge_in_the_middle_of_a_run_is_noticed(testbed: LocalTestbed) -> None:
    os.kill(pid_of_agent(testbed, 0), signal.SIGKILL)
    with pytest.raises(EmulationError, match=r"agent of `pi`: ended early \(ended by SIGKILL"):
        check_for_a_while(testbed)


def test_a_run_goes_on_without_the_others(testbed: LocalTestbed) -> None:
    os.kill(pid_of_agent(testbed, 1), signal.SIGKILL)
    while testbed.agents.alive(1):
        time.sleep(0.01)
    testbed.kill(2)
    testbed.check()
    assert {device: "SIGKILL" in str(error) for device, error in testbed.agents.ended().items()} == {1: True}


def test_a_crash_of_the_shaper_is_noticed(testbed: LocalTestbed) -> None:
    assert testbed._shaper is not None
    os.kill(testbed._shaper.process.pid, signal.SIGKILL)
    with pytest.raises(EmulationError, match="shaper: ended early"):
        check_for_a_while(testbed)
    with pytest.raises(EmulationError, match="shaper: ended early"):
        testbed.cut(0)


def test_closing_ends_every_process_also_one_that_does_not_listen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "_GRACE_S", 0.2)
    before = set(children_of(os.getpid()))
    testbed = LocalTestbed(make_world(), commands("", "deaf"), tmp_path)
    testbed.open()
    started = set(children_of(os.getpid())) - before
    assert len(started) == 4
    testbed.freeze(0)
    testbed.close()
    testbed.close()
    assert all(gone(pid, 0.1) for pid in started)


PARENT = """
import os, signal, sys, time
sys.path[:0] = sys.argv[3:]
from pathlib import Path
from hardware.emulation.local import LocalTestbed
from processes import children_of, commands
from worlds import make_world

testbed = LocalTestbed(make_world(), commands(), Path(sys.argv[2]))
testbed.open()
if sys.argv[1] == "handler":
    def leave(*_):
        testbed.close()
        sys.exit(7)
    signal.signal(signal.SIGTERM, leave)
testbed.freeze(1)
print(*children_of(os.getpid()), flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("how", "number"), [("crash", signal.SIGKILL), ("crash", signal.SIGINT), ("handler", signal.SIGTERM)]
)
def test_nothing_survives_its_parent(tmp_path: Path, how: str, number: signal.Signals) -> None:
    """A frozen agent does not see that its input has ended; the kernel hangs up on it when the parent is gone."""
    places = [str(HERE), str(HERE.parent.parent), str(HERE.parent.parent.parent)]
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, how, str(tmp_path), *places],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert parent.stdout is not None
    with parent.stdout as output:
        pids = [int(word) for word in output.readline().split()]
    assert len(pids) == 4
    parent.send_signal(number)
    status = parent.wait(timeout=10.0)
    assert all(gone(pid) for pid in pids)
    assert status == (7 if how == "handler" else -number)
