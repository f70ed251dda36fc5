import threading
from dataclasses import replace

import pytest
from wires import NotingHub, reopened

from hardware.transport.client import Client
from hardware.transport.credentials import CURVE_OFF, fresh
from hardware.transport.loop import Loop
from twin.errors import TransportError


class Served:
    """A hub in a thread of its own."""

    def __init__(self, credentials=CURVE_OFF, port="*", echo=True):
        self.loop = Loop()
        self.noting = reopened(self.loop, port, credentials=credentials, echo=echo)
        self.endpoint = self.noting.endpoint
        self._thread = threading.Thread(target=self.loop.run)
        self._thread.start()

    def end(self):
        self.loop.stop()
        self._thread.join()
        self.loop.close()


@pytest.fixture
def machines():
    return fresh(["coordinator", "pi"])


@pytest.fixture
def served(machines):
    made = Served(machines["pi"])
    yield made
    made.end()


def test_questions_are_answered_with_blobs(served, machines):
    with Client(served.endpoint, "coordinator", machines["coordinator"].towards("pi")) as client:
        for number in range(5):
            assert client.ask({"word": number}, [bytes(100_000), b"x"]) == ({"echo": number}, [bytes(100_000), b"x"])
    assert served.noting.messages[0][1] == {"word": 0, "ask": 1}
    assert served.noting.events == []


def test_the_offset_to_the_same_clock(served, machines):
    with Client(served.endpoint, "coordinator", machines["coordinator"].towards("pi")) as client:
        offset = client.clock_offset()
    assert abs(offset.offset_s) <= offset.uncertainty_s


def test_no_agent_there():
    probe = Loop()
    endpoint = NotingHub(probe).endpoint
    probe.close()
    with Client(endpoint, "coordinator", CURVE_OFF) as client, pytest.raises(TransportError) as found:
        client.ask({}, timeout_s=0.1)
    assert endpoint in str(found.value)
    assert "hardware.agent" in str(found.value)


def test_refused_keys_name_the_remedy(served, machines):
    others = fresh(["coordinator", "pi"])
    for credentials in (
        others["coordinator"].towards("pi"),
        replace(others["coordinator"], server=machines["pi"].keys.public),
        CURVE_OFF,
    ):
        with Client(served.endpoint, "coordinator", credentials) as client:
            with pytest.raises(TransportError, match=r"refused: .*allowed keys"):
                client.ask({}, timeout_s=0.3)
            with pytest.raises(TransportError, match="refused"):
                client.clock_offset(timeout_s=0.1)


def test_a_hub_that_does_not_answer_and_a_late_answer():
    served = Served(echo=False)
    with Client(served.endpoint, "coordinator", CURVE_OFF) as client:
        with pytest.raises(TransportError, match=r"no answer within 0\.05 s"):
            client.ask({"word": "first"}, timeout_s=0.05)
        peer, late, _ = served.noting.messages[0]
        served.noting.echo = True
        served.loop.post(served.noting.hub.answer, peer, late, {"echo": "late"})
        assert client.ask({"word": "second"})[0] == {"echo": "second"}
    served.end()


def test_a_hub_that_comes_back_is_dialled_again():
    served = Served()
    port = served.noting.hub.port
    with Client(served.endpoint, "coordinator", CURVE_OFF) as client:
        client.ask({})
        served.end()
        with pytest.raises(TransportError):
            client.ask({}, timeout_s=0.1)
        again = Served(port=port)
        assert client.ask({"word": 1})[0] == {"echo": 1}
        threading.Timer(0.02, again.end).start()
        again.noting.echo = False
        with pytest.raises(TransportError, match="broke before the answer"):
            client.ask({}, timeout_s=5.0)


def test_a_closed_client_asks_nothing():
    client = Client("tcp://127.0.0.1:1", "coordinator", CURVE_OFF)
    client.close()
    client.close()
    with pytest.raises(TransportError, match="closed"):
        client.ask({})
