"""Commands to a machine: each gets one answer, whatever it says, and none ends the agent."""

from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import tiny_project

from hardware.agent_file import AgentConfig
from hardware.node.arrays import unpack_arrays
from hardware.node.bundle import pack
from hardware.node.links import Dial
from hardware.node.node import COORDINATOR, Node
from hardware.node.setup import Orders
from hardware.transport.credentials import CURVE_OFF
from hardware.transport.loop import Loop
from hardware.transport.parcel import DEFAULT_LIMITS
from twin.records import Requests
from twin.scenario import load_world

PEER = f"{COORDINATOR}/1-0"


class Agent:
    """A machine with a real port to which nobody speaks but the test."""

    def __init__(self, folder):
        self.scenario = tiny_project(folder / "project", control={"every_s": 0.2})
        self.world = load_world(self.scenario)
        self.bundle = pack(self.world, self.scenario)
        config = AgentConfig(
            folder / "agent.yaml", "pi", "tcp://127.0.0.1:*", None, None, (), folder, 1, "cpu", (), DEFAULT_LIMITS, 1
        )
        self.loop = Loop()
        self.node = Node(self.loop, config, CURVE_OFF)
        self.answers = []
        self.node.hub.answer = lambda peer, message, answer, blobs=(): self.answers.append((message, answer, blobs))

    def tell(self, do, blobs=(), **content):
        """Give a command and return its answer, which must be the only one."""
        before = len(self.answers)
        self.node._message(PEER, {"do": do, **content}, list(blobs))
        self.run_until(lambda: len(self.answers) > before)
        self.loop.post(self.loop.stop)
        self.loop.run()
        assert len(self.answers) == before + 1
        return SimpleNamespace(content=self.answers[-1][1], blobs=self.answers[-1][2])

    def run_until(self, condition, timeout_s=10.0):
        end_s = time.monotonic() + timeout_s

        def look():
            if condition() or time.monotonic() > end_s:
                self.loop.stop()
            else:
                self.loop.call_at(time.monotonic() + 0.002, look)

        self.loop.post(look)
        self.loop.run()
        assert condition()

    @property
    def orders(self):
        return Orders(0, (Dial(0, "tcp://127.0.0.1:1", "tcp://127.0.0.1:1"),), "sleep").to_json()

    def set_up(self, **changes):
        content = {"session": "s", "orders": self.orders, **changes}
        return self.tell("setup", [self.bundle, bytes(self.world.problem.graph.input_bytes)], **content)

    def begin(self, **changes):
        content = {
            "play": 1,
            "replication": 0,
            "kind": "device-only",
            "options": {"device": "pi"},
            "switch": "epoch",
            "downtime_s": 0.0,
            "shift_s": [0.0, 0.0, 0.0],
            "check": False,
        }
        return self.tell("begin", **{**content, **changes})


@pytest.fixture
def agent(tmp_path):
    made = Agent(tmp_path)
    yield made
    made.node.close()
    made.loop.close()


def test_an_edge_alone_plays_a_run_by_commands(agent):
    assert agent.tell("hello").content["name"] == "pi"
    assert agent.set_up().content["emulate"] == "sleep"
    assert agent.tell("status").content["session"] == "s"
    assert agent.begin().content == {}
    agent.run_until(lambda: agent.node.play.conductor.switch.plan is not None)
    assert agent.tell("status").content["poised"]
    agent.tell("start", zero_s=time.monotonic())
    # About two requests a second, each 0.1 s of work.
    agent.run_until(lambda: len(agent.node.play.conductor.requests) > 2)
    assert agent.tell("halt").content == {}
    assert agent.tell("status").content["over"]
    collected = agent.tell("collect", replication=0)
    assert "error" not in collected.content
    requests = Requests(**unpack_arrays(collected.blobs[1]))
    assert len(requests) > 2
    assert np.all(requests.done_s[requests.completed] > requests.arrival_s[requests.completed])
    assert agent.tell("quit").content == {}
    assert agent.node.machine is None


@pytest.mark.parametrize(
    ("do", "content"),
    [
        ("nonsense", {}),
        ("setup", {}),
        ("setup", {"orders": 5, "session": "s"}),
        ("setup", {"orders": [], "session": "s"}),
        ("measure", {}),
        ("begin", {}),
        ("start", {"zero_s": 0.0}),
        ("halt", {}),
        ("collect", {}),
        ("probe", {}),
        ("probed", {}),
        ("profile", {}),
        ("profiled", {}),
    ],
)
def test_what_cannot_be_done_is_answered_with_words(agent, do, content):
    assert agent.tell(do, **content).content["error"]


