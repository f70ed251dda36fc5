from dataclasses import replace

import numpy as np
import pytest
import zmq
from wires import Listener, NotingHub, Talk, lane_to, parcel, run_for, run_until

from hardware.transport.credentials import CURVE_OFF, fresh
from hardware.transport.head import encode
from hardware.transport.hub import Hub
from hardware.transport.lane import Lane
from hardware.transport.parcel import DEFAULT_LIMITS, Limits
from hardware.transport.wire import DATA, DATA_HEAD, Hello, Role
from twin.errors import TransportError


@pytest.fixture
def dealer(loop):
    """A peer that says what it likes."""
    socket = loop.context.socket(zmq.DEALER)
    socket.linger = 0
    return socket


def hello(role, identity="pi", incarnation=5, silent_s=0.0):
    return Hello(role, 1, incarnation, silent_s, identity).pack()


def test_many_parcels_of_two_senders_arrive_once_and_in_order(loop):
    hub = NotingHub(loop)
    lanes = [lane_to(loop, hub.endpoint, name) for name in ("pi", "laptop")]
    for request in range(300):
        for lane, _ in lanes:
            lane.send(parcel(request, size_bytes=request * 40))
    run_until(loop, lambda: all(len(listener.receipts) == 300 for _, listener in lanes))
    for name in ("pi", "laptop"):
        assert [arrived.request for sender, arrived in hub.parcels if sender == name] == list(range(300))
    assert all(
        bytes(arrived.buffers[0]) == parcel(arrived.request, arrived.size_bytes).buffers[0]
        for _, arrived in hub.parcels
    )
    assert not hub.hub.dropped
    assert hub.hub.unreleased == 0
    assert [lane.waiting + lane.bytes_waiting for lane, _ in lanes] == [0, 0]


@pytest.mark.parametrize("size_bytes", [1, 100, 8192, 8193, 300_000])
def test_received_buffers_are_writable_and_aligned(loop, size_bytes):
    torch = pytest.importorskip("torch")
    hub = NotingHub(loop)
    lane, _ = lane_to(loop, hub.endpoint)
    lane.send(parcel(3, size_bytes=size_bytes))
    run_until(loop, lambda: hub.parcels)
    tensor = torch.frombuffer(hub.parcels[0][1].buffers[0], dtype=torch.uint8)
    assert tensor.data_ptr() % 8 == 0
    tensor.add_(1)
    assert tensor.unique().tolist() == [4]


def test_a_consumer_that_releases_nothing_bounds_what_the_hub_holds(loop):
    hub = NotingHub(loop, limits=Limits(window_parcels=4))
    hub.hold = True
    lane, listener = lane_to(loop, hub.endpoint)
    for request in range(20):
        lane.send(parcel(request))
    run_for(loop, 0.05)
    assert hub.requests == [0, 1, 2, 3]
    assert hub.hub.unreleased == 4
    assert lane.waiting == 16
    for taken in range(1, 17):
        hub.releases[taken - 1]()
        hub.releases[taken - 1]()
        run_until(loop, lambda taken=taken: len(hub.parcels) >= 3 + taken)
        assert hub.hub.unreleased <= 4
    hub.hold = False
    for release in hub.releases:
        release()
    run_until(loop, lambda: len(listener.receipts) == 20)
    assert hub.requests == list(range(20))
    assert not hub.hub.dropped


def test_bytes_are_bounded_too_and_a_parcel_larger_than_the_window_still_passes(loop):
    hub = NotingHub(loop, limits=Limits(window_bytes=1000))
    hub.hold = True
    lane, _ = lane_to(loop, hub.endpoint)
    for request, size_bytes in enumerate((600, 5000, 10, 5000)):
        lane.send(parcel(request, size_bytes))
    run_for(loop, 0.05)
    assert hub.requests == [0, 1]
    hub.releases[0]()
    run_for(loop, 0.02)
    assert hub.requests == [0, 1]
    hub.releases[1]()
    run_until(loop, lambda: hub.requests == [0, 1, 2, 3])


