"""What the edge keeps for a follower, and what it tells."""

from __future__ import annotations

import math

import numpy as np
import pytest
from fakes import Fleet, virtual_time
from players import Fixed, Script, Watched
from worlds import make_workload, make_world

from hardware.edge.conductor import Options
from hardware.edge.feed import COLUMNS, Feed, told
from hardware.edge.report import Report
from twin.partition import Partition
from twin.records import SampleKind
from twin.world import Control

EDGE, FOG = (Partition(x, 3) for x in ((0, 0, 0, 0), (1, 1, 1, 1)))


def make_fleet(loop, policy, options=None, **changes):
    workload = make_workload(kind="periodic", clients=0, rate_rps=10.0, requests=None, duration_s=2.0)
    world = make_world(workload=workload, detect_s=0.5, drain_s=3.0, **changes)
    fleet = Fleet(loop, world, policy, options=options or Options(follow=True))
    fleet.start()
    return fleet


@pytest.fixture
def loop():
    with virtual_time() as loop:
        yield loop


class TestFeed:
    def test_rows_are_told_once_and_then_forgotten(self):
        feed = Feed()
        feed.message(1.0, 1, 0, 500.0, 0.01)
        feed.stage(1.1, 2, 0.3, 0.4)
        first, rows = feed.take(0)
        assert (first, rows.shape) == (0, (2, len(COLUMNS)))
        assert rows[0].tolist() == [SampleKind.LINK, 1.0, 2, 500.0, 0.01, -1]
        assert rows[1].tolist() == [SampleKind.STAGE, 1.1, 2, 0.3, 0.4, -1]
        # An answer that was lost on its way is asked for again.
        np.testing.assert_array_equal(feed.take(0)[1], rows)
        feed.ended(1.2, 7, 3, math.nan)
        first, rows = feed.take(2)
        assert (first, rows[0, 0], rows[0, 5], feed.next) == (2, SampleKind.DONE, 7, 3)
        assert math.isnan(rows[0, 4])

    def test_what_nobody_fetches_does_not_grow_without_bound(self, monkeypatch):
        monkeypatch.setattr("hardware.edge.feed._MOST_KEPT", 10)
        feed = Feed()
        for number in range(25):
            feed.stage(float(number), 0, 1.0, 1.0)
        first, rows = feed.take(0)
        assert (first, rows[:, 1].tolist()) == (15, [float(x) for x in range(15, 25)])


class TestTold:
    def test_nothing_is_kept_unless_asked_for(self, loop):
        assert make_fleet(loop, Fixed(EDGE), Options()).lead.feed is None

    @pytest.mark.parametrize("policy", [Fixed, Watched])
    def test_all_is_told_whether_the_policy_looks_or_not(self, loop, policy):
        fleet = make_fleet(loop, policy(EDGE))
        fleet.at(0.42, lambda: fleet.lead.hear(Report(1, 0, links=[[loop.now_s, 0.0, 1.0, 5e4, 0.1]])))
        fleet.run_until(0.45)
        fleet.own = {"stages": [[loop.now_s - 0.01, 0.1, 0.2]]}
        answer, rows = told(fleet.lead, fleet.lead.feed, 0, 0, 0)
        assert answer["t_s"] == pytest.approx(0.45)
        assert answer["arrivals_s"] == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])
        assert answer["plans"] == [
            {"epoch": 0, "decided_s": 0.0, "active_s": pytest.approx(0.0), "placement": [0, 0, 0, 0]}
        ]
        kinds = rows[:, 0].tolist()
        assert kinds.count(SampleKind.DONE) == 4
        (link,) = rows[rows[:, 0] == SampleKind.LINK]
        assert link[2:5].tolist() == [1, 5e4, 0.1]
        # What the edge itself measured need not wait for the next decision.
        (stage,) = rows[rows[:, 0] == SampleKind.STAGE]
        assert stage[1:5] == pytest.approx([0.44, 0, 0.1, 0.2])
        answer, rows = told(fleet.lead, fleet.lead.feed, len(rows), 5, 0)
        assert (answer["arrivals_s"], len(rows), answer["more"]) == ([], 0, False)

    def test_changes_of_the_plan_are_told_with_when_they_came_into_force(self, loop):
        fleet = make_fleet(loop, Script([EDGE, FOG]), control=Control(1.0))
        fleet.run_until(1.5)
        answer, _ = told(fleet.lead, fleet.lead.feed, 0, 0, 1)
        (plan,) = answer["plans"]
        assert plan["placement"] == [1, 1, 1, 1]
        assert 1.0 <= plan["decided_s"] <= plan["active_s"] < 1.1

    def test_following_changes_nothing_for_the_policy(self, loop):
        ends = []
        for follow in (False, True):
            fleet = make_fleet(loop, Watched(EDGE), Options(follow=follow))
            for time_s in (0.31, 0.77, 1.33):
                if follow:
                    fleet.at(time_s, told, fleet.lead, fleet.lead.feed, 0, 0, 0)
            fleet.play()
            log = [{key: x for key, x in entry.items() if key != "took_s"} for entry in fleet.lead.controller.log]
            done_s = fleet.lead.requests.table(0, fleet.world.workload).done_s
            ends.append((log, np.round(done_s, 9).tolist()))
        assert ends[0][1] == ends[1][1]
        assert [e["partition"] for e in ends[0][0]] == [e["partition"] for e in ends[1][0]]
        assert [e["rows"] for e in ends[0][0]] == [e["rows"] for e in ends[1][0]]
