"""The tasks of a sweep, done by a crew that may lose workers on the way."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from twin.sweeping.play import play
from twin.sweeping.row import Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from twin.sweeping.crew import Crew
    from twin.sweeping.play import Task

MOST_LOSSES = 3
"""Workers that a task may take down with it before it is given up."""


def execute(
    tasks: Iterable[Task], crew: Crew, work: Callable[[Task], list[Row]] = play
) -> Iterator[tuple[Task, list[Row]]]:
    """Do all tasks; each comes back exactly once, as soon as it is done.

    Where a worker is lost, what was under way is given out again: first the tasks that were not, then the suspects
    with at most one per worker, then each suspect alone. A task that was under way at three losses, at the last one
    alone, is given up: its rows say so.

    Args:
        tasks: The tasks; their indices differ.
        crew: The workers.
        work: What is done with each.
    """
    left = {task.index: task for task in tasks}
    losses: Counter[int] = Counter()
    while left:
        sent: set[int] = set()
        least = min(losses[index] for index in left)
        group = [task for index, task in left.items() if losses[index] == least]
        try:
            for index, rows in crew.each(work, _noting(group[:1] if least > 1 else group, sent), careful=least > 0):
                yield left.pop(index), rows
        except crew.losses:
            suspects = sent & left.keys()
            losses.update(suspects)
            for index in sorted(suspects):
                if losses[index] >= MOST_LOSSES:
                    yield left[index], _given_up(left.pop(index))


def _noting(tasks: Iterable[Task], sent: set[int]) -> Iterator[Task]:
    """The tasks, each noted as it is given out."""
    for task in tasks:
        sent.add(task.index)
        yield task


def _given_up(task: Task) -> list[Row]:
    text = (
        f"lost {MOST_LOSSES} workers in turn, so it was given up; a worker may have run out of memory: try fewer "
        "--jobs, a shorter scenario, or this point alone with `python -m twin.simulate`"
    )
    return [Row(label, error=text) for label in task.labels]