def test_receipts_do_not_wait_for_releases(loop):
    hub = NotingHub(loop)
    hub.hold = True
    lane, listener = lane_to(loop, hub.endpoint)
    lane.send(parcel())
    run_until(loop, lambda: listener.receipts)
    assert hub.hub.unreleased == 1


def test_a_lane_over_the_hubs_limits_loses_that_parcel_only(loop):
    hub = NotingHub(loop, limits=Limits(message_bytes=1000))
    lane, listener = lane_to(loop, hub.endpoint)
    for request, size_bytes in enumerate((1000, 1001, 1000)):
        lane.send(parcel(request, size_bytes))
    run_until(loop, lambda: len(listener.receipts) == 2)
    assert [lost.request for lost in listener.lost_parcels] == [1]
    assert hub.requests == [0, 2]
    assert hub.hub.dropped == {"malformed": 1}
    assert lane.waiting == lane.bytes_waiting == hub.hub.unreleased == 0


def test_malformed_frames_are_counted_and_dropped_and_the_hub_goes_on(loop, dealer):
    hub = NotingHub(loop)
    dealer.connect(hub.endpoint)
    luck = np.random.default_rng(1)
    dealer.send(hello(Role.LINE, "rude"))
    sent = 200
    for _ in range(sent):
        frames = [luck.bytes(luck.integers(60)) for _ in range(luck.integers(1, 5))]
        # No hello and no beat by chance: those would be no mistakes.
        dealer.send_multipart([bytes([luck.choice((0, 2, 4, 5, 6, 8, 9, 200))]) + frames[0], *frames[1:]])
    dealer.send_multipart([b"\x09"])
    dealer.send_multipart([b"\x09", b"[" * 100_000])
    dealer.send_multipart([b"\x09", b"[1]"])
    dealer.send_multipart([b"\x09", b"\xff\xfe"])
    dealer.send_multipart([b"\x09", b"{}", *[b""] * 200])
    dealer.send_multipart([b""])
    run_until(loop, lambda: hub.hub.dropped.total() == sent + 6)
    lane, listener = lane_to(loop, hub.endpoint)
    lane.send(parcel())
    run_until(loop, lambda: listener.receipts)
    assert hub.messages == []
    assert set(hub.hub.dropped) == {"malformed"} or set(hub.hub.dropped) == {"malformed", "stranger"}


def test_who_says_no_hello_is_a_stranger(loop, dealer):
    hub = NotingHub(loop)
    dealer.connect(hub.endpoint)
    dealer.send_multipart(encode(parcel(), before=DATA_HEAD.pack(DATA, 1))[0])
    dealer.send_multipart([b"\x09", b"{}"])
    run_until(loop, lambda: hub.hub.dropped["stranger"] == 2)
    assert hub.parcels == hub.messages == []


def test_doubled_skipped_and_uncredited_parcels_never_reach_the_consumer(loop, dealer):
    hub = NotingHub(loop, limits=Limits(window_parcels=2))
    hub.hold = True
    dealer.connect(hub.endpoint)
    dealer.send(hello(Role.LANE))
    for number in (1, 1, 3, 2, 3):
        dealer.send_multipart(encode(parcel(number), before=DATA_HEAD.pack(DATA, number))[0])
    run_until(loop, lambda: hub.hub.dropped.total() == 3)
    assert hub.requests == [1, 2]
    assert hub.hub.dropped == {"doubled": 1, "malformed": 1, "over credit": 1}


@pytest.mark.parametrize(
    "raw", [b"\x01", b"\x01\x63" + bytes(60), b"\x01\x01" + bytes(60), hello(Role.LINE, silent_s=float("nan"))]
)
def test_a_hello_that_cannot_be_read_is_refused_with_words(loop, dealer, raw):
    hub = NotingHub(loop)
    dealer.connect(hub.endpoint)
    dealer.send(raw)
    run_until(loop, lambda: hub.hub.dropped["malformed"] == 1)
    assert dealer.poll(1000)
    assert dealer.recv()[:1] == b"\x03"
    assert hub.events == []


