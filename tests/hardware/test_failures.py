"""Machines and links that fail in the middle of a run, with real agents: nothing is lost, nothing is answered twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.hardware.rigs import rig
from twin.records import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.hardware.rigs import Rig
    from twin.records import RunResult

pytestmark = pytest.mark.slow

FOG, CLOUD = 1, 2


@pytest.fixture(scope="module")
def testbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with rig(tmp_path_factory.mktemp("failures")) as made:
        yield made


def assert_all_answered(result: RunResult) -> None:
    """Every request ended once, and well."""
    requests = result.requests
    assert len(requests) > 40
    np.testing.assert_array_equal(requests.request, np.arange(len(requests)))
    assert (requests.outcome <= Outcome.LATE).all()
    assert np.isfinite(requests.done_s).all()


def devices_used(result: RunResult, start_s: float, end_s: float) -> set[int]:
    """Devices that computed for requests that arrived in a stretch of time."""
    arrived = result.requests.request[(result.requests.arrival_s >= start_s) & (result.requests.arrival_s < end_s)]
    spans = result.spans
    rows = (spans.place < 3) & (spans.kind == 2) & np.isin(spans.request, arrived)
    return set(spans.place[rows].tolist())


def noticed_s(result: RunResult, device: int, after_s: float) -> float:
    """When the controller first knew that a device was lost."""
    return next(e["t_s"] for e in result.decisions if e["t_s"] > after_s and not e["available"][device])


def test_without_failures_nothing_is_sent_twice(testbed: Rig) -> None:
    result = testbed.play("adaptive")
    assert_all_answered(result)
    assert result.requests.replays.sum() == 0
    assert result.facts["duplicates"] == 0


def test_an_agent_is_killed_and_comes_back(testbed: Rig) -> None:
    result = testbed.play("adaptive", (2.0, lambda: kill(testbed, FOG)))
    assert_all_answered(result)
    assert noticed_s(result, FOG, 2.0) < 2.0 + 0.5 + 0.5
    assert devices_used(result, 3.2, 3.8) == {0}
    assert result.facts["returns"]["fog"] == 1
    assert result.decisions[-1]["available"] == [True, True, True]


def test_everything_but_the_edge_dies(testbed: Rig) -> None:
    result = testbed.play("adaptive", (2.0, lambda: (kill(testbed, FOG), kill(testbed, CLOUD))))
    assert_all_answered(result)
    assert devices_used(result, 3.2, 3.8) == {0}


def test_an_agent_is_frozen_and_thawed(testbed: Rig) -> None:
    result = testbed.play("adaptive", (2.0, lambda: testbed.local.freeze(FOG)), (4.5, lambda: testbed.local.thaw(FOG)))
    assert_all_answered(result)
    assert noticed_s(result, FOG, 2.0) < 2.0 + 0.5 + 0.5
    assert result.facts["returns"]["fog"] == 0
    assert result.decisions[-1]["available"] == [True, True, True]


def test_a_freeze_that_is_shorter_than_the_detection_goes_unnoticed(testbed: Rig) -> None:
    result = testbed.play("far", (2.0, lambda: testbed.local.freeze(FOG)), (2.2, lambda: testbed.local.thaw(FOG)))
    assert_all_answered(result)
    assert result.requests.replays.sum() == 0


def test_a_link_is_cut_and_heals(testbed: Rig) -> None:
    result = testbed.play("adaptive", (2.0, lambda: testbed.local.cut(1)), (4.5, lambda: testbed.local.heal(1)))
    assert_all_answered(result)
    cut = [entry for entry in result.decisions if not entry["link_up"][1]]
    assert cut
    assert cut[0]["t_s"] < 2.0 + 0.5 + 0.5
    assert all(entry["available"][FOG] for entry in cut)
    assert CLOUD not in devices_used(result, 3.2, 4.2)
    assert result.decisions[-1]["link_up"] == [True, True]


def test_a_policy_that_keeps_to_one_device_falls_back_on_the_edge_meanwhile(testbed: Rig) -> None:
    result = testbed.play("far", (2.0, lambda: testbed.local.cut(0)), (4.5, lambda: testbed.local.heal(0)))
    assert_all_answered(result)
    assert devices_used(result, 0.0, 1.4) == {CLOUD}
    assert devices_used(result, 3.2, 4.4) == {0}
    assert devices_used(result, 7.0, 9.0) == {CLOUD}
    assert result.requests.replays.sum() > 0


def kill(testbed: Rig, device: int) -> None:
    """Kill an agent as somebody else would, so that the testbed has to find out."""
    testbed.local.agents._children[device].process.kill()
