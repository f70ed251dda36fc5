"""Stages that only sleep: their nominal times are the twin's, their tensors those of the real stages."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import partitions, problems
from worlds import make_problem

from hardware.node.compute import NoCompute, specs
from hardware.node.workshop import SleepingWorkshop, cut_names, probe_nominal_s
from hardware.transport.parcel import TensorSpec
from twin.engine.plan import make_plan
from twin.graph import LayerGraph
from twin.partition import Partition
from twin.topology import Continuum


@given(st.data())
def test_visits_take_what_the_twin_says_and_go_where_it_goes(data):
    problem = data.draw(problems(knows_power=False, memory=False, pinned=False, dead=False, max_layers=5))
    partition = data.draw(st.sampled_from(partitions(problem)))
    worked = {visit.device: visit.amount for visit in make_plan(problem, partition, 0).visits if visit.device >= 0}
    stages = sorted(worked)
    for me in range(problem.n_devices):
        visit = SleepingWorkshop(problem, me).visit(partition)
        if me not in worked:
            assert visit is None
            continue
        assert visit is not None
        assert visit.nominal_s == pytest.approx(worked[me], rel=1e-12)
        assert visit.is_last == (me == stages[-1])
        assert visit.target == (0 if visit.is_last else stages[stages.index(me) + 1])


def test_tensors_are_those_of_the_cuts():
    problem = make_problem()
    visit = SleepingWorkshop(problem, 1).visit(Partition((0, 0, 1, 2), 3))
    assert visit.compute.takes == (TensorSpec("float32", (1, 50_000 // 4)),)
    assert visit.compute.gives == (TensorSpec("float32", (1, 10_000 // 4)),)
    assert [len(buffer) for buffer in visit.compute((bytes(50_000),))] == [10_000]
    raw = SleepingWorkshop(problem, 2).visit(Partition((2, 2, 2, 2), 3))
    assert raw.compute.takes == (TensorSpec("float32", (1, 25_000)),)
    assert raw.is_last
    assert SleepingWorkshop(problem, 1).visit(Partition((2, 2, 2, 2), 3)) is None


def test_probes_take_the_time_of_their_layers():
    problem = make_problem(stage_overhead_s=np.array([0.001, 0.002, 0.003]))
    assert probe_nominal_s(problem, 1, (0, 2)) == pytest.approx(0.0145)
    visit = SleepingWorkshop(problem, 1).probe((0, 2))
    assert visit.nominal_s == pytest.approx(0.0145)
    assert visit.compute((b"",)) == ()


@pytest.fixture(scope="module")
def graph():
    data = json.loads((Path(__file__).parents[3] / "data/models/mobilenet_v2.json").read_text())
    return LayerGraph.from_json(data)


@pytest.mark.parametrize("cuts", [(5, 20), (10, 11), (0, 30)])
def test_sizes_are_those_of_the_real_stages(graph, cuts):
    from hardware.models import build_model
    from hardware.stages import split
    from hardware.tracing.trace import trace

    base = make_problem()
    problem = make_problem(
        graph=graph,
        continuum=Continuum(base.continuum.devices, base.continuum.links),
        layer_time_s=np.ones((3, len(graph))) * 1e-3,
    )
    partition = Partition.from_cuts(cuts, len(graph))
    traced = trace(build_model("mobilenet_v2", 0), "mobilenet_v2", graph.input_shape)
    for me, stage in enumerate(split(traced, partition)):
        takes, gives = cut_names(problem, me, partition)
        visit = SleepingWorkshop(problem, me).visit(partition)
        if visit is None:
            assert not partition.stages[me].layers
            continue
        assert (takes, gives) == (tuple(stage.inputs), tuple(stage.outputs))
        assert visit.compute.takes == specs(graph, stage.inputs)
        assert visit.compute.gives == specs(graph, stage.outputs)
        assert sum(spec.size_bytes for spec in visit.compute.gives) == graph.cut_bytes(partition.down_set(me))


def test_zeros_have_the_length_of_what_they_stand_for():
    compute = NoCompute.of((), (TensorSpec("float32", (1, 3)), TensorSpec("uint8", (5,))))
    assert [len(buffer) for buffer in compute(())] == [12, 5]
