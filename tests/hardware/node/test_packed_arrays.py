"""Columns on their way, and spans as they are kept until then."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.node.arrays import pack_arrays, unpack_arrays
from hardware.node.recorder import Recorder, spans_table
from twin.errors import TransportError
from twin.records import Kind


@given(
    st.dictionaries(
        st.text("abc_", min_size=1, max_size=6),
        st.tuples(st.sampled_from(["int8", "int32", "int64", "float64", "bool"]), st.integers(0, 5)),
        max_size=4,
    )
)
def test_arrays_are_the_same_after_their_way(shapes):
    arrays = {name: np.arange(n).astype(dtype) for name, (dtype, n) in shapes.items()}
    there = unpack_arrays(pack_arrays(arrays))
    assert set(there) == set(arrays)
    for name, array in arrays.items():
        assert there[name].dtype == array.dtype
        assert np.array_equal(there[name], array)


@given(st.binary(max_size=200))
def test_what_is_no_columns_is_refused(data):
    with pytest.raises(TransportError):
        unpack_arrays(data)


@given(st.integers(0, 10**6), st.integers(0, 255), st.booleans())
def test_so_is_what_was_damaged(place, value, cut):
    data = bytearray(pack_arrays({"a": np.arange(20), "b": np.ones(3)}))
    data[place % len(data)] ^= value
    try:
        unpack_arrays(bytes(data[: place % len(data)] if cut else data))
    except TransportError:
        return


def test_pickles_are_refused():
    stream = io.BytesIO()
    np.savez(stream, a=np.array([{"evil": 1}], dtype=object))
    with pytest.raises(TransportError):
        unpack_arrays(stream.getvalue())


def test_a_single_array_is_no_columns():
    stream = io.BytesIO()
    np.save(stream, np.arange(3))
    with pytest.raises(TransportError):
        unpack_arrays(stream.getvalue())


def test_spans_are_kept_and_shifted():
    recorder = Recorder()
    recorder.add(0, 1, Kind.COMPUTE, 2, 100.0, 100.5)
    recorder.add(1, 1, Kind.QUEUE, 2, 100.5, 100.5)
    recorder.add(1, 1, Kind.TRANSMIT, 3, 100.5, 101.0, 700.0)
    assert len(recorder) == 2
    spans = spans_table(recorder.columns(), 4, np.array([[-100.0, -100.1], [-90.0, -90.0]]))
    assert spans.start_s == pytest.approx([0.0, 10.5])
    assert spans.end_s == pytest.approx([0.4, 11.0])
    assert list(spans.size_bytes) == [0.0, 700.0]
    assert set(spans.replication) == {4}
    assert list(spans.kind) == [Kind.COMPUTE, Kind.TRANSMIT]
    assert len(spans_table(Recorder().columns(), 0, 0.0)) == 0
