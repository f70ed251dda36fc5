"""A run with pictures, on agents that hold weights from a file: its checked answers are printed as labels."""

from __future__ import annotations

import hashlib
import re

import pytest
import torch
from PIL import Image
from test_probe_command import SCENARIO, agents, free_port

from hardware.models import build_model
from hardware.run import main
from twin.cli import guarded
from twin.runs.folder import read_run

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "weights").mkdir()
    (tmp_path / "pictures").mkdir()
    for number in range(3):
        picture = Image.effect_noise((300, 260), 30 + 20 * number).convert("RGB")
        picture.save(tmp_path / "pictures" / f"{number}.png")
    constant = "rate_bps: 400.0e+6, rtt_s: 0.001"
    (tmp_path / "s.yaml").write_text(SCENARIO.replace("trace: TRACE, after_end: hold", constant))
    return tmp_path


def run(*arguments: object) -> int:
    return guarded(lambda: main([str(argument) for argument in arguments]))


def testbed_with(folder, ports, weights: str) -> None:
    rows = [f'  - {{name: {name}, address: "tcp://127.0.0.1:{port}"{weights}}}' for name, port in ports.items()]
    (folder / "t.yaml").write_text("\n".join(["schema: 1", "curve: off", "machines:", *rows, ""]))


testbed_with.__test__ = False


def test_labels_where_the_weights_are_known_and_a_reason_where_not(folder, capfd):
    file = folder / "weights" / "mine.pth"
    torch.save(build_model("mobilenet_v2", seed=7).state_dict(), file)
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    ports = {"pi": free_port(), "laptop": free_port()}
    arguments = (folder / "s.yaml", "--testbed", folder / "t.yaml", "--images", folder / "pictures", "--no-report")
    weights = f", weights: {{mobilenet_v2: {{file: mine.pth, sha256: {sha256}, pretrained: IMAGENET1K_V1}}}}"
    with agents(folder, ports):
        testbed_with(folder, ports, weights)
        assert run(*arguments, "--out", folder / "a") == 0
        told = capfd.readouterr().err
        testbed_with(folder, ports, "")
        assert run(*arguments, "--out", folder / "b") == 0
        untold = capfd.readouterr().err
        # Found before anything is played: the coordinator holds answers against the same weights.
        testbed_with(folder, ports, weights.replace("mine.pth", "other.pth"))
        assert run(*arguments, "--out", folder / "c") == 2
        assert re.search(r"weights/other\.pth: cannot be read .*copy the weights there", capfd.readouterr().err)
    assert "labels of mobilenet_v2 (IMAGENET1K_V1)" in told
    rows = re.findall(r"^ *(\d\.png) +(\S.*?) +(\d+\.\d)%", told, re.MULTILINE)
    assert {name for name, _, _ in rows} <= {"0.png", "1.png", "2.png"}
    assert rows
    assert "no labels: the weights are random" in untold
    result = read_run(folder / "a" / "static")
    assert result.facts["checked"]["checked"] >= 5
    assert result.facts["checked"]["wrong"] == []
    assert result.facts["inputs"] == "3 pictures in pictures"
