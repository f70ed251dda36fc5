"""How far the runs are, on a terminal."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.progress import Progress, TimeRemainingColumn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import Console

    from twin.world import PolicySpec, World


@contextmanager
def progress_bar(
    world: World, specs: Sequence[PolicySpec], console: Console, line: Callable[[], str] = str
) -> Iterator[Callable[[str, int, float, int], None]]:
    """A progress bar over the expected length of all runs; of requests where the length is not known.

    Args:
        world: The scenario.
        specs: The policies that are played.
        console: Where to show it, if that is a terminal.
        line: Tells what else there is to say at the moment.
    """
    duration_s, requests = world.workload.duration_s, world.workload.requests
    one = duration_s if duration_s is not None else float(requests or 1)
    done = {"runs": -1, "key": ("", -1)}
    with Progress(
        *Progress.get_default_columns()[:-1],
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task(f"{world.name}: setting up", total=one * len(specs) * world.replications)

        def progress(label: str, replication: int, t_s: float, ended: int) -> None:
            if done["key"] != (label, replication):
                done["key"], done["runs"] = (label, replication), int(str(done["runs"])) + 1
            part = min(t_s if duration_s is not None else float(ended), one)
            text = f"{world.name}: {label}" + (f" #{replication + 1}" if world.replications > 1 else "")
            words = ", ".join(x for x in (f"{text}, {ended} requests", line()) if x)
            bar.update(task, completed=int(str(done["runs"])) * one + part, description=escape(words))

        yield progress