@pytest.mark.parametrize(
    "change",
    [
        {"session": None, "orders": {}},
        {"orders": {"me": 9}},
        {"orders": {"me": "x"}},
        {"orders": {"emulate": "magic"}},
        {"orders": {"dials": [{"link": 7, "data": "tcp://127.0.0.1:1", "control": None}]}},
        {"orders": {"dials": [{"link": 0, "data": "nowhere", "control": None}]}},
        {"orders": {"dials": [{"no": 1}]}},
    ],
)
def test_orders_that_do_not_fit_are_answered_with_words(agent, change):
    orders = {**agent.orders, **change.pop("orders")}
    change = {**change, "orders": orders}
    if "session" in change:
        content = {"orders": orders}
        answer = agent.tell("setup", [agent.bundle], **content).content
    else:
        answer = agent.set_up(**change).content
    assert answer["error"]
    assert agent.node.machine is None
    assert agent.tell("status").content["session"] == ""
    assert "error" not in agent.set_up().content


def test_a_bundle_that_is_none_is_answered_with_words(agent):
    for blobs in ([], [b"zip"], [b""]):
        assert agent.tell("setup", blobs, session="s", orders=agent.orders).content["error"]


def test_of_two_setups_in_a_row_the_later_one_counts(agent):
    for session in ("first", "second"):
        agent.node._message(
            PEER, {"do": "setup", "session": session, "orders": agent.orders}, [agent.bundle, b"x" * 100_000]
        )
    agent.run_until(lambda: len(agent.answers) == 2)
    assert "error" in agent.answers[0][1]
    assert "error" not in agent.answers[1][1]
    assert agent.tell("status").content["session"] == "second"


def test_what_is_told_to_quit_while_it_loads_stays_empty(agent):
    agent.node._message(PEER, {"do": "setup", "session": "s", "orders": agent.orders}, [agent.bundle, b"x" * 100_000])
    agent.tell("quit")
    agent.run_until(lambda: len(agent.answers) == 2)
    assert "error" in agent.answers[1][1]
    assert agent.node.machine is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "nonsense"},
        {"kind": "static", "options": {"no": 1}},
        {"options": {"device": "nobody"}},
        {"shift_s": 3},
        {"replication": "x"},
        {"replication": 1e400},
        {"play": None},
    ],
)
def test_a_run_that_cannot_begin_is_answered_once_and_with_words(agent, wrong):
    agent.set_up()
    answer = agent.begin(**wrong).content
    if "error" not in answer:
        agent.run_until(lambda: agent.node.broken)
    assert "error" not in agent.begin().content


@pytest.mark.parametrize(
    "content",
    [
        {"link": 0, "direction": 0, "sizes_bytes": [1000, -5]},
        {"link": 0, "direction": 0, "sizes_bytes": [10**15]},
        {"link": 0, "direction": 1, "sizes_bytes": [1000]},
        {"link": 1, "direction": 0, "sizes_bytes": [1000]},
        {"link": 0, "direction": 0, "sizes_bytes": [0]},
        {"link": 0, "direction": 0, "sizes_bytes": 5},
        {"link": "x", "direction": 0, "sizes_bytes": [1000]},
    ],
)
def test_a_link_that_cannot_be_measured_is_answered_with_words(agent, content):
    agent.set_up()
    assert agent.tell("measure", **content).content["error"]


def test_a_link_that_breaks_while_it_is_measured_is_answered_with_words(agent):
    agent.set_up()
    ask = {"do": "measure", "link": 0, "direction": 0, "sizes_bytes": [1000, 2000]}
    agent.node._message(PEER, ask, [])
    assert "already" in agent.tell("measure", link=0, direction=0, sizes_bytes=[1000]).content["error"]
    before = len(agent.answers)
    agent.node.links.clear()
    assert len(agent.answers) == before + 1
    assert "broke" in agent.answers[-1][1]["error"]
    assert agent.tell("measure", link=0, direction=0, sizes_bytes=[]).content == {"rows": []}


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)


def test_junk_of_a_coordinator_is_answered_and_survived(tmp_path):
    agent = Agent(tmp_path)
    agent.set_up()
    agent.begin()

    @settings(max_examples=150, deadline=None)
    @given(
        st.sampled_from(["measure", "begin", "start", "collect", "status", "nonsense"]),
        st.dictionaries(
            st.sampled_from(["link", "direction", "sizes_bytes", "play", "replication", "kind", "options", "shift_s"]),
            JUNK,
        ),
    )
    def junk(do, content):
        before = len(agent.answers)
        agent.node._message(PEER, {"do": do, **content}, [])
        assert len(agent.answers) == before + 1

    try:
        junk()
    finally:
        agent.node.close()
        agent.loop.close()


def test_junk_of_another_machine_is_noted_and_survived(tmp_path):
    agent = Agent(tmp_path)
    agent.set_up()
    agent.begin()

    @settings(max_examples=200, deadline=None)
    @given(
        st.sampled_from(["plan", "ready", "report", "probe-link", "probe-stage", "unready", "", None]),
        st.dictionaries(
            st.sampled_from(
                ["epoch", "placement", "device", "report", "link", "direction", "size_bytes", "layers", "to", "error"]
            ),
            JUNK,
        ),
    )
    def junk(what, content):
        agent.node._message("laptop/line-0", {"to": 0, "play": 1, "what": what, **content}, [])
        agent.loop.post(agent.loop.stop)
        agent.loop.run()

    try:
        junk()
        assert agent.tell("status").content["name" if False else "session"] == "s"
    finally:
        agent.node.close()
        agent.loop.close()
