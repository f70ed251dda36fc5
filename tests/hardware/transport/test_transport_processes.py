"""Hubs in processes of their own that are frozen, killed and started anew."""

import time

import pytest
from wires import HubProcess, Talk, lane_to, parcel, run_for, run_until

pytestmark = pytest.mark.slow
SILENT_S = 0.6


@pytest.fixture
def process():
    made = HubProcess()
    yield made
    made.thaw()
    made.kill()


def test_a_short_freeze_goes_unnoticed_and_everything_arrives_once(loop, process):
    talk = Talk(loop, process.endpoint, silent_s=SILENT_S)
    lane, listener = lane_to(loop, process.endpoint)
    run_until(loop, lambda: talk.line.is_up)
    for request in range(100):
        lane.send(parcel(request, 50_000))
    process.freeze()
    run_for(loop, SILENT_S / 3)
    process.thaw()
    run_until(loop, lambda: len(listener.receipts) == 100)
    run_for(loop, SILENT_S)
    told = process.end()
    assert talk.states[0] == "up"
    assert told["requests"] == [["pi", request] for request in range(100)]
    assert told["events"] == [["up", "pi"]]
    assert told["dropped"] == {}
    assert talk.states == ["up"]


def test_a_long_freeze_is_down_once_and_up_and_everything_arrives_once(loop, process):
    talk = Talk(loop, process.endpoint, silent_s=SILENT_S)
    lane, listener = lane_to(loop, process.endpoint)
    run_until(loop, lambda: talk.line.is_up and lane.state == "up")
    process.freeze()
    frozen_s = time.monotonic()
    for request in range(100):
        lane.send(parcel(request, 50_000))
    run_until(loop, lambda: len(talk.events) == 2)
    assert 0.7 * SILENT_S < time.monotonic() - frozen_s < 2 * SILENT_S
    run_for(loop, 3 * SILENT_S)
    assert talk.states == ["up", "down"]
    process.thaw()
    run_until(loop, lambda: len(listener.receipts) == 100)
    run_until(loop, lambda: talk.line.is_up)
    run_for(loop, 2 * SILENT_S)
    assert talk.states == ["up", "down", "up"]
    assert talk.events[0][1] == talk.events[2][1]
    assert listener.lost_parcels == []
    assert process.end()["requests"] == [["pi", request] for request in range(100)]


def test_a_killed_hub_that_starts_anew_has_lost_what_waited(loop, process):
    talk = Talk(loop, process.endpoint, silent_s=SILENT_S)
    lane, listener = lane_to(loop, process.endpoint)
    lane.send(parcel(0))
    run_until(loop, lambda: talk.line.is_up and listener.receipts)
    process.freeze()
    for request in range(1, 50):
        lane.send(parcel(request, 100_000))
    process.kill()
    run_until(loop, lambda: "down" in talk.states)
    assert listener.lost_parcels == []
    again = HubProcess(process.port)
    run_until(loop, lambda: talk.line.is_up and listener.lost_parcels)
    assert [lost.request for lost in listener.lost_parcels] == list(range(1, 50))
    assert talk.states == ["up", "down", "up"]
    assert talk.events[0][1] != talk.events[2][1]
    lane.send(parcel(99))
    run_until(loop, lambda: len(listener.receipts) == 2)
    assert again.end()["requests"] == [["pi", 99]]


def test_a_stranded_end_does_not_blame_its_peers_after_its_own_stop(loop, process):
    talk = Talk(loop, process.endpoint, silent_s=SILENT_S)
    run_until(loop, lambda: talk.line.is_up)
    # A loop that was busy for longer than the silence finds old news only, but its peer was never gone.
    loop.post(time.sleep, 2 * SILENT_S)
    run_for(loop, 3 * SILENT_S)
    assert talk.states == ["up"]
    assert process.end()["events"] == [["up", "pi"], ["down", "pi"], ["up", "pi"]]
