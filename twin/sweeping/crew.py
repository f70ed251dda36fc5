"""The workers of a sweep: this process, the cores of this machine, or a Dask cluster, all through joblib.

joblib groups short tasks into batches of about half a second, so that handing them out costs little.
"""

from __future__ import annotations

import contextlib
import logging
from concurrent.futures import BrokenExecutor, CancelledError
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import joblib

from twin.errors import SweepError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from distributed import Client

    from twin.sweeping.play import Task
    from twin.sweeping.row import Row

_ANSWERS_WITHIN_S = 10.0
"""How long a scheduler and its first worker may take to answer."""


@dataclass(frozen=True, slots=True)
class Crew:
    """Workers that are ready.

    Attributes:
        n: How many there are.
        kind: Where they are.
        losses: What is raised when a worker was lost and nobody has taken over its task.
    """

    n: int
    kind: Literal["in this process", "on this machine", "of a Dask cluster"]
    losses: tuple[type[BaseException], ...] = ()

    def each(
        self, work: Callable[[Task], list[Row]], tasks: Iterable[Task], *, careful: bool = False
    ) -> Iterator[tuple[int, list[Row]]]:
        """Do the tasks; results come as they are ready, with the index of the task.

        Args:
            work: What is done with each.
            tasks: The tasks.
            careful: One task at a time for each worker, so that few are under way when one is lost.
        """
        if self.kind == "in this process":
            yield from ((task.index, work(task)) for task in tasks)
            return
        parallel = joblib.Parallel(
            n_jobs=-1 if self.kind == "of a Dask cluster" else self.n,
            return_as="generator_unordered",
            batch_size=1 if careful else "auto",
            pre_dispatch="n_jobs" if careful else "2 * n_jobs",
        )
        results = parallel(joblib.delayed(_numbered)(work, task) for task in tasks)
        try:
            yield from results
        finally:
            results.close()


@contextlib.contextmanager
def crew(jobs: int, scheduler: str | None) -> Iterator[Crew]:
    """Workers for the length of a block, warmed up.

    Args:
        jobs: Number of workers on this machine; 1 works in this process.
        scheduler: Address of a Dask scheduler, whose workers are taken instead.

    Raises:
        SweepError: No scheduler answers, it has no worker, or Dask is not installed.
    """
    if scheduler is not None:
        with _dask_crew(scheduler) as ready:
            yield ready
    elif jobs == 1:
        yield Crew(1, "in this process")
    else:
        with joblib.parallel_config("loky"):
            try:
                _warm_up(jobs)
            except BrokenExecutor as error:
                raise SweepError(
                    f"--jobs {jobs}: a worker was lost as it started; try fewer, for the memory may be short"
                ) from error
            yield Crew(jobs, "on this machine", (BrokenExecutor,))


@contextlib.contextmanager
def _dask_crew(scheduler: str) -> Iterator[Crew]:
    try:
        from distributed import Client  # noqa: PLC0415 - an optional dependency
        from distributed.scheduler import KilledWorker  # noqa: PLC0415 - likewise
    except ImportError as error:
        raise SweepError(
            "--scheduler needs Dask, which is not installed; install it with `pip install 'continuum-twin[sweep]'`"
        ) from error
    # It logs tracebacks where a connection breaks, which is told in words below.
    logging.getLogger("distributed.utils").setLevel(logging.CRITICAL)
    client = _client(Client, scheduler)
    with client, joblib.parallel_config("dask", client=client):
        try:
            client.wait_for_workers(1, timeout=_ANSWERS_WITHIN_S)
        except TimeoutError as error:
            raise SweepError(
                f"--scheduler {scheduler}: the scheduler has no worker; start some with `dask worker {scheduler} "
                "--nthreads 1`"
            ) from error
        n = sum(client.ncores().values())  # type: ignore[no-untyped-call]
        try:
            _warm_up(n)
            yield Crew(n, "of a Dask cluster", (KilledWorker,))
        except CancelledError as error:
            raise SweepError(
                f"--scheduler {scheduler}: the scheduler is gone; start it again and give the same command, which "
                "goes on from the results that are kept"
            ) from error


def _client(kind: type[Client], scheduler: str) -> Client:
    try:
        return kind(scheduler, timeout=_ANSWERS_WITHIN_S, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise SweepError(
            f"--scheduler {scheduler}: no Dask scheduler answers there ({error}); start one with `dask scheduler` "
            "and give its address, such as tcp://127.0.0.1:8786"
        ) from error


def _warm_up(n: int) -> None:
    """Let each worker import what it needs, so that the first points do not wait for it."""
    joblib.Parallel(n_jobs=n, batch_size=1, pre_dispatch="all")(joblib.delayed(_import_all)() for _ in range(n))


def _import_all() -> None:
    from twin.engine import events  # noqa: F401, PLC0415 - chosen late
    from twin.sweeping import play  # noqa: F401, PLC0415 - what brings the rest along
    from twin.sweeping.identity import code_digest  # noqa: PLC0415 - likewise

    code_digest()


def _numbered(work: Callable[[Task], list[Row]], task: Any) -> tuple[int, list[Row]]:  # noqa: ANN401 - Dask may wrap it
    return task.index, work(task)
