"""Tensors that travel as bytes between the stages change no bit of the answer."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import Residual, draw_placement

from hardware.inputs import random_pool
from hardware.models import MODELS, build_model
from hardware.stages import split
from hardware.tracing.trace import trace
from twin.graph import INPUT
from twin.partition import Partition, thirds


def sent(tensor, offset: int, spec: tuple[str, tuple[int, ...]]):
    """What arrives: raw bytes at some address, read as the layer graph says that they are."""
    dtype, shape = spec
    raw = tensor.contiguous().numpy().tobytes()
    frame = bytearray(len(raw) + 128)
    start = -np.frombuffer(frame, dtype=np.uint8).ctypes.data % 64 + offset
    frame[start : start + len(raw)] = raw
    received = torch.frombuffer(frame, dtype=getattr(torch, dtype), count=len(raw) // 4, offset=start)
    assert received.numel() == math.prod(shape)
    return received.reshape(shape)


def run_over_wire(traced, partition: Partition, image, offset: int = 0):
    graph = traced.graph
    shapes = {INPUT: graph.input_shape, **{layer.name: layer.output_shape for layer in graph.layers}}
    tensors = (image,)
    with torch.inference_mode():
        for device, stage in enumerate(split(traced, partition)):
            names = stage.inputs
            assert names == graph.cut(partition.down_set(device - 1) if device else ())
            tensors = stage(
                *(sent(x, offset, (graph.dtype, shapes[name])) for x, name in zip(tensors, names, strict=True))
            )
    (answer,) = tensors
    return answer


@pytest.fixture(scope="module")
def residual():
    torch.manual_seed(1)
    model = Residual().eval()
    return model, trace(model, "residual", (1, 3, 8, 8)), random_pool((1, 3, 8, 8), 2, 1).of(0)


@given(data=st.data(), offset=st.sampled_from([0, 4, 16, 36]))
@settings(max_examples=40, deadline=None)
def test_bytes_at_any_address_give_the_same_answer(residual, data, offset):
    model, traced, image = residual
    n_devices = data.draw(st.integers(1, 4))
    partition = draw_placement(traced.graph, n_devices, lambda low, high: data.draw(st.integers(low, high)))
    with torch.inference_mode():
        assert torch.equal(run_over_wire(traced, partition, image, offset), model(image.clone()))


def widest_cut(graph) -> tuple[int, ...]:
    return max((tuple(range(k)) for k in range(len(graph) + 1)), key=lambda inside: len(graph.cut(inside)))


def awkward_partitions(graph, name: str, n_random: int) -> list[Partition]:
    """Cuts that carry the most tensors, empty stages everywhere, a tensor that jumps a tier, and random ones."""
    count, luck = len(graph), random.Random(name)  # noqa: S311 - draws test cases
    widest = len(widest_cut(graph))
    jump_at = max(range(1, count), key=lambda k: len(set(graph.cut(range(k))) & set(graph.cut(range(k + 1)))))
    chosen = [
        Partition.from_cuts([widest], count),
        Partition.from_cuts([jump_at, jump_at + 1], count),
        Partition.from_cuts([0, count // 2, count // 2, count], count),
        Partition.on_device(count, 2, 3),
        Partition.on_device(count, 0, 3),
        thirds(count, 3),
    ]

    def jump(lowest: int, highest: int) -> int:
        return luck.randint(lowest, highest) if luck.random() < 3 / count else lowest

    return chosen + [draw_placement(graph, 2 + k % 3, jump) for k in range(n_random)]


def check_model(name: str, n_random: int) -> None:
    model = build_model(name)
    traced = trace(model, name)
    image = random_pool(traced.graph.input_shape, 3, 1).of(0)
    with torch.inference_mode():
        expected = model(image.clone())
    for k, partition in enumerate(awkward_partitions(traced.graph, name, n_random)):
        assert torch.equal(run_over_wire(traced, partition, image, 4 * (k % 5)), expected), partition


def test_an_awkwardly_cut_model_answers_as_the_whole():
    check_model("googlenet", 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(MODELS))
def test_all_awkwardly_cut_models_answer_as_the_whole(name):
    check_model(name, 8)


def test_the_awkward_cuts_are_awkward():
    """Several tensors in one cut, one of which jumps the stage between, and stages that hold nothing."""
    graph = trace(build_model("googlenet"), "googlenet").graph
    partitions = awkward_partitions(graph, "googlenet", 0)
    assert len(graph.cut(partitions[0].down_set(0))) >= 3
    before, after = (set(graph.cut(partitions[1].down_set(device))) for device in (0, 1))
    assert before & after
    assert [bool(stage.layers) for stage in partitions[2].stages] == [False, True, False, True, False]
