"""Tables that are made when they are read."""

from __future__ import annotations

import pickle
from dataclasses import dataclass

import numpy as np
import pytest

from twin import tables
from twin.records import Power
from twin.runs.parquet import read_table, write_table


@dataclass(frozen=True)
class Made:
    """Three rows per part; counts how often they were made."""

    replication: int
    n_parts: int
    calls: list[int]

    @property
    def most_rows(self):
        return 3 * self.n_parts

    def parts(self):
        self.calls.append(1)
        for part in range(self.n_parts):
            times_s = np.arange(3.0) + 3 * part
            number = np.full(3, self.replication, dtype=np.int32)
            yield Power(number, np.zeros(3, dtype=np.int32), times_s, np.ones(3), times_s + 0.5)


def deferred(*counts):
    sources = [Made(number, n, []) for number, n in enumerate(counts)]
    return Power.concatenate([Power.deferred([source]) for source in sources]), sources


def test_columns_are_made_once_and_kept():
    table, (first, second) = deferred(2, 1)
    assert table.t_s.tolist() == [0, 1, 2, 3, 4, 5, 0, 1, 2]
    assert table.power_w.tolist() == (table.t_s + 0.5).tolist()
    assert len(table) == 9
    assert (len(first.calls), len(second.calls)) == (1, 1)
    assert table.sources == ()


def test_a_large_one_is_made_anew_piece_by_piece(monkeypatch):
    monkeypatch.setattr(tables, "_KEPT", 8)
    table, (first, _) = deferred(2, 1)
    assert [len(part) for part in table.parts()] == [3, 3, 3]
    assert len(table) == 9
    assert len(first.calls) == 2
    assert table.sources


def test_one_replication_makes_only_its_own():
    table, (first, second) = deferred(2, 1)
    assert table.only(1).replication.tolist() == [1, 1, 1]
    assert (len(first.calls), len(second.calls)) == (0, 1)
    assert len(table.only(7)) == 0
    whole, _ = deferred(2)
    assert whole.only(0) is whole


def test_a_deferred_one_beside_one_that_is_there():
    table, _ = deferred(1)
    there = Power.concatenate(list(deferred(1)[0].parts()))
    assert Power.concatenate([table, there]).t_s.tolist() == [0, 1, 2, 0, 1, 2]


def test_it_goes_to_other_processes():
    table, _ = deferred(2, 1)
    assert pickle.loads(pickle.dumps(table)).t_s.tolist() == table.t_s.tolist()  # noqa: S301 - our own bytes


def test_other_names_are_still_errors():
    table, _ = deferred(1)
    with pytest.raises(AttributeError, match="no attribute 'speed'"):
        _ = table.speed


def test_a_file_that_is_written_piece_by_piece_holds_the_same_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "_KEPT", 8)
    table, _ = deferred(3, 2)
    write_table(tmp_path / "power.parquet", table, "simulated")
    assert table.sources
    read = read_table(tmp_path / "power.parquet", Power)
    for name, column in table.columns().items():
        assert np.array_equal(getattr(read, name), column), name
