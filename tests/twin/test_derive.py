"""Derived profiles: the fit against brute force, the published figures, what files hold and what is refused."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.derivation.benchmarks import read_benchmarks
from twin.derivation.profiles import derive, profile_of
from twin.derivation.roofline import fit, nonnegative_least_squares, work
from twin.derive import load_graphs, main
from twin.errors import GraphError, ProfileError, TwinError
from twin.graph import Layer, LayerGraph
from twin.profiles import load_profile

DATA = Path(__file__).parents[2] / "data"
DEVICES = ("raspberry-pi-5", "i7-10510u", "rtx-4070-ti")
PUBLISHED = ("vgg16", "alexnet", "mobilenet_v2")


@pytest.fixture(scope="module")
def graphs():
    return load_graphs(DATA / "models")


@pytest.fixture(scope="module")
def derivations(graphs):
    return {name: derive(read_benchmarks(DATA / "benchmarks" / f"{name}.yaml"), graphs) for name in DEVICES}


def layer(name, inputs, op="Conv2d", output_bytes=100, parameter_bytes=40, flops=1000.0):
    return Layer(name, op, inputs, (1, 25), output_bytes, parameter_bytes, flops, (name,))


def small_graph(model="small"):
    return LayerGraph(
        model,
        (1, 5),
        20,
        (
            layer("features.0", ("input",), "Conv2d+ReLU"),
            layer("features.2", ("features.0",), "AvgPool2d+flatten+Dropout", parameter_bytes=0),
            layer("head", ("features.2", "features.0"), "BatchNorm2d+iadd+ReLU"),
        ),
        ("head",),
    )


def one_kernel_each(graph):
    """Flops, bytes and kernels of each layer where nothing that is folded in counts."""
    counted = work(graph)
    outputs = np.array([layer.output_bytes for layer in graph.layers])
    counted[:, 1] -= 2 * (counted[:, 2] - 1) * outputs
    counted[:, 2] = 1
    return counted


def write(folder, **changes):
    data = {"device": "box", "citation": "somebody, 2026", "whole_model_ms": {"alexnet": 10.0}} | changes
    path = folder / "box.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in data.items() if value is not None}), encoding="utf-8")
    return path


class TestWork:
    def test_bytes_and_kernels_by_hand(self):
        expected = [
            (1000, 40 + 20 + 100 + 2 * 100, 2),
            (1000, 0 + 100 + 100, 1),
            (1000, 40 + 200 + 100 + 2 * 2 * 100, 3),
        ]
        assert np.array_equal(work(small_graph()), np.array(expected, dtype=float))


class TestFit:
    @given(
        st.lists(st.lists(st.floats(0.01, 100), min_size=3, max_size=3), min_size=1, max_size=6),
        st.lists(st.floats(0.1, 10), min_size=6, max_size=6),
    )
    @settings(max_examples=200)
    def test_no_other_point_is_better(self, rows, target):
        matrix, target = np.array(rows), np.array(target[: len(rows)])
        best = nonnegative_least_squares(matrix, target)
        assert (best >= 0.0).all()
        error = matrix @ best - target
        # The conditions of Karush, Kuhn and Tucker for a convex problem: no step into the allowed region helps.
        gradient = matrix.T @ error
        scale = np.abs(matrix).sum(axis=0).max() * np.abs(target).max()
        assert (gradient >= -1e-4 * scale).all()
        assert np.abs(gradient * best).max() <= 1e-4 * scale * max(best.max(), 1.0)

    def test_a_column_of_another_size_does_not_matter(self):
        truth = np.array([1e-11, 4e-10, 3e-5])
        totals = np.array([[31e9, 6e8, 35], [1.4e9, 2.5e8, 19], [6e8, 9e7, 150]])
        roofline = fit(totals, totals @ truth)
        assert (roofline.s_per_flop, roofline.s_per_byte, roofline.s_per_kernel) == pytest.approx(tuple(truth))
        assert roofline.flop_rate == pytest.approx(1e11)
        assert roofline.doubts == {}

    def test_what_does_not_show_in_the_times_is_said(self):
        totals = np.array([[1e9, 1e6, 10], [2e9, 9e6, 10], [3e9, 4e6, 50]])
        roofline = fit(totals, totals[:, 0] * 1e-11)
        assert roofline.flop_rate == pytest.approx(1e11)
        assert roofline.byte_rate is None
        assert set(roofline.doubts) == {"byte_rate", "overhead"}
        assert "zero at the bound" in roofline.doubts["overhead"]

    @pytest.mark.parametrize("n", [1, 2])
    def test_too_few_benchmarks_leave_every_parameter_in_doubt(self, n):
        totals = np.array([[1e9, 1e6, 10], [2e9, 9e6, 10]])[:n]
        times_s = [0.02, 0.05][:n]
        roofline = fit(totals, times_s)
        assert roofline.times_s(totals) == pytest.approx(times_s)
        assert set(roofline.doubts) == {"flop_rate", "byte_rate", "overhead"}
        assert f"{n} benchmark{'s' * (n > 1)} cannot determine 3 parameters" in roofline.doubts["flop_rate"]

    def test_models_of_the_same_proportions_leave_every_parameter_in_doubt(self):
        totals = np.array([[1e9, 1e6, 10], [2e9, 2e6, 20], [3e9, 3e6, 30]])
        roofline = fit(totals, [0.01, 0.02, 0.03])
        assert roofline.times_s(totals) == pytest.approx([0.01, 0.02, 0.03])
        assert set(roofline.doubts) == {"flop_rate", "byte_rate", "overhead"}
        assert "too alike" in roofline.doubts["byte_rate"]

    def test_models_without_work_are_refused(self):
        with pytest.raises(ProfileError, match="neither flops nor bytes"):
            fit(np.zeros((1, 3)), [0.1])


class TestPublishedDevices:
    """The figures that the derivation is known for; the tolerance allows for how a layer's flops are counted."""

    def test_edge_parameters(self, derivations):
        edge = derivations["raspberry-pi-5"].roofline
        assert edge.flop_rate == pytest.approx(88e9, rel=0.05)
        assert edge.byte_rate == pytest.approx(2.4e9, rel=0.05)
        assert edge.s_per_kernel == 0.0
        assert "overhead" in edge.doubts

    def test_edge_stages_that_the_fit_has_not_seen(self, derivations):
        (stages,) = derivations["raspberry-pi-5"].checks
        assert [round(1e3 * x.published_s, 1) for x in stages] == [191.4, 19.8, 52.0]
        for stage in stages:
            assert abs(stage.error) < 0.12

    def test_counting_each_layer_as_one_kernel_gives_what_the_note_says(self, derivations, graphs, monkeypatch):
        edge = derivations["raspberry-pi-5"]
        monkeypatch.setattr("twin.derivation.profiles.work", one_kernel_each)
        other = derive(edge.benchmarks, graphs)
        assert other.roofline.flop_rate == pytest.approx(87.5e9, rel=1e-3)
        assert other.roofline.byte_rate == pytest.approx(2.17e9, rel=3e-3)
        assert other.roofline.s_per_kernel == pytest.approx(64e-6, rel=1e-2)
        assert [1e3 * x.derived_s for x in other.checks[0]] == pytest.approx([172, 18.7, 48.0], rel=3e-3)
        assert [1e3 * x.derived_s for x in edge.checks[0]] == pytest.approx([201, 19.1, 55.0], rel=3e-3)
        note = edge.benchmarks.notes[1]
        assert "201, 19.1 and 55.0 ms" in note
        assert "87.5 GFLOP/s, 2.17 GB/s and 64 us per layer, and the stages 172, 18.7 and 48.0 ms" in note

    def test_edge_whole_models(self, derivations):
        for entry in derivations["raspberry-pi-5"].fitted:
            assert abs(entry.error) < 0.15

    def test_fog_parameters(self, derivations):
        fog = derivations["i7-10510u"].roofline
        assert fog.flop_rate == pytest.approx(251e9, rel=0.05)
        assert fog.byte_rate == pytest.approx(17e9, rel=0.05)
        assert fog.s_per_kernel == pytest.approx(24e-6, rel=0.25)
        assert fog.doubts == {}

    def test_fog_stages_cost_several_times_what_is_derived(self, derivations):
        (stages,) = derivations["i7-10510u"].checks
        assert [round(1e3 * x.published_s, 1) for x in stages] == [166.1, 5.5, 17.9]
        assert [round(1e3 * x.derived_s) for x in stages] == pytest.approx([85, 1, 5], rel=0.1)
        assert all(1.5 < x.published_s / x.derived_s < 6 for x in stages)

    def test_the_cloud_is_bound_by_overhead(self, derivations, graphs):
        cloud = derivations["rtx-4070-ti"]
        assert "flop_rate" in cloud.roofline.doubts
        mobilenet = work(graphs["mobilenet_v2"])
        overhead_s = cloud.roofline.s_per_kernel * mobilenet[:, 2].sum()
        assert overhead_s > 0.9 * cloud.roofline.times_s(mobilenet).sum()


