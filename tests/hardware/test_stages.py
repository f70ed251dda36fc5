"""A split answers what the whole model answers, bit by bit."""

from __future__ import annotations

import json
import random
import subprocess
import sys

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from toys import OPS, SIZE, Program, Residual, draw_placement, run_apart

from hardware.models import MODELS, build_model
from hardware.stages import layer_module, main, split, stage_module
from hardware.tracing.trace import TracedModel, trace
from twin.errors import GraphError, PartitionError
from twin.graph import INPUT, load_graph
from twin.partition import Partition, thirds

PROGRAMS = st.lists(st.tuples(st.sampled_from(OPS), st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=12)

REFUSALS = ("cannot be cut", "does not return", "refer to a single memory location")
"""What a random program may be refused for; the last one is torch's own refusal of the program."""


def answers(traced: TracedModel, partition: Partition, sample: torch.Tensor) -> torch.Tensor:
    (answer,) = run_apart(split(traced, partition), sample)
    return answer


@pytest.fixture(scope="module")
def residual() -> tuple[Residual, TracedModel, torch.Tensor]:
    torch.manual_seed(1)
    model = Residual().eval()
    return model, trace(model, "residual", (1, 3, 8, 8)), torch.randn(1, 3, 8, 8)


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_every_split_of_a_residual_network_equals_the_whole(residual, data):
    model, traced, sample = residual
    n_devices = data.draw(st.integers(2, 4))
    partition = draw_placement(traced.graph, n_devices, lambda low, high: data.draw(st.integers(low, high)))
    with torch.inference_mode():
        assert torch.equal(answers(traced, partition, sample), model(sample.clone()))


@given(steps=PROGRAMS, data=st.data())
@settings(max_examples=250, deadline=None)
def test_random_programs_are_split_faithfully_or_refused(steps, data):
    torch.manual_seed(0)
    model, sample = Program(steps).eval(), torch.randn(SIZE, SIZE)
    try:
        traced = trace(model, "program", (SIZE, SIZE))
    except GraphError as error:
        assume(not any(reason in str(error) for reason in REFUSALS))
        raise
    n_devices = data.draw(st.integers(2, 3))
    partition = draw_placement(traced.graph, n_devices, lambda low, high: data.draw(st.integers(low, high)))
    with torch.inference_mode():
        assert torch.equal(answers(traced, partition, sample), model(sample.clone()))


def test_a_residual_that_jumps_a_tier_is_relayed(residual):
    _, traced, _ = residual
    skip = traced.graph.index["stem.1"]
    middle = traced.graph.index["first.0"]
    placement = tuple(0 if i <= skip else 1 if i <= middle else 2 for i in range(len(traced.graph)))
    stages = split(traced, Partition(placement, 3))
    assert stages[1].layers == (middle,)
    assert stages[1].inputs == ("stem.1",)
    assert stages[1].outputs == ("stem.1", "first.0")
    with torch.inference_mode():
        received = torch.rand(1, 4, 8, 8)
        relayed, _ = stages[1](received)
    assert relayed is received


def test_an_empty_stage_passes_on_the_cut(residual):
    _, traced, _ = residual
    first, second, third = split(traced, Partition.from_cuts([0, 0], len(traced.graph)))
    assert first.layers == second.layers == ()
    assert first.inputs == first.outputs == second.outputs == (INPUT,)
    assert third.outputs == traced.graph.outputs


def test_the_last_stages_may_be_empty(residual):
    model, traced, sample = residual
    with torch.inference_mode():
        assert torch.equal(answers(traced, Partition.on_device(len(traced.graph), 0, 3), sample), model(sample))


def test_bytes_of_the_tensors_are_those_of_the_cut(residual):
    _, traced, sample = residual
    partition = thirds(len(traced.graph), 3)
    tensors = (sample,)
    with torch.inference_mode():
        for stage in split(traced, partition):
            tensors = stage(*tensors)
            inside = partition.down_set(
                partition.stages.index(next(s for s in partition.stages if s.layers == stage.layers))
            )
            assert sum(t.numel() * t.element_size() for t in tensors) == traced.graph.cut_bytes(inside)


def test_layers_one_by_one_give_the_answer(residual):
    model, traced, sample = residual
    tensors = {INPUT: sample}
    with torch.inference_mode():
        for position, layer in enumerate(traced.graph.layers):
            (tensors[layer.name],) = layer_module(traced, position)(*(tensors[name] for name in layer.inputs))
            assert tuple(tensors[layer.name].shape) == layer.output_shape
        assert torch.equal(tensors[traced.graph.outputs[0]], model(sample))


def test_stages_share_the_weights_of_the_model(residual):
    model, traced, _ = residual
    stage = stage_module(traced, 0, 1)
    assert next(stage.module.parameters()) is model.stem[0].weight


def test_positions_outside_the_model_are_refused(residual):
    _, traced, _ = residual
    with pytest.raises(PartitionError, match="does not lie in"):
        stage_module(traced, 3, 99)
    with pytest.raises(PartitionError, match="places 2 layers"):
        split(traced, Partition((0, 1), 2))


def check_model(name: str, n_random: int) -> None:
    model = build_model(name)
    traced = trace(model, name)
    sample = torch.randn(traced.graph.input_shape, generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        expected = model(sample)
    count, luck = len(traced.graph), random.Random(name)  # noqa: S311 - draws test cases
    partitions = [thirds(count, 3), thirds(count, 4), Partition.from_cuts([0, count // 2], count)]

    def jump(lowest: int, highest: int) -> int:
        # Mostly stay: otherwise everything after the first few layers is on the last device.
        return luck.randint(lowest, highest) if luck.random() < 3 / count else lowest

    partitions += [draw_placement(traced.graph, 2 + k % 3, jump) for k in range(n_random)]
    for partition in partitions:
        assert torch.equal(answers(traced, partition, sample), expected), partition


@pytest.mark.parametrize("name", ["alexnet", "mobilenet_v2"])
def test_splits_of_small_known_models(name):
    check_model(name, 3)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(MODELS))
def test_splits_of_all_known_models(name):
    check_model(name, 12)


@pytest.mark.slow
def test_splits_on_two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        check_model("googlenet", 3)
    finally:
        torch.set_num_threads(before)


def test_command_writes_a_graph_that_can_be_read(tmp_path, capsys):
    assert main(["--model", "alexnet", "--out", str(tmp_path)]) == 0
    path = tmp_path / "models" / "alexnet.json"
    graph = load_graph(path)
    assert f"{len(graph)} layers" in capsys.readouterr().out
    assert set(graph.provenance) == {"source", "method", "torch", "torchvision", "date"}
    assert graph == trace(build_model("alexnet"), "alexnet").graph
    first = path.read_bytes()
    main(["--model", "alexnet", "--out", str(tmp_path)])
    assert path.read_bytes() == first, "the same command must write the same file"
    assert json.loads(first)["schema"] == 1


def test_help_imports_no_torch():
    code = "import sys, hardware.stages, hardware.profile; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_unknown_model_is_one_message():
    command = [sys.executable, "-m", "hardware.stages", "--model", "vgg61"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "error: no model is called `vgg61`: did you mean `vgg16`?\n"
