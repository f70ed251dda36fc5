"""Workers of a sweep: none of them loses anything, not even by dying, and all give what one process gives."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from concurrent.futures import CancelledError

import pyarrow.parquet as pq
import pytest
from sweeps import RATE, die_always, die_once, echo, sweep_file, task

from twin.errors import SweepError
from twin.sweep import main
from twin.sweeping.crew import Crew, crew
from twin.sweeping.execute import MOST_LOSSES, execute

ONE = Crew(1, "in this process")


def done(tasks, ready, work):
    found = [(task.index, rows[0].status, rows[0].error) for task, rows in execute(tasks, ready, work)]
    assert len({index for index, _, _ in found}) == len(found)
    return sorted(found)


class Poisoned(Crew):
    """A crew in this process that takes on all tasks at once if it may, and loses a worker on tasks 2 and 5."""

    def each(self, work, tasks, *, careful=False):
        for one in tasks if careful else list(tasks):
            if one.index in {2, 5}:
                raise ChildProcessError
            yield one.index, work(one)


def test_tasks_that_kill_every_worker_are_given_up_and_no_other():
    ready = Poisoned(2, "on this machine", (ChildProcessError,))
    found = done([task(index) for index in range(8)], ready, echo)
    assert [index for index, _, _ in found] == list(range(8))
    assert [index for index, status, _ in found if status == "failed"] == [2, 5]
    assert f"lost {MOST_LOSSES} workers in turn" in found[2][2]


def test_an_error_that_is_no_loss_is_not_taken_for_one():
    def broken(work):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        done([task(0)], ONE, broken)


def test_nothing_to_do():
    assert done([], ONE, echo) == []


def test_a_killed_worker_loses_no_results(tmp_path):
    tasks = [task(index, tmp_path / "was-here") for index in range(20)]
    with crew(2, None) as ready:
        found = done(tasks, ready, die_once)
    assert (tmp_path / "was-here").exists()
    assert found == [(index, "ok", "") for index in range(20)]


def test_a_task_that_kills_its_workers_is_given_up():
    with crew(2, None) as ready:
        found = done([task(index) for index in range(6)], ready, die_always)
    assert [index for index, _, _ in found] == list(range(6))
    assert [index for index, status, _ in found if status == "failed"] == [3]


def test_two_processes_give_what_one_gives(tmp_path, capsys):
    path = sweep_file(tmp_path)
    for jobs in ("1", "2"):
        assert main([str(path), "--out", str(tmp_path / jobs), "--jobs", jobs]) == 0
    one, two = (pq.read_table(tmp_path / jobs / "table.parquet").drop_columns(["run_s", "key"]) for jobs in ("1", "2"))
    assert one.equals(two)
    assert "on 2 workers on this machine" in capsys.readouterr().out
    timing = json.loads((tmp_path / "2" / "sweep.json").read_text())["timing"]
    assert timing["workers"] == 2
    assert (
        0
        <= timing["scheduling_share"]
        == pytest.approx(max(0, 1 - timing["busy_s"] / (2 * timing["wall_s"])), abs=1e-12)
    )


def test_no_dask_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(SweepError, match=r"pip install 'continuum-twin\[sweep\]'"), crew(1, "tcp://127.0.0.1:1"):
        pass


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_dask_cluster_gives_what_one_process_gives_even_when_a_worker_is_killed(tmp_path):
    distributed = pytest.importorskip("distributed")
    changes = {
        "vary": {RATE: {"start": 1e6, "stop": 1e8, "num": 20, "scale": "log"}, "workload.rate_rps": list(range(1, 11))}
    }
    path = sweep_file(tmp_path, **changes)
    assert main([str(path), "--out", str(tmp_path / "serial"), "--jobs", "1"]) == 0
    address, killed = None, []
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
    ) as cluster:
        address = cluster.scheduler_address
        watch = _kill_one_after_some(cluster, tmp_path / "dask" / "results.jsonl", killed)
        assert main([str(path), "--out", str(tmp_path / "dask"), "--scheduler", address]) == 0
        watch.join()
    assert killed
    serial, dask = (
        pq.read_table(tmp_path / x / "table.parquet").drop_columns(["run_s", "key"]) for x in ("serial", "dask")
    )
    assert serial.num_rows == 400
    assert dask.equals(serial)


def _kill_one_after_some(cluster, results, killed):
    """Kill a worker process once a few results are there."""

    def watch():
        while not results.exists() or results.read_text().count("\n") < 20:
            time.sleep(0.02)
        pid = next(iter(cluster.workers.values())).pid
        os.kill(pid, signal.SIGKILL)
        killed.append(pid)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_scheduler_without_workers_or_none_at_all(monkeypatch):
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr("twin.sweeping.crew._ANSWERS_WITHIN_S", 1.0)
    with pytest.raises(SweepError, match="no Dask scheduler answers there"), crew(1, "tcp://127.0.0.1:9"):
        pass
    with pytest.raises(SweepError, match="no Dask scheduler answers there"), crew(1, "nonsense://"):
        pass
    with (
        distributed.LocalCluster(n_workers=0, dashboard_address=None, silence_logs=50) as cluster,
        pytest.raises(SweepError, match="the scheduler has no worker; start some"),
        crew(1, cluster.scheduler_address),
    ):
        pass


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_scheduler_that_goes_away_is_one_message():
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None, silence_logs=50
        ) as cluster,
        pytest.raises(SweepError, match="the scheduler is gone; start it again"),
        crew(1, cluster.scheduler_address),
    ):
        raise CancelledError  # what Dask's client raises for every task under way
