"""Seeded weights are the same everywhere, files are checked before use, and machines that differ are told apart."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from hardware.models import build_model
from hardware.node.weights import WeightsFile, check_same, digest, digest_of, load_model, read_state
from twin.errors import MachineError

NAME = "mobilenet_v2"


def file_of(path, state, save=torch.save) -> WeightsFile:
    save(state, path)
    return WeightsFile(path, hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.fixture(scope="module")
def state():
    return build_model(NAME, seed=7).state_dict()


@pytest.mark.parametrize(("ending", "save"), [("pth", torch.save), ("safetensors", save_file)])
def test_weights_from_a_file_are_those_that_were_saved(tmp_path, state, ending, save):
    model = load_model(NAME, 0, file_of(tmp_path / f"w.{ending}", state, save))
    assert digest(model) == digest_of(state)
    assert not model.training


def test_another_file_than_expected_is_not_opened(tmp_path, state):
    file = file_of(tmp_path / "w.pth", state)
    found = file.sha256
    with pytest.raises(MachineError) as caught:
        load_model(NAME, 0, WeightsFile(file.path, "0" * 64))
    message = f"{file.path}: has the SHA-256 {found}, but {'0' * 64} is expected; copy the file anew, or, if it is the "
    assert str(caught.value) == message + "right one, give its own digest as `sha256`"


def test_a_digest_in_capital_letters_is_the_same_digest(tmp_path, state):
    file = file_of(tmp_path / "w.pth", state)
    load_model(NAME, 0, WeightsFile(file.path, file.sha256.upper()))


class _Evil:
    def __reduce__(self):
        return os.mkdir, ("made-by-a-pickle",)


def test_a_file_runs_no_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for save in (torch.save, lambda x, path: path.write_bytes(pickle.dumps(x, protocol=2))):
        path = tmp_path / "w.pth"
        save({"features.0.0.weight": _Evil()}, path)
        with pytest.raises(MachineError, match=r"w\.pth: holds no weights that can be read"):
            read_state(path)
    assert not (tmp_path / "made-by-a-pickle").exists()


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
@pytest.mark.parametrize("content", [b"", b"no weights", bytes(range(256)) * 9])
def test_what_is_no_file_of_weights_is_one_message(tmp_path, ending, content):
    path = tmp_path / f"w.{ending}"
    path.write_bytes(content)
    with pytest.raises(MachineError, match="save the model's state_dict") as caught:
        read_state(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_an_odd_ending_and_a_whole_module_are_refused(tmp_path):
    with pytest.raises(MachineError, match=r"w\.pth: cannot be read \(No such file or directory\)"):
        load_model(NAME, 0, WeightsFile(tmp_path / "w.pth", "0" * 64))
    with pytest.raises(MachineError, match=r"ends in `\.onnx`.*\.safetensors, \.pt, \.pth, \.bin"):
        read_state(tmp_path / "w.onnx")
    torch.save([torch.zeros(1)], tmp_path / "list.pt")
    with pytest.raises(MachineError, match="something else than tensors by name"):
        read_state(tmp_path / "list.pt")


def test_weights_of_another_model_are_refused_with_names_and_shapes(tmp_path, state):
    with pytest.raises(MachineError) as caught:
        load_model("alexnet", 0, file_of(tmp_path / "w.pth", state))
    assert "does not fit alexnet: it lacks `features.0.weight` and" in str(caught.value)
    assert "holds the unknown `features.0.0.weight` and" in str(caught.value)
    changed = {**state, "classifier.1.bias": torch.zeros(10), "classifier.1.weight": torch.zeros(1000, 1280).int()}
    with pytest.raises(MachineError) as caught:
        load_model(NAME, 0, file_of(tmp_path / "w.pth", changed))
    assert "gives `classifier.1.weight` as torch.int32 instead of torch.float32" in str(caught.value)
    assert "gives `classifier.1.bias` the shape (10,) instead of (1000,)" in str(caught.value)


def old_densenet(key: str) -> str:
    for part in ("norm1", "norm2", "conv1", "conv2"):
        key = key.replace(f"denselayer1.{part}.", f"denselayer1.{part[:-1]}.{part[-1]}.")
    return key


def old_vit(key: str) -> str:
    return key.replace(".mlp.0.", ".mlp.linear_1.").replace(".mlp.3.", ".mlp.linear_2.")


@pytest.mark.parametrize(
    ("name", "rename", "more"),
    [
        ("densenet121", old_densenet, {}),
        pytest.param("vit_b_16", old_vit, {}, marks=pytest.mark.slow),
        ("googlenet", str, {"aux1.fc1.weight": torch.zeros(2)}),
    ],
)
def test_files_of_old_versions_and_training_heads_are_understood(tmp_path, name, rename, more):
    state = build_model(name, 3).state_dict()
    counted = {key for key in state if key.endswith("num_batches_tracked")}
    old = {rename(key): value for key, value in state.items() if key not in counted} | more
    assert set(old) != set(state)
    loaded = load_model(name, 0, file_of(tmp_path / "w.safetensors", old, save_file))
    assert digest(loaded) == digest_of(state)


def test_a_digest_tells_names_types_shapes_and_bits_apart():
    one = torch.arange(4.0)
    nudged = one.clone()
    nudged[3] = torch.nextafter(nudged[3], torch.tensor(9.0))
    others = [{"b": one}, {"a": one.double()}, {"a": one.reshape(2, 2)}, {"a": nudged}, {"a": one, "b": one}, {}]
    digests = [digest_of(x) for x in ({"a": one}, *others)]
    assert len(set(digests)) == len(digests)
    assert digest_of({"a": torch.arange(8.0)[::2] / 2}) == digests[0]
    assert digest_of({"a": one, "b": nudged}) == digest_of({"b": nudged, "a": one})
    single = hashlib.sha256(b"a\0torch.float32\0(4,)\0" + one.numpy().tobytes())
    assert digests[0] == single.hexdigest()


def test_machines_that_differ_are_named():
    check_same({"pi": "a" * 64, "pc": "a" * 64}, NAME)
    with pytest.raises(MachineError) as caught:
        check_same({"pi": "b" * 64, "laptop": "a" * 64, "pc": "a" * 64}, NAME)
    assert str(caught.value) == (
        "the machines hold different weights of mobilenet_v2 (laptop, pc: aaaaaaaaaaaa...; pi: bbbbbbbbbbbb...); give "
        "all of them the same file, or install the same versions of the project, torchvision and numpy on all of them"
    )


def test_seeded_weights_do_not_depend_on_the_processor():
    """With and without vector instructions."""
    code = f"from hardware.node.weights import *; print(digest(load_model({NAME!r}, 1)))"
    found = set()
    for capability in ("default", "avx2"):
        environment = {**os.environ, "ATEN_CPU_CAPABILITY": capability}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        found.add(done.stdout.strip())
    assert found == {digest(build_model(NAME, 1))}
    assert digest(build_model(NAME, 2)) not in found


def test_building_a_model_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    build_model("alexnet", 9)
    assert torch.equal(torch.rand(1), expected)


def test_seeded_weights_keep_activations_of_one_size():
    model = build_model("alexnet", 4)
    for module in model.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
            expected = (2 / module.weight[0].numel()) ** 0.5
            assert abs(module.weight.std().item() / expected - 1) < 0.02
            assert abs(module.weight.mean().item()) < 0.02 * expected
            assert module.bias.any()
