"""From a scenario's names to the things themselves: graph, profiles, traces, and the world that they make up."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from twin.errors import InfeasibleError, TwinError
from twin.graph import load_graph
from twin.problem import Conditions, Objective, Problem
from twin.scenario_file.complaints import Complaint, report
from twin.scenario_file.convert import (
    continuum_of,
    control_of,
    faults_of,
    filled,
    link_trace,
    load_trace,
    matching_profile,
    objective_of,
    pin,
    policies_of,
    switch_of,
    workload_of,
)
from twin.scenario_file.library import Library
from twin.units import BITS_PER_BYTE
from twin.world import World, conditions_at

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from twin.graph import LayerGraph
    from twin.profiles import Profile
    from twin.scenario_file.schema import LinkModel, Scenario
    from twin.scenario_file.yamlplaces import Document, Loc
    from twin.traces import LinkTrace, LoadTrace
    from twin.workload import Workload

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reading:
    """A scenario as it was read.

    Attributes:
        document: The file.
        overrides: Places that were set on the command line, with the text given there.
        scenario: Its content.
    """

    document: Document
    overrides: dict[Loc, str]
    scenario: Scenario


@dataclass(slots=True)
class _Attempts:
    """Collects what goes wrong, so that all of it can be said at once."""

    reading: Reading
    complaints: list[Complaint] = field(default_factory=list)

    def at(self, loc: Loc, action: Callable[[], T]) -> list[T]:
        """The result in a list, which is empty if the action failed; what stands beside the place has a part in it."""
        try:
            return [action()]
        except TwinError as error:
            beside = [place for place in self.reading.overrides if len(loc) > 1 and place[:-1] == loc[:-1]]
            self.complaints.append(Complaint(loc, str(error), tuple(beside)))
            return []

    def each(self, actions: Sequence[tuple[Loc, Callable[[], T]]]) -> list[T]:
        """The results of those actions that did not fail."""
        return [result for loc, action in actions for result in self.at(loc, action)]

    def settle(self) -> None:
        """Raise the error if anything went wrong so far."""
        if self.complaints:
            raise report(self.reading.document, self.reading.overrides, self.complaints)


@dataclass(frozen=True, slots=True)
class _Parts:
    """What a scenario names, loaded."""

    graph: LayerGraph
    profiles: tuple[Profile, ...]
    links: tuple[LinkTrace, ...]
    loads: tuple[LoadTrace, ...]
    workload: Workload


def build_world(reading: Reading) -> World:
    """Load everything that a scenario names.

    Raises:
        ScenarioError: Something cannot be found or does not fit; the message says what, where, and what to do.
    """
    scenario, attempts = reading.scenario, _Attempts(reading)
    library = Library(reading.document.path.parent)
    parts = _parts(scenario, library, attempts)
    problem = _problem(scenario, parts, attempts)
    attempts.complaints += _infeasible(problem, parts)
    attempts.settle()
    policies = policies_of(scenario)
    attempts.each([(("policies", x.label), partial(_start, x.kind, x.options, problem)) for x in policies])
    attempts.complaints += _changed_files(scenario, library)
    attempts.settle()
    question = scenario.question or reading.document.heading()
    return World(
        name=scenario.name,
        problem=problem,
        links=parts.links,
        loads=parts.loads,
        dispersion=_dispersion(scenario, parts.profiles),
        workload=parts.workload,
        control=control_of(scenario),
        policies=policies,
        profiles=parts.profiles,
        faults=faults_of(scenario, problem.continuum),
        detect_s=scenario.detect_s,
        drain_s=scenario.drain_s,
        replications=scenario.replications,
        seed=scenario.seed,
        question=question,
        resolved=filled(scenario, policies, question, library.checksums()),
    )


def _parts(scenario: Scenario, library: Library, attempts: _Attempts) -> _Parts:
    devices = list(enumerate(scenario.devices))
    graphs = attempts.at(("model",), lambda: load_graph(library.model(scenario.model)))
    profiles = attempts.each(
        [
            (("devices", position, "profile"), partial(matching_profile, device.profile, graph, library))
            for graph in graphs
            for position, device in devices
        ]
    )
    links = attempts.each(
        [(_loc(x, position), partial(link_trace, x, library)) for position, x in enumerate(scenario.links)]
    )
    loads = attempts.each([(("devices", position, "load"), partial(load_trace, x, library)) for position, x in devices])
    workloads = attempts.at(("workload", "file"), lambda: workload_of(scenario.workload, library))
    attempts.settle()
    return _Parts(graphs[0], tuple(profiles), tuple(links), tuple(loads), workloads[0])


def _problem(scenario: Scenario, parts: _Parts, attempts: _Attempts) -> Problem:
    continuum = continuum_of(scenario)
    pinned: dict[int, int] = {}
    for name, device in scenario.pinned.items():
        attempts.at(("pinned", name), partial(pin, name, device, pinned, parts.graph, continuum))
    attempts.settle()
    return Problem(
        graph=parts.graph,
        continuum=continuum,
        layer_time_s=np.array([x.layer_times_s(parts.graph) * x.additivity for x in parts.profiles]),
        stage_overhead_s=np.array([device.stage_overhead_s for device in scenario.devices]),
        codec_s_per_byte=np.array([_codec_s_per_byte(device.codec_bps) for device in scenario.devices]),
        objective=objective_of(scenario),
        demand=parts.workload.demand,
        initial=conditions_at(parts.links, parts.loads, 0.0),
        switch=switch_of(scenario, continuum),
        pinned=pinned,
    )


def _loc(link: LinkModel, position: int) -> Loc:
    return ("links", position, "between" if link.trace is None else "trace")


def _codec_s_per_byte(codec_bps: float | None) -> float:
    return 0.0 if codec_bps is None else BITS_PER_BYTE / codec_bps


def _dispersion(scenario: Scenario, profiles: Sequence[Profile]) -> np.ndarray:
    """Spread of stage times by device; 0 where it was not measured or is not wanted."""
    wanted = scenario.noise == "measured"
    return np.array([(profile.dispersion or 0.0) if wanted else 0.0 for profile in profiles])


def _start(kind: str, options: Mapping[str, Any], problem: Problem) -> None:
    """Let a policy look at the problem, so that it complains now rather than in the middle of a run."""
    from twin.policies import POLICIES  # noqa: PLC0415 - policies bring the search along

    POLICIES[kind](**options).init(problem)


def _infeasible(problem: Problem, parts: _Parts) -> list[Complaint]:
    """Whether even the best moment of every trace leaves no partition that meets the constraints."""
    from twin.search import best  # noqa: PLC0415 - slow to import

    kindest = Conditions(
        np.array([[max(x.up.values), max(x.down.values)] for x in parts.links], dtype=float).reshape(-1, 2),
        np.array([min(x.rtt.values) for x in parts.links], dtype=float),
        np.array([min(x.slowdown.values) for x in parts.loads], dtype=float),
    )
    deadline_s = problem.objective.deadline_s
    try:
        fastest = best(replace(problem, objective=Objective()), kindest)
    except InfeasibleError as error:
        return [Complaint(("pinned",) if problem.pinned else ("devices",), str(error))]
    if deadline_s is None or fastest.latency_s <= deadline_s:
        return []
    text = (
        f"is {deadline_s:g}, but no partition can meet it: the least latency, with every link and device at its best, "
        f"is {fastest.latency_s:.6g} s; raise the deadline or give faster devices or links"
    )
    return [Complaint(("objective", "deadline_s"), text)]


def _changed_files(scenario: Scenario, library: Library) -> list[Complaint]:
    now = library.checksums()
    return [
        Complaint(("files", name), "the file has changed since the scenario was resolved; remove `files` to accept it")
        for name, checksum in scenario.files.items()
        if now.get(name, checksum) != checksum
    ]
