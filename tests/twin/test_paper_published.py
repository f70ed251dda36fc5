"""The committed figures of the seed paper agree with each other, and a wrong file is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from twin.errors import ScenarioError
from twin.reproduction.published import Row, read_published

FILE = Path(__file__).parents[2] / "data" / "published" / "deng-2026.yaml"
HALF_J = 0.0005
"""Largest rounding error of a published energy."""


@pytest.fixture(scope="module")
def published():
    return read_published(FILE)


def test_the_totals_and_the_reductions_follow_from_the_rows(published):
    assert list(published.models) == ["vgg16", "alexnet", "mobilenet_v2"]
    for figures in published.models.values():
        for row in (figures.static, figures.adaptive):
            assert sum(row.by_device_j) == pytest.approx(row.total_j, abs=4 * HALF_J)
        latency = 100 * (1 - figures.adaptive.latency_ms / figures.static.latency_ms)
        energy = 100 * (1 - figures.adaptive.total_j / figures.static.total_j)
        assert latency == pytest.approx(figures.reductions.latency_percent, abs=0.01)
        assert energy == pytest.approx(figures.reductions.energy_percent, abs=0.02)


def test_edge_and_fog_have_one_power_and_the_cloud_has_three(published):
    for figures in published.models.values():
        for whole, power_w in ((figures.edge_only, 12.0), (figures.fog_only, 15.0)):
            assert whole.energy_j == pytest.approx(power_w * whole.latency_s, abs=2 * HALF_J)
    cloud_w = [published.power_w(model)[2] for model in published.models]
    assert cloud_w == pytest.approx([31.79, 28.92, 22.04], abs=0.01)


def test_waiting_is_what_a_device_does_not_compute():
    row = Row(latency_ms=1000.0, edge_j=6.0, fog_j=3.0, cloud_j=2.0, total_j=11.0)
    assert row.stages_s((12.0, 15.0, 20.0)) == pytest.approx((0.5, 0.2, 0.1))
    assert row.node_j((12.0, 15.0, 20.0), (2.0, 4.0, 10.0)) == pytest.approx(11.0 + 2 * 0.5 + 4 * 0.8 + 10 * 0.9)


def test_a_wrong_file_is_refused_with_its_place(tmp_path):
    path = tmp_path / "wrong.yaml"
    text = FILE.read_text(encoding="utf-8")
    path.write_text(text.replace("fog_w: 15.0", "fog_w: -15.0").replace("latency_ms: 1.164", "latency: 1.164"))
    with pytest.raises(ScenarioError) as caught:
        read_published(path)
    assert f"{path}:12: fog_w: " in str(caught.value)
    assert "models.vgg16.cloud_only.latency_ms: Field required" in str(caught.value)
    with pytest.raises(ScenarioError, match=r"none\.yaml"):
        read_published(tmp_path / "none.yaml")
    path.write_text("- 3")
    with pytest.raises(ScenarioError, match="must be a mapping with the keys citation, setting"):
        read_published(path)
