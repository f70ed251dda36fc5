"""Links between real loops on loopback: parcels are relayed, messages cross machines, what is let go is let go once."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
from nodes import Release
from worlds import make_problem

from hardware.node.links import Dial, Links, line_identity, link_of
from hardware.transport.credentials import CURVE_OFF
from hardware.transport.hub import Hub
from hardware.transport.loop import Loop
from hardware.transport.parcel import Kind, Parcel, TensorSpec
from twin.errors import TransportError

CONTINUUM = make_problem().continuum


class Owner:
    """What a machine does with its links, as `Node` does it."""

    def __init__(self):
        self.receipts, self.lost, self.messages, self.changes = [], [], [], 0

    def receipt(self, link, direction, receipt):
        self.receipts.append((link, direction, receipt.request))

    def undelivered(self, parcels):
        self.lost += parcels

    def told(self, message, blobs):
        self.messages.append((message, blobs))

    def link_changed(self):
        self.changes += 1


def run_until(loop, condition, timeout_s=10.0):
    end_s = time.monotonic() + timeout_s

    def look():
        if condition() or time.monotonic() > end_s:
            loop.stop()
        else:
            loop.call_at(time.monotonic() + 0.001, look)

    loop.post(look)
    loop.run()
    assert condition(), "this never came about"


@pytest.fixture
def chain():
    """Three machines in one loop, each with its own hub."""
    loop = Loop()
    machines = []

    def machine(me):
        own = SimpleNamespace(me=me, owner=Owner(), got=[], releases=[], links=None)

        def parcel(_sender, parcel, release):
            if parcel.target == me:
                own.got.append(parcel)
                release()
            else:
                own.links.send(parcel, release)

        own.hub = Hub(
            loop,
            "tcp://127.0.0.1:*",
            CURVE_OFF,
            on_parcel=parcel,
            on_message=lambda _peer, message, blobs: own.links.message(message, blobs),
            on_up=lambda _peer: None,
            on_down=lambda _peer: None,
        )
        return own

    machines = [machine(me) for me in range(3)]
    ends = [f"tcp://127.0.0.1:{own.hub.port}" for own in machines]
    dials = {
        0: [Dial(0, ends[1], ends[1])],
        1: [Dial(0, ends[0], None), Dial(1, ends[2], ends[2])],
        2: [Dial(1, ends[1], None)],
    }
    for own in machines:
        own.links = Links(loop, own.hub, CONTINUUM, own.me, dials[own.me], CURVE_OFF, silent_s=1.0, owner=own.owner)
    run_until(loop, lambda: not any(own.links.troubles or own.links.silent for own in machines))
    yield SimpleNamespace(loop=loop, machines=machines)
    for own in machines:
        own.links.close()
        own.hub.close()
    loop.close()


def parcel(target, request=0, size_bytes=1000):
    return Parcel(Kind.WORK, request, 0, 0, target, (TensorSpec("uint8", (size_bytes,)),), (bytes(size_bytes),))


def test_a_parcel_is_relayed_both_ways(chain):
    edge, laptop, pc = chain.machines
    edge.links.send(parcel(2, 5))
    pc.links.send(parcel(0, 6))
    run_until(chain.loop, lambda: pc.got and edge.got and len(laptop.owner.receipts) == 2)
    assert (pc.got[0].request, edge.got[0].request) == (5, 6)
    assert edge.owner.receipts == [(0, 0, 5)]
    assert sorted(laptop.owner.receipts) == [(0, 1, 6), (1, 0, 5)]
    assert laptop.hub.unreleased == 0


def test_release_is_called_once_per_parcel(chain):
    edge, releases = chain.machines[0], [Release() for _ in range(20)]
    for request, release in enumerate(releases):
        edge.links.send(parcel(1 + request % 2, request), release)
    run_until(chain.loop, lambda: len(edge.owner.receipts) == 20)
    edge.links.close()
    assert [release.n for release in releases] == [1] * 20


def test_what_waits_when_links_close_is_lost_and_let_go_once(chain):
    edge, laptop, _ = chain.machines
    laptop.hub.close()
    releases = [Release() for _ in range(5)]
    for request, release in enumerate(releases):
        edge.links.send(parcel(1, request), release)
    assert edge.links.backlog_bytes == 5000
    edge.links.close()
    edge.links.close()
    assert [release.n for release in releases] == [1] * 5
    assert [lost.request for lost in edge.owner.lost] == [0, 1, 2, 3, 4]


def test_cleared_links_lose_what_waits_and_carry_on(chain):
    edge, laptop, _ = chain.machines
    kept = edge.links.lanes[0, 0]
    edge.links.clear()
    assert edge.links.lanes[0, 0] is kept
    release = Release()
    edge.links.send(parcel(1, 0), release)
    edge.links.clear()
    assert (release.n, [lost.request for lost in edge.owner.lost]) == (1, [0])
    assert edge.links.backlog_bytes == 0
    edge.links.send(parcel(1, 1), release)
    run_until(chain.loop, lambda: any(got.request == 1 for got in laptop.got))
    run_until(chain.loop, lambda: release.n == 2)


def test_messages_cross_machines_both_ways(chain):
    edge, laptop, pc = chain.machines
    assert edge.links.tell(2, {"what": "hello"}, [b"blob"])
    assert pc.links.tell(0, {"what": "answer"})
    assert laptop.links.tell(0, {"what": "near"})
    run_until(chain.loop, lambda: pc.owner.messages and len(edge.owner.messages) == 2)
    message, blobs = pc.owner.messages[0]
    assert (message["what"], message["to"], [bytes(blob) for blob in blobs]) == ("hello", 2, [b"blob"])
    assert {message["what"] for message, _ in edge.owner.messages} == {"answer", "near"}
    assert laptop.owner.messages == []


def test_a_message_for_nobody_is_refused(chain):
    for device in (None, "1", 3, -1, 1.0):
        with pytest.raises(TransportError):
            chain.machines[1].links.message({"to": device}, [])


def test_the_name_of_a_line_tells_its_link():
    assert link_of(line_identity(CONTINUUM, 1)) == 1
    assert [link_of(name) for name in ("pi", "coordinator/12-3", "pi/lane-0-1", "/line-2", "a/line-x")] == [None] * 5
