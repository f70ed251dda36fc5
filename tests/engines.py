"""Two results side by side: the records of two engines that must mean the same."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from twin.records import RunResult
    from twin.tables import Table


def canonical(table: Table) -> np.ndarray:
    """The rows of a table, sorted; shape [n_columns, n]."""
    columns = np.array([np.asarray(column, dtype=float) for column in table.columns().values()])
    return columns[:, np.lexsort(columns[::-1])]


def assert_same(one: RunResult, other: RunResult) -> None:
    """Every time to the last bit; the spans in any order."""
    for column in fields(one.requests):
        name = column.name
        np.testing.assert_array_equal(getattr(one.requests, name), getattr(other.requests, name), err_msg=name)
        assert getattr(one.requests, name).dtype == getattr(other.requests, name).dtype, name
    assert list(one.decisions) == list(other.decisions)
    for ours, theirs in ((one.raw, other.raw), (one.power, other.power)):
        for name, column in ours.columns().items():
            np.testing.assert_allclose(column, getattr(theirs, name), rtol=1e-12, atol=1e-12, err_msg=name)
    for name, column in one.spans.columns().items():
        assert column.dtype == getattr(other.spans, name).dtype, name
    np.testing.assert_array_equal(canonical(one.spans), canonical(other.spans))
