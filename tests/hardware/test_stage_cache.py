"""The cache of stages: one build per stage, nothing in use is let go, and the limit holds."""

from __future__ import annotations

import gc
import threading
import tracemalloc

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import Residual

from hardware.models import build_model
from hardware.node import cache as module
from hardware.node.cache import StageCache, StageKey, placed, stage_bytes
from hardware.stages import split
from hardware.tracing.trace import trace
from twin.errors import MachineError
from twin.partition import Partition, thirds


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(1)
    return Residual().eval()


@pytest.fixture(scope="module")
def stages(model):
    traced = trace(model, "residual", (1, 3, 8, 8))
    return split(traced, thirds(len(traced.graph), 3))


def key(n: int) -> StageKey:
    return StageKey("residual", (0, 1, n), 1)


def shared(model) -> frozenset[int]:
    return frozenset(id(tensor) for tensor in (*model.parameters(), *model.buffers()))


def test_a_stage_is_made_once_and_comes_back_as_long_as_there_is_room(model, stages):
    cache, made = StageCache(10**9, model), []
    for _ in range(3):
        assert cache.take(key(1), lambda: made.append(1) or stages[1]) is stages[1]
        cache.release(key(1))
    assert len(made) == 1
    assert cache.size_bytes == stage_bytes(stages[1], shared(model))


def test_the_least_recently_used_goes_first_and_what_is_held_never(model, stages):
    size = stage_bytes(stages[1], shared(model))
    cache = StageCache(3 * size, model)
    for n in range(3):
        cache.take(key(n), lambda: stages[1])
    cache.release(key(1))
    cache.release(key(2))
    cache.take(key(1), lambda: pytest.fail("it is there"))
    cache.release(key(1))
    cache.take(key(3), lambda: stages[1])
    assert [key(n) in cache for n in range(4)] == [True, True, False, True]
    cache.take(key(4), lambda: stages[1])
    assert [key(n) in cache for n in range(5)] == [True, False, False, True, True]
    with pytest.raises(MachineError) as caught:
        cache.take(key(5), lambda: stages[1])
    assert "raise `limits.stage_cache_bytes`" in str(caught.value)
    assert len(cache) == 3
    assert cache.size_bytes == 3 * size


def test_what_fails_to_be_made_is_not_kept(model, stages):
    cache = StageCache(10**9, model)

    def fail():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        cache.take(key(0), fail)
    assert len(cache) == 0
    assert cache.take(key(0), lambda: stages[0]) is stages[0]


def test_what_is_released_too_often_is_a_mistake_of_the_program(model, stages):
    cache = StageCache(10**9, model)
    cache.take(key(0), lambda: stages[0])
    cache.release(key(0))
    with pytest.raises(RuntimeError, match="more often"):
        cache.release(key(0))


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=60), st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_the_limit_holds_whatever_comes(model, stages, steps, n_fit):
    size = stage_bytes(stages[1], shared(model))
    cache, held = StageCache(n_fit * size, model), []
    for n, takes in steps:
        if takes:
            fits = len({*held, n}) <= n_fit
            try:
                cache.take(key(n), lambda: stages[1])
                held.append(n)
                assert fits
            except MachineError:
                assert not fits
        elif n in held:
            held.remove(n)
            cache.release(key(n))
        assert cache.size_bytes == size * len(cache) <= n_fit * size
        assert all(key(n) in cache for n in held)


def test_threads_that_ask_for_one_stage_get_one_and_others_do_not_wait(model, stages):
    cache, made = StageCache(10**9, model), []
    started, go = threading.Event(), threading.Event()

    def slowly():
        started.set()
        assert go.wait(10)
        made.append(1)
        return stages[1]

    got = []
    threads = [threading.Thread(target=lambda: got.append(cache.take(key(1), slowly))) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert started.wait(10)
    assert cache.take(key(2), lambda: stages[2]) is stages[2]
    go.set()
    for thread in threads:
        thread.join(10)
    assert got == [stages[1]] * 4
    assert made == [1]


def test_weights_of_the_model_do_not_count_and_copies_do(model, stages):
    stage = stages[0]
    assert placed(stage, "cpu") is stage
    own = placed(stage, "meta")
    weights = sum(x.numel() * x.element_size() for x in (*stage.module.parameters(), *stage.module.buffers()))
    assert weights > 0
    assert stage_bytes(own, shared(model)) == stage_bytes(stage, shared(model)) + weights
    assert {x.device.type for x in own.module.parameters()} == {"meta"}
    assert {x.device.type for x in model.parameters()} == {"cpu"}
    assert (own.inputs, own.outputs, own.layers) == (stage.inputs, stage.outputs, stage.layers)


def test_a_copied_stage_answers_as_the_stage(model, stages, monkeypatch):
    image = torch.rand(1, 3, 8, 8)
    monkeypatch.setattr(torch.Tensor, "to", lambda tensor, _place: tensor.clone())
    copied = placed(stages[0], "elsewhere")
    monkeypatch.undo()
    assert not {id(x) for x in copied.module.parameters()} & {id(x) for x in model.parameters()}
    with torch.inference_mode():
        for got, expected in zip(copied(image), stages[0](image), strict=True):
            assert torch.equal(got, expected)


@pytest.mark.parametrize("n_stages", [1, 3, 6])
def test_the_estimate_of_python_objects_is_near_what_they_take(n_stages):
    model = build_model("mobilenet_v2")
    traced = trace(model, "mobilenet_v2")
    partition = Partition.on_device(len(traced.graph), 0, 1) if n_stages == 1 else thirds(len(traced.graph), n_stages)
    split(traced, partition)
    gc.collect()
    tracemalloc.start()
    try:
        made = split(traced, partition)
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    estimated = sum(stage_bytes(stage, shared(model)) for stage in made)
    assert 0.65 < estimated / taken < 1.5
    assert module._STAGE_BYTES > 0
