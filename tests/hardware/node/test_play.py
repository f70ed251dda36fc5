"""One machine's part in a run: what arrives is worked off, passed on, recorded and reported."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes import START_S, virtual_time
from nodes import Bench, Release
from worlds import make_problem, make_world

from hardware.edge.report import Report
from hardware.node.links import MOST_BACKLOG_BYTES
from hardware.node.plans import EPOCHS
from hardware.node.site import EdgeSite
from hardware.transport.lane import Receipt
from hardware.transport.parcel import Kind as ParcelKind
from hardware.transport.parcel import Parcel
from twin.partition import Partition
from twin.records import PROBE, Kind
from twin.topology import Continuum


def partition(*placement):
    return Partition(tuple(placement), 3)


SPLIT, FOG = partition(0, 0, 1, 2), partition(1, 1, 1, 1)
CUT_BYTES = 50_000
"""What the laptop takes under `SPLIT`."""


@pytest.fixture
def loop():
    with virtual_time() as loop:
        yield loop


@pytest.fixture
def bench(loop):
    return Bench(loop, make_world(), 1)


def reports(bench):
    return [Report.from_json(message["report"]) for message in bench.links.of("report")]


def receipt(request=0, epoch=0, number=3, kind=ParcelKind.WORK):
    times_s = (START_S + 1.0, START_S + 1.1, START_S + 1.5, START_S + 1.7)
    return Receipt(kind, request, 0, number * EPOCHS + epoch, 1000, *times_s)


class TestWork:
    def test_a_stage_is_run_and_its_result_handed_on(self, loop, bench):
        bench.plan(0, SPLIT)
        assert bench.links.of("ready") == [{"what": "ready", "play": 3, "epoch": 0, "device": 1}]
        release = Release()
        bench.play.work(bench.parcel(7, 0, CUT_BYTES, attempt=1), release)
        job = bench.station.jobs[0]
        assert (job.request, job.attempt, job.epoch) == (7, 1, 0)
        assert job.visit.nominal_s == pytest.approx(0.010)
        job.start_s = job.arrived_s
        loop.sleep(0.01)
        bench.finish()
        parcel, _ = bench.links.sent[0]
        assert (parcel.kind, parcel.target, parcel.request, parcel.attempt) == (ParcelKind.WORK, 2, 7, 1)
        assert parcel.epoch == 3 * EPOCHS
        assert parcel.size_bytes == 10_000
        columns = bench.play.recorder.columns()
        assert list(columns["kind"]) == [Kind.COMPUTE]
        assert columns["end_s"] - columns["start_s"] == pytest.approx([0.01])

    def test_the_last_stage_answers_to_the_edge(self, loop):
        bench = Bench(loop, make_world(), 2)
        bench.plan(0, SPLIT)
        bench.play.work(bench.parcel(0, 0, 10_000), Release())
        bench.finish()
        parcel, _ = bench.links.sent[0]
        assert (parcel.kind, parcel.target, parcel.size_bytes) == (ParcelKind.ANSWER, 0, 4_000)

    def test_what_comes_before_its_plan_is_ready_waits_in_order(self, loop, bench):
        releases = [Release() for _ in range(3)]
        for request, release in enumerate(releases):
            bench.play.work(bench.parcel(request, 5, CUT_BYTES), release)
        assert len(bench.station) == 0
        bench.plan(4, FOG)
        assert len(bench.station) == 0
        bench.plan(5, SPLIT)
        assert [job.request for job in bench.station.jobs] == [0, 1, 2]
        assert [release.n for release in releases] == [0, 0, 0]

    def test_what_is_early_for_a_plan_that_never_comes_is_let_go_at_the_end(self, loop, bench):
        release = Release()
        bench.play.work(bench.parcel(0, 5, CUT_BYTES), release)
        bench.play.close()
        bench.play.close()
        assert (release.n, bench.station.cleared) == (1, 1)

    def test_parcels_of_another_run_are_dropped_and_let_go(self, loop, bench):
        bench.plan(0, SPLIT)
        for number in (2, 4, -1):
            release = Release()
            bench.play.work(bench.parcel(0, 0, CUT_BYTES, number=number), release)
            assert release.n == 1
        assert len(bench.station) == 0
        bench.play.close()
        release = Release()
        bench.play.work(bench.parcel(0, 0, CUT_BYTES), release)
        assert (release.n, len(bench.station)) == (1, 0)

    @pytest.mark.parametrize("size_bytes", [CUT_BYTES + 4, 4])
    def test_wrong_tensors_fail_the_request(self, loop, bench, size_bytes):
        bench.plan(0, SPLIT)
        release = Release()
        bench.play.work(bench.parcel(3, 0, size_bytes, attempt=1), release)
        loop.run_for(0.05)
        assert (release.n, len(bench.station)) == (1, 0)
        assert reports(bench)[-1].failed == [[3, 1]]

    def test_work_for_a_machine_that_only_passes_on_fails(self, loop):
        bench = Bench(loop, make_world(), 1)
        bench.plan(0, partition(0, 0, 2, 2))
        bench.play.work(bench.parcel(3, 0, CUT_BYTES), Release())
        loop.run_for(0.05)
        assert reports(bench)[-1].failed == [[3, 0]]

    def test_a_stage_that_fails_fails_its_request_alone(self, loop, bench):
        bench.plan(0, SPLIT)
        for request in (0, 1):
            bench.play.work(bench.parcel(request, 0, CUT_BYTES), Release())
        bench.finish(ValueError("no"))
        bench.finish()
        loop.run_for(0.05)
        assert reports(bench)[-1].failed == [[0, 0]]
        assert [parcel.request for parcel, _ in bench.links.sent] == [1]
        assert [fatal for _, fatal in bench.troubles] == [False]

    def test_the_queue_limit_drops_what_finds_no_room(self, loop):
        base = make_problem()
        devices = [replace(device, queue_limit=1) for device in base.continuum.devices]
        problem = make_problem(continuum=Continuum(tuple(devices), base.continuum.links))
        bench = Bench(loop, make_world(problem=problem), 1)
        bench.plan(0, SPLIT)
        releases = [Release() for _ in range(4)]
        for request, release in enumerate(releases):
            bench.play.work(bench.parcel(request, 0, CUT_BYTES), release)
        assert [job.request for job in bench.station.jobs] == [0, 1]
        assert [release.n for release in releases] == [0, 0, 1, 1]
        loop.run_for(0.05)
        assert reports(bench)[-1].dropped == [[2, 0], [3, 0]]

    def test_nothing_happens_once_it_is_closed(self, loop, bench):
        bench.plan(0, SPLIT)
        bench.play.work(bench.parcel(0, 0, CUT_BYTES), Release())
        job = bench.station.jobs[0]
        bench.play.close()
        bench.station.jobs = [job]
        bench.finish()
        bench.plan(1, FOG)
        bench.play.reporter.beat()
        assert bench.links.sent == []
        assert bench.workshop.forgotten == bench.workshop.made


class TestPlans:
    def test_a_plan_that_is_told_twice_is_made_once(self, loop, bench):
        bench.plan(0, SPLIT)
        bench.plan(0, SPLIT)
        assert len(bench.workshop.made) == 1
        assert len(bench.links.of("ready")) == 2
        bench.play.close()
        assert bench.workshop.forgotten == bench.workshop.made

    def test_so_is_one_that_is_told_again_while_it_is_made(self, loop, bench):
        for _ in range(2):
            bench.play.told({"what": "plan", "epoch": 0, "placement": list(SPLIT.placement)})
        assert bench.play.reporter.report().plans == [[0, 0]]
        loop.run_for(0.0)
        assert len(bench.workshop.made) == 1
        assert bench.play.reporter.report().plans == [[0, 1]]

    def test_only_the_newest_plans_are_kept(self, loop, bench):
        for epoch in range(20):
            bench.plan(epoch, SPLIT)
        assert len(bench.workshop.forgotten) == 4
        bench.play.work(bench.parcel(0, 0, CUT_BYTES), Release())
        bench.play.work(bench.parcel(1, 19, CUT_BYTES), Release())
        loop.run_for(0.05)
        assert reports(bench)[-1].failed == [[0, 0]]
        assert [job.request for job in bench.station.jobs] == [1]

    def test_one_that_ends_being_made_after_the_end_is_forgotten(self, loop, bench):
        bench.play.told({"what": "plan", "epoch": 0, "placement": list(SPLIT.placement)})
        bench.play.close()
        loop.run_for(0.0)
        assert bench.workshop.forgotten == bench.workshop.made != []
        assert bench.links.of("ready") == []

    def test_one_that_cannot_be_made_is_told_to_the_edge(self, loop, bench):
        bench.workshop.error = MemoryError("full")
        bench.plan(0, SPLIT)
        assert "full" in bench.links.of("unready")[0]["error"]

    def test_the_edge_ends_the_run_for_it(self, loop):
        bench = Bench(loop, make_world(), 0)
        bench.play.told({"what": "unready", "error": "laptop: full"})
        assert bench.troubles == [("laptop: full", True)]


class TestProbes:
    def test_a_stage_is_measured_where_nothing_else_runs(self, loop, bench):
        bench.play.told({"what": "probe-stage", "layers": [0, 1], "epoch": 2})
        loop.run_for(0.0)
        job = bench.station.jobs[0]
        assert (job.request, job.epoch) == (PROBE, 2)
        assert job.visit.nominal_s == pytest.approx(0.0075)
        bench.play.told({"what": "probe-stage", "layers": [0], "epoch": 2})
        loop.run_for(0.0)
        assert len(bench.station) == 1
        bench.finish()
        assert bench.links.sent == []
        assert list(bench.play.recorder.columns()["request"]) in ([PROBE], [])

    def test_one_that_cannot_be_made_ends_nothing(self, loop, bench):
        bench.workshop.error = ValueError("no such layer")
        bench.play.told({"what": "probe-stage", "layers": [99], "epoch": 0})
        loop.run_for(0.0)
        assert len(bench.station) == 0
        assert [fatal for _, fatal in bench.troubles] == [False]

    def test_a_link_is_measured_from_its_sending_end(self, loop, bench):
        bench.play.told({"what": "probe-link", "link": 1, "direction": 0, "size_bytes": 500.0, "epoch": 2})
        parcel, _ = bench.links.sent[0]
        assert (parcel.kind, parcel.target, parcel.size_bytes) == (ParcelKind.PROBE, 2, 500)
        bench.play.undelivered([parcel])
        loop.run_for(0.05)
        assert reports(bench) == []


class TestReports:
    def test_a_receipt_becomes_spans_and_a_sample(self, loop, bench):
        bench.play.receipt(1, 0, receipt(request=4, epoch=2))
        columns = bench.play.recorder.columns()
        assert list(columns["kind"]) == [Kind.QUEUE, Kind.TRANSMIT, Kind.PROPAGATE]
        assert set(columns["place"]) == {3 + 2}
        assert columns["end_s"] - columns["start_s"] == pytest.approx([0.1, 0.4, 0.1])
        loop.run_for(0.05)
        assert reports(bench)[-1].links == [[START_S + 1.7, 1.0, 0.0, 1000.0, pytest.approx(0.6)]]
        loop.run_for(1.0)
        assert len(reports(bench)) == 1

    def test_receipts_of_another_run_are_none(self, loop, bench):
        bench.play.receipt(1, 0, receipt(number=2))
        assert len(bench.play.recorder) == 0

    def test_reports_are_not_sent_more_often_than_needed(self, loop, bench):
        for _ in range(50):
            bench.play.receipt(1, 0, receipt())
            loop.run_for(0.001)
        loop.run_for(0.02)
        assert len(reports(bench)) <= 4
        assert sum(len(report.links) for report in reports(bench)) == 50

    def test_it_says_now_and_again_that_it_is_there(self, loop, bench):
        bench.play.reporter.beat()
        loop.run_for(4.0)
        assert len(reports(bench)) == 9

    def test_it_says_what_is_under_way(self, loop, bench):
        bench.plan(0, SPLIT)
        bench.play.work(bench.parcel(0, 0, CUT_BYTES), Release())
        bench.station.jobs[0].start_s = START_S
        bench.links.lanes[0, 1].waiting, bench.links.lanes[0, 1].open = 2, [(4000, START_S + 5.0)]
        bench.links.silent = [1]
        report = bench.play.reporter.report()
        assert (report.queue, report.lanes, report.silent) == (1, [[0, 1, 2]], [1])
        assert report.open == [[0, 1, 4000, START_S + 5.0], [-1, 1, pytest.approx(0.01), START_S]]


class TestBackPressure:
    def test_a_backlog_pauses_the_station_until_it_is_sent(self, loop, bench):
        bench.plan(0, SPLIT)
        bench.play.work(bench.parcel(0, 0, CUT_BYTES), Release())
        bench.links.backlog_bytes = MOST_BACKLOG_BYTES + 1
        bench.finish()
        assert bench.station.paused[-1]
        bench.links.backlog_bytes = 0
        bench.play.receipt(1, 0, receipt())
        assert not bench.station.paused[-1]

    @pytest.mark.parametrize("number", [2, 3])
    def test_a_backlog_that_is_lost_lets_it_go_on(self, loop, bench, number):
        bench.station.pause(paused=True)
        bench.play.undelivered([bench.parcel(0, 0, 4, number=number)])
        assert not bench.station.paused[-1]

    def test_so_does_that_of_an_earlier_run(self, loop, bench):
        bench.station.pause(paused=True)
        bench.play.receipt(1, 0, receipt(number=2))
        assert not bench.station.paused[-1]


class TestEdge:
    def test_requests_go_to_their_first_machine(self, loop):
        from hardware.edge.plan import edge_plan

        world = make_world()
        bench = Bench(loop, world, 0)
        site = EdgeSite(bench.play)
        site.announce(edge_plan(world.problem, SPLIT, 0), (0, 1, 2))
        loop.run_for(0.0)
        assert [device for device, _ in bench.links.told] == [1, 2]
        site.send(0, 0, edge_plan(world.problem, SPLIT, 0))
        assert [job.request for job in bench.station.jobs] == [0]
        site.send(1, 1, edge_plan(world.problem, FOG, 1))
        parcel, _ = bench.links.sent[0]
        assert (parcel.target, parcel.attempt, parcel.size_bytes) == (1, 1, 100_000)

    def test_an_answer_of_another_run_is_none(self, loop):
        bench = Bench(loop, make_world(), 0)
        answered = []
        bench.play.conductor = type("Lead", (), {"answered": lambda _self, request: answered.append(request)})()
        for number in (2, 3):
            bench.play.answer(Parcel(ParcelKind.ANSWER, 5, 0, number * EPOCHS, 0, (), ()))
        assert answered == [5]
