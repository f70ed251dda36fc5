import time
from itertools import pairwise

import pytest
from wires import Listener, NotingHub, Proxy, lane_to, parcel, reopened, run_for, run_until

from hardware.transport.lane import Lane
from hardware.transport.parcel import Kind, Limits
from twin.errors import TransportError


@pytest.fixture
def cut(loop):
    """A hub behind a proxy, and a lane to it."""
    hub = NotingHub(loop)
    proxy = Proxy(hub.hub.port)
    yield hub, proxy, *lane_to(loop, proxy.endpoint)
    proxy.close()


def test_receipts_tell_the_times_of_a_fifo_line(loop):
    hub = NotingHub(loop)
    lane, listener = lane_to(loop, hub.endpoint)
    before_s = time.monotonic()
    for request in range(20):
        lane.send(parcel(request, 100_000, Kind.PROBE))
    assert lane.waiting == 20
    assert lane.bytes_waiting == 2_000_000
    run_until(loop, lambda: len(listener.receipts) == 20)
    receipts = listener.receipts
    assert [receipt.request for receipt in receipts] == list(range(20))
    assert {(receipt.kind, receipt.size_bytes) for receipt in receipts} == {(Kind.PROBE, 100_000)}
    for receipt in receipts:
        assert before_s <= receipt.queued_s <= receipt.start_s <= receipt.finish_s <= receipt.acked_s
        assert receipt.transfer_s == receipt.acked_s - receipt.start_s
    assert all(later.start_s >= earlier.finish_s for earlier, later in pairwise(receipts))
    assert loop.lanes_busy == 0


def test_the_delay_is_that_of_pings_and_is_taken_off_the_finish(loop):
    hub = NotingHub(loop)
    lane, listener = lane_to(loop, hub.endpoint, ping_s=0.005)
    run_until(loop, lambda: lane.delay_s is not None)
    run_for(loop, 0.05)
    delay_s = lane.delay_s
    assert 0.0 < delay_s < 0.05
    lane.send(parcel(0, 2_000_000))
    run_until(loop, lambda: listener.receipts)
    receipt = listener.receipts[0]
    assert receipt.finish_s == pytest.approx(receipt.acked_s - delay_s, abs=0.02)
    assert receipt.finish_s <= receipt.acked_s - delay_s or receipt.finish_s == receipt.start_s


def test_what_is_under_way_is_the_oldest_without_a_receipt(loop):
    hub = NotingHub(loop)
    lane, listener = lane_to(loop, hub.endpoint)
    lane.send(parcel(0, 700_000))
    assert lane.under_way(time.monotonic()) == []
    run_until(loop, lambda: lane.state == "up")
    lane.send(parcel(1, 500))
    run_until(loop, lambda: len(listener.receipts) == 2)
    assert lane.under_way(time.monotonic()) == []
    lane.send(parcel(2, 600))
    [(size_bytes, start_s)] = lane.under_way(time.monotonic())
    assert size_bytes == 600
    assert lane.under_way(start_s - 1.0) == []
    assert loop.lanes_busy == 1
    run_until(loop, lambda: len(listener.receipts) == 3)
    assert listener.receipts[2].start_s == start_s


def test_waiting_for_credit_counts_as_queue(loop):
    hub = NotingHub(loop, limits=Limits(window_parcels=1))
    hub.hold = True
    lane, listener = lane_to(loop, hub.endpoint)
    lane.send(parcel(0))
    lane.send(parcel(1))
    run_for(loop, 0.03)
    assert len(listener.receipts) == 1
    released_s = time.monotonic()
    hub.releases[0]()
    run_until(loop, lambda: len(listener.receipts) == 2)
    assert listener.receipts[1].queued_s < released_s <= listener.receipts[1].start_s


def test_parcels_wait_for_a_hub_that_comes_later(loop):
    probe = NotingHub(loop)
    port = probe.hub.port
    probe.hub.close()
    lane, listener = lane_to(loop, f"tcp://127.0.0.1:{port}")
    lane.send(parcel(4))
    run_until(loop, lambda: lane.why == "nothing answers there")
    hub = reopened(loop, port)
    run_until(loop, lambda: listener.receipts)
    assert hub.requests == [4]