def refusal(loop, endpoint, identity, credentials):
    listener = Listener()
    lane = Lane(loop, endpoint, identity, credentials, listener=listener)
    talk = Talk(loop, endpoint, identity, credentials, silent_s=0.3)
    run_until(loop, lambda: lane.state == "refused" and talk.events)
    lane.close()
    talk.line.close()
    assert talk.states == ["down"]
    return talk.events[0][1]


def test_wrong_keys_are_refused_and_the_dialling_side_says_so(loop):
    machines, others = fresh(["pi", "pc"]), fresh(["pi", "pc"])
    hub = NotingHub(loop, machines["pc"])
    server = machines["pc"].keys.public
    stranger = replace(others["pi"], server=server)
    assert "does not accept this machine's key" in refusal(loop, hub.endpoint, "pi", stranger)
    assert "another key" in refusal(loop, hub.endpoint, "pi", others["pi"].towards("pc"))
    assert "not that of 'pc'" in refusal(loop, hub.endpoint, "pc", machines["pi"].towards("pc"))
    assert refusal(loop, hub.endpoint, "pi", CURVE_OFF)
    assert hub.parcels == hub.messages == hub.events == []
    lane, listener = lane_to(loop, hub.endpoint, "pi/data", machines["pi"].towards("pc"))
    lane.send(parcel())
    run_until(loop, lambda: listener.receipts)
    assert hub.parcels[0][0] == "pi/data"


def test_a_port_that_is_taken_a_second_hub_and_a_missing_key(loop):
    hub = NotingHub(loop)
    with pytest.raises(TransportError, match="cannot listen there"):
        NotingHub(loop, port=hub.hub.port)
    machines = fresh(["pi", "pc"])
    NotingHub(loop, machines["pc"])
    with pytest.raises(TransportError, match="a hub already"):
        NotingHub(loop, machines["pc"])
    with pytest.raises(TransportError, match="towards"):
        lane_to(loop, hub.endpoint, "pi", machines["pi"])
    with pytest.raises(TransportError, match="no address"):
        lane_to(loop, "nonsense", "pi")


def test_a_restarted_peer_is_down_and_up_and_its_old_connection_is_a_stranger(loop, dealer):
    hub = NotingHub(loop)
    dealer.connect(hub.endpoint)
    dealer.send(hello(Role.LINE, silent_s=5.0))
    run_until(loop, lambda: hub.events == [("up", "pi")])
    assert hub.hub.incarnation_of("pi") == 5
    assert hub.hub.peers_up() == ("pi",)
    second = loop.context.socket(zmq.DEALER)
    second.connect(hub.endpoint)
    second.send(hello(Role.LINE, incarnation=6, silent_s=5.0))
    run_until(loop, lambda: len(hub.events) == 3)
    dealer.send_multipart([b"\x09", b"{}"])
    run_until(loop, lambda: hub.hub.dropped["stranger"] == 1)
    assert hub.events[1:] == [("down", "pi"), ("up", "pi")]
    assert hub.hub.incarnation_of("pi") == 6
    assert hub.hub.incarnation_of("pc") is None
    second.close(linger=0)


def test_say_to_nobody_and_what_is_no_json(loop):
    hub = NotingHub(loop)
    assert hub.hub.say("pi", {}) is False
    with pytest.raises(TransportError, match="no JSON"):
        hub.hub.say("pi", {"set": {1}})


def test_an_exception_of_the_consumer_is_not_swallowed(loop):
    def fail(*_):
        raise TransportError("mine")

    hub = Hub(
        loop,
        "tcp://127.0.0.1:*",
        CURVE_OFF,
        on_parcel=fail,
        on_message=fail,
        on_up=fail,
        on_down=fail,
        limits=DEFAULT_LIMITS,
    )
    lane, _ = lane_to(loop, f"tcp://127.0.0.1:{hub.port}")
    lane.send(parcel())
    with pytest.raises(TransportError, match="mine"):
        loop.run()
