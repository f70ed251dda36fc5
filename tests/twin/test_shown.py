"""What a policy was shown: the same rows from memory, from the temporary file and in another process."""

import pickle
from itertools import pairwise

import numpy as np
import pytest

from twin import shown
from twin.errors import RunFolderError
from twin.problem import Samples
from twin.records import RawSamples
from twin.shown import Shown


def samples(rng):
    """Some of each kind, none of some."""
    m, n, c, p, q = rng.integers(0, 9, 5)
    f, i = rng.uniform, rng.integers
    return Samples(
        *(f(size=m), i(0, 2, m), i(0, 2, m), f(size=m), f(size=m)),
        *(f(size=n), i(0, 3, n), f(size=n), f(size=n)),
        *(f(size=c), f(size=c), i(0, 5, c)),
        *(i(0, 2, p), i(0, 2, p), f(size=p), f(size=p)),
        *(i(0, 3, q), f(size=q), f(size=q)),
    )


def filled(ticks=40):
    rng, kept, rows = np.random.default_rng(3), Shown(2), [0]
    for tick in range(ticks):
        kept.add(samples(rng), float(tick))
        rows.append(kept.most_rows)
    return kept, rows


def columns(kept):
    return RawSamples.concatenate(list(kept.parts())).columns()


@pytest.fixture
def in_file(monkeypatch):
    """Small blocks, which go to the file from the second on."""
    monkeypatch.setattr(shown, "_PART", 50)
    monkeypatch.setattr(shown, "_MOST", 80)


def assert_equal(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].dtype == b[name].dtype
        np.testing.assert_array_equal(a[name], b[name])


def test_the_file_holds_what_memory_would(monkeypatch):
    in_memory, _ = filled()
    monkeypatch.setattr(shown, "_PART", 50)
    monkeypatch.setattr(shown, "_MOST", 80)
    away, _ = filled()
    assert sum(len(part) for part in away.parts()) == away.most_rows
    assert any(not hasattr(block, "t_s") for block in away._blocks)
    assert_equal(columns(away), columns(in_memory))
    assert_equal(columns(away), columns(in_memory))  # the file can be read again


def test_the_samples_of_a_tick_come_back(in_file):
    kept, rows = filled()
    rng, raw = np.random.default_rng(3), RawSamples.deferred([kept])
    for first, last in pairwise(rows):
        given, found = samples(rng), raw.samples(first, last)
        for name in Samples.__slots__:
            np.testing.assert_array_equal(getattr(found, name), getattr(given, name))


def test_another_process_is_given_all_rows(in_file):
    kept, _ = filled()
    assert_equal(columns(pickle.loads(pickle.dumps(kept))), columns(kept))  # noqa: S301 - what it has just made


def test_without_room_it_says_what_to_do(in_file, monkeypatch):
    class Full:
        def seek(self, *_):
            return 0

        def write(self, _):
            raise OSError(28, "No space left on device")

        def close(self):
            pass

    monkeypatch.setattr(shown.tempfile, "TemporaryFile", Full)
    with pytest.raises(RunFolderError, match=r"No space left on device\); make room there, or set TMPDIR"):
        filled()
