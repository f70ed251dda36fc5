"""A parcel on the wire: a head, and its tensors as raw bytes.

The tensors follow one after the other in the frame of the head, or each has a frame of its own. The head is
little-endian: version, kind, target device, number of tensors, request, attempt, epoch, length of the table that
follows; the table has per tensor the code of its dtype, its number of dimensions, its length in bytes and its shape.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from hardware.transport.parcel import DEFAULT_LIMITS, ITEM_BYTES, Kind, Parcel, TensorSpec
from twin.errors import TransportError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hardware.transport.parcel import Buffer, Limits

VERSION = 2
"""Of the wire format; a peer that speaks another one is refused."""
INLINE_BYTES = 8192
"""Parcels of up to so many bytes travel behind their head: a frame costs more than copying them."""

_HEAD = struct.Struct("<BBhHqiiI")
_TABLE_BYTES = struct.Struct("<I")
"""The last number of the head."""
_TENSOR = struct.Struct("<BBQ")
_DTYPES = tuple(ITEM_BYTES)
_CODES = {dtype: code for code, dtype in enumerate(_DTYPES)}
_KINDS = {int(kind): kind for kind in Kind}


@dataclass(frozen=True, slots=True)
class _Table:
    """The part of a head that tells the tensors, as it is and packed, and whether the limits let it through."""

    tensors: tuple[TensorSpec, ...]
    packed: bytes
    lengths: tuple[int, ...]
    size_bytes: int
    dims: int
    is_within: bool


def encode(
    parcel: Parcel, limits: Limits = DEFAULT_LIMITS, before: bytes = b"", *, inline_bytes: int = INLINE_BYTES
) -> tuple[tuple[Buffer, ...], int]:
    """Return the frames of `parcel`, and the bytes of its tensors.

    Args:
        parcel: The parcel.
        limits: What the receiver accepts, as far as known.
        before: Bytes to put before its head.
        inline_bytes: Up to so many bytes are copied behind the head.

    Raises:
        TransportError: A buffer does not have the length that its dtype and shape ask for, a number has no room, or
            the parcel is over the limits.
    """
    kind, request, attempt, epoch, target, tensors, buffers = parcel
    table = _packed(tensors, limits)
    if not table.is_within:
        raise TransportError(
            f"request {request}: {len(tensors)} tensors of {table.lengths} bytes and up to {table.dims} dimensions "
            f"are over the limits ({limits}); cut the model where less crosses, or raise the limits at both ends"
        )
    _check_buffers(parcel, table)
    packed = table.packed
    try:
        head = _HEAD.pack(VERSION, kind, target, len(tensors), request, attempt, epoch, len(packed))
    except struct.error as error:
        raise TransportError(f"a number of request {request} does not fit into a head ({error})") from error
    if table.size_bytes <= inline_bytes:
        return (b"".join((before, head, packed, *buffers)),), table.size_bytes
    return (before + head + packed, *buffers), table.size_bytes


def _check_buffers(parcel: Parcel, table: _Table) -> None:
    tensors, buffers = parcel.tensors, parcel.buffers
    if len(tensors) != len(buffers):
        raise TransportError(f"a parcel names {len(tensors)} tensors and holds {len(buffers)} buffers")
    for spec, length, buffer in zip(tensors, table.lengths, buffers, strict=True):
        view = memoryview(buffer)
        if view.nbytes != length or not view.c_contiguous:
            raise TransportError(
                f"a buffer of {view.nbytes} bytes cannot be the {spec.dtype} tensor {tuple(spec.shape)} "
                f"of {length} bytes; give the contiguous tensor"
            )


def decode(frames: Sequence[Buffer], limits: Limits = DEFAULT_LIMITS, start: int = 0) -> tuple[Parcel, int]:
    """Return the parcel in `frames`, and the bytes of its tensors.

    Args:
        frames: The frame of its head, then one per tensor, which the parcel keeps without a copy; or that of its head
            alone, with the tensors behind it, which are copied.
        limits: What is accepted.
        start: Where in the first frame the head begins.

    Nothing is allocated by a length that the head claims.

    Raises:
        TransportError: Whatever is wrong: another version, an unknown kind or dtype, a length that does not fit its
            shape or its frame, frames missing or left over, or more than the `limits` allow.
    """
    first = memoryview(frames[0]) if frames else memoryview(b"")
    table_at = start + _HEAD.size
    if len(first) < table_at:
        raise TransportError("a parcel without a head")
    version, code, target, count, request, attempt, epoch, table_bytes = _HEAD.unpack_from(first, start)
    if version != VERSION or code not in _KINDS:
        raise TransportError(f"a parcel of version {version} and kind {code}; this end speaks version {VERSION}")
    if count > limits.tensors or table_bytes > count * (_TENSOR.size + 8 * limits.dims):
        raise TransportError(
            f"a parcel of {count} tensors, told in {table_bytes} bytes "
            f"(at most {limits.tensors} tensors of at most {limits.dims} dimensions)"
        )
    table = _unpacked(bytes(first[table_at : table_at + table_bytes]), count, limits)
    if not table.is_within:
        raise TransportError(
            f"a parcel of {count} tensors of {table.lengths} bytes and up to {table.dims} dimensions "
            f"(at most {limits.tensors} of {limits.tensor_bytes} bytes, {limits.dims} dimensions, and "
            f"{limits.message_bytes} bytes in all)"
        )
    tensors_at = table_at + table_bytes
    buffers = _behind(first, tensors_at, table) if len(frames) == 1 else _apart(first, tensors_at, frames, table)
    return Parcel(_KINDS[code], request, attempt, epoch, target, table.tensors, buffers), table.size_bytes


def payload_bytes(first: memoryview, start: int, size_bytes: int) -> int:
    """Return the bytes of the tensors of a parcel that cannot be decoded, as far as they came.

    Args:
        first: Its first frame.
        start: Where in that its head begins.
        size_bytes: Bytes of all its frames.
    """
    table_at = start + _HEAD.size
    if len(first) < table_at:
        return size_bytes - len(first)
    return max(0, size_bytes - table_at - int(_TABLE_BYTES.unpack_from(first, table_at - _TABLE_BYTES.size)[0]))


def _behind(first: memoryview, place: int, table: _Table) -> tuple[Buffer, ...]:
    """Return copies of the tensors that follow the head in its frame."""
    if len(first) - place != table.size_bytes:
        raise TransportError(f"{len(first) - place} bytes follow a head that tells {table.size_bytes}")
    if len(table.lengths) == 1:
        return (bytearray(first[place:]),)
    buffers = []
    for length in table.lengths:
        buffers.append(bytearray(first[place : place + length]))
        place += length
    return tuple(buffers)


def _apart(first: memoryview, end: int, frames: Sequence[Buffer], table: _Table) -> tuple[Buffer, ...]:
    """Return the tensors that have frames of their own."""
    buffers = tuple(frames[1:])
    if len(first) != end or len(buffers) != len(table.lengths):
        raise TransportError(f"a parcel of {len(table.lengths)} tensors in {len(frames)} frames, or a head too long")
    for length, buffer in zip(table.lengths, buffers, strict=True):
        if memoryview(buffer).nbytes != length:
            raise TransportError(f"a frame of {memoryview(buffer).nbytes} bytes holds a tensor of {length}")
    return buffers


@lru_cache(maxsize=512)
def _packed(tensors: tuple[TensorSpec, ...], limits: Limits) -> _Table:
    """Return the table of tensors; few cuts are in use, so most calls are repeats."""
    lengths = tuple(spec.size_bytes for spec in tensors)
    try:
        rows = [
            _TENSOR.pack(_CODES[spec.dtype], len(spec.shape), length) + struct.pack(f"<{len(spec.shape)}Q", *spec.shape)
            for spec, length in zip(tensors, lengths, strict=True)
        ]
    except struct.error as error:
        raise TransportError(f"shapes {[spec.shape for spec in tensors]} do not fit into a head ({error})") from error
    return _table(tensors, b"".join(rows), lengths, limits)


@lru_cache(maxsize=512)
def _unpacked(packed: bytes, count: int, limits: Limits) -> _Table:
    """Return what `_packed` was given; it is as long as the limits allow, and says no more than there is."""
    tensors, lengths, place = [], [], 0
    for _ in range(count):
        if len(packed) - place < _TENSOR.size:
            raise TransportError("the head of a parcel ends early")
        code, dims, length = _TENSOR.unpack_from(packed, place)
        place += _TENSOR.size
        if code >= len(_DTYPES) or len(packed) - place < 8 * dims:
            raise TransportError(f"a tensor of dtype {code} and {dims} dimensions in a head that ends early")
        spec = TensorSpec(_DTYPES[code], struct.unpack_from(f"<{dims}Q", packed, place))
        place += 8 * dims
        if length != spec.size_bytes:
            raise TransportError(f"a tensor of {length} bytes, not {spec.size_bytes}")
        tensors.append(spec)
        lengths.append(length)
    if place != len(packed):
        raise TransportError(f"a head of {count} tensors with {len(packed) - place} bytes too many")
    return _table(tuple(tensors), packed, tuple(lengths), limits)


def _table(tensors: tuple[TensorSpec, ...], packed: bytes, lengths: tuple[int, ...], limits: Limits) -> _Table:
    size_bytes, longest_bytes = sum(lengths), max(lengths, default=0)
    dims = max((len(spec.shape) for spec in tensors), default=0)
    is_within = (
        size_bytes <= limits.message_bytes
        and longest_bytes <= limits.tensor_bytes
        and len(lengths) <= limits.tensors
        and dims <= limits.dims
    )
    return _Table(tensors, packed, lengths, size_bytes, dims, is_within)
