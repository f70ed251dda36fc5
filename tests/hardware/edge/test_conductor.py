"""The run as the edge leads it, on a virtual clock with machines that exist in name only."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fakes import Fleet, virtual_time
from hypothesis import given, settings
from hypothesis import strategies as st
from players import Fixed, Script, Watched, run
from worlds import make_problem, make_workload, make_world

from hardware.edge.conductor import Options
from hardware.edge.report import Report
from twin.errors import TransportError
from twin.partition import Partition
from twin.problem import LinkProbe, Objective
from twin.records import Outcome, Reason
from twin.world import Control


def partition(*placement):
    return Partition(tuple(placement), 3)


EDGE, FOG, CLOUD, SPLIT = (partition(*x) for x in ((0, 0, 0, 0), (1, 1, 1, 1), (2, 2, 2, 2), (0, 0, 1, 1)))
LAPTOP, PC, WLAN = ("device", 1), ("device", 2), ("link", 0)


def periodic(rate_rps=10.0, **changes):
    return make_workload(kind="periodic", clients=0, rate_rps=rate_rps, **{"requests": None, **changes})


def table(fleet):
    return fleet.lead.requests.table(0, fleet.world.workload)


def counts(fleet):
    requests = table(fleet)
    return {outcome.name.lower(): int(np.sum(requests.outcome == outcome)) for outcome in Outcome}


@pytest.fixture
def loop():
    with virtual_time() as loop:
        yield loop


def make_fleet(loop, policy, options=None, **world):
    world = {"workload": periodic(duration_s=2.0), "detect_s": 0.5, "drain_s": 3.0, **world}
    fleet = Fleet(loop, make_world(**world), policy, options=options)
    fleet.start()
    return fleet


class TestArrivals:
    def test_open_loop_requests_come_when_the_twin_says(self, loop):
        workload = make_workload(kind="poisson", clients=0, rate_rps=8.0, requests=None, duration_s=3.0)
        fleet = make_fleet(loop, Fixed(EDGE), workload=workload)
        fleet.play()
        simulated = run(fleet.world, Fixed(EDGE)).requests
        assert table(fleet).arrival_s == pytest.approx(simulated.arrival_s, abs=0)
        assert counts(fleet)["ok"] == len(simulated)
        assert fleet.ends == 1

    def test_latency_is_counted_from_when_a_request_should_have_come(self, loop):
        fleet = make_fleet(loop, Fixed(EDGE))
        fleet.run_until(0.95)
        loop.sleep(0.2)
        fleet.play()
        assert table(fleet).latency_s[10] == pytest.approx(0.15 + 0.1)

    def test_a_closed_loop_thinks_and_asks_again(self, loop):
        workload = make_workload(clients=2, requests=10, think_time_s=0.3)
        fleet = make_fleet(loop, Fixed(EDGE), workload=workload)
        fleet.play()
        requests = table(fleet)
        assert requests.arrival_s == pytest.approx(np.repeat(np.arange(5) * 0.4, 2))
        assert list(np.bincount(requests.client)) == [5, 5]
        assert fleet.lead.over

    def test_a_closed_loop_ends_by_time(self, loop):
        fleet = make_fleet(loop, Fixed(EDGE), workload=make_workload(clients=1, requests=None, duration_s=1.0))
        fleet.play()
        assert len(table(fleet)) == 10
        assert counts(fleet)["ok"] == 10

    def test_the_interval_may_be_counted_in_requests(self, loop):
        fleet = make_fleet(loop, Fixed(EDGE), control=Control(None, 4), workload=make_workload(requests=10))
        fleet.play()
        assert [entry["arrived"] for entry in fleet.lead.controller.log] == [0, 4, 4]


class TestEnds:
    def test_late_is_what_exceeds_the_deadline(self, loop):
        fleet = make_fleet(loop, Fixed(EDGE), objective=Objective(deadline_s=0.15))
        fleet.at(0.95, fleet.latency_s.update, {0: 0.2})
        fleet.play()
        assert counts(fleet) == {"ok": 10, "late": 10, "dropped": 0, "failed": 0}

    def test_what_a_queue_has_no_room_for_is_dropped(self, loop):
        fleet = make_fleet(loop, Watched(EDGE))
        fleet.at(0.45, lambda: setattr(fleet, "answers", False))
        fleet.at(0.55, lambda: setattr(fleet, "answers", True))
        fleet.at(0.6, fleet.own.update, {"dropped": [[5, 0], [5, 0], [99, 0]]})
        fleet.play()
        requests = table(fleet)
        assert counts(fleet) == {"ok": 19, "late": 0, "dropped": 1, "failed": 0}
        assert (requests.outcome[5], requests.reason[5]) == (Outcome.DROPPED, Reason.QUEUE_LIMIT)

    def test_the_drain_time_cuts_off_what_is_not_answered(self, loop):
        fleet = make_fleet(loop, Fixed(EDGE), drain_s=1.0)
        fleet.at(1.55, fleet.latency_s.update, {0: 60.0})
        fleet.play()
        requests = table(fleet)
        assert fleet.lead.clock.now_s == pytest.approx(3.0, abs=0.1)
        assert set(requests.reason[16:]) == {Reason.UNFINISHED}
        assert counts(fleet) == {"ok": 16, "late": 0, "dropped": 0, "failed": 4}
        assert fleet.ends == 1

    def test_an_answer_after_the_drain_time_does_not_count(self, loop):
        fleet = make_fleet(loop, Fixed(EDGE), drain_s=0.0)
        fleet.latency_s[0] = 0.35
        fleet.play()
        assert np.nanmax(table(fleet).done_s) <= 2.0
        loop.run_for(5.0)
        assert counts(fleet)["failed"] == 3
        assert fleet.lead.ledger.duplicates == 0

    def test_the_run_is_over_with_its_last_answer(self, loop):
        fleet = make_fleet(loop, Fixed(EDGE), drain_s=60.0)
        fleet.play()
        assert fleet.lead.clock.now_s == pytest.approx(2.0, abs=0.1)

    def test_a_workload_without_any_request_ends(self, loop):
        fleet = make_fleet(loop, Fixed(EDGE), workload=periodic(0.1, duration_s=1.0))
        fleet.play()
        assert len(table(fleet)) <= 1
        assert fleet.lead.over

    def test_halted_it_stays_as_it_is(self, loop):
        workload = make_workload(clients=3, requests=None, duration_s=60.0)
        fleet = make_fleet(loop, Fixed(EDGE), workload=workload)
        fleet.run_until(1.05)
        before = counts(fleet), len(table(fleet))
        fleet.lead.halt()
        fleet.lead.halt()
        loop.run_for(5.0)
        assert (counts(fleet), len(table(fleet))) == before
        assert counts(fleet)["failed"] == 3
        assert set(table(fleet).reason[-3:]) == {Reason.UNFINISHED}
        assert (fleet.ends, fleet.lead.ledger.duplicates) == (1, 0)
        assert fleet.lead.clock.now_s == pytest.approx(1.05)


class TestChanges:
    def test_the_old_plan_serves_while_the_new_one_is_prepared(self, loop):
        fleet = make_fleet(loop, Script([EDGE, FOG]), control=Control(1.0))
        fleet.prepare_s[1] = 0.25
        fleet.play()
        requests = table(fleet)
        assert np.array_equal(requests.epoch, (requests.arrival_s > 1.25).astype(int))
        assert fleet.holds == []
        entry = fleet.lead.switch.log[1]
        assert entry["ready_s"] == entry["active_s"] == pytest.approx(1.25)
        assert entry["downtime_s"] == 0.0

    def test_requests_wait_while_no_plan_is_ready_at_all(self, loop):
        world = make_world(workload=periodic(duration_s=1.0))
        fleet = Fleet(loop, world, Fixed(FOG))
        fleet.prepare_s[1] = 0.45
        fleet.lead.prepare()
        fleet.lead.start(loop.now_s)
        fleet.play()
        assert [(request, round(end_s - start_s, 6)) for request, start_s, end_s in fleet.holds] == [
            (0, 0.45), (1, 0.35), (2, 0.25), (3, 0.15), (4, 0.05)
        ]  # fmt: skip
        assert [request for request, _, _ in fleet.sent] == list(range(10))

    def test_the_downtime_of_the_scenario_is_played(self, loop):
        fleet = make_fleet(loop, Script([EDGE, SPLIT]), Options(downtime_s=0.32), control=Control(0.95))
        fleet.play()
        assert [request for request, _, _ in fleet.holds] == [10, 11, 12]
        assert [end_s for _, _, end_s in fleet.holds] == pytest.approx([0.95 + 0.005 + 0.32] * 3, abs=1e-6)
        assert fleet.lead.switch.log[1]["downtime_s"] == pytest.approx(0.32)
        assert fleet.lead.switch.log[0]["downtime_s"] == 0.0
        order = [request for request, _, _ in fleet.sent]
        assert order == sorted(order)

    def test_pausing_holds_back_until_all_is_answered_and_ready(self, loop):
        fleet = make_fleet(loop, Script([EDGE, FOG]), Options("pause"), control=Control(1.0))
        fleet.prepare_s[1] = 0.05
        fleet.latency_s[0] = 0.35
        fleet.play()
        entry = fleet.lead.switch.log[1]
        # The last request before the decision at 1 s came at 0.9 s and took 0.35 s.
        assert entry["ready_s"] == pytest.approx(1.05)
        assert entry["active_s"] == pytest.approx(1.25)
        assert entry["downtime_s"] == pytest.approx(0.25)
        assert [request for request, _, _ in fleet.holds] == [10, 11, 12]
        assert counts(fleet)["ok"] == 20

    def test_pausing_waits_for_the_machines_where_nothing_is_under_way(self, loop):
        fleet = make_fleet(loop, Script([EDGE, FOG]), Options("pause", downtime_s=0.1), control=Control(1.0))
        fleet.prepare_s[1] = 0.5
        fleet.play()
        entry = fleet.lead.switch.log[1]
        assert entry["active_s"] == pytest.approx(1.5)
        assert entry["downtime_s"] == pytest.approx(0.6)

    def test_a_pause_counts_from_its_beginning_though_its_target_changes(self, loop):
        fleet = make_fleet(loop, Script([EDGE, FOG, CLOUD]), Options("pause"), control=Control(0.5))
        fleet.prepare_s = {1: 5.0, 2: 0.2}
        fleet.play()
        first, second = fleet.lead.switch.log[1:3]
        assert (first["active_s"], first["downtime_s"]) == (None, 0.0)
        assert second["active_s"] == pytest.approx(1.2)
        assert second["downtime_s"] == pytest.approx(0.7)
        assert counts(fleet)["ok"] == 20

    def test_a_change_that_is_taken_back_while_pausing_lets_requests_go_in_order(self, loop):
        fleet = make_fleet(loop, Script([EDGE, FOG, EDGE]), Options("pause"), control=Control(0.5))
        fleet.prepare_s[1] = 5.0
        fleet.play()
        order = [request for request, _, _ in fleet.sent]
        assert order == list(range(20))
        assert fleet.lead.switch.log[2]["downtime_s"] == pytest.approx(0.505)

    def test_going_back_to_the_plan_in_force_costs_no_downtime(self, loop):
        fleet = make_fleet(loop, Script([EDGE, FOG, EDGE]), Options(downtime_s=0.4), control=Control(0.5))
        fleet.prepare_s[1] = 5.0
        fleet.play()
        assert fleet.holds == []
        assert all(entry["downtime_s"] == 0.0 for entry in fleet.lead.switch.log)

    def test_a_plan_whose_announcement_went_astray_is_announced_again(self, loop):
        fleet = make_fleet(loop, Script([EDGE, FOG]), workload=periodic(duration_s=5.0), control=Control(1.0))
        # The message is lost, and nobody notices that the machine was gone.
        fleet.at(0.99, fleet.down.add, LAPTOP)
        fleet.at(1.02, fleet.down.discard, LAPTOP)
        fleet.play()
        assert fleet.told.count((1, (1,))) == 2
        assert fleet.lead.switch.log[1]["active_s"] == pytest.approx(2.1, abs=0.15)

    def test_a_word_of_being_ready_that_went_astray_is_made_up_for_by_a_report(self, loop):
        fleet = make_fleet(loop, Script([EDGE, FOG]), control=Control(1.0))
        fleet.prepare_s[1] = 0.03
        fleet.at(1.02, fleet.down.add, LAPTOP)
        fleet.at(1.04, fleet.down.discard, LAPTOP)
        fleet.at(1.05, lambda: fleet.plans[1].update({1: 1}))
        fleet.play()
        assert fleet.told.count((1, (1,))) == 1
        assert 1.05 <= fleet.lead.switch.log[1]["active_s"] < 1.2


class TestLosses:
    policy = Script([FOG], fallback=EDGE)

    def test_what_was_under_way_is_sent_again_once_on_the_new_plan(self, loop):
        fleet = make_fleet(loop, self.policy, workload=periodic(duration_s=4.0), control=Control(10.0))
        fleet.at(1.05, fleet.lose, LAPTOP)
        fleet.at(1.45, fleet.notice)
        fleet.play()
        requests = table(fleet)
        assert counts(fleet) == {"ok": 40, "late": 0, "dropped": 0, "failed": 0}
        # That of 1.0 s was not answered yet, those of 1.1 s to 1.4 s were sent to nobody.
        assert list(np.flatnonzero(requests.replays)) == [10, 11, 12, 13, 14]
        again = [entry for entry in fleet.sent if entry[1] == 1]
        assert again == [(request, 1, 1) for request in range(10, 15)]
        assert [len([x for x in fleet.sent if x[0] == request]) for request in (9, 10, 14, 15)] == [1, 2, 2, 1]
        assert fleet.lead.ledger.duplicates == 0
        lost = [entry for entry in fleet.lead.controller.log if not entry["available"][1]]
        assert len(lost) == 1
        assert lost[0]["t_s"] == pytest.approx(1.45)
        # It lies on the only way to the pc.
        assert lost[0]["available"] == [True, False, False]

    def test_silence_alone_tells_too(self, loop):
        fleet = make_fleet(loop, Script([CLOUD], fallback=EDGE), workload=periodic(duration_s=3.0))
        fleet.at(1.05, fleet.lose, PC)
        fleet.play()
        assert counts(fleet)["ok"] == 30
        assert np.sum(table(fleet).replays) > 4
        noticed_s = min(entry["t_s"] for entry in fleet.lead.controller.log if not entry["available"][2])
        assert 1.4 < noticed_s < 1.8

    def test_a_policy_that_stays_loses_them_the_second_time(self, loop):
        fleet = make_fleet(loop, Fixed(FOG), workload=periodic(duration_s=3.0))
        fleet.at(1.05, fleet.lose, LAPTOP)
        fleet.at(1.45, fleet.notice)
        fleet.play()
        requests = table(fleet)
        lost = requests.reason == Reason.LOST
        assert list(np.flatnonzero(lost)) == list(range(10, 30))
        assert np.all(requests.replays[lost] == 1)
        assert np.all(requests.outcome[lost] == Outcome.FAILED)

    def test_a_second_loss_fails_what_was_sent_again(self, loop):
        fleet = make_fleet(loop, Script([CLOUD], fallback=FOG), workload=periodic(duration_s=4.0))
        fleet.latency_s[1] = 0.6
        fleet.at(1.05, fleet.lose, PC)
        fleet.at(1.9, fleet.lose, LAPTOP)
        fleet.at(2.0, fleet.notice)
        fleet.play()
        requests = table(fleet)
        twice = requests.reason == Reason.LOST
        assert np.all(requests.replays[twice] == 1)
        assert {10, 11, 12, 13} <= set(np.flatnonzero(twice))
        assert sum(counts(fleet).values()) == len(requests) == 40

    def test_a_closed_loop_client_does_not_spin(self, loop):
        workload = make_workload(clients=2, requests=None, duration_s=4.0)
        fleet = make_fleet(loop, Fixed(FOG), workload=workload)
        fleet.at(1.05, fleet.lose, LAPTOP)
        fleet.at(1.45, fleet.notice)
        fleet.play()
        assert 2 * 4 <= np.sum(table(fleet).reason == Reason.LOST) <= 2 * 7

    def test_a_machine_that_returns_is_told_its_plan_and_used_again(self, loop):
        fleet = make_fleet(loop, Script([FOG], fallback=EDGE), workload=periodic(duration_s=6.0), control=Control(0.5))
        fleet.at(1.05, fleet.lose, LAPTOP)
        fleet.at(1.45, fleet.notice)
        fleet.at(3.0, fleet.heal, LAPTOP)
        fleet.at(3.05, fleet.notice)
        fleet.play()
        requests = table(fleet)
        assert counts(fleet)["ok"] == 60
        epochs = {entry["epoch"]: entry["partition"]["placement"][0] for entry in fleet.lead.controller.log}
        used = np.array([epochs[epoch] for epoch in requests.epoch])
        assert np.all(used[(requests.arrival_s > 1.6) & (requests.arrival_s < 3.0)] == 0)
        assert np.all(used[requests.arrival_s > 3.5] == 1)

    def test_a_machine_that_started_anew_unnoticed_gets_its_plan_back(self, loop):
        fleet = make_fleet(loop, Fixed(FOG), workload=periodic(duration_s=4.0), detect_s=2.0)
        fleet.at(1.0, lambda: fleet.plans.pop(1))
        fleet.play()
        assert fleet.told[-1] == (0, (1,))
        assert fleet.plans[1] == {0: 1}

    def test_a_link_that_others_tell_of_is_lost_too(self, loop):
        fleet = make_fleet(loop, Script([CLOUD], fallback=FOG), workload=periodic(duration_s=3.0))
        fleet.at(1.05, fleet.lose, ("link", 1))
        fleet.at(1.3, fleet.notice)
        fleet.play()
        assert counts(fleet)["ok"] == 30
        entry = next(entry for entry in fleet.lead.controller.log if not entry["link_up"][1])
        assert entry["available"] == [True, True, False]

    def test_the_edge_alone_goes_on_whatever_is_lost(self, loop):
        fleet = make_fleet(loop, Fixed(EDGE), workload=periodic(duration_s=3.0))
        fleet.at(0.5, fleet.lose, LAPTOP, PC, WLAN)
        fleet.play()
        assert counts(fleet)["ok"] == 30
        assert np.sum(table(fleet).replays) == 0

    def test_a_doubled_answer_is_counted_and_changes_nothing(self, loop):
        fleet = make_fleet(loop, Fixed(EDGE))
        fleet.run_until(0.55)
        before = table(fleet).done_s[3]
        assert not fleet.lead.answered(3)
        assert not fleet.lead.answered(12345)
        assert not fleet.lead.answered(-1)
        assert fleet.lead.ledger.duplicates == 3
        fleet.play()
        assert table(fleet).done_s[3] == before
        assert counts(fleet)["ok"] == 20

    def test_the_first_answer_counts_of_a_request_that_was_sent_twice(self, loop):
        fleet = make_fleet(loop, Fixed(FOG))
        fleet.latency_s[1] = 0.5
        fleet.run_until(0.3)
        fleet.lead.ledger.lost(1, 0)
        fleet.play()
        requests = table(fleet)
        assert requests.replays[1] == 1
        assert requests.latency_s[1] == pytest.approx(0.5)
        assert fleet.lead.ledger.duplicates == 1
        assert counts(fleet)["ok"] == 20

    def test_what_is_held_back_after_a_loss_may_be_answered_all_the_same(self, loop):
        fleet = make_fleet(loop, Script([FOG, CLOUD]), Options("pause"), control=Control(1.0))
        fleet.latency_s[1] = 0.4
        fleet.prepare_s[2] = 1.0
        fleet.at(1.2, fleet.lead.ledger.lost, 9, 0)
        fleet.play()
        requests = table(fleet)
        assert requests.done_s[9] == pytest.approx(1.3)
        assert [entry for entry in fleet.sent if entry[0] == 9] == [(9, 0, 0)]
        assert (9, pytest.approx(1.2), pytest.approx(1.3)) in fleet.holds
        assert fleet.lead.ledger.duplicates == 0

    def test_word_of_a_loss_that_is_settled_is_not_heeded(self, loop):
        fleet = make_fleet(loop, Fixed(FOG))
        fleet.latency_s[1] = 0.5
        fleet.run_until(0.35)
        fleet.lead.ledger.lost(1, 0)
        for stale in ((1, 0), (0, 1), (77, 0)):
            fleet.lead.ledger.lost(*stale)
        assert [entry for entry in fleet.sent if entry[1] == 1] == [(1, 1, 0)]
        fleet.play()
        assert counts(fleet)["ok"] == 20

    def test_what_failed_waits_for_the_decision_that_follows_its_loss(self, loop):
        # The same report says that a link is silent and what failed on it.
        fleet = make_fleet(loop, self.policy, workload=periodic(duration_s=3.0), control=Control(10.0))
        fleet.at(1.05, fleet.lose, LAPTOP)
        fleet.at(1.35, fleet.own.update, {"failed": [[10, 0], [11, 0]]})
        fleet.at(1.36, fleet.notice)
        fleet.play()
        assert counts(fleet)["ok"] == 30
        assert [entry for entry in fleet.sent if entry[:2] == (10, 1)] == [(10, 1, 1)]

    def test_so_does_what_failed_when_the_decision_is_due(self, loop):
        fleet = make_fleet(loop, Script([FOG, EDGE]), control=Control(1.0))
        fleet.at(0.85, lambda: setattr(fleet, "answers", False))
        fleet.at(0.99, fleet.own.update, {"failed": [[9, 0]]})
        fleet.play()
        # The edge has had the new plan ready by then, and what failed goes on it.
        assert [entry for entry in fleet.sent if entry[:2] == (9, 1)] == [(9, 1, 0)]

    def test_a_pause_ends_though_the_last_request_under_way_is_lost(self, loop):
        fleet = make_fleet(loop, Script([FOG, EDGE]), Options("pause"), control=Control(1.0))
        fleet.latency_s[1] = 0.15
        fleet.at(0.85, lambda: setattr(fleet, "answers", False))
        fleet.at(1.2, lambda: setattr(fleet, "answers", True))
        fleet.at(1.3, fleet.lead.ledger.lost, 9, 0)
        fleet.play()
        assert fleet.lead.switch.log[1]["active_s"] == pytest.approx(1.3)
        assert counts(fleet)["ok"] == 20

    def test_an_edge_that_was_stopped_for_long_loses_nobody(self, loop):
        fleet = make_fleet(loop, Script([FOG], fallback=EDGE), workload=periodic(duration_s=8.0))
        fleet.run_until(1.05)
        loop.sleep(3.0)
        fleet.play()
        assert counts(fleet)["ok"] == 80
        assert np.sum(table(fleet).replays) == 0
        assert all(entry["available"] == [True, True, True] for entry in fleet.lead.controller.log)

    def test_a_lost_machine_shows_no_queue(self, loop):
        fleet = make_fleet(loop, Watched(EDGE), workload=periodic(duration_s=3.0), control=Control(0.5))
        busy = Report(1, 7, open=[[-1.0, 1.0, 0.1, loop.now_s]], lanes=[[0, 1, 2]])
        fleet.at(0.9, fleet.lead.hear, busy)
        fleet.at(0.91, fleet.lose, LAPTOP)
        fleet.at(0.92, fleet.down.add, PC)
        fleet.play()
        shown = {round(entry["t_s"], 3): entry for entry in fleet.lead.controller.log}
        assert shown[1.0]["queue_length"][1] == 7
        assert shown[1.0]["link_queue"][0] == [0, 2]
        last = fleet.lead.controller.log[-1]
        assert last["available"] == [True, False, False]
        assert last["queue_length"] == [0, 0, 0]
        assert last["link_queue"][0] == [0, 0]


class TestSamples:
    def test_times_of_other_clocks_are_shifted_to_run_time(self, loop):
        world = make_world(workload=periodic(duration_s=2.0), detect_s=0.5)
        fleet = Fleet(loop, world, Watched(EDGE), options=Options(shift_s=(0.0, 500.0, 0.0)))
        fleet.start()
        zero_s = fleet.lead.clock.zero_s
        there_s = zero_s - 500.0
        report = Report(
            1, 1, links=[[there_s + 0.6, 0.0, 1.0, 5e4, 0.1]], stages=[[there_s + 0.5, 0.1, 0.2]],
            open=[[-1.0, 1.0, 0.3, there_s + 0.65]],
        )  # fmt: skip
        fleet.at(0.999, fleet.lead.hear, report)
        fleet.play()
        entry = fleet.lead.controller.log[1]
        shown = fleet.lead.controller.raw.samples(*entry["rows"])
        assert shown.link_t_s == pytest.approx([0.6])
        assert shown.stage_t_s == pytest.approx([0.5])
        assert shown.open_service_s == pytest.approx([0.35])
        assert list(shown.done_epoch[:9]) == [0] * 9

    def test_nothing_is_shown_before_it_was(self, loop):
        fleet = make_fleet(loop, Watched(EDGE))
        zero_s = fleet.lead.clock.zero_s
        ahead = Report(1, 0, stages=[[zero_s + 99.0, 0.1, 0.2]], links=[[zero_s + 99.0, 0.0, 0.0, 1e3, 0.1]])
        fleet.at(0.5, fleet.lead.hear, ahead)
        fleet.run_until(0.995)
        loop.sleep(0.004)
        fleet.lead.answered(9)
        loop.sleep(0.01)
        fleet.play()
        for entry in fleet.lead.controller.log:
            shown = fleet.lead.controller.raw.samples(*entry["rows"])
            times_s = np.concatenate([shown.link_t_s, shown.stage_t_s, shown.done_t_s])
            assert np.all(times_s <= entry["t_s"])

    def test_a_policy_that_does_not_look_is_shown_nothing(self, loop):
        fleet = make_fleet(loop, Fixed(EDGE))
        fleet.at(0.5, fleet.lead.hear, Report(1, 3, stages=[[loop.now_s, 0.1, 0.2]]))
        fleet.play()
        assert len(fleet.lead.controller.raw) == 0
        assert all(entry["queue_length"] is None for entry in fleet.lead.controller.log)

    def test_probes_are_passed_on(self, loop):
        probe = LinkProbe(1, 0, 5e4)
        fleet = make_fleet(loop, Script([EDGE], {1: (probe,)}))
        fleet.play()
        assert fleet.probes == [probe]

    def test_a_report_of_machines_that_do_not_exist_is_refused_and_leaves_no_trace(self, loop):
        fleet = make_fleet(loop, Watched(EDGE))
        for report in (Report(9, 0), Report(1, 0, lanes=[[5, 0, 1]])):
            with pytest.raises(TransportError):
                fleet.lead.hear(report)
        fleet.play()
        assert counts(fleet)["ok"] == 20


PLACES = (LAPTOP, PC, WLAN, ("link", 1))
MOVES = st.tuples(
    st.floats(0.0, 4.0),
    st.sampled_from(["lose", "heal", "notice", "answer", "lost", "drop", "slow", "quick", "stall"]),
    st.integers(0, 3),
    st.integers(0, 45),
)


@settings(max_examples=150, deadline=None)
@given(
    moves=st.lists(MOVES, max_size=25),
    plans=st.lists(st.sampled_from([EDGE, FOG, CLOUD, SPLIT]), min_size=1, max_size=5),
    fallback=st.sampled_from([None, EDGE]),
    mode=st.sampled_from(["epoch", "pause"]),
    downtime_s=st.sampled_from([0.0, 0.15]),
    clients=st.sampled_from([0, 3]),
    deadline_s=st.sampled_from([None, 0.3]),
)
def test_every_request_ends_once_whatever_happens(moves, plans, fallback, mode, downtime_s, clients, deadline_s):
    with virtual_time() as loop:
        workload = make_workload(clients=clients, requests=40) if clients else periodic(requests=40)
        world = make_world(
            workload=workload,
            detect_s=0.4,
            drain_s=2.0,
            control=Control(0.5),
            objective=Objective(deadline_s=deadline_s),
        )
        fleet = Fleet(loop, world, Script(plans, fallback=fallback), options=Options(mode, downtime_s))
        fleet.start()
        lead = fleet.lead
        ended = []
        note, lead.requests.end = (
            lead.requests.end,
            lambda request, *rest: (ended.append(request), note(request, *rest)),
        )
        for time_s, move, place, request in moves:
            actions = {
                "lose": lambda place=place: fleet.lose(PLACES[place]),
                "heal": lambda place=place: fleet.heal(PLACES[place]),
                "notice": fleet.notice,
                "answer": lambda request=request: lead.answered(request),
                "lost": lambda request=request, place=place: lead.ledger.lost(request, place % 2),
                "drop": lambda request=request: fleet.own.update({"dropped": [[request, 0]], "failed": [[request, 1]]}),
                "slow": lambda place=place: fleet.latency_s.update({place % 3: 1.0}),
                "quick": lambda place=place: fleet.latency_s.update({place % 3: 0.03}),
                "stall": lambda: loop.sleep(0.7),
            }
            fleet.at(time_s, actions[move])
        fleet.play(60.0)
        requests = table(fleet)
        assert lead.over or clients
        tally = counts(fleet)
        assert sum(tally.values()) == len(requests) <= 40
        assert len(ended) == len(set(ended))
        open_still = np.sum(requests.reason == Reason.UNFINISHED)
        assert lead.under_way == open_still == len(requests) - len(ended)
        assert np.array_equal(np.isfinite(requests.done_s), requests.completed)
        assert np.all(requests.replays[requests.reason == Reason.LOST] == 1)
        # No attempt is sent twice, and none but those that count as replays was sent again.
        assert len({entry[:2] for entry in fleet.sent}) == len(fleet.sent)
        again = {request for request, attempt, _ in fleet.sent if attempt == 1}
        assert again <= set(np.flatnonzero(requests.replays))
        if deadline_s is not None:
            assert np.array_equal(
                requests.outcome[requests.completed] == Outcome.LATE,
                requests.latency_s[requests.completed] > deadline_s,
            )
        before = replace(requests)
        loop.run_for(10.0)
        assert np.array_equal(table(fleet).outcome, before.outcome)


def test_the_edge_plan_names_all_that_a_request_rests_on():
    from hardware.edge.plan import edge_plan

    problem = make_problem()
    assert edge_plan(problem, EDGE, 0).uses == frozenset()
    assert edge_plan(problem, CLOUD, 0).uses == {LAPTOP, PC, WLAN, ("link", 1)}
    assert edge_plan(problem, CLOUD, 0).devices == (2,)
    assert edge_plan(problem, SPLIT, 0).uses == {LAPTOP, WLAN}
    assert edge_plan(problem, SPLIT, 3).devices == (0, 1)