class TestCommittedProfiles:
    @pytest.mark.parametrize("device", DEVICES)
    def test_they_come_out_again(self, device, tmp_path, capsys):
        benchmarks = DATA / "benchmarks" / f"{device}.yaml"
        assert main([str(benchmarks), "--models", str(DATA / "models"), "--out", str(tmp_path)]) == 0
        made = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "profiles" / device).iterdir()}
        committed = DATA / "profiles" / device
        assert made == {path.name: path.read_text(encoding="utf-8") for path in committed.iterdir()}
        assert "published ms" in capsys.readouterr().out

    @pytest.mark.parametrize("device", DEVICES)
    def test_they_fit_the_layer_graphs_and_say_where_they_are_from(self, device, graphs):
        for model, graph in graphs.items():
            profile = load_profile(DATA / "profiles" / device / f"{model}.json")
            times_s = profile.layer_times_s(graph)
            assert (times_s > 0.0).all()
            assert profile.whole_model.median_s == pytest.approx(times_s.sum(), rel=1e-6)
            assert (profile.source, profile.additivity, profile.dispersion) == ("derived", 1.0, None)
            assert profile.extrapolated == (model not in PUBLISHED)
            assert all(x.n == 0 and x.p05_s is None and x.p95_s is None for x in profile.layers)
            assert {"formula", "citation", "parameters", "whole_models", "checks"} <= set(profile.provenance)
            assert "2605.09623" in profile.provenance["citation"]

    def test_the_fog_profile_names_the_discrepancy(self):
        profile = load_profile(DATA / "profiles" / "i7-10510u" / "vgg16.json")
        (check,) = profile.provenance["checks"]
        assert check["name"] == "fog stages in the chain"
        assert "does not absorb" in check["note"]
        assert check["stages"][0]["error"] < -0.4

    def test_the_edge_profile_says_which_board_it_is(self):
        profile = load_profile(DATA / "profiles" / "raspberry-pi-5" / "vgg16.json")
        assert "Raspberry Pi 4" in profile.provenance["notes"][0]


