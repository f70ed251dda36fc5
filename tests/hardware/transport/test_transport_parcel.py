import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hardware.transport.head import decode, encode, payload_bytes
from hardware.transport.parcel import DEFAULT_LIMITS, ITEM_BYTES, Kind, Limits, Parcel, TensorSpec
from twin.errors import TransportError

SPECS = st.builds(TensorSpec, st.sampled_from(sorted(ITEM_BYTES)), st.lists(st.integers(0, 5), max_size=4).map(tuple))


@st.composite
def parcels(draw):
    specs = tuple(draw(st.lists(SPECS, max_size=4)))
    return Parcel(
        draw(st.sampled_from(Kind)),
        draw(st.integers(-(2**63), 2**63 - 1)),
        draw(st.integers(-(2**31), 2**31 - 1)),
        draw(st.integers(-(2**31), 2**31 - 1)),
        draw(st.integers(-(2**15), 2**15 - 1)),
        specs,
        tuple(draw(st.binary(min_size=spec.size_bytes, max_size=spec.size_bytes)) for spec in specs),
    )


BEHIND, APART = 10_000, -1
"""Lengths up to which tensors travel behind the head: all of them, none of them."""


@given(parcels(), st.sampled_from([BEHIND, APART]), st.binary(max_size=20))
def test_a_parcel_comes_back_as_it_was(parcel, inline_bytes, before):
    frames, size_bytes = encode(parcel, before=before, inline_bytes=inline_bytes)
    assert len(frames) == (1 if inline_bytes == BEHIND else 1 + len(parcel.buffers))
    assert decode(frames, start=len(before)) == (parcel, size_bytes)
    assert size_bytes == parcel.size_bytes == sum(spec.size_bytes for spec in parcel.tensors)
    assert size_bytes == payload_bytes(memoryview(frames[0]), len(before), sum(map(len, frames)))


def test_small_parcels_travel_in_one_frame():
    for size_bytes, n_frames in ((8192, 1), (8193, 2)):
        parcel = Parcel(Kind.WORK, 1, 0, 0, 1, (TensorSpec("uint8", (size_bytes,)),), (bytes(size_bytes),))
        assert len(encode(parcel)[0]) == n_frames


@given(parcels(), st.sampled_from([BEHIND, APART]), st.data())
def test_damaged_frames_give_a_parcel_or_one_kind_of_error(parcel, inline_bytes, data):
    frames = [bytearray(frame) for frame in encode(parcel, inline_bytes=inline_bytes)[0]]
    for _ in range(data.draw(st.integers(1, 4))):
        frame = data.draw(st.sampled_from(frames))
        match data.draw(st.sampled_from(["flip", "cut", "grow", "drop", "double"])):
            case "flip" if frame:
                frame[data.draw(st.integers(0, len(frame) - 1))] ^= data.draw(st.integers(1, 255))
            case "cut" if frame:
                del frame[data.draw(st.integers(0, len(frame) - 1)) :]
            case "grow":
                frame += data.draw(st.binary(max_size=9))
            case "drop" if len(frames) > 1:
                frames.remove(frame)
            case "double":
                frames.append(bytearray(frame))
    assert 0 <= payload_bytes(memoryview(frames[0]), 0, sum(map(len, frames))) <= sum(map(len, frames))
    try:
        found, size_bytes = decode(frames, Limits(tensors=4, dims=4, tensor_bytes=10_000, message_bytes=20_000))
    except TransportError:
        return
    assert size_bytes == sum(map(len, found.buffers))
    assert all(spec.size_bytes == len(buffer) for spec, buffer in zip(found.tensors, found.buffers, strict=True))


@given(st.lists(st.binary(max_size=80), max_size=4))
def test_noise_is_no_parcel(frames):
    with pytest.raises(TransportError):
        decode([b"\xff", *frames])


def test_a_claim_of_more_than_there_is_allocates_nothing():
    frames, _ = encode(Parcel(Kind.WORK, 1, 0, 0, 1, (TensorSpec("uint8", (16,)),), (bytes(16),)), inline_bytes=APART)
    head, huge = bytearray(frames[0]), (2**62).to_bytes(8, "little")
    head[-8:] = huge
    head[-16:-8] = huge
    for claimed in ([head, bytes(16)], [head + bytes(16)]):
        with pytest.raises(TransportError, match="at most"):
            decode(claimed)
    head[_TABLE_BYTES_AT : _TABLE_BYTES_AT + 4] = (2**31).to_bytes(4, "little")
    with pytest.raises(TransportError, match="told in 2147483648 bytes"):
        decode([head + bytes(16)])


_TABLE_BYTES_AT = 22
"""Where a head says how long its table is."""


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Limits(tensors=1), "at most 1 tensors"),
        (Limits(dims=1), "at most 1 dimensions"),
        (Limits(tensor_bytes=15), "of 15 bytes"),
        (Limits(message_bytes=31), "and 31 bytes in all"),
    ],
)
def test_limits_hold_at_both_ends(limits, words):
    spec = TensorSpec("float32", (2, 2))
    parcel = Parcel(Kind.WORK, 7, 0, 0, 1, (spec, spec), (bytes(16), bytes(16)))
    for inline_bytes in (BEHIND, APART):
        frames, _ = encode(parcel, inline_bytes=inline_bytes)
        with pytest.raises(TransportError, match=words):
            decode(frames, limits)
        assert decode(frames, DEFAULT_LIMITS) == (parcel, 32)
    with pytest.raises(TransportError, match=r"request 7.*over the limits"):
        encode(parcel, limits)


@pytest.mark.parametrize(
    "parcel",
    [
        Parcel(Kind.WORK, 1, 0, 0, 1, (TensorSpec("float32", (2,)),), (bytes(7),)),
        Parcel(Kind.WORK, 1, 0, 0, 1, (TensorSpec("float32", (2,)),), ()),
        Parcel(Kind.WORK, 1, 0, 0, 1, (TensorSpec("complex64", (2,)),), (bytes(16),)),
        Parcel(Kind.WORK, 2**63, 0, 0, 1, (), ()),
        Parcel(Kind.WORK, 1, 0, 0, 1, (TensorSpec("uint8", (-1,)),), (b"",)),
        Parcel(Kind.WORK, 1, 0, 0, 1, (TensorSpec("uint8", (2,)),), (memoryview(bytes(4))[::2],)),
    ],
)
def test_what_cannot_travel_is_refused_before_it_is_sent(parcel):
    with pytest.raises(TransportError):
        encode(parcel)


def test_dtypes_have_the_sizes_that_torch_gives_them():
    assert {name: getattr(torch, name).itemsize for name in ITEM_BYTES} == ITEM_BYTES


def test_arrays_travel_without_a_copy():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    parcel = Parcel(Kind.ANSWER, 1, 0, 0, 0, (TensorSpec("float32", (2, 3)),), (array.data,))
    frames, _ = encode(parcel, inline_bytes=APART)
    assert frames[1] is parcel.buffers[0]
    back, _ = decode([frames[0], bytearray(array.tobytes())])
    assert decode(encode(parcel, inline_bytes=BEHIND)[0])[0] == back
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tensor = torch.frombuffer(back.buffers[0], dtype=torch.float32).reshape(2, 3)
    assert torch.equal(tensor, torch.from_numpy(array))