def test_everything_arrives_once_and_in_order_over_cuts(loop, cut):
    hub, proxy, lane, listener = cut
    for request in range(400):
        lane.send(parcel(request, 30_000))
    for share in (50, 150, 250):
        run_until(loop, lambda share=share: len(hub.parcels) >= share)
        proxy.cut()
        run_for(loop, 0.02)
        proxy.restore()
    run_until(loop, lambda: len(listener.receipts) == 400)
    assert hub.requests == list(range(400))
    assert [receipt.request for receipt in listener.receipts] == list(range(400))
    assert all(later.start_s >= earlier.finish_s for earlier, later in pairwise(listener.receipts))
    assert listener.lost_parcels == []
    assert hub.hub.unreleased == loop.lanes_busy == 0


def test_a_redial_loses_nothing(loop, cut):
    hub, _, lane, listener = cut
    for request in range(60):
        lane.send(parcel(request, 100_000))
        if request % 10 == 5:
            run_until(loop, lambda: lane.state == "up")
            lane.redial()
    run_until(loop, lambda: len(listener.receipts) == 60)
    assert hub.requests == list(range(60))


def test_credit_survives_a_cut(loop):
    hub = NotingHub(loop, limits=Limits(window_parcels=3))
    hub.hold = True
    proxy = Proxy(hub.hub.port)
    lane, listener = lane_to(loop, proxy.endpoint)
    for request in range(9):
        lane.send(parcel(request))
    run_until(loop, lambda: len(hub.parcels) == 3)
    proxy.cut()
    hub.releases[0]()
    hub.releases[1]()
    run_until(loop, lambda: lane.state != "up")
    proxy.restore()
    run_until(loop, lambda: len(hub.parcels) == 5)
    run_for(loop, 0.02)
    assert hub.hub.unreleased == 3
    hub.hold = False
    for release in hub.releases:
        release()
    run_until(loop, lambda: len(listener.receipts) == 9)
    assert hub.requests == list(range(9))
    proxy.close()


def test_a_new_incarnation_of_the_peer_loses_what_waits(loop, cut):
    hub, proxy, lane, listener = cut
    hub.hold = True
    run_until(loop, lambda: lane.state == "up")
    proxy.cut()
    hub.hub.close()
    for request in range(3):
        lane.send(parcel(request))
    # The port's next owner says another incarnation, as a process that was started anew does.
    loop.incarnation += 1
    anew = reopened(loop, hub.hub.port)
    proxy.restore()
    run_until(loop, lambda: listener.lost_parcels)
    assert [lost.request for lost in listener.lost_parcels] == [0, 1, 2]
    assert lane.waiting == lane.bytes_waiting == 0
    lane.send(parcel(7))
    run_until(loop, lambda: listener.receipts)
    assert anew.requests == [7]
    assert hub.requests == []


class SendsAgain(Listener):
    def __init__(self):
        super().__init__()
        self.lane = None

    def lost(self, parcels):
        super().lost(parcels)
        for lost in parcels:
            self.lane.send(lost)


def test_a_listener_may_send_again_what_was_lost(loop):
    hub = NotingHub(loop)
    proxy, listener = Proxy(hub.hub.port), SendsAgain()
    listener.lane = Lane(loop, proxy.endpoint, "pi", hub.hub._credentials, listener=listener)
    run_until(loop, lambda: listener.lane.state == "up")
    proxy.cut()
    run_until(loop, lambda: listener.lane.state != "up")
    hub.hub.close()
    for request in range(3):
        listener.lane.send(parcel(request))
    loop.incarnation += 1
    anew = reopened(loop, hub.hub.port)
    proxy.restore()
    run_until(loop, lambda: len(listener.receipts) == 3)
    assert anew.requests == [0, 1, 2]
    assert not anew.hub.dropped
    proxy.close()


def test_close_gives_back_what_waits_and_ends_the_lane(loop):
    hub = NotingHub(loop)
    lane, listener = lane_to(loop, hub.endpoint)
    run_until(loop, lambda: lane.state == "up")
    for request in range(3):
        lane.send(parcel(request, 1_000_000))
    lane.close()
    lane.close()
    assert [lost.request for lost in listener.lost_parcels] == [0, 1, 2]
    assert (lane.state, lane.waiting, loop.lanes_busy) == ("closed", 0, 0)
    with pytest.raises(TransportError, match="closed"):
        lane.send(parcel())
    run_for(loop, 0.01)
    assert listener.receipts == []


def test_more_than_the_limits_is_refused_and_not_queued(loop):
    hub = NotingHub(loop)
    lane, _ = lane_to(loop, hub.endpoint, limits=Limits(message_bytes=10))
    with pytest.raises(TransportError, match="over the limits"):
        lane.send(parcel(0, 11))
    assert lane.waiting == lane.bytes_waiting == 0
