"""Profiles the machines of a testbed, one after the other: those that share a host would disturb each other."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hardware.coordinator.rig import remotes
from hardware.models import check_names
from twin.errors import MachineError, TransportError
from twin.profiles import Profile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hardware.coordinator.remote import Conversation, Remote
    from hardware.inventory import Inventory, Machine
    from hardware.profile import Settings

_POLL_S = 0.5
_PATIENCE_S = 60.0
"""How long a machine that is profiling may be out of reach: it goes on by itself."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be measured on each machine.

    Attributes:
        models: Names of the models, or `all`: those that the machine builds.
        threads: Threads that compute; None for those of the testbed file, or else of the machine's own configuration.
        device: Where torch computes; likewise.
        settings: Repeats, warm-up, batch and seed; what else it says does not count.
    """

    models: tuple[str, ...]
    threads: int | None
    device: str | None
    settings: Settings


def profile_machines(
    testbed: Inventory, wish: Wish, only: str | None, tell: Callable[[str, str, int, int], object]
) -> Iterator[Profile]:
    """Profile each model on each machine.

    Args:
        testbed: The machines.
        wish: What is to be measured.
        only: The one machine to measure; None for all.
        tell: Is told the machine, the model, the rounds that are done and those that there are.

    Yields:
        A profile; its device is the name of the machine.

    Raises:
        MachineError: A machine cannot do it.
        TransportError: A machine cannot be reached.
    """
    machines = testbed.machines if only is None else (testbed.machine(only),)
    reached = remotes(testbed, tuple(machine.name for machine in machines))
    # All of them are asked before the first one is busy for minutes.
    plans = [_plan(remote, wish) for remote in reached]
    for machine, remote, (models, load_before) in zip(machines, reached, plans, strict=True):
        if machine.emulate is not None:
            sys.stderr.write(
                f"warning: {machine.name}: `emulate: {machine.emulate}` lets it stand in for another device; what is "
                "measured is the machine itself\n"
            )
        for model in models:
            yield _profile(machine, remote, model, wish, load_before, tell)


def with_progress(testbed: Inventory, wish: Wish, only: str | None) -> Iterator[Profile]:
    """`profile_machines` with a progress bar."""
    from rich.console import Console  # noqa: PLC0415 - needed for a bar only
    from rich.progress import Progress  # noqa: PLC0415 - as above

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("asking the machines", total=None)

        def tell(machine: str, model: str, done: int, rounds: int) -> None:
            bar.update(task, description=f"{machine}: {model}", completed=done, total=rounds)

        yield from profile_machines(testbed, wish, only, tell)


def _plan(remote: Remote, wish: Wish) -> tuple[Sequence[str], float | None]:
    """The models to measure on a machine, and its load before anything is measured."""
    talk = remote.dial()
    try:
        hello = talk.ask("hello")
    finally:
        talk.close()
    if hello["name"] != remote.name:
        raise MachineError(
            f"the agent at the address of `{remote.name}` is called `{hello['name']}`; correct the testbed file"
        )
    builds = list(hello["models"])
    models = builds if "all" in wish.models else check_names(wish.models)
    for model in models:
        if model not in builds:
            raise MachineError(f"{remote.name} does not build `{model}`; add it to `models` in its agent.yaml")
    return models, hello["load_average"]


def _profile(
    machine: Machine,
    remote: Remote,
    model: str,
    wish: Wish,
    load_before: float | None,
    tell: Callable[[str, str, int, int], object],
) -> Profile:
    talk = remote.dial()
    try:
        talk.ask(
            "profile",
            model=model,
            threads=wish.threads or machine.torch_threads,
            device=wish.device or machine.accelerator,
            repeats=wish.settings.repeats,
            warm_up=wish.settings.warm_up,
            batch=wish.settings.batch,
            seed=wish.settings.seed,
            load_before=load_before,
        )
        talk = _wait(remote, talk, model, tell)
        (content,) = talk.ask("profiled").blobs
    finally:
        talk.close()
    return Profile.from_json(json.loads(content), f"profile of {remote.name}")


def _wait(remote: Remote, talk: Conversation, model: str, tell: Callable[[str, str, int, int], object]) -> Conversation:
    """Wait until a machine profiles no more; returns the connection to ask it by."""
    heard_s = time.monotonic()
    while True:
        try:
            found = talk.ask("status")["profiling"]
        except TransportError:
            if time.monotonic() - heard_s > _PATIENCE_S:
                raise
            talk.close()
            talk = remote.dial()
            continue
        heard_s = time.monotonic()
        if found is None:
            return talk
        tell(remote.name, model, found["done"], found["rounds"])
        time.sleep(_POLL_S)
