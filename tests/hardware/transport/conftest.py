"""A loop per test, closed with whatever was opened on it."""

import pytest

from hardware.transport.loop import Loop


@pytest.fixture
def loop():
    made = Loop()
    yield made
    made.close()