class TestDerive:
    def test_times_are_not_scaled_to_the_published_one(self, graphs, tmp_path):
        path = write(
            tmp_path, whole_model_ms={"alexnet": 10.0, "vgg16": 500.0, "mobilenet_v2": 90.0, "resnet50": 100.0}
        )
        derivation = derive(read_benchmarks(path), graphs)
        by_model = {entry.what: entry for entry in derivation.fitted}
        for model, entry in by_model.items():
            profile = profile_of(derivation, graphs[model])
            assert profile.whole_model.median_s == pytest.approx(entry.derived_s, rel=1e-6)
        assert max(abs(entry.error) for entry in by_model.values()) > 0.01

    def test_a_stage_may_be_published_as_a_time(self, graphs, tmp_path):
        stage = {"model": "vgg16", "first": "features.0", "last": "classifier", "published_ms": 80.0}
        path = write(tmp_path, checks=[{"name": "all of it", "note": "measured", "stages": [stage]}])
        derivation = derive(read_benchmarks(path), graphs)
        ((comparison,),) = derivation.checks
        assert comparison.published_s == pytest.approx(0.08)
        whole_s = derivation.roofline.times_s(work(graphs["vgg16"])).sum()
        assert comparison.derived_s == pytest.approx(float(whole_s))

    def test_the_number_of_threads_is_kept_where_it_is_known(self, graphs, tmp_path):
        for threads in (4, None):
            derivation = derive(read_benchmarks(write(tmp_path, threads=threads)), graphs)
            assert profile_of(derivation, graphs["alexnet"]).threads == threads

    def test_a_model_without_a_layer_graph_is_refused(self, graphs, tmp_path):
        path = write(tmp_path, whole_model_ms={"lenet": 1.0})
        with pytest.raises(ProfileError, match=r"no layer graph of lenet; write it .*hardware\.stages.*alexnet"):
            derive(read_benchmarks(path), graphs)

    @pytest.mark.parametrize(
        ("first", "last", "words"),
        [("features.99", "classifier", "has no layer `features.99`"), ("classifier", "features", "swap them")],
    )
    def test_a_stage_of_unknown_or_swapped_layers_is_refused(self, graphs, tmp_path, first, last, words):
        stage = {"model": "vgg16", "first": first, "last": last, "published_ms": 80.0}
        path = write(tmp_path, checks=[{"name": "some", "note": "measured", "stages": [stage]}])
        with pytest.raises(GraphError, match=re.escape(words)):
            derive(read_benchmarks(path), graphs)


