"""Inputs of requests: the same for the same seed, and pictures as torchvision prepares them."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models import MobileNet_V2_Weights, googlenet

from hardware.inputs import Label, categories, label, picture_pool, random_pool, recognised
from hardware.models import INPUT_SHAPE
from hardware.node.weights import digest_of
from twin.errors import GraphError, MachineError


@pytest.fixture
def folder(tmp_path):
    draw = np.random.default_rng(1)
    for k, (name, size) in enumerate({"b.png": (300, 260), "a.jpg": (240, 500), "c.bmp": (30, 40)}.items()):
        Image.fromarray(draw.integers(0, 256, (*size, 3), dtype=np.uint8)).save(tmp_path / name)
        assert k < 3
    Image.new("L", (250, 250), 77).save(tmp_path / "d.png")
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


def test_requests_take_turns():
    pool = random_pool((1, 3, 4, 4), seed=1, n=5)
    assert len(pool) == 5
    assert pool.of(7) is pool.tensors[2]
    assert pool.position(10**12 + 3) == 3
    assert pool.names[2] == "random 2"
    assert pool.source == "5 random inputs, seed 1"


def test_random_inputs_are_normalised_distinct_and_seeded():
    pool, again, other = (random_pool(INPUT_SHAPE, seed, 3) for seed in (1, 1, 2))
    for tensor in pool.tensors:
        assert tensor.dtype == torch.float32
        assert tensor.is_contiguous()
        assert abs(tensor.mean()) < 0.01
        assert abs(tensor.std() - 1) < 0.01
    assert all(torch.equal(a, b) for a, b in zip(pool.tensors, again.tensors, strict=True))
    tensors = [*pool.tensors, *other.tensors]
    assert not any(torch.equal(a, b) for i, a in enumerate(tensors) for b in tensors[:i])
    with pytest.raises(MachineError, match="0 inputs"):
        random_pool((1,), 1, 0)


def test_random_inputs_do_not_depend_on_the_processor():
    code = (
        "from hardware.inputs import random_pool; from hardware.node.weights import digest_of;"
        "print(digest_of({'0': random_pool((1, 3, 8, 8), 1, 1).of(0)}))"
    )
    environment = {**os.environ, "ATEN_CPU_CAPABILITY": "default"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == digest_of({"0": random_pool((1, 3, 8, 8), 1, 1).of(0)})


def test_pictures_are_prepared_as_the_weights_prescribe(folder):
    pool = picture_pool(folder, "mobilenet_v2", INPUT_SHAPE)
    assert pool.names == ("a.jpg", "b.png", "c.bmp", "d.png")
    assert pool.source == f"4 pictures in {folder.name}"
    for tensor in pool.tensors:
        assert tuple(tensor.shape) == INPUT_SHAPE
    transform = MobileNet_V2_Weights.IMAGENET1K_V2.transforms()
    with Image.open(folder / "a.jpg") as picture:
        assert torch.equal(pool.of(4)[0], transform(picture.convert("RGB")))
    # A grey picture of 77/255 stays one number per channel: (77/255 - mean) / std.
    by_hand = [(77 / 255 - mean) / std for mean, std in ((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))]
    for channel, value in zip(pool.of(3)[0], by_hand, strict=True):
        assert torch.allclose(channel, torch.full_like(channel, value), atol=1e-5)
    older = picture_pool(folder, "mobilenet_v2", INPUT_SHAPE, "IMAGENET1K_V1")
    assert not torch.equal(older.of(0), pool.of(0))


def test_googlenet_gets_what_its_first_layers_would_make_of_the_picture(folder):
    usual = picture_pool(folder, "alexnet", INPUT_SHAPE).of(0)
    model = googlenet(weights=None, aux_logits=False, init_weights=False, transform_input=True)
    assert torch.allclose(
        picture_pool(folder, "googlenet", INPUT_SHAPE).of(0), model._transform_input(usual), atol=1e-5
    )


def test_a_batch_holds_pictures_in_a_row_and_the_number_of_pictures_has_an_end(folder):
    single = picture_pool(folder, "alexnet", INPUT_SHAPE, most=3)
    assert len(single) == 3
    assert single.source == f"3 pictures, the first of 4 in {folder.name}"
    pairs = picture_pool(folder, "alexnet", (2, *INPUT_SHAPE[1:]), most=3)
    assert torch.equal(pairs.of(2), torch.cat([single.of(2), single.of(0)]))


@pytest.mark.parametrize("content", ["nothing", "text", "cut short"])
@pytest.mark.parametrize("name", ["e.png", "e.jpg", "e.gif"])
def test_a_picture_that_cannot_be_read_is_named(folder, content, name):
    whole = folder / f"whole{name[1:]}"
    Image.effect_noise((64, 64), 50).convert("RGB").save(whole)
    data = {"nothing": b"", "text": b"hello", "cut short": whole.read_bytes()[: len(whole.read_bytes()) // 2]}[content]
    (folder / name).write_bytes(data)
    with pytest.raises(MachineError, match=rf"{name}: is no picture that can be read .*replace it or take it away"):
        picture_pool(folder, "alexnet", INPUT_SHAPE)


def test_folders_without_pictures_are_refused(tmp_path):
    with pytest.raises(MachineError, match="holds no pictures"):
        picture_pool(tmp_path, "alexnet", INPUT_SHAPE)
    with pytest.raises(MachineError, match=r"none: cannot be read \(No such file or directory\)"):
        picture_pool(tmp_path / "none", "alexnet", INPUT_SHAPE)


def test_a_shape_that_the_model_was_not_traced_for_is_refused(folder):
    with pytest.raises(MachineError, match=r"a\.jpg: becomes a tensor of shape \(3, 224, 224\).*\(3, 64, 64\)"):
        picture_pool(folder, "alexnet", (1, 3, 64, 64))


def test_unknown_weights_and_models_are_refused(folder):
    with pytest.raises(MachineError, match="no weights `IMAGENET1K_V3` of alexnet; did you mean `IMAGENET1K_V1`"):
        picture_pool(folder, "alexnet", INPUT_SHAPE, "IMAGENET1K_V3")
    with pytest.raises(GraphError, match="did you mean `alexnet`"):
        recognised("alexnett", "0" * 64)


def test_torchvisions_own_files_are_recognised_by_their_digest():
    assert recognised("mobilenet_v2", "7ebf99e0" + "0" * 56) == "IMAGENET1K_V2"
    assert recognised("mobilenet_v2", "B0353104" + "0" * 56) == "IMAGENET1K_V1"
    assert recognised("mobilenet_v2", "1" * 64) is None


def test_labels_come_from_the_weights_and_need_as_many_numbers():
    names = categories("mobilenet_v2", "IMAGENET1K_V2")
    assert len(names) == 1000
    assert categories("vgg16", "IMAGENET1K_FEATURES") == ()
    answer = torch.zeros(2, 1000)
    answer[0, 207] = 50.0
    assert label(answer, names) == Label("golden retriever", 1.0)
    assert label(torch.zeros(1, 4), ("a", "b", "c", "d")) == Label("a", 0.25)
    assert label(torch.zeros(1, 10), names) is None
