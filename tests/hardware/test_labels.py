"""Labels of answers: where the weights are known, and a word on why there are none where they are not."""

from __future__ import annotations

import io

import pytest
import torch
from rich.console import Console
from worlds import make_world

from hardware.coordinator.labels import labels, show_labels, trained_as, weights_beside, weights_of
from hardware.inputs import Pool, categories
from hardware.inventory import Inventory, Machine, RemoteWeights
from twin.errors import MachineError

SHA = "0" * 64
MINE = RemoteWeights("mine.pth", SHA, "IMAGENET1K_V1")
UNKNOWN = RemoteWeights("mine.pth", SHA)
NAMES = ("a.jpg", "b.jpg", "c.jpg")


def pool() -> Pool:
    return Pool((torch.zeros(1, 3, 4, 4),) * 3, NAMES, "3 pictures")


def answer(best: int, margin: float) -> torch.Tensor:
    scores = torch.zeros(1, 1000)
    scores[0, best] = margin
    return scores


def shown(answers, weights) -> str:
    stream = io.StringIO()
    show_labels(answers, pool(), "alexnet", weights, Console(file=stream, width=100))
    return stream.getvalue()


def test_labels_are_those_of_torchvision_with_their_share_by_softmax():
    found = labels({2: answer(7, 10.0), 0: answer(281, 0.0)}, pool(), "alexnet", "IMAGENET1K_V1")
    names = categories("alexnet", "IMAGENET1K_V1")
    assert list(found) == ["a.jpg", "c.jpg"]
    assert found["c.jpg"].name == names[7]
    e10 = 22026.4657948
    assert found["c.jpg"].probability == pytest.approx(e10 / (e10 + 999))


def test_the_table_names_picture_label_and_probability():
    text = shown({1: answer(281, 20.0)}, MINE)
    assert "alexnet (IMAGENET1K_V1)" in text
    assert [line.split()[0] for line in text.splitlines() if "tabby" in line] == ["b.jpg"]
    assert "100.0%" in text


@pytest.mark.parametrize(
    ("answers", "weights", "why"),
    [
        ({1: answer(281, 20.0)}, None, "no labels: the weights are random; give files"),
        (
            {1: answer(281, 20.0)},
            UNKNOWN,
            "what mine.pth was trained to tell apart is not known; name it as `pretrained`",
        ),
        (None, MINE, "no answers were kept; leave out --no-check"),
        ({}, MINE, "no answer was checked and found right"),
    ],
)
def test_without_labels_it_is_said_why(answers, weights, why):
    assert why in shown(answers, weights)


def test_weights_of_torchvision_are_known_by_their_digest():
    own = RemoteWeights("alexnet.pth", "7be5be79" + SHA[8:])
    assert trained_as("alexnet", own) == "IMAGENET1K_V1"
    assert trained_as("alexnet", MINE) == "IMAGENET1K_V1"
    assert trained_as("alexnet", UNKNOWN) is None
    assert trained_as("alexnet", None) is None


def test_the_weights_are_those_of_the_machines_that_compute(tmp_path):
    world = make_world()
    names, model = world.problem.continuum.names, world.problem.graph.model

    def machine(name: str, weights=None, emulate=None) -> Machine:
        return Machine(name, "tcp://host:1", weights={model: weights} if weights else {}, emulate=emulate)

    first, *others = names
    testbed = Inventory(tmp_path / "t.yaml", (machine(first, UNKNOWN, "sleep"), *(machine(x, MINE) for x in others)))
    assert weights_of(world, testbed) is MINE
    assert weights_of(world, None) is None
    assert weights_of(world, Inventory(tmp_path / "t.yaml", tuple(machine(x) for x in names))) is None


def test_the_coordinator_finds_the_file_beside_the_testbed_file_or_says_where_it_should_be(tmp_path):
    import hashlib

    testbed, folder = tmp_path / "t.yaml", tmp_path / "weights"
    with pytest.raises(MachineError, match=r"weights/mine\.pth: cannot be read .*copy the weights there"):
        weights_beside(testbed, MINE)
    folder.mkdir()
    (folder / "mine.pth").write_bytes(b"weights")
    with pytest.raises(MachineError, match="is expected"):
        weights_beside(testbed, MINE)
    right = RemoteWeights("mine.pth", hashlib.sha256(b"weights").hexdigest())
    assert weights_beside(testbed, right).path == folder / "mine.pth"
    assert weights_beside(None, right) is None
    assert weights_beside(testbed, None) is None
