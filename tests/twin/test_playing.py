"""Many plays: the same wherever they are played, in order, and errors that name the policy."""

from __future__ import annotations

import numpy as np
import pytest
from players import Fixed
from worlds import make_problem, make_world

from twin import playing
from twin.engine.events import EventsEngine
from twin.errors import PartitionError
from twin.playing import Play, play_all
from twin.policies.adaptive import Adaptive


def plays():
    return [Play(Adaptive(), label, replication) for label in ("a", "b") for replication in range(3)]


@pytest.mark.parametrize("jobs", [2, None])
def test_other_processes_give_the_same_results_in_the_same_order(jobs, monkeypatch):
    world = make_world(dispersion=np.full(3, 0.2))
    seen = []
    here = play_all(world, plays(), EventsEngine(), seen.append)
    monkeypatch.setattr(playing, "_PATIENCE_S", -1.0)
    there = play_all(world, plays(), EventsEngine(), seen.append, jobs)
    assert [(x.label, x.requests.replication[0]) for x in there] == [(x.label, x.replication) for x in plays()]
    for one, other in zip(here, there, strict=True):
        assert np.array_equal(one.requests.done_s, other.requests.done_s)
        assert one.decisions == other.decisions
    assert seen == [*plays(), *plays()]


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_illegal_partition_names_the_policy(jobs, monkeypatch):
    monkeypatch.setattr(playing, "_PATIENCE_S", -1.0)
    world = make_world(problem=make_problem(pinned={0: 0}))
    bad = [Play(Fixed(world.problem.on_device(2)), "far", replication) for replication in range(2)]
    with pytest.raises(PartitionError, match=r"policies\.far: .*pinned layer.*; change the policy or the limit"):
        play_all(world, bad, EventsEngine(), lambda _: None, jobs)
