"""What a worker does: play the policies of one point, and say what went wrong instead of dying of it."""

from __future__ import annotations

import traceback
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from twin.engine.choose import choose_engine
from twin.errors import SweepError, TwinError
from twin.metrics import summarise
from twin.policies import POLICIES
from twin.records import RunResult
from twin.scenario import read_scenario
from twin.scenario_file.resolve import build_world
from twin.sweeping.identity import code_digest, key_of
from twin.sweeping.row import Row, row_of

if TYPE_CHECKING:
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
        index: Number of the task.
        point: Number of the point.
        scenario: Path of the scenario, absolute.
        shown: The same path as the user gave it, for messages.
        overrides: What makes the point out of the scenario.
        keys: For each policy what its result rests on.
        engine: The engine as it was asked for.
        code: `code_digest` of the machine that started the sweep.
    """

    index: int
    point: int
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
    """Play a task; a policy that fails gives a row with its error.

    Each row holds the time of its policy, and an equal share of the time that they have in common.
    """
    start = perf_counter()
    rows = _rows(task)
    common_s = (perf_counter() - start - sum(row.run_s for row in rows)) / len(rows)
    return [replace(row, run_s=row.run_s + common_s) for row in rows]


def _rows(task: Task) -> list[Row]:
    try:
        _expect(code_digest(), task.code, _OTHER_CODE)
        world = _world(task)
    except Exception as error:  # noqa: BLE001 - a point that fails is a row of the table, whatever it failed of
        if len(task.keys) == 1:
            return [Row(task.labels[0], error=_told(error, task))]
        # Each policy alone, for the fault may be that of one of them.
        return [row for pair in task.keys for row in play(replace(task, keys=(pair,)))]
    rows = []
    for label, key in task.keys:
        start = perf_counter()
        row = _row(task, world, label, key)
        rows.append(replace(row, run_s=perf_counter() - start))
    return rows


def _row(task: Task, world: World, label: str, key: str) -> Row:
    try:
        _expect(key_of(world.resolved, label, task.engine, task.code), key, _OTHER_FILES)
        spec = next(spec for spec in world.policies if spec.label == label)
        backend = choose_engine(world, task.engine)
        runs = [
            backend.run(world, POLICIES[spec.kind](**spec.options), label, replication)
            for replication in range(world.replications)
        ]
        result = RunResult.concatenate(runs)
        return row_of(summarise(world, [result]).policies[0], str(result.facts.get("engine", "")))
    except Exception as error:  # noqa: BLE001 - likewise
        return Row(label, error=_told(error, task))


def _expect(found: str, wanted: str, otherwise: str) -> None:
    if found != wanted:
        raise SweepError(otherwise)


def _world(task: Task) -> World:
    """The scenario of the point with the policies of the task only."""
    reading = read_scenario(Path(task.scenario), task.overrides)
    policies = {label: reading.scenario.policies[label] for label in task.labels}
    return build_world(replace(reading, scenario=reading.scenario.model_copy(update={"policies": policies})))


def _told(error: Exception, task: Task) -> str:
    """An error in words; one that is not the user's fault with the place in the program."""
    if isinstance(error, TwinError):
        return str(error).replace(task.scenario, task.shown)
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"a fault of this program, please report it: {type(error).__name__}: {error} (in {last.name})"
