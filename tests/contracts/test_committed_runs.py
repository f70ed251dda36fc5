"""The committed runs of `data/runs`: what docs/validation.md says of them comes out again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from validation import names, table, validate

PAGE = Path(__file__).parents[2] / "docs" / "validation.md"


@pytest.mark.slow
@pytest.mark.parametrize("name", names())
def test_the_page_says_how_far_the_twin_is_from_the_committed_runs(tmp_path, name):
    text = PAGE.read_text(encoding="utf-8")
    found = re.search(rf"<!-- {name} -->\n(.*?)<!-- end -->", text, re.DOTALL)
    assert found is not None, f"docs/validation.md has no table of {name}: `python tests/validation.py --write`"
    assert found.group(1).strip() == table(validate(name, tmp_path)).strip()


def test_there_are_runs_of_three_models_that_fit_into_five_megabytes():
    assert names() == ["alexnet", "mobilenetv2", "vgg16"]
    runs = Path(__file__).parents[2] / "data" / "runs"
    assert sum(path.stat().st_size for path in runs.rglob("*") if path.is_file()) <= 5_000_000
