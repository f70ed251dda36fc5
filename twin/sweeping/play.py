"""What a worker does: play the policies of one point, and say what went wrong instead of dying of it."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from twin.engine.choose import choose_engine
from twin.errors import TwinError
from twin.metrics import summarise
from twin.policies import POLICIES
from twin.records import RunResult
from twin.scenario import load_world
from twin.sweeping.identity import code_digest, key_of
from twin.sweeping.row import Row, row_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twin.world import World

_OTHER_CODE = (
    "the worker has another version of this program, or of numpy or simpy, than the machine that started the sweep; "
    "install the same on both and start the worker again"
)
_OTHER_FILES = (
    "a file that the scenario names is not the same for the worker as for the machine that started the sweep; "
    "give both the same folder, and do not edit it during a sweep"
)


@dataclass(frozen=True, slots=True)
class Task:
    """Policies of one point that are to be played.

    Attributes:
        index: Number of the point.
        scenario: Path of the scenario, absolute.
        shown: The same path as the user gave it, for messages.
        overrides: What makes the point out of the scenario.
        keys: For each policy what its result rests on.
        engine: The engine as it was asked for.
        code: `code_digest` of the machine that started the sweep.
    """

    index: int
    scenario: str
    shown: str
    overrides: tuple[str, ...]
    keys: tuple[tuple[str, str], ...]
    engine: str
    code: str

    @property
    def labels(self) -> tuple[str, ...]:
        """The policies."""
        return tuple(label for label, _ in self.keys)


def play(task: Task) -> list[Row]:
    """Play a task; a policy that fails gives a row with its error."""
    start = perf_counter()
    try:
        if code_digest() != task.code:
            raise TwinError(_OTHER_CODE)
        world = load_world(Path(task.scenario), task.overrides)
    except Exception as error:  # noqa: BLE001 - a point that fails is a row of the table, whatever it failed of
        return _failed(task, error, perf_counter() - start)
    spent_s = (perf_counter() - start) / len(task.keys)
    return [_play_one(task, world, label, key, spent_s) for label, key in task.keys]


def _play_one(task: Task, world: World, label: str, key: str, spent_s: float) -> Row:
    start = perf_counter()
    try:
        if key_of(world.resolved, label, task.engine, task.code) != key:
            raise TwinError(_OTHER_FILES)
        spec = next(spec for spec in world.policies if spec.label == label)
        backend = choose_engine(world, task.engine)
        runs = [
            backend.run(world, POLICIES[spec.kind](**spec.options), label, replication)
            for replication in range(world.replications)
        ]
        result = RunResult.concatenate(runs)
        summary = summarise(world, [result]).policies[0]
        return row_of(summary, str(result.facts.get("engine", "")), spent_s + perf_counter() - start)
    except Exception as error:  # noqa: BLE001 - likewise
        return Row(label, error=_told(error, task), run_s=spent_s + perf_counter() - start)


def _failed(task: Task, error: Exception, run_s: float) -> list[Row]:
    """The rows of a point that makes no world: each policy alone, for the fault may be another policy's."""
    if len(task.keys) == 1:
        return [Row(task.labels[0], error=_told(error, task), run_s=run_s)]
    return [row for pair in task.keys for row in play(alone(task, [pair]))]


def alone(task: Task, keys: Sequence[tuple[str, str]]) -> Task:
    """The task with some of its policies only; the scenario's other policies are left out."""
    return Task(task.index, task.scenario, task.shown, task.overrides, tuple(keys), task.engine, task.code)


def _told(error: Exception, task: Task) -> str:
    """An error in words; one that is not the user's fault with the place in the program."""
    if isinstance(error, TwinError):
        return str(error).replace(task.scenario, task.shown)
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"a fault of this program, please report it: {type(error).__name__}: {error} ({last.name}, line {last.lineno})"
