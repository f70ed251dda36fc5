import time

import pytest
from wires import NotingHub, Proxy, Talk, lane_to, parcel, reopened, run_for, run_until

from hardware.transport.clock import Offset, Offsets, exchange
from hardware.transport.credentials import fresh


def test_messages_and_blobs_go_both_ways(loop):
    machines = fresh(["pi", "pc"])
    hub = NotingHub(loop, machines["pc"])
    talk = Talk(loop, hub.endpoint, credentials=machines["pi"].towards("pc"))
    assert talk.line.say({"word": "early"}) is False
    run_until(loop, lambda: talk.line.is_up)
    assert talk.line.say({"word": "ü"}, [b"blob", b""]) is True
    run_until(loop, lambda: talk.messages)
    assert hub.messages == [("pi", {"word": "ü"}, [b"blob", b""])]
    assert talk.messages == [({"echo": "ü"}, [b"blob", b""])]
    assert talk.events == [("up", hub.hub.incarnation)]
    assert hub.events == [("up", "pi")]


def test_nothing_is_said_of_a_peer_that_beats(loop):
    hub = NotingHub(loop)
    talk = Talk(loop, hub.endpoint, silent_s=0.05)
    run_for(loop, 0.3)
    assert talk.states == ["up"]
    assert hub.events == [("up", "pi")]


def test_both_ends_notice_silence_once_and_the_return(loop):
    hub = NotingHub(loop)
    proxy = Proxy(hub.hub.port)
    talk = Talk(loop, proxy.endpoint, silent_s=0.1)
    run_until(loop, lambda: talk.line.is_up)
    cut_s = time.monotonic()
    proxy.cut()
    run_until(loop, lambda: len(talk.events) == 2 and len(hub.events) == 2)
    assert 0.07 < time.monotonic() - cut_s < 0.5
    run_for(loop, 0.25)
    assert talk.states == ["up", "down"]
    assert "silent for 0.1 s" in talk.events[1][1]
    assert talk.line.say({}) is False
    assert hub.hub.say("pi", {}) is False
    proxy.restore()
    run_until(loop, lambda: talk.line.is_up and hub.hub.peers_up())
    assert talk.states == ["up", "down", "up"]
    assert [state for state, _ in hub.events] == ["up", "down", "up"]
    proxy.close()


def test_a_short_break_goes_unnoticed(loop):
    hub = NotingHub(loop)
    proxy = Proxy(hub.hub.port)
    talk = Talk(loop, proxy.endpoint, silent_s=0.6)
    run_until(loop, lambda: talk.line.is_up)
    proxy.cut()
    run_until(loop, lambda: talk.line.state != "up")
    proxy.restore()
    run_until(loop, lambda: talk.line.state == "up")
    run_for(loop, 0.05)
    assert talk.states == ["up"]
    assert hub.events == [("up", "pi")]
    proxy.close()


def test_a_peer_that_starts_anew_within_the_silence_is_down_and_up(loop):
    hub = NotingHub(loop)
    talk = Talk(loop, hub.endpoint, silent_s=5.0)
    run_until(loop, lambda: talk.line.is_up)
    before = loop.incarnation
    hub.hub.close()
    loop.incarnation += 1
    reopened(loop, hub.hub.port)
    run_until(loop, lambda: len(talk.events) == 3)
    assert talk.events == [("up", before), ("down", "the peer has started anew"), ("up", before + 1)]


def test_a_hub_that_is_not_there_is_down_once(loop):
    hub = NotingHub(loop)
    hub.hub.close()
    talk = Talk(loop, hub.endpoint, silent_s=0.05)
    run_for(loop, 0.2)
    assert talk.events == [("down", "not reached within 0.05 s: nothing answers there")]


def test_a_closed_line_says_nothing_more_and_the_hub_notices(loop):
    hub = NotingHub(loop)
    talk = Talk(loop, hub.endpoint, silent_s=0.05)
    run_until(loop, lambda: talk.line.is_up)
    talk.line.close()
    talk.line.close()
    run_until(loop, lambda: ("down", "pi") in hub.events)
    assert talk.states == ["up"]


def test_an_exchange_of_stamps_by_hand():
    # Out in 3, kept for 2, back in 5; the peer is 100 ahead: half the difference of the ways is the error.
    found = exchange(10.0, 113.0, 115.0, 20.0)
    assert found == Offset(99.0, 8.0)
    assert abs(found.offset_s - 100.0) <= found.uncertainty_s


def test_quiet_exchanges_are_preferred_and_old_ones_go():
    offsets = Offsets(recent=3)
    assert offsets.best() is None
    for offset in (Offset(1.0, 0.5), Offset(2.0, 0.1, quiet=False), Offset(3.0, 0.7)):
        offsets.add(offset)
    assert offsets.best() == Offset(1.0, 0.5)
    for offset in (Offset(4.0, 0.3, quiet=False), Offset(5.0, 0.2, quiet=False), Offset(6.0, 0.4, quiet=False)):
        offsets.add(offset)
    assert offsets.best() == Offset(5.0, 0.2, quiet=False)


def test_the_offset_of_one_clock_to_itself_is_nothing(loop):
    hub = NotingHub(loop)
    talk = Talk(loop, hub.endpoint, silent_s=0.04)
    assert talk.line.offset_s is None
    lane, _ = lane_to(loop, hub.endpoint)
    lane.send(parcel())
    run_for(loop, 0.15)
    assert abs(talk.line.offset_s) <= talk.line.rtt_s / 2
    assert talk.line.offset_s == pytest.approx(0.0, abs=0.01)
