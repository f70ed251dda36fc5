"""The proxy with real connections over loopback: order, pace, delay, cuts, and clients that come and go."""

from __future__ import annotations

import math
import socket
import time

import pytest
from sender import Client
from shaping import ShaperThread, one_link, shaped, steps

from hardware.emulation.proxy import Shaper
from twin.errors import EmulationError
from twin.steps import Steps

FAST = Steps.constant(1e9)


def acknowledged_s(client: Client, size_bytes: int) -> float:
    """Time from the first byte of a message to its acknowledgement."""
    start_s = time.monotonic()
    client.send(size_bytes)
    client.ack()
    return time.monotonic() - start_s


def test_a_message_takes_at_least_its_transmission_and_one_round_trip() -> None:
    with shaped(one_link(Steps.constant(8e6), 0.02)) as (shaper, _):
        client = Client(shaper.ports[0])
        acknowledged_s(client, 16)
        assert acknowledged_s(client, 20_000) >= 0.020 + 0.020
        client.close()


def test_a_control_line_is_delayed_but_not_paced() -> None:
    with shaped(one_link(Steps.constant(0.0), 0.02)) as (shaper, _):
        client = Client(shaper.ports[2])
        assert acknowledged_s(client, 1_000_000) >= 0.020
        client.close()


def test_bytes_arrive_unchanged_and_in_order() -> None:
    with shaped(one_link(Steps.constant(400e6), 0.002)) as (shaper, _):
        client = Client(shaper.ports[0])
        tags = [f"tag{k:05d}".encode() for k in range(40)]
        for position, tag in enumerate(tags):
            client.send(20 + 997 * position, tag)
        assert [client.ack() for _ in tags] == tags
        client.close()


def test_connections_of_a_half_duplex_link_share_its_rate() -> None:
    with shaped(one_link(Steps.constant(8e6), half=True)) as (shaper, _):
        up, down = Client(shaper.ports[0]), Client(shaper.ports[1])
        start_s = time.monotonic()
        up.send(15_000)
        down.send(15_000)
        up.ack()
        down.ack()
        assert time.monotonic() - start_s >= 0.030
        up.close()
        down.close()


def test_a_rate_of_zero_holds_data_until_the_trace_goes_on() -> None:
    with shaped(one_link(steps((0.0, 0.0), (0.05, 1e9)))) as (shaper, _):
        client = Client(shaper.ports[0])
        t0_s = time.monotonic()
        shaper.tell(do="start", t0_s=t0_s)
        client.send(50_000)
        client.ack()
        assert time.monotonic() - t0_s >= 0.05
        client.close()


def test_a_fault_of_the_scenario_holds_control_too() -> None:
    with shaped(one_link(FAST, outages_s=((0.0, 0.05),))) as (shaper, _):
        client = Client(shaper.ports[2])
        acknowledged_s(client, 100)
        t0_s = time.monotonic()
        shaper.tell(do="start", t0_s=t0_s)
        client.send(100)
        client.ack()
        assert time.monotonic() - t0_s >= 0.05
        client.close()


@pytest.mark.parametrize("pipe", [0, 2])
def test_a_cut_holds_everything_and_a_heal_lets_it_go_on(pipe: int) -> None:
    with shaped(one_link(FAST)) as (shaper, server):
        client = Client(shaper.ports[pipe])
        acknowledged_s(client, 100)
        shaper.tell(do="cut", link=0)
        client.send(100_000)
        late = Client(shaper.ports[pipe])
        late.send(100)
        client.socket.settimeout(0.05)
        with pytest.raises(TimeoutError):
            client.ack()
        assert server.accepted == 1
        shaper.tell(do="heal", link=0)
        client.socket.settimeout(5.0)
        assert client.ack() == late.ack() == b"12345678"
        client.close()
        late.close()


def test_a_cut_may_close_connections() -> None:
    with shaped(one_link(FAST)) as (shaper, server):
        client = Client(shaper.ports[0])
        acknowledged_s(client, 100)
        shaper.tell(do="cut", link=0, reset=True)
        assert client.socket.recv(1) == b""
        assert server.gone.acquire(timeout=5.0)
        shaper.tell(do="heal", link=0)
        again = Client(shaper.ports[0])
        assert acknowledged_s(again, 100) > 0.0
        again.close()
        client.close()


def test_what_a_client_leaves_behind_in_a_cut_is_not_delivered() -> None:
    with shaped(one_link(FAST)) as (shaper, server):
        client = Client(shaper.ports[0])
        acknowledged_s(client, 100)
        shaper.tell(do="cut", link=0)
        client.send(100_000)
        client.close()
        assert not server.gone.acquire(timeout=0.03)
        shaper.tell(do="heal", link=0)
        assert server.gone.acquire(timeout=5.0)
        again = Client(shaper.ports[0])
        again.send(100, b"another!")
        assert again.ack() == b"another!"
        again.close()


def test_what_a_client_wrote_before_it_left_is_delivered() -> None:
    with shaped(one_link(Steps.constant(80e6), 0.01)) as (shaper, server):
        client = Client(shaper.ports[0])
        client.send(200_000)
        client.close()
        assert server.gone.acquire(timeout=5.0)
        assert server.accepted == 1


def test_a_device_that_does_not_listen_refuses() -> None:
    free = socket.create_server(("127.0.0.1", 0))
    port = free.getsockname()[1]
    free.close()
    shaper = ShaperThread(one_link(FAST))
    client = Client(shaper.ports[0])
    with pytest.raises(ConnectionError):
        acknowledged_s(client, 100)
    client.close()
    shaper.tell(do="aim", device=1, port=port)
    client = Client(shaper.ports[0])
    with pytest.raises(ConnectionError):
        acknowledged_s(client, 100)
    client.close()
    shaper.close()


def test_a_client_hears_that_its_device_has_gone() -> None:
    with shaped(one_link(FAST)) as (shaper, server):
        client = Client(shaper.ports[0])
        acknowledged_s(client, 100)
        server.close()
        assert client.socket.recv(1) == b""
        client.close()


def test_lateness_is_reported() -> None:
    with shaped(one_link(FAST)) as (shaper, _):
        assert shaper.tell(do="report")["mean_late_s"] is None
        client = Client(shaper.ports[0])
        acknowledged_s(client, 100_000)
        report = shaper.tell(do="report")
        assert report["chunks"] >= 7
        assert 0.0 <= report["mean_late_s"] <= report["worst_late_s"] < math.inf
        client.close()


@pytest.mark.parametrize("command", [{"do": "dance"}, {}, {"do": "cut"}, {"do": "cut", "link": 7}, {"do": "start"}])
def test_a_malformed_command_is_named(command: dict[str, object]) -> None:
    shaper = Shaper(one_link(FAST))
    with pytest.raises(EmulationError, match="shaper"):
        shaper.obey(command)
    shaper.close()