class TestBenchmarkFiles:
    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"device": None}, "box.yaml:1: device: is missing; add it"),
            ({"devise": "box"}, "devise: unknown key; did you mean `device`?"),
            ({"device": "../box"}, "device: is `../box`"),
            ({"whole_model_ms": {}}, "whole_model_ms: is {}"),
            ({"whole_model_ms": {"alexnet": -1.0}}, "whole_model_ms.alexnet: is -1.0; Input should be greater than 0"),
            ({"whole_model_ms": {"alexnet": float("nan")}}, "whole_model_ms.alexnet: is nan"),
            ({"whole_model_ms": {"alexnet": "fast"}}, "whole_model_ms.alexnet: is `fast`"),
            ({"whole_model_ms": 3.0}, "whole_model_ms: is 3.0"),
            ({"threads": 0}, "threads: is 0; Input should be greater than or equal to 1"),
            ({"checks": [{"name": "some", "note": "x", "stages": []}]}, "checks.0.stages: is []"),
        ],
    )
    def test_malformed_files_are_refused_with_line_and_place(self, tmp_path, changes, words):
        with pytest.raises(ProfileError, match=re.escape(words)):
            read_benchmarks(write(tmp_path, **changes))

    @pytest.mark.parametrize(
        ("figures", "words"),
        [
            ({}, "checks.0.stages.0: give either `published_ms`, or `energy_j` and `power_w`"),
            ({"energy_j": 1.0}, "give either"),
            ({"published_ms": 1.0, "energy_j": 1.0, "power_w": 1.0}, "give either"),
            ({"published_ms": 1.0, "power_w": 1.0}, "give either"),
            ({"publish_ms": 1.0}, "checks.0.stages.0.publish_ms: unknown key; did you mean `published_ms`?"),
        ],
    )
    def test_malformed_stages_are_refused(self, tmp_path, figures, words):
        stage = {"model": "vgg16", "first": "features.0", "last": "classifier"} | figures
        path = write(tmp_path, checks=[{"name": "some", "note": "x", "stages": [stage]}])
        with pytest.raises(ProfileError, match=re.escape(words)):
            read_benchmarks(path)

    def test_a_list_is_no_benchmark_file(self, tmp_path):
        path = tmp_path / "list.yaml"
        path.write_text("- 1\n", encoding="utf-8")
        with pytest.raises(ProfileError, match=r"list\.yaml: must be a mapping with the keys device, citation"):
            read_benchmarks(path)

    def test_a_missing_file_is_refused(self, tmp_path):
        with pytest.raises(TwinError, match=r"none\.yaml: cannot be read"):
            read_benchmarks(tmp_path / "none.yaml")


class TestCommand:
    def test_every_benchmark_of_the_data_folder_is_taken(self, tmp_path, capsys):
        (tmp_path / "benchmarks").mkdir()
        (tmp_path / "models").mkdir()
        write(tmp_path / "benchmarks", whole_model_ms={"small": 2.0})
        (tmp_path / "models" / "small.json").write_text(json.dumps(small_graph().to_json()), encoding="utf-8")
        assert main(["--out", str(tmp_path)]) == 0
        profile = load_profile(tmp_path / "profiles" / "box" / "small.json")
        assert profile.whole_model.median_s == pytest.approx(0.002)
        assert "1 benchmark cannot determine 3 parameters" in " ".join(capsys.readouterr().out.split())

    def test_empty_folders_are_refused(self, tmp_path):
        with pytest.raises(ProfileError, match="holds no benchmarks; name a file"):
            main(["--out", str(tmp_path)])
        with pytest.raises(ProfileError, match="holds no layer graphs"):
            main([str(write(tmp_path)), "--out", str(tmp_path)])

    def test_a_folder_that_cannot_be_written_is_refused(self, tmp_path):
        (tmp_path / "profiles").write_text("", encoding="utf-8")
        benchmarks = str(write(tmp_path))
        with pytest.raises(ProfileError, match="cannot be written"):
            main([benchmarks, "--out", str(tmp_path), "--models", str(DATA / "models")])

    def test_the_command_says_what_is_wrong_and_leaves_with_2(self, tmp_path):
        done = subprocess.run(
            [sys.executable, "-m", "twin.derive", "--out", str(tmp_path)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 2
        assert done.stderr.startswith("error: ")
        assert "Traceback" not in done.stderr

    def test_help_loads_nothing_heavy(self):
        code = (
            "import sys\nfrom twin.derive import main\n"
            "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
            "heavy = {'numpy', 'networkx', 'simpy', 'pyarrow', 'matplotlib', 'pydantic', 'rich', 'yaml'}\n"
            "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
