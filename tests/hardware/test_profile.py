"""Profiles: timed by a scripted clock, so that every figure can be worked out by hand."""

from __future__ import annotations

import json
import platform
import re
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from toys import Residual

from hardware import host, profile
from hardware.models import build_model
from hardware.profile import Settings, main, profile_model, stage_spans
from hardware.steadiness import complaints, figures
from hardware.timing import Rounds, Timer, measure, quantiles
from hardware.tracing.trace import trace
from twin.cli import guarded
from twin.errors import MeasurementError
from twin.profiles import load_profile

SHAPE = (1, 3, 8, 8)
SETTINGS = Settings("toy", threads=1, repeats=30, warm_up=2)


class ScriptedClock:
    """The n-th timed call of a round lasts (n + 1) microseconds; a whole round lasts `growth` longer than the last.

    It is read twice per timed call, and between calls no time passes.
    """

    def __init__(self, calls_per_round: int, growth: float = 0.0) -> None:
        self.calls_per_round, self.growth = calls_per_round, growth
        self.now_ns = self.reads = 0

    def __call__(self) -> int:
        if self.reads % 2:
            turn, call = divmod(self.reads // 2, self.calls_per_round)
            self.now_ns += round(1_000 * (call + 1) * (1.0 + self.growth * turn))
        self.reads += 1
        return self.now_ns


def toy() -> Residual:
    torch.manual_seed(1)
    return Residual().eval()


@pytest.fixture(autouse=True)
def _calm(monkeypatch):
    monkeypatch.setattr(host, "load_average", lambda: 0.1)
    monkeypatch.setattr(host, "cores", lambda: 2)


def scripted(growth: float = 0.0, settings: Settings = SETTINGS):
    n_layers = len(trace(toy(), "toy", SHAPE).graph)
    clock = ScriptedClock(1 + n_layers + len(stage_spans(n_layers)), growth)
    ticks = []
    done = profile_model(toy(), "toy", settings, SHAPE, Timer(clock), lambda: ticks.append(1))
    return done, clock, len(ticks)


def test_every_figure_by_hand():
    done, _, _ = scripted()
    n = len(done.layers)
    assert done.whole_model == constant(1e-6)
    assert [layer.median_s for layer in done.layers] == pytest.approx([(2 + i) * 1e-6 for i in range(n)])
    assert [(stage.start, stage.stop) for stage in done.stages] == stage_spans(n)
    for k, stage in enumerate(done.stages):
        assert stage.time.median_s == pytest.approx((2 + n + k) * 1e-6)
        assert stage.sum_of_layers_s == pytest.approx(sum(2 + i for i in range(stage.start, stage.stop)) * 1e-6)
    ratios = [stage.time.median_s / stage.sum_of_layers_s for stage in done.stages]
    assert done.additivity == pytest.approx(np.median(ratios), rel=1e-5)
    assert (done.source, done.threads, done.batch, done.dtype) == ("measured", 1, 1, "float32")


def constant(time_s: float):
    return quantiles(np.full(30, time_s))


def test_warm_up_rounds_are_run_but_not_counted():
    done, clock, ticks = scripted()
    n = len(done.layers)
    assert ticks == 32
    assert clock.reads == 2 * 32 * (1 + n + len(done.stages))
    assert {time.n for time in (done.whole_model, *done.layers, *(stage.time for stage in done.stages))} == {30}
    # A clock that slows down shows which rounds were counted: 2, 3, ..., 31.
    slowing, _, _ = scripted(growth=1.0)
    assert slowing.whole_model.median_s == pytest.approx((1.0 + np.median(np.arange(2, 32))) * 1e-6)


def test_the_profile_fits_the_layer_graph_and_survives_its_file(tmp_path):
    done, _, _ = scripted()
    graph = trace(toy(), "toy", SHAPE).graph
    assert done.layer_times_s(graph).shape == (len(graph),)
    path = tmp_path / "toy.json"
    profile.write_json(path, done.to_json())
    assert load_profile(path) == done


def test_percentiles_are_linear_between_samples():
    found = quantiles(np.arange(101) * 1e-3)
    assert (found.p05_s, found.median_s, found.p95_s, found.n) == (0.005, 0.05, 0.095, 101)


def test_layers_run_in_topological_order_each_on_what_its_producers_wrote():
    seen: list[tuple[str, float]] = []
    model = toy()
    traced = trace(model, "toy", SHAPE)
    image = torch.rand(SHAPE)
    for name, module in traced.module.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.register_forward_hook(
                lambda _module, args, _out, name=name: seen.append((name, float(args[0].sum()))) or None
            )
    with torch.inference_mode():
        rounds = Rounds(model, traced, [], image, Timer())
        seen.clear()
        rounds.run()
    half = len(seen) // 2
    assert seen[:half] == seen[half:], "the layers must see what they see in a pass over the whole model"
    assert [name for name, _ in seen[:half]] == ["stem.0", "first.0", "second.0", "second.3", "head.1"]


def test_a_gpu_is_waited_for_before_and_after_each_timed_call():
    events: list[str] = []
    timer = Timer(lambda: events.append("clock") or 0, lambda: events.append("wait"))
    model = toy()
    traced = trace(model, "toy", SHAPE)
    with torch.inference_mode():
        measure(Rounds(model, traced, [(0, 2)], torch.rand(SHAPE), timer), repeats=1, warm_up=0)
    calls = 1 + len(traced.graph) + 1
    assert events == ["wait", "clock", "wait", "clock"] * calls


def test_no_gpu_is_one_message(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(MeasurementError, match=r"no CUDA device.*--device cpu"):
        profile.default_timer("cuda")


@pytest.mark.parametrize("n_layers", [1, 2, 3, 5, 12, 101])
def test_stages_are_the_whole_halves_thirds_and_quarters_each_once(n_layers):
    spans = stage_spans(n_layers)
    assert spans[0] == (0, n_layers)
    assert len(set(spans)) == len(spans) <= 10
    assert all(0 <= start < stop <= n_layers for start, stop in spans)
    if n_layers >= 12:
        assert len(spans) == 10
        assert all(first[1] == second[0] for first, second in pairwise(spans[-4:]))


def test_a_batch_is_measured_as_one_inference(tiny_models):
    settings = Settings("toy", threads=1, repeats=30, warm_up=1, batch=2)
    done = profile_model(toy(), "toy", settings, timer=Timer(ScriptedClock(1)))
    assert done.batch == 2
    assert done.layer_times_s(trace(toy(), "toy", SHAPE).graph).all()


def test_threads_are_set_for_the_measurement_and_put_back():
    before = torch.get_num_threads()
    during: set[int] = set()
    torch.set_num_threads(2)
    try:
        done = profile_model(toy(), "toy", SETTINGS, SHAPE, tick=lambda: during.add(torch.get_num_threads()))
        assert during == {1}
        assert torch.get_num_threads() == 2
        assert done.threads == 1
    finally:
        torch.set_num_threads(before)


def test_a_steady_machine_is_not_complained_of():
    assert complaints(figures(np.full(40, 0.01), 0.4, 2)) == []
    assert complaints(figures(np.full(40, 0.01), None, 2)) == []


@pytest.mark.parametrize(
    ("whole_s", "load", "message"),
    [
        (np.linspace(0.010, 0.0112, 40), 0.0, r"drifted by \+9\.1%.*warm-up"),
        (np.linspace(0.0112, 0.010, 40), 0.0, r"drifted by -8\.3%"),
        (np.tile([0.010, 0.014], 20), 0.0, r"95th percentile .* 1\.40 times the 5th"),
        (np.full(40, 0.010), 1.2, r"load average was 0\.60 per core"),
    ],
    ids=["warming up", "speeding up", "spread", "load"],
)
def test_an_unsteady_machine_is_complained_of_once_with_a_figure(whole_s, load, message):
    (sentence,) = complaints(figures(whole_s, load, 2))
    assert re.search(message, sentence)


def test_drift_is_stored_with_the_profile():
    done, _, _ = scripted(growth=0.01)
    assert done.provenance["steadiness"]["drift"] > 0.1
    assert any("drifted" in sentence for sentence in done.provenance["unsteady"])


def test_provenance_names_the_host_without_identifying_it():
    done, _, _ = scripted()
    provenance = done.provenance
    assert {"date", "method", "host", "steadiness", "unsteady", "load_average_before"} <= set(provenance)
    assert {"cpu", "cores", "governor", "os", "python", "torch", "torchvision"} == set(provenance["host"])
    assert "30 interleaved rounds after 2" in provenance["method"]
    text = json.dumps(done.to_json())
    assert platform.node() not in text or len(platform.node()) < 3
    assert "/home" not in text


def test_the_processor_of_a_board_is_found(tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nBogoMIPS\t: 108.00\n\nRevision\t: d04170\nModel\t\t: Some Board Rev 1.0\n")
    assert host.cpu_model(cpuinfo) == "Some Board Rev 1.0"
    cpuinfo.write_text("processor\t: 0\nmodel\t\t: 85\nmodel name\t: Some CPU @ 2.00GHz\n")
    assert host.cpu_model(cpuinfo) == "Some CPU @ 2.00GHz"


@pytest.fixture
def tiny_models(monkeypatch):
    monkeypatch.setattr(profile, "build_model", lambda name, seed: toy())
    monkeypatch.setattr(profile, "INPUT_SHAPE", SHAPE)


def command(tmp_path, *extra: str) -> list[str]:
    return ["--name", "toy", "--threads", "1", "--repeats", "30", "--warm-up", "1", "--out", str(tmp_path), *extra]


def test_command_writes_one_profile_per_model(tmp_path, capsys, tiny_models):
    assert main([*command(tmp_path), "--model", "alexnet", "vgg16"]) == 0
    for name in ("alexnet", "vgg16"):
        done = load_profile(tmp_path / "profiles" / "toy" / f"{name}.json")
        assert (done.device, done.model, done.source) == ("toy", name, "measured")
    streams = capsys.readouterr()
    assert streams.out.count("additivity") == 2
    assert all(line.startswith("warning: ") for line in streams.err.splitlines()), "no progress bar off a terminal"


def test_an_unsteady_machine_is_warned_of_on_stderr(tmp_path, capsys, monkeypatch, tiny_models):
    monkeypatch.setattr(host, "load_average", lambda: 7.0)
    main([*command(tmp_path), "--model", "alexnet"])
    assert "warning: alexnet: the load average was 3.50 per core" in capsys.readouterr().err


def test_the_load_that_the_first_model_makes_is_not_held_against_the_second(tmp_path, monkeypatch, tiny_models):
    loads = iter([0.1, *[1.9] * 9])
    monkeypatch.setattr(host, "load_average", lambda: next(loads))
    main([*command(tmp_path), "--model", "alexnet", "--model", "vgg16"])
    for name in ("alexnet", "vgg16"):
        provenance = load_profile(tmp_path / "profiles" / "toy" / f"{name}.json").provenance
        assert (provenance["load_average_before"], provenance["load_average_after"]) == (0.1, 1.9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--repeats", "29"], "--repeats is 29; it must be at least 30"),
        (["--threads", "0"], "--threads is 0"),
        (["--warm-up", "0"], "--warm-up is 0"),
        (["--batch", "0"], "--batch is 0"),
        (["--name", "../pi"], "cannot name a folder"),
        (["--model", "alexnet", "resnet5"], "did you mean `resnet50`?"),
    ],
)
def test_bad_input_is_one_message_before_anything_is_measured(tmp_path, capsys, tiny_models, arguments, message):
    assert guarded(lambda: main([*command(tmp_path), "--model", "alexnet", *arguments])) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert not (tmp_path / "profiles").exists()


def test_a_folder_that_cannot_be_written_is_one_message(tmp_path, tiny_models):
    (tmp_path / "profiles").write_text("in the way")
    with pytest.raises(MeasurementError, match=r"alexnet\.json: cannot be written .*--out"):
        main([*command(tmp_path), "--model", "alexnet"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["alexnet", "mobilenet_v2"])
def test_a_known_model_on_this_machine(name):
    done = profile_model(build_model(name), name, Settings("here", threads=1, repeats=30))
    # Of the fastest times, and wide: on a busy machine a long call is interrupted every time and a short one seldom,
    # so the medians need not agree there.
    layers_s = np.array([layer.p05_s for layer in done.layers])
    assert 0.3 < layers_s.sum() / done.whole_model.p05_s < 3.0
    for stage in done.stages:
        assert 0.3 < layers_s[stage.start : stage.stop].sum() / stage.time.p05_s < 3.0
    assert done.dispersion is not None
